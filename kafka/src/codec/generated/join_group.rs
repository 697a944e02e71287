//! JoinGroup (key 11): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    JoinGroupRequestProtocol<'a> {
        name: Text<'a>;
        metadata: &'a [u8];
    }

    JoinGroupRequest<'a> {
        group_id: Text<'a>;
        session_timeout_ms: i32;
        rebalance_timeout_ms: i32, default -1, in 1..;
        member_id: Text<'a>;
        group_instance_id: Option<Text<'a>>, in 5.., null 0..;
        protocol_type: Text<'a>;
        protocols: Vec<JoinGroupRequestProtocol<'a>>;
        reason: Option<Text<'a>>, in 8.., null 0..;
    }

    JoinGroupResponseMember<'a> {
        member_id: Text<'a>;
        group_instance_id: Option<Text<'a>>, in 5.., null 0..;
        metadata: &'a [u8];
    }

    JoinGroupResponse<'a> {
        throttle_time_ms: i32, in 2..;
        error_code: i16;
        generation_id: i32, default -1;
        protocol_type: Option<Text<'a>>, in 7.., null 0..;
        protocol_name: Option<Text<'a>>, null 7..;
        leader: Text<'a>;
        skip_assignment: bool, in 9..;
        member_id: Text<'a>;
        members: Vec<JoinGroupResponseMember<'a>>;
    }
}
