//! DescribeTopicPartitions (key 75): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::{Text, Uuid};

messages! {
    TopicRequest<'a> {
        name: Text<'a>;
    }

    Cursor<'a> {
        topic_name: Text<'a>;
        partition_index: i32;
    }

    DescribeTopicPartitionsRequest<'a> {
        topics: Vec<TopicRequest<'a>>;
        response_partition_limit: i32, default 2000;
        cursor: Option<Cursor<'a>>, null 0..;
    }

    DescribeTopicPartitionsResponsePartition {
        error_code: i16;
        partition_index: i32;
        leader_id: i32;
        leader_epoch: i32, default -1;
        replica_nodes: Vec<i32>;
        isr_nodes: Vec<i32>;
        eligible_leader_replicas: Option<Vec<i32>>, null 0..;
        last_known_elr: Option<Vec<i32>>, null 0..;
        offline_replicas: Vec<i32>;
    }

    DescribeTopicPartitionsResponseTopic<'a> {
        error_code: i16;
        name: Option<Text<'a>>, null 0..;
        topic_id: Uuid;
        is_internal: bool;
        partitions: Vec<DescribeTopicPartitionsResponsePartition>;
        topic_authorized_operations: i32, default i32::MIN;
    }

    DescribeTopicPartitionsResponseCursor<'a> {
        topic_name: Text<'a>;
        partition_index: i32;
    }

    DescribeTopicPartitionsResponse<'a> {
        throttle_time_ms: i32;
        topics: Vec<DescribeTopicPartitionsResponseTopic<'a>>;
        next_cursor: Option<DescribeTopicPartitionsResponseCursor<'a>>, null 0..;
    }
}
