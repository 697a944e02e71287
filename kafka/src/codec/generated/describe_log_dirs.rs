//! DescribeLogDirs (key 35): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    DescribableLogDirTopic<'a> {
        topic: Text<'a>;
        partitions: Vec<i32>;
    }

    DescribeLogDirsRequest<'a> {
        topics: Option<Vec<DescribableLogDirTopic<'a>>>, null 0..;
    }

    DescribeLogDirsPartition {
        partition_index: i32;
        partition_size: i64;
        offset_lag: i64;
        is_future_key: bool;
    }

    DescribeLogDirsTopic<'a> {
        name: Text<'a>;
        partitions: Vec<DescribeLogDirsPartition>;
    }

    DescribeLogDirsResult<'a> {
        error_code: i16;
        log_dir: Text<'a>;
        topics: Vec<DescribeLogDirsTopic<'a>>;
        total_bytes: i64, default -1, in 4..;
        usable_bytes: i64, default -1, in 4..;
        is_cordoned: bool, in 5..;
    }

    DescribeLogDirsResponse<'a> {
        throttle_time_ms: i32;
        error_code: i16, in 3..;
        results: Vec<DescribeLogDirsResult<'a>>;
    }
}
