//! IncrementalAlterConfigs (key 44): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    AlterableConfig<'a> {
        name: Text<'a>;
        config_operation: i8;
        value: Option<Text<'a>>, null 0..;
    }

    AlterConfigsResource<'a> {
        resource_type: i8;
        resource_name: Text<'a>;
        configs: Vec<AlterableConfig<'a>>;
    }

    IncrementalAlterConfigsRequest<'a> {
        resources: Vec<AlterConfigsResource<'a>>;
        validate_only: bool;
    }

    AlterConfigsResourceResponse<'a> {
        error_code: i16;
        error_message: Option<Text<'a>>, null 0..;
        resource_type: i8;
        resource_name: Text<'a>;
    }

    IncrementalAlterConfigsResponse<'a> {
        throttle_time_ms: i32;
        responses: Vec<AlterConfigsResourceResponse<'a>>;
    }
}
