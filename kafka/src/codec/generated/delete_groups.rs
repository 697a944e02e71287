//! DeleteGroups (key 42): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    DeleteGroupsRequest<'a> {
        groups_names: Vec<Text<'a>>;
    }

    DeletableGroupResult<'a> {
        group_id: Text<'a>;
        error_code: i16;
    }

    DeleteGroupsResponse<'a> {
        throttle_time_ms: i32;
        results: Vec<DeletableGroupResult<'a>>;
    }
}
