//! What the server says of itself: the JSON of INFO.

use serde::Serialize;

/// The fields that clients look at. Empty and false ones are left out where nats-server leaves them out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Info<'a> {
    /// The server's number, in the form of a public key.
    pub server_id: &'a str,
    /// Its name.
    pub server_name: &'a str,
    /// The version of nats-server that it is like: clients switch features on by it.
    pub version: &'a str,
    /// 1: INFO may come again.
    pub proto: u32,
    /// Clients only show it; nats-server is written in Go.
    pub go: &'a str,
    /// Address that it listens on.
    pub host: &'a str,
    /// Port that it listens on.
    pub port: u16,
    /// Headers are understood.
    pub headers: bool,
    /// Clients must say who they are.
    #[serde(skip_serializing_if = "is_false")]
    pub auth_required: bool,
    /// Clients must speak TLS.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_required: bool,
    /// Clients must show a certificate.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    /// Clients may speak TLS.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_available: bool,
    /// Longest headers and payload, bytes.
    pub max_payload: usize,
    /// There are streams.
    #[serde(skip_serializing_if = "is_false")]
    pub jetstream: bool,
    /// The connection's number.
    pub client_id: u64,
    /// Where the client comes from.
    pub client_ip: &'a str,
    /// To be signed by clients that have a key.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub nonce: &'a str,
    /// The server will close soon.
    #[serde(skip_serializing_if = "is_false")]
    pub ldm: bool,
    /// This is about the connection, not the server.
    #[serde(skip_serializing_if = "is_false")]
    pub connect_info: bool,
    /// The account that the client is in.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub remote_account: &'a str,
    /// It is the system's.
    #[serde(skip_serializing_if = "is_false")]
    pub acc_is_sys: bool,
    /// Level of the JetStream API.
    pub api_lvl: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Info<'_> {
    /// The whole line.
    #[must_use]
    pub fn line(&self) -> String {
        let json = serde_json::to_string(self).expect("texts and numbers become JSON");
        format!("INFO {json} \r\n")
    }
}
