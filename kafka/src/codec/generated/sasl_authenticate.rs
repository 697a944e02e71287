//! SaslAuthenticate (key 36): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    SaslAuthenticateRequest<'a> {
        auth_bytes: &'a [u8];
    }

    SaslAuthenticateResponse<'a> {
        error_code: i16;
        error_message: Option<Text<'a>>, null 0..;
        auth_bytes: &'a [u8];
        session_lifetime_ms: i64, in 1..;
    }
}
