//! CreateAcls (key 30): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    AclCreation<'a> {
        resource_type: i8;
        resource_name: Text<'a>;
        resource_pattern_type: i8, default 3;
        principal: Text<'a>;
        host: Text<'a>;
        operation: i8;
        permission_type: i8;
    }

    CreateAclsRequest<'a> {
        creations: Vec<AclCreation<'a>>;
    }

    AclCreationResult<'a> {
        error_code: i16;
        error_message: Option<Text<'a>>, null 0..;
    }

    CreateAclsResponse<'a> {
        throttle_time_ms: i32;
        results: Vec<AclCreationResult<'a>>;
    }
}
