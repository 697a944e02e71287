//! Metadata (key 3): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::{Text, Uuid};

messages! {
    MetadataRequestTopic<'a> {
        topic_id: Uuid, in 10..;
        name: Option<Text<'a>>, null 10..;
    }

    MetadataRequest<'a> {
        topics: Option<Vec<MetadataRequestTopic<'a>>>, null 1..;
        allow_auto_topic_creation: bool, default true, in 4..;
        include_cluster_authorized_operations: bool, in 8..=10;
        include_topic_authorized_operations: bool, in 8..;
    }

    MetadataResponseBroker<'a> {
        node_id: i32;
        host: Text<'a>;
        port: i32;
        rack: Option<Text<'a>>, in 1.., null 0..;
    }

    MetadataResponsePartition {
        error_code: i16;
        partition_index: i32;
        leader_id: i32;
        leader_epoch: i32, default -1, in 7..;
        replica_nodes: Vec<i32>;
        isr_nodes: Vec<i32>;
        offline_replicas: Vec<i32>, in 5..;
    }

    MetadataResponseTopic<'a> {
        error_code: i16;
        name: Option<Text<'a>>, null 12..;
        topic_id: Uuid, in 10..;
        is_internal: bool, in 1..;
        partitions: Vec<MetadataResponsePartition>;
        topic_authorized_operations: i32, default i32::MIN, in 8..;
    }

    MetadataResponse<'a> {
        throttle_time_ms: i32, in 3..;
        brokers: Vec<MetadataResponseBroker<'a>>;
        cluster_id: Option<Text<'a>>, in 2.., null 0..;
        controller_id: i32, default -1, in 1..;
        topics: Vec<MetadataResponseTopic<'a>>;
        cluster_authorized_operations: i32, default i32::MIN, in 8..=10;
        error_code: i16, in 13..;
    }
}
