//! CreateTopics (key 19): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::{Text, Uuid};

messages! {
    CreatableReplicaAssignment {
        partition_index: i32;
        broker_ids: Vec<i32>;
    }

    CreatableTopicConfig<'a> {
        name: Text<'a>;
        value: Option<Text<'a>>, null 0..;
    }

    CreatableTopic<'a> {
        name: Text<'a>;
        num_partitions: i32;
        replication_factor: i16;
        assignments: Vec<CreatableReplicaAssignment>;
        configs: Vec<CreatableTopicConfig<'a>>;
    }

    CreateTopicsRequest<'a> {
        topics: Vec<CreatableTopic<'a>>;
        timeout_ms: i32, default 60000;
        validate_only: bool;
    }

    CreatableTopicConfigs<'a> {
        name: Text<'a>, in 5..;
        value: Option<Text<'a>>, in 5.., null 0..;
        read_only: bool, in 5..;
        config_source: i8, default -1, in 5..;
        is_sensitive: bool, in 5..;
    }

    CreatableTopicResult<'a> {
        name: Text<'a>;
        topic_id: Uuid, in 7..;
        error_code: i16;
        error_message: Option<Text<'a>>, null 0..;
        num_partitions: i32, default -1, in 5..;
        replication_factor: i16, default -1, in 5..;
        configs: Option<Vec<CreatableTopicConfigs<'a>>>, in 5.., null 0..;
        topic_config_error_code: i16, in 5.., tag 0;
    }

    CreateTopicsResponse<'a> {
        throttle_time_ms: i32;
        topics: Vec<CreatableTopicResult<'a>>;
    }
}
