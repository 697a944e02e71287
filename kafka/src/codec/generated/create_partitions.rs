//! CreatePartitions (key 37): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    CreatePartitionsAssignment {
        broker_ids: Vec<i32>;
    }

    CreatePartitionsTopic<'a> {
        name: Text<'a>;
        count: i32;
        assignments: Option<Vec<CreatePartitionsAssignment>>, null 0..;
    }

    CreatePartitionsRequest<'a> {
        topics: Vec<CreatePartitionsTopic<'a>>;
        timeout_ms: i32;
        validate_only: bool;
    }

    CreatePartitionsTopicResult<'a> {
        name: Text<'a>;
        error_code: i16;
        error_message: Option<Text<'a>>, null 0..;
    }

    CreatePartitionsResponse<'a> {
        throttle_time_ms: i32;
        results: Vec<CreatePartitionsTopicResult<'a>>;
    }
}
