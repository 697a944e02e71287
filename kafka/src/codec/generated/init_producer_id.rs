//! InitProducerId (key 22): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    InitProducerIdRequest<'a> {
        transactional_id: Option<Text<'a>>, null 0..;
        transaction_timeout_ms: i32;
        producer_id: i64, default -1, in 3..;
        producer_epoch: i16, default -1, in 3..;
    }

    InitProducerIdResponse {
        throttle_time_ms: i32;
        error_code: i16;
        producer_id: i64, default -1;
        producer_epoch: i16;
    }
}
