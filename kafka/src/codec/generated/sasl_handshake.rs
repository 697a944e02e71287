//! SaslHandshake (key 17): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    SaslHandshakeRequest<'a> {
        mechanism: Text<'a>;
    }

    SaslHandshakeResponse<'a> {
        error_code: i16;
        mechanisms: Vec<Text<'a>>;
    }
}
