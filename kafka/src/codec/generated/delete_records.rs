//! DeleteRecords (key 21): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    DeleteRecordsPartition {
        partition_index: i32;
        offset: i64;
    }

    DeleteRecordsTopic<'a> {
        name: Text<'a>;
        partitions: Vec<DeleteRecordsPartition>;
    }

    DeleteRecordsRequest<'a> {
        topics: Vec<DeleteRecordsTopic<'a>>;
        timeout_ms: i32;
    }

    DeleteRecordsPartitionResult {
        partition_index: i32;
        low_watermark: i64;
        error_code: i16;
    }

    DeleteRecordsTopicResult<'a> {
        name: Text<'a>;
        partitions: Vec<DeleteRecordsPartitionResult>;
    }

    DeleteRecordsResponse<'a> {
        throttle_time_ms: i32;
        topics: Vec<DeleteRecordsTopicResult<'a>>;
    }
}
