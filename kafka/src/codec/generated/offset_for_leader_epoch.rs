//! OffsetForLeaderEpoch (key 23): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    OffsetForLeaderPartition {
        partition: i32;
        current_leader_epoch: i32, default -1;
        leader_epoch: i32;
    }

    OffsetForLeaderTopic<'a> {
        topic: Text<'a>;
        partitions: Vec<OffsetForLeaderPartition>;
    }

    OffsetForLeaderEpochRequest<'a> {
        replica_id: i32, default -2, in 3..;
        topics: Vec<OffsetForLeaderTopic<'a>>;
    }

    EpochEndOffset {
        error_code: i16;
        partition: i32;
        leader_epoch: i32, default -1;
        end_offset: i64, default -1;
    }

    OffsetForLeaderTopicResult<'a> {
        topic: Text<'a>;
        partitions: Vec<EpochEndOffset>;
    }

    OffsetForLeaderEpochResponse<'a> {
        throttle_time_ms: i32;
        topics: Vec<OffsetForLeaderTopicResult<'a>>;
    }
}
