//! What is told to whoever listens to `$JS.EVENT.>`: streams and consumers that came, changed or went, messages given up, how long
//! acknowledgements took, and what was asked of the API.

use super::time::Time;
use serde::Serialize;

/// What all of these subjects begin with.
pub const PREFIX: &str = "$JS.EVENT.ADVISORY.";
/// What the subjects of measurements begin with.
pub const METRICS: &str = "$JS.EVENT.METRIC.";

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// To a stream.
    Stream(Action),
    /// To a consumer.
    Consumer(Action),
    /// A consumer is paused, or goes on.
    Paused {
        /// Until when; `None`: it goes on.
        until: Option<Time>,
    },
    /// A message was delivered as often as may be.
    MaxDeliveries(Delivered),
    /// A message was refused, for now.
    Naked(Delivered),
    /// A message was acknowledged, and that was sampled.
    Acknowledged {
        /// Which.
        message: Delivered,
        /// How long that took since its delivery, nanoseconds.
        took_nanos: u64,
    },
    /// A batch of messages came to nothing.
    BatchAbandoned {
        /// Its name.
        batch: String,
        /// Why, in nats-server's word.
        reason: &'static str,
    },
    /// A message was refused for ever.
    Terminated {
        /// Which.
        message: Delivered,
        /// As the client said.
        reason: String,
    },
}

/// What became of a stream or consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It was made.
    Create,
    /// It was changed.
    Modify,
    /// It is gone.
    Delete,
}

impl Action {
    fn tense(self) -> &'static str {
        match self {
            Self::Create => "CREATED",
            Self::Modify => "UPDATED",
            Self::Delete => "DELETED",
        }
    }
}

/// A message that was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Its sequence in the stream.
    pub stream_seq: u64,
    /// The delivery's number.
    pub consumer_seq: u64,
    /// How often.
    pub deliveries: u64,
}

/// An event and where it happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Advisory<'a> {
    /// The stream.
    pub stream: &'a str,
    /// The consumer; empty for streams' events.
    pub consumer: &'a str,
    /// A number that no other has.
    pub id: String,
    /// When.
    pub at: Time,
    /// What.
    pub event: Event,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    id: &'a str,
    timestamp: Time,
    stream: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    consumer: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<Action>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pause_until: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    batch: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
}

impl Advisory<'_> {
    /// Where it is published.
    #[must_use]
    pub fn subject(&self) -> String {
        let Self { stream, consumer, .. } = self;
        match &self.event {
            Event::Stream(action) => format!("{PREFIX}STREAM.{}.{stream}", action.tense()),
            Event::Consumer(action) => format!("{PREFIX}CONSUMER.{}.{stream}.{consumer}", action.tense()),
            Event::BatchAbandoned { .. } => format!("{PREFIX}STREAM.BATCH_ABANDONED.{stream}"),
            Event::Paused { .. } => format!("{PREFIX}CONSUMER.PAUSE.{stream}.{consumer}"),
            Event::MaxDeliveries(_) => format!("{PREFIX}CONSUMER.MAX_DELIVERIES.{stream}.{consumer}"),
            Event::Naked(_) => format!("{PREFIX}CONSUMER.MSG_NAKED.{stream}.{consumer}"),
            Event::Acknowledged { .. } => format!("{METRICS}CONSUMER.ACK.{stream}.{consumer}"),
            Event::Terminated { .. } => format!("{PREFIX}CONSUMER.MSG_TERMINATED.{stream}.{consumer}"),
        }
    }

    /// What is published, as JSON.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let kind = match &self.event {
            Event::Stream(_) => "stream_action",
            Event::Consumer(_) => "consumer_action",
            Event::BatchAbandoned { .. } => "stream_batch_abandoned",
            Event::Paused { .. } => "consumer_pause",
            Event::MaxDeliveries(_) => "max_deliver",
            Event::Naked(_) => "nak",
            Event::Acknowledged { .. } => "consumer_ack",
            Event::Terminated { .. } => "terminated",
        };
        let family = if matches!(self.event, Event::Acknowledged { .. }) { "metric" } else { "advisory" };
        let mut body = Body {
            r#type: format!("io.nats.jetstream.{family}.v1.{kind}"),
            id: &self.id,
            timestamp: self.at,
            stream: self.stream,
            consumer: self.consumer,
            action: None,
            paused: None,
            pause_until: None,
            consumer_seq: None,
            stream_seq: None,
            ack_time: None,
            deliveries: None,
            batch: "",
            reason: "",
        };
        match &self.event {
            Event::Stream(action) | Event::Consumer(action) => body.action = Some(*action),
            Event::BatchAbandoned { batch, reason } => (body.batch, body.reason) = (batch, reason),
            Event::Paused { until } => {
                body.paused = Some(until.is_some());
                body.pause_until = Some(until.unwrap_or(Time::ZERO));
            }
            Event::MaxDeliveries(message) => {
                (body.stream_seq, body.deliveries) = (Some(message.stream_seq), Some(message.deliveries));
            }
            Event::Naked(message)
            | Event::Terminated { message, .. }
            | Event::Acknowledged { message, .. } => {
                body.consumer_seq = Some(message.consumer_seq);
                (body.stream_seq, body.deliveries) = (Some(message.stream_seq), Some(message.deliveries));
            }
        }
        match &self.event {
            Event::Terminated { reason, .. } => body.reason = reason,
            Event::Acknowledged { took_nanos, .. } => body.ack_time = Some(*took_nanos),
            _ => {}
        }
        serde_json::to_vec(&body).expect("an advisory is a map with names")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advisory_tells_what_its_event_has() {
        let message = Delivered { stream_seq: 4, consumer_seq: 7, deliveries: 3 };
        let event = Event::Terminated { message, reason: "broken".to_owned() };
        let advisory = Advisory { stream: "S", consumer: "C", id: "x".to_owned(), at: Time::ZERO, event };
        assert_eq!(advisory.subject(), "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.S.C");
        let body: serde_json::Value = serde_json::from_slice(&advisory.body()).unwrap();
        let expected = serde_json::json!({
            "type": "io.nats.jetstream.advisory.v1.terminated", "id": "x", "timestamp": "0001-01-01T00:00:00Z",
            "stream": "S", "consumer": "C", "consumer_seq": 7, "stream_seq": 4, "deliveries": 3, "reason": "broken",
        });
        assert_eq!(body, expected);
        let event = Event::Acknowledged { message, took_nanos: 9000 };
        let sample = Advisory { event, ..advisory };
        assert_eq!(sample.subject(), "$JS.EVENT.METRIC.CONSUMER.ACK.S.C");
        let expected = r#"{"type":"io.nats.jetstream.metric.v1.consumer_ack","id":"x","timestamp":"0001-01-01T00:00:00Z","stream":"S","consumer":"C","consumer_seq":7,"stream_seq":4,"ack_time":9000,"deliveries":3}"#;
        assert_eq!(String::from_utf8(sample.body()).unwrap(), expected);
    }
}
