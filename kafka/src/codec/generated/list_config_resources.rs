//! ListConfigResources (key 74): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    ListConfigResourcesRequest {
        resource_types: Vec<i8>, in 1..;
    }

    ConfigResource<'a> {
        resource_name: Text<'a>;
        resource_type: i8, default 16, in 1..;
    }

    ListConfigResourcesResponse<'a> {
        throttle_time_ms: i32;
        error_code: i16;
        config_resources: Vec<ConfigResource<'a>>;
    }
}
