//! Fetch (key 1): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::{Text, Uuid};

messages! {
    ReplicaState {
        replica_id: i32, default -1, in 15..;
        replica_epoch: i64, default -1, in 15..;
    }

    FetchPartition {
        partition: i32;
        current_leader_epoch: i32, default -1, in 9..;
        fetch_offset: i64;
        last_fetched_epoch: i32, default -1, in 12..;
        log_start_offset: i64, default -1, in 5..;
        partition_max_bytes: i32;
        replica_directory_id: Uuid, in 17.., tag 0;
        high_watermark: i64, default i64::MAX, in 18.., tag 1;
    }

    FetchTopic<'a> {
        topic: Text<'a>, in ..=12;
        topic_id: Uuid, in 13..;
        partitions: Vec<FetchPartition>;
    }

    ForgottenTopic<'a> {
        topic: Text<'a>, in 7..=12;
        topic_id: Uuid, in 13..;
        partitions: Vec<i32>, in 7..;
    }

    FetchRequest<'a> {
        replica_id: i32, default -1, in ..=14;
        max_wait_ms: i32;
        min_bytes: i32;
        max_bytes: i32, default i32::MAX;
        isolation_level: i8;
        session_id: i32, in 7..;
        session_epoch: i32, default -1, in 7..;
        topics: Vec<FetchTopic<'a>>;
        forgotten_topics_data: Vec<ForgottenTopic<'a>>, in 7..;
        rack_id: Text<'a>, in 11..;
        cluster_id: Option<Text<'a>>, in 12.., null 0.., tag 0;
        replica_state: ReplicaState, in 15.., tag 1;
    }

    EpochEndOffset {
        epoch: i32, default -1, in 12..;
        end_offset: i64, default -1, in 12..;
    }

    LeaderIdAndEpoch {
        leader_id: i32, default -1, in 12..;
        leader_epoch: i32, default -1, in 12..;
    }

    SnapshotId {
        end_offset: i64, default -1;
        epoch: i32, default -1;
    }

    AbortedTransaction {
        producer_id: i64;
        first_offset: i64;
    }

    PartitionData<'a> {
        partition_index: i32;
        error_code: i16;
        high_watermark: i64;
        last_stable_offset: i64, default -1;
        log_start_offset: i64, default -1, in 5..;
        aborted_transactions: Option<Vec<AbortedTransaction>>, null 0..;
        preferred_read_replica: i32, default -1, in 11..;
        records: Option<&'a [u8]>, null 0..;
        diverging_epoch: EpochEndOffset, in 12.., tag 0;
        current_leader: LeaderIdAndEpoch, in 12.., tag 1;
        snapshot_id: SnapshotId, in 12.., tag 2;
    }

    FetchableTopicResponse<'a> {
        topic: Text<'a>, in ..=12;
        topic_id: Uuid, in 13..;
        partitions: Vec<PartitionData<'a>>;
    }

    NodeEndpoint<'a> {
        node_id: i32, in 16..;
        host: Text<'a>, in 16..;
        port: i32, in 16..;
        rack: Option<Text<'a>>, in 16.., null 0..;
    }

    FetchResponse<'a> {
        throttle_time_ms: i32;
        error_code: i16, in 7..;
        session_id: i32, in 7..;
        responses: Vec<FetchableTopicResponse<'a>>;
        node_endpoints: Vec<NodeEndpoint<'a>>, in 16.., tag 0;
    }
}
