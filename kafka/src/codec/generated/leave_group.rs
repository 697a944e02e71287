//! LeaveGroup (key 13): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    MemberIdentity<'a> {
        member_id: Text<'a>, in 3..;
        group_instance_id: Option<Text<'a>>, in 3.., null 0..;
        reason: Option<Text<'a>>, in 5.., null 0..;
    }

    LeaveGroupRequest<'a> {
        group_id: Text<'a>;
        member_id: Text<'a>, in ..=2;
        members: Vec<MemberIdentity<'a>>, in 3..;
    }

    MemberResponse<'a> {
        member_id: Text<'a>, in 3..;
        group_instance_id: Option<Text<'a>>, in 3.., null 0..;
        error_code: i16, in 3..;
    }

    LeaveGroupResponse<'a> {
        throttle_time_ms: i32, in 1..;
        error_code: i16;
        members: Vec<MemberResponse<'a>>, in 3..;
    }
}
