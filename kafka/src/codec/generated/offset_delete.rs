//! OffsetDelete (key 47): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    OffsetDeleteRequestPartition {
        partition_index: i32;
    }

    OffsetDeleteRequestTopic<'a> {
        name: Text<'a>;
        partitions: Vec<OffsetDeleteRequestPartition>;
    }

    OffsetDeleteRequest<'a> {
        group_id: Text<'a>;
        topics: Vec<OffsetDeleteRequestTopic<'a>>;
    }

    OffsetDeleteResponsePartition {
        partition_index: i32;
        error_code: i16;
    }

    OffsetDeleteResponseTopic<'a> {
        name: Text<'a>;
        partitions: Vec<OffsetDeleteResponsePartition>;
    }

    OffsetDeleteResponse<'a> {
        error_code: i16;
        throttle_time_ms: i32;
        topics: Vec<OffsetDeleteResponseTopic<'a>>;
    }
}
