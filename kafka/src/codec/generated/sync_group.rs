//! SyncGroup (key 14): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    SyncGroupRequestAssignment<'a> {
        member_id: Text<'a>;
        assignment: &'a [u8];
    }

    SyncGroupRequest<'a> {
        group_id: Text<'a>;
        generation_id: i32;
        member_id: Text<'a>;
        group_instance_id: Option<Text<'a>>, in 3.., null 0..;
        protocol_type: Option<Text<'a>>, in 5.., null 0..;
        protocol_name: Option<Text<'a>>, in 5.., null 0..;
        assignments: Vec<SyncGroupRequestAssignment<'a>>;
    }

    SyncGroupResponse<'a> {
        throttle_time_ms: i32, in 1..;
        error_code: i16;
        protocol_type: Option<Text<'a>>, in 5.., null 0..;
        protocol_name: Option<Text<'a>>, in 5.., null 0..;
        assignment: &'a [u8];
    }
}
