//! OffsetCommit (key 8): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::{Text, Uuid};

messages! {
    OffsetCommitRequestPartition<'a> {
        partition_index: i32;
        committed_offset: i64;
        committed_leader_epoch: i32, default -1, in 6..;
        committed_metadata: Option<Text<'a>>, null 0..;
    }

    OffsetCommitRequestTopic<'a> {
        name: Text<'a>, in ..=9;
        topic_id: Uuid, in 10..;
        partitions: Vec<OffsetCommitRequestPartition<'a>>;
    }

    OffsetCommitRequest<'a> {
        group_id: Text<'a>;
        generation_id_or_member_epoch: i32, default -1;
        member_id: Text<'a>;
        group_instance_id: Option<Text<'a>>, in 7.., null 0..;
        retention_time_ms: i64, default -1, in ..=4;
        topics: Vec<OffsetCommitRequestTopic<'a>>;
    }

    OffsetCommitResponsePartition {
        partition_index: i32;
        error_code: i16;
    }

    OffsetCommitResponseTopic<'a> {
        name: Text<'a>, in ..=9;
        topic_id: Uuid, in 10..;
        partitions: Vec<OffsetCommitResponsePartition>;
    }

    OffsetCommitResponse<'a> {
        throttle_time_ms: i32, in 3..;
        topics: Vec<OffsetCommitResponseTopic<'a>>;
    }
}
