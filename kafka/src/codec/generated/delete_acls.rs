//! DeleteAcls (key 31): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    DeleteAclsFilter<'a> {
        resource_type_filter: i8;
        resource_name_filter: Option<Text<'a>>, null 0..;
        pattern_type_filter: i8, default 3;
        principal_filter: Option<Text<'a>>, null 0..;
        host_filter: Option<Text<'a>>, null 0..;
        operation: i8;
        permission_type: i8;
    }

    DeleteAclsRequest<'a> {
        filters: Vec<DeleteAclsFilter<'a>>;
    }

    DeleteAclsMatchingAcl<'a> {
        error_code: i16;
        error_message: Option<Text<'a>>, null 0..;
        resource_type: i8;
        resource_name: Text<'a>;
        pattern_type: i8, default 3;
        principal: Text<'a>;
        host: Text<'a>;
        operation: i8;
        permission_type: i8;
    }

    DeleteAclsFilterResult<'a> {
        error_code: i16;
        error_message: Option<Text<'a>>, null 0..;
        matching_acls: Vec<DeleteAclsMatchingAcl<'a>>;
    }

    DeleteAclsResponse<'a> {
        throttle_time_ms: i32;
        filter_results: Vec<DeleteAclsFilterResult<'a>>;
    }
}
