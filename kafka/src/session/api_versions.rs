//! ApiVersions (key 18): what is spoken here. The only API that is answered to whoever asks, in whichever version.

use super::serve::{Identity, is_served};
use crate::codec::api::ApiKey;
use crate::codec::generated::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use crate::refuse::Code;

/// The answer to a version that we speak. What the client says of itself is kept as its name.
pub(super) fn answer(
    identity: &mut Identity,
    version: i16,
    request: &ApiVersionsRequest<'_>,
) -> ApiVersionsResponse<'static> {
    if version < 3 {
        return listing(Code::None);
    }
    let (name, number) = (&*request.client_software_name, &*request.client_software_version);
    if !is_plain(name) || !is_plain(number) {
        return listing(Code::InvalidRequest);
    }
    identity.introduced(name, number);
    listing(Code::None)
}

/// The answer to a version above ours, in the encoding of version 0: clients try again with what they find in it.
pub(super) fn unsupported() -> ApiVersionsResponse<'static> {
    listing(Code::UnsupportedVersion)
}

fn listing(code: Code) -> ApiVersionsResponse<'static> {
    let served = ApiKey::ALL.iter().filter(|api| is_served(**api));
    let api_keys = served.map(|api| {
        let (min_version, max_version) = api.versions();
        // librdkafka compresses only for brokers that claim the oldest versions (its issue 4956); Kafka 4 claims them and speaks them as little.
        let min_version = if *api == ApiKey::Produce { 0 } else { min_version };
        ApiVersion { api_key: *api as i16, min_version, max_version }
    });
    ApiVersionsResponse {
        error_code: code.number(),
        api_keys: api_keys.collect(),
        ..ApiVersionsResponse::default()
    }
}

/// Kafka's pattern for names of clients: letters, digits, dots and dashes, no dot or dash at the ends.
fn is_plain(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let ends = [name.chars().next(), name.chars().next_back()];
    ends.iter().all(|end| end.is_some_and(|c| c.is_ascii_alphanumeric())) && name.chars().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_clients_are_as_kafka_wants_them() {
        for (name, plain) in
            [("apache-kafka-java", true), ("4.3.1", true), ("", false), ("-a", false), ("a b", false)]
        {
            assert_eq!(is_plain(name), plain, "{name}");
        }
    }
}
