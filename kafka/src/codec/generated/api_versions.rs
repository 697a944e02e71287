//! ApiVersions (key 18): the messages of Kafka 4.3.1. Made by `cargo xtask codegen kafka`; change the generator, not this.

use crate::codec::message::messages;
use crate::codec::wire::Text;

messages! {
    ApiVersionsRequest<'a> {
        client_software_name: Text<'a>, in 3..;
        client_software_version: Text<'a>, in 3..;
    }

    ApiVersion {
        api_key: i16;
        min_version: i16;
        max_version: i16;
    }

    SupportedFeatureKey<'a> {
        name: Text<'a>, in 3..;
        min_version: i16, in 3..;
        max_version: i16, in 3..;
    }

    FinalizedFeatureKey<'a> {
        name: Text<'a>, in 3..;
        max_version_level: i16, in 3..;
        min_version_level: i16, in 3..;
    }

    ApiVersionsResponse<'a> {
        error_code: i16;
        api_keys: Vec<ApiVersion>;
        throttle_time_ms: i32, in 1..;
        supported_features: Vec<SupportedFeatureKey<'a>>, in 3.., tag 0;
        finalized_features_epoch: i64, default -1, in 3.., tag 1;
        finalized_features: Vec<FinalizedFeatureKey<'a>>, in 3.., tag 2;
        zk_migration_ready: bool, in 3.., tag 3;
    }
}
