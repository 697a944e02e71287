//! What clients send: frames, methods, requests and commands of the three dialects, whole conversations, and certificates.

use crate::Target;
use rustls_pki_types::CertificateDer;
use stele_nats::jet;
use stele_server::config::LoginFrom;
use stele_server::tls::named;

pub(crate) const TARGETS: &[Target] = &[
    ("amqp-frames", stele_amqp091::fuzz::frames),
    ("amqp-methods", stele_amqp091::fuzz::methods),
    ("amqp-contents", stele_amqp091::fuzz::contents),
    ("amqp-tables", stele_amqp091::fuzz::tables),
    ("amqp-sessions", stele_amqp091::fuzz::sessions),
    ("kafka-frames", stele_kafka::fuzz::frames),
    ("kafka-requests", stele_kafka::fuzz::headed),
    ("kafka-batches", stele_kafka::fuzz::batches),
    ("kafka-sessions", stele_kafka::fuzz::sessions),
    ("certificates", certificates),
    ("nats-commands", stele_nats::fuzz::commands),
    ("nats-headers", stele_nats::fuzz::header_block),
    ("nats-options", stele_nats::fuzz::options),
    ("nats-sessions", stele_nats::fuzz::connection),
    ("jet-requests", |input| of_two(input, jet::fuzz::requests)),
    ("jet-acks", |input| of_two(input, jet::fuzz::acks)),
    ("jet-headers", jet::fuzz::headers),
    ("jet-mappings", |input| of_two(input, jet::fuzz::mappings)),
];

/// What a client shows of itself in TLS, after it was verified.
fn certificates(input: &[u8]) {
    for from in LoginFrom::ALL {
        let user = named(&CertificateDer::from(input), from);
        assert_ne!(user.as_deref(), Some(""), "an empty name is nobody's");
    }
}

/// A subject, and behind the first line break what was published to it.
fn of_two(input: &[u8], target: fn(&str, &[u8])) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (subject, body) = input.split_at(end);
    target(&String::from_utf8_lossy(subject), body.get(1..).unwrap_or_default());
}
