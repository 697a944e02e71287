//! DescribeUserScramCredentials (key 50): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    UserName<'a> {
        name: Text<'a>;
    }

    DescribeUserScramCredentialsRequest<'a> {
        users: Option<Vec<UserName<'a>>>, null 0..;
    }

    CredentialInfo {
        mechanism: i8;
        iterations: i32;
    }

    DescribeUserScramCredentialsResult<'a> {
        user: Text<'a>;
        error_code: i16;
        error_message: Option<Text<'a>>, null 0..;
        credential_infos: Vec<CredentialInfo>;
    }

    DescribeUserScramCredentialsResponse<'a> {
        throttle_time_ms: i32;
        error_code: i16;
        error_message: Option<Text<'a>>, null 0..;
        results: Vec<DescribeUserScramCredentialsResult<'a>>;
    }
}
