//! Heartbeat (key 12): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    HeartbeatRequest<'a> {
        group_id: Text<'a>;
        generation_id: i32;
        member_id: Text<'a>;
        group_instance_id: Option<Text<'a>>, in 3.., null 0..;
    }

    HeartbeatResponse {
        throttle_time_ms: i32, in 1..;
        error_code: i16;
    }
}
