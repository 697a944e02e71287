//! DescribeProducers (key 61): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    TopicRequest<'a> {
        name: Text<'a>;
        partition_indexes: Vec<i32>;
    }

    DescribeProducersRequest<'a> {
        topics: Vec<TopicRequest<'a>>;
    }

    ProducerState {
        producer_id: i64;
        producer_epoch: i32;
        last_sequence: i32, default -1;
        last_timestamp: i64, default -1;
        coordinator_epoch: i32;
        current_txn_start_offset: i64, default -1;
    }

    PartitionResponse<'a> {
        partition_index: i32;
        error_code: i16;
        error_message: Option<Text<'a>>, null 0..;
        active_producers: Vec<ProducerState>;
    }

    TopicResponse<'a> {
        name: Text<'a>;
        partitions: Vec<PartitionResponse<'a>>;
    }

    DescribeProducersResponse<'a> {
        throttle_time_ms: i32;
        topics: Vec<TopicResponse<'a>>;
    }
}
