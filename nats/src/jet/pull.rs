//! Pull requests, and the statuses that are sent instead of messages.
//!
//! A request is nothing, a number, or JSON. Whether a consumer allows it is said by [`check_pull`].

use super::consumer::{ConsumerConfig, PriorityPolicy};
use super::json;
use super::time::short;
use serde::Deserialize;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct Pull {
    /// Most messages; below 1 stands for 1.
    pub batch: i64,
    /// How long it waits, nanoseconds; 0: until it is met.
    pub expires: i64,
    /// Most bytes; 0: any.
    pub max_bytes: i64,
    /// What is there, and no more.
    pub no_wait: bool,
    /// After how long a silence a status is sent, nanoseconds; 0: never.
    pub idle_heartbeat: i64,
    /// Which priority group.
    pub group: String,
    /// Only if so many messages wait.
    pub min_pending: i64,
    /// Only if so many acknowledgements are missing.
    pub min_ack_pending: i64,
    /// The pin.
    pub id: String,
    /// 0 is served before 9.
    pub priority: i64,
}

impl Default for Pull {
    fn default() -> Self {
        Self {
            batch: 1,
            expires: 0,
            max_bytes: 0,
            no_wait: false,
            idle_heartbeat: 0,
            group: String::new(),
            min_pending: 0,
            min_ack_pending: 0,
            id: String::new(),
            priority: 0,
        }
    }
}

/// Reads a request. Fields that are not known are passed over, as nats-server does here.
///
/// # Errors
/// The status to answer with.
pub fn parse_pull(body: &[u8]) -> Result<Pull, Status> {
    let body = body.trim_ascii();
    if body.first() != Some(&b'{') {
        // Text that is no number stands for one message.
        let number = std::str::from_utf8(body).ok().and_then(|text| text.parse().ok());
        return Ok(Pull { batch: number.unwrap_or(1), ..Pull::default() });
    }
    let pull: Pull =
        json::read_value(body).map_err(|error| Status::new(400, format!("Bad Request - {error}")))?;
    if pull.idle_heartbeat > 0 && pull.idle_heartbeat.saturating_mul(2) > pull.expires {
        return Err(Status::new(400, "Bad Request - heartbeat value too large"));
    }
    Ok(pull)
}

/// Whether a consumer allows a request.
///
/// # Errors
/// The status to answer with.
pub fn check_pull(pull: &Pull, config: &ConsumerConfig) -> Result<(), Status> {
    if config.is_push() {
        return Err(Status::new(409, "Consumer is push based"));
    }
    if config.max_batch > 0 && pull.batch > config.max_batch {
        return Err(Status::new(409, format!("Exceeded MaxRequestBatch of {}", config.max_batch)));
    }
    if config.max_expires > 0 && pull.expires > config.max_expires {
        return Err(Status::new(409, format!("Exceeded MaxRequestExpires of {}", short(config.max_expires))));
    }
    if config.max_bytes > 0 && pull.max_bytes > config.max_bytes {
        return Err(Status::new(409, format!("Exceeded MaxRequestMaxBytes of {}", config.max_bytes)));
    }
    let thresholds = pull.min_pending != 0 || pull.min_ack_pending != 0;
    let why = if thresholds && config.priority_policy != PriorityPolicy::Overflow {
        "Not a Overflow Priority consumer"
    } else if !pull.id.is_empty() && config.priority_policy != PriorityPolicy::PinnedClient {
        "Not a Pinned Client Priority consumer"
    } else if !(0..=9).contains(&pull.priority) {
        "Priority must be between 0 and 9"
    } else {
        return Ok(());
    };
    Err(Status::new(400, format!("Bad Request - {why}")))
}

/// A status: a header without a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Of the kind of HTTP's.
    pub code: u16,
    /// For people; clients compare some.
    pub text: String,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
}

