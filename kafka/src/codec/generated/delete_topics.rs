//! DeleteTopics (key 20): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::{Text, Uuid};

messages! {
    DeleteTopicState<'a> {
        name: Option<Text<'a>>, in 6.., null 0..;
        topic_id: Uuid, in 6..;
    }

    DeleteTopicsRequest<'a> {
        topics: Vec<DeleteTopicState<'a>>, in 6..;
        topic_names: Vec<Text<'a>>, in ..=5;
        timeout_ms: i32;
    }

    DeletableTopicResult<'a> {
        name: Option<Text<'a>>, null 6..;
        topic_id: Uuid, in 6..;
        error_code: i16;
        error_message: Option<Text<'a>>, in 5.., null 0..;
    }

    DeleteTopicsResponse<'a> {
        throttle_time_ms: i32;
        responses: Vec<DeletableTopicResult<'a>>;
    }
}
