//! FindCoordinator (key 10): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    FindCoordinatorRequest<'a> {
        key: Text<'a>, in ..=3;
        key_type: i8, in 1..;
        coordinator_keys: Vec<Text<'a>>, in 4..;
    }

    Coordinator<'a> {
        key: Text<'a>, in 4..;
        node_id: i32, in 4..;
        host: Text<'a>, in 4..;
        port: i32, in 4..;
        error_code: i16, in 4..;
        error_message: Option<Text<'a>>, in 4.., null 0..;
    }

    FindCoordinatorResponse<'a> {
        throttle_time_ms: i32, in 1..;
        error_code: i16, in ..=3;
        error_message: Option<Text<'a>>, in 1..=3, null 0..;
        node_id: i32, in ..=3;
        host: Text<'a>, in ..=3;
        port: i32, in ..=3;
        coordinators: Vec<Coordinator<'a>>, in 4..;
    }
}
