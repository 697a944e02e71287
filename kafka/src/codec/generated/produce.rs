//! Produce (key 0): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::{Text, Uuid};

messages! {
    PartitionProduceData<'a> {
        index: i32;
        records: Option<&'a [u8]>, null 0..;
    }

    TopicProduceData<'a> {
        name: Text<'a>, in ..=12;
        topic_id: Uuid, in 13..;
        partition_data: Vec<PartitionProduceData<'a>>;
    }

    ProduceRequest<'a> {
        transactional_id: Option<Text<'a>>, null 0..;
        acks: i16;
        timeout_ms: i32;
        topic_data: Vec<TopicProduceData<'a>>;
    }

    BatchIndexAndErrorMessage<'a> {
        batch_index: i32, in 8..;
        batch_index_error_message: Option<Text<'a>>, in 8.., null 0..;
    }

    LeaderIdAndEpoch {
        leader_id: i32, default -1, in 10..;
        leader_epoch: i32, default -1, in 10..;
    }

    PartitionProduceResponse<'a> {
        index: i32;
        error_code: i16;
        base_offset: i64;
        log_append_time_ms: i64, default -1;
        log_start_offset: i64, default -1, in 5..;
        record_errors: Vec<BatchIndexAndErrorMessage<'a>>, in 8..;
        error_message: Option<Text<'a>>, in 8.., null 0..;
        current_leader: LeaderIdAndEpoch, in 10.., tag 0;
    }

    TopicProduceResponse<'a> {
        name: Text<'a>, in ..=12;
        topic_id: Uuid, in 13..;
        partition_responses: Vec<PartitionProduceResponse<'a>>;
    }

    NodeEndpoint<'a> {
        node_id: i32, in 10..;
        host: Text<'a>, in 10..;
        port: i32, in 10..;
        rack: Option<Text<'a>>, in 10.., null 0..;
    }

    ProduceResponse<'a> {
        responses: Vec<TopicProduceResponse<'a>>;
        throttle_time_ms: i32;
        node_endpoints: Vec<NodeEndpoint<'a>>, in 10.., tag 0;
    }
}
