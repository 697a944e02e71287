//! ListOffsets (key 2): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    ListOffsetsPartition {
        partition_index: i32;
        current_leader_epoch: i32, default -1, in 4..;
        timestamp: i64;
    }

    ListOffsetsTopic<'a> {
        name: Text<'a>;
        partitions: Vec<ListOffsetsPartition>;
    }

    ListOffsetsRequest<'a> {
        replica_id: i32;
        isolation_level: i8, in 2..;
        topics: Vec<ListOffsetsTopic<'a>>;
        timeout_ms: i32, in 10..;
    }

    ListOffsetsPartitionResponse {
        partition_index: i32;
        error_code: i16;
        timestamp: i64, default -1;
        offset: i64, default -1;
        leader_epoch: i32, default -1, in 4..;
    }

    ListOffsetsTopicResponse<'a> {
        name: Text<'a>;
        partitions: Vec<ListOffsetsPartitionResponse>;
    }

    ListOffsetsResponse<'a> {
        throttle_time_ms: i32, in 2..;
        topics: Vec<ListOffsetsTopicResponse<'a>>;
    }
}
