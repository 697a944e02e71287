//! DescribeConfigs (key 32): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    DescribeConfigsResource<'a> {
        resource_type: i8;
        resource_name: Text<'a>;
        configuration_keys: Option<Vec<Text<'a>>>, null 0..;
    }

    DescribeConfigsRequest<'a> {
        resources: Vec<DescribeConfigsResource<'a>>;
        include_synonyms: bool;
        include_documentation: bool, in 3..;
    }

    DescribeConfigsSynonym<'a> {
        name: Text<'a>;
        value: Option<Text<'a>>, null 0..;
        source: i8;
    }

    DescribeConfigsResourceResult<'a> {
        name: Text<'a>;
        value: Option<Text<'a>>, null 0..;
        read_only: bool;
        config_source: i8, default -1;
        is_sensitive: bool;
        synonyms: Vec<DescribeConfigsSynonym<'a>>;
        config_type: i8, in 3..;
        documentation: Option<Text<'a>>, in 3.., null 0..;
    }

    DescribeConfigsResult<'a> {
        error_code: i16;
        error_message: Option<Text<'a>>, null 0..;
        resource_type: i8;
        resource_name: Text<'a>;
        configs: Vec<DescribeConfigsResourceResult<'a>>;
    }

    DescribeConfigsResponse<'a> {
        throttle_time_ms: i32;
        results: Vec<DescribeConfigsResult<'a>>;
    }
}
