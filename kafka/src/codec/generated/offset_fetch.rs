//! OffsetFetch (key 9): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::{Text, Uuid};

messages! {
    OffsetFetchRequestTopic<'a> {
        name: Text<'a>, in ..=7;
        partition_indexes: Vec<i32>, in ..=7;
    }

    OffsetFetchRequestTopics<'a> {
        name: Text<'a>, in 8..=9;
        topic_id: Uuid, in 10..;
        partition_indexes: Vec<i32>, in 8..;
    }

    OffsetFetchRequestGroup<'a> {
        group_id: Text<'a>, in 8..;
        member_id: Option<Text<'a>>, in 9.., null 0..;
        member_epoch: i32, default -1, in 9..;
        topics: Option<Vec<OffsetFetchRequestTopics<'a>>>, in 8.., null 0..;
    }

    OffsetFetchRequest<'a> {
        group_id: Text<'a>, in ..=7;
        topics: Option<Vec<OffsetFetchRequestTopic<'a>>>, in ..=7, null 2..;
        groups: Vec<OffsetFetchRequestGroup<'a>>, in 8..;
        require_stable: bool, in 7..;
    }

    OffsetFetchResponsePartition<'a> {
        partition_index: i32, in ..=7;
        committed_offset: i64, in ..=7;
        committed_leader_epoch: i32, default -1, in 5..=7;
        metadata: Option<Text<'a>>, in ..=7, null 0..;
        error_code: i16, in ..=7;
    }

    OffsetFetchResponseTopic<'a> {
        name: Text<'a>, in ..=7;
        partitions: Vec<OffsetFetchResponsePartition<'a>>, in ..=7;
    }

    OffsetFetchResponsePartitions<'a> {
        partition_index: i32, in 8..;
        committed_offset: i64, in 8..;
        committed_leader_epoch: i32, default -1, in 8..;
        metadata: Option<Text<'a>>, in 8.., null 0..;
        error_code: i16, in 8..;
    }

    OffsetFetchResponseTopics<'a> {
        name: Text<'a>, in 8..=9;
        topic_id: Uuid, in 10..;
        partitions: Vec<OffsetFetchResponsePartitions<'a>>, in 8..;
    }

    OffsetFetchResponseGroup<'a> {
        group_id: Text<'a>, in 8..;
        topics: Vec<OffsetFetchResponseTopics<'a>>, in 8..;
        error_code: i16, in 8..;
    }

    OffsetFetchResponse<'a> {
        throttle_time_ms: i32, in 3..;
        topics: Vec<OffsetFetchResponseTopic<'a>>, in ..=7;
        error_code: i16, in 2..=7;
        groups: Vec<OffsetFetchResponseGroup<'a>>, in 8..;
    }
}
