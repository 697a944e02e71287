//! The arguments of AMQP's stream queues, and what they are in our words.

use super::{For, Made, Properties, QUEUE_ARGUMENTS, Want, check_value, equal, equal_argument};
use stele_model::refusal::Refusal;
use stele_model::stream::{StreamInfo, StreamSettings};
use stele_model::value::{Arguments, Value};

/// Arguments that only streams have. How large their segments are and how they are filtered is our own business; what is asked for
/// is checked, kept and shown.
const STREAM_ARGUMENTS: &[(&str, Want)] = &[
    ("x-max-age", Want::Text),
    ("x-stream-max-segment-size-bytes", Want::Int { min: 0, max: 3_000_000_000 }),
    ("x-stream-filter-size-bytes", Want::Int { min: 16, max: 255 }),
    ("x-initial-cluster-size", Want::Int { min: 1, max: i64::MAX }),
];

/// A stream queue as a client asks for it.
pub(crate) struct StreamAsked {
    /// What it is to do.
    pub(crate) settings: StreamSettings,
    /// As given.
    pub(crate) arguments: Arguments,
}

/// Checks what a stream queue is declared with.
pub(super) fn check(
    made: Made<'_>,
    properties: Properties,
    arguments: &Arguments,
) -> Result<StreamSettings, Refusal> {
    for (name, want, of) in QUEUE_ARGUMENTS {
        let Some(value) = arguments.get(*name) else { continue };
        if !of.takes_streams() {
            return Err(made.invalid(name, "of queue type rabbit_stream_queue"));
        }
        check_value(value, *want).map_err(|why| made.invalid(name, why))?;
    }
    for (name, want) in STREAM_ARGUMENTS {
        let Some(value) = arguments.get(*name) else { continue };
        check_value(value, *want).map_err(|why| made.invalid(name, why))?;
    }
    let age = arguments.get("x-max-age").and_then(Value::as_text);
    let retention_ms = match age.map(age_ms) {
        Some(None) => return Err(made.invalid("x-max-age", "invalid_max_age")),
        asked => asked.flatten(),
    };
    if !properties.durable {
        return Err(made.invalid("non-durable", "a stream is durable"));
    }
    if properties.exclusive {
        return Err(made.invalid("exclusive-owner", "a stream is not exclusive"));
    }
    if properties.auto_delete {
        return Err(made.invalid("auto-delete", "a stream outlives its consumers"));
    }
    let bytes = arguments.get("x-max-length-bytes").and_then(Value::as_int);
    let retention_bytes = bytes.and_then(|bytes| u64::try_from(bytes).ok());
    Ok(StreamSettings { retention_ms, retention_bytes, ..StreamSettings::default() })
}

/// An age as RabbitMQ writes it: a number and one of the units Y, M, D, h, m, s.
fn age_ms(text: &str) -> Option<u64> {
    let at = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    let seconds: u64 = match unit {
        "Y" => 365 * 24 * 60 * 60,
        "M" => 30 * 24 * 60 * 60,
        "D" => 24 * 60 * 60,
        "h" => 60 * 60,
        "m" => 60,
        "s" => 1,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds)?.checked_mul(1000)
}

impl StreamAsked {
    /// Whether the stream that is there is like this. One that another dialect made has none of AMQP's arguments: it is compared by
    /// what it does.
    pub(crate) fn check_equivalent(&self, made: Made<'_>, there: &StreamInfo) -> Result<(), Refusal> {
        if there.arguments.contains_key("x-queue-type") {
            return check_arguments(made, &self.arguments, there);
        }
        let text = |limit: Option<u64>| limit.map_or("none".to_owned(), |limit| limit.to_string());
        let (asked, is) = (&self.settings, &there.settings);
        equal(made, "x-max-age", text(asked.retention_ms), text(is.retention_ms))?;
        equal(made, "x-max-length-bytes", text(asked.retention_bytes), text(is.retention_bytes))
    }
}

/// Whether arguments of a queue are those that a stream was made with, as far as equivalence is judged by them. An age is what it
/// comes to, however it is written.
pub(crate) fn check_arguments(made: Made<'_>, asked: &Arguments, there: &StreamInfo) -> Result<(), Refusal> {
    let shared = QUEUE_ARGUMENTS.iter().filter(|(_, _, of)| *of == For::BothAndStream);
    let own = STREAM_ARGUMENTS.iter().map(|(name, _)| *name).filter(|name| *name != "x-initial-cluster-size");
    let (asked, is) = (with_age(asked), with_age(&there.arguments));
    shared.map(|(name, ..)| *name).chain(own).try_for_each(|name| equal_argument(made, name, &asked, &is))
}

fn with_age(arguments: &Arguments) -> Arguments {
    let mut arguments = arguments.clone();
    if let Some(age) = arguments.get_mut("x-max-age")
        && let Some(ms) = age.as_text().and_then(age_ms)
    {
        *age = Value::Text(ms.to_string());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_a_number_and_a_unit() {
        assert_eq!(age_ms("7D"), Some(7 * 86_400_000));
        assert_eq!(age_ms("1h"), Some(3_600_000));
        assert_eq!(age_ms("0s"), Some(0));
        for wrong in ["", "h", "7", "7d", "-1h", "1h ", "99999999999999999999Y"] {
            assert_eq!(age_ms(wrong), None, "{wrong:?}");
        }
    }
}
