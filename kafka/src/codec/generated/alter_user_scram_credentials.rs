//! AlterUserScramCredentials (key 51): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    ScramCredentialDeletion<'a> {
        name: Text<'a>;
        mechanism: i8;
    }

    ScramCredentialUpsertion<'a> {
        name: Text<'a>;
        mechanism: i8;
        iterations: i32;
        salt: &'a [u8];
        salted_password: &'a [u8];
    }

    AlterUserScramCredentialsRequest<'a> {
        deletions: Vec<ScramCredentialDeletion<'a>>;
        upsertions: Vec<ScramCredentialUpsertion<'a>>;
    }

    AlterUserScramCredentialsResult<'a> {
        user: Text<'a>;
        error_code: i16;
        error_message: Option<Text<'a>>, null 0..;
    }

    AlterUserScramCredentialsResponse<'a> {
        throttle_time_ms: i32;
        results: Vec<AlterUserScramCredentialsResult<'a>>;
    }
}