impl Status {
    /// Without further headers.
    #[must_use]
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), headers: Vec::new() }
    }

    /// The end of a pull request, with what of it was not met.
    #[must_use]
    pub fn with_pending(mut self, messages: u64, bytes: u64) -> Self {
        self.headers.push(("Nats-Pending-Messages", messages.to_string()));
        self.headers.push(("Nats-Pending-Bytes", bytes.to_string()));
        self
    }

    /// Nothing there, and the request did not want to wait.
    #[must_use]
    pub fn no_messages() -> Self {
        Self::new(404, "No Messages")
    }

    /// The request's time is over.
    #[must_use]
    pub fn timeout(messages: u64, bytes: u64) -> Self {
        Self::new(408, "Request Timeout").with_pending(messages, bytes)
    }

    /// The request's bytes are used up, or its messages are there and some bytes are left.
    #[must_use]
    pub fn batch_completed(messages: u64, bytes: u64) -> Self {
        Self::new(409, "Batch Completed").with_pending(messages, bytes)
    }

    /// The next message is larger than the request allows.
    #[must_use]
    pub fn too_large(messages: u64, bytes: u64) -> Self {
        Self::new(409, "Message Size Exceeds MaxBytes").with_pending(messages, bytes)
    }

    /// The consumer is gone.
    #[must_use]
    pub fn deleted() -> Self {
        Self::new(409, "Consumer Deleted")
    }

    /// As many requests wait as may.
    #[must_use]
    pub fn max_waiting() -> Self {
        Self::new(409, "Exceeded MaxWaiting")
    }

    /// The server stops.
    #[must_use]
    pub fn shutdown(messages: u64, bytes: u64) -> Self {
        Self::new(409, "Server Shutdown").with_pending(messages, bytes)
    }

    /// Nothing happens, but somebody is here. `stalled`: the answer that is missing to go on.
    #[must_use]
    pub fn heartbeat(consumer_seq: u64, stream_seq: u64, stalled: Option<String>) -> Self {
        let mut status = Self::new(100, "Idle Heartbeat");
        status.headers.push(("Nats-Last-Consumer", consumer_seq.to_string()));
        status.headers.push(("Nats-Last-Stream", stream_seq.to_string()));
        status.headers.extend(stalled.map(|subject| ("Nats-Consumer-Stalled", subject)));
        status
    }

    /// As if nobody had heard the request.
    #[must_use]
    pub fn no_responders() -> Self {
        Self::new(503, "")
    }

    /// Answer when you have come here.
    #[must_use]
    pub fn flow_control() -> Self {
        Self::new(100, "FlowControl Request")
    }

    /// The header block.
    #[must_use]
    pub fn block(&self) -> String {
        let blank = if self.text.is_empty() { "" } else { " " };
        let mut block = format!("NATS/1.0 {}{blank}{}\r\n", self.code, self.text);
        for (name, value) in &self.headers {
            block.push_str(&format!("{name}: {value}\r\n"));
        }
        block.push_str("\r\n");
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_come_in_three_forms() {
        let one = Pull::default();
        assert_eq!(parse_pull(b""), Ok(one.clone()));
        assert_eq!(parse_pull(b" 7 "), Ok(Pull { batch: 7, ..one.clone() }));
        assert_eq!(parse_pull(b"some"), Ok(one));
        let pull =
            parse_pull(br#"{"batch":3,"expires":1000,"no_wait":true,"max_bytes":9,"new_field":1}"#).unwrap();
        assert_eq!((pull.batch, pull.expires, pull.no_wait, pull.max_bytes), (3, 1000, true, 9));
        assert_eq!(parse_pull(b"{").unwrap_err().code, 400);
        let often = parse_pull(br#"{"expires":100,"idle_heartbeat":90}"#).unwrap_err();
        assert_eq!(often.text, "Bad Request - heartbeat value too large");
    }

    #[test]
    fn a_consumers_bounds_are_told() {
        let config = ConsumerConfig {
            max_batch: 5,
            max_expires: 1_500_000_000,
            max_bytes: 10,
            ..ConsumerConfig::default()
        };
        let text = |pull: Pull| check_pull(&pull, &config).unwrap_err().text;
        assert_eq!(text(Pull { batch: 6, ..Pull::default() }), "Exceeded MaxRequestBatch of 5");
        assert_eq!(
            text(Pull { expires: 2_000_000_000, ..Pull::default() }),
            "Exceeded MaxRequestExpires of 1.5s"
        );
        assert_eq!(text(Pull { max_bytes: 11, ..Pull::default() }), "Exceeded MaxRequestMaxBytes of 10");
        assert_eq!(
            text(Pull { priority: 10, ..Pull::default() }),
            "Bad Request - Priority must be between 0 and 9"
        );
    }

    #[test]
    fn a_status_is_a_header_block() {
        let block = Status::timeout(3, 0).block();
        assert_eq!(
            block,
            "NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 3\r\nNats-Pending-Bytes: 0\r\n\r\n"
        );
        assert_eq!(Status::no_responders().block(), "NATS/1.0 503\r\n\r\n");
    }

    proptest! {
        #[test]
        fn no_request_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse_pull(&body);
        }
    }
}
