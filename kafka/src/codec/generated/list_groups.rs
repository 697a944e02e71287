//! ListGroups (key 16): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    ListGroupsRequest<'a> {
        states_filter: Vec<Text<'a>>, in 4..;
        types_filter: Vec<Text<'a>>, in 5..;
    }

    ListedGroup<'a> {
        group_id: Text<'a>;
        protocol_type: Text<'a>;
        group_state: Text<'a>, in 4..;
        group_type: Text<'a>, in 5..;
    }

    ListGroupsResponse<'a> {
        throttle_time_ms: i32, in 1..;
        error_code: i16;
        groups: Vec<ListedGroup<'a>>;
    }
}
