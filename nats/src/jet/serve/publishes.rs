//! Publishes that streams may take: what their headers ask for, and a PubAck for each that waits for one.
//!
//! A message is published live, and stored by the hub where a stream captures its subject; what came of that is told once for a read.

use super::Jet;
use crate::jet::error::{ApiError, Code};
use crate::jet::publish::{self, Allows, Batch, PubAck, Rollup, Ttl, Wishes, header};
use crate::jet::refuse::refused;
use crate::jet::schedule::{self, Schedule};
use crate::jet::stored::Message;
use bytes::Bytes;
use stele_model::id::{Position, Ticket};
use stele_model::outcome::Published;
use stele_model::refusal::Refusal;
use stele_model::stream::StreamRefusal;
use stele_model::stream::due::{Due, How, When};
use stele_model::stream::records::{self, BundleEnd, BundleTerms, Bundled, LastOf, Terms};
use stele_model::subject::Pattern;
use stele_record::View;
use stele_record::nats::Parts;

/// Whether a header block may ask for anything.
fn may_ask(block: &[u8]) -> bool {
    block.split(|octet| *octet == b'\n').any(|line| line.starts_with(b"Nats-") || line.starts_with(b"KV-"))
}

/// Whether a message says that its subject has ended: a key was deleted, or went by time.
fn is_marker(headers: &[u8]) -> bool {
    header(headers, "Nats-Marker-Reason").is_some()
        || matches!(header(headers, "KV-Operation"), Some("DEL" | "PURGE"))
}

/// What the headers ask for. The stream itself says what it does not allow.
fn wishes(headers: &[u8]) -> Result<Wishes<'_>, ApiError> {
    Wishes::parse(headers, Allows { rollup: true, ttl: true, schedules: true })
}

fn terms(wishes: &Wishes<'_>, marker: bool) -> Terms {
    let octets = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Terms {
        stream: wishes.stream.map(str::to_owned),
        id: wishes.id.map(octets),
        // The next position is the last sequence.
        end: wishes.last_seq.map(Position),
        last: wishes.last_subject_seq.map(|seq| LastOf {
            subjects: wishes.last_subject.and_then(|text| Pattern::new(text.to_owned())),
            position: seq.checked_sub(1).map(Position),
        }),
        last_id: wishes.last_id.map(octets),
        rollup: wishes.rollup.map(|rollup| match rollup {
            Rollup::All => records::Rollup::All,
            Rollup::Subject => records::Rollup::Subject,
        }),
        ttl: ttl(wishes.ttl),
        due: wishes.schedule.as_ref().map(due),
        ends: wishes.ends.map(octets),
        marker,
        bundle: wishes.batch.map(bundle),
        impossible: false,
    }
}

fn ttl(of: Option<Ttl>) -> records::Ttl {
    match of {
        None => records::Ttl::Stream,
        Some(Ttl::Never) => records::Ttl::Never,
        Some(Ttl::Seconds(seconds)) => records::Ttl::Ms(seconds.saturating_mul(1000)),
    }
}

fn due(of: &Schedule<'_>) -> Due {
    let octets = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let how = How { sample: of.source.map(octets), ttl: ttl(of.ttl), rollup: of.rollup };
    Due { when: of.when.clone(), subject: octets(of.target), how }
}

fn bundle(of: Batch<'_>) -> BundleTerms {
    let end = match of.commit {
        None | Some("1" | "eob") if of.is_beyond => BundleEnd::Unsupported,
        None => BundleEnd::More,
        Some("1") => BundleEnd::Here,
        Some("eob") => BundleEnd::Before,
        Some(_) => BundleEnd::Unknown,
    };
    BundleTerms { id: Bytes::copy_from_slice(of.id.as_bytes()), sequence: of.sequence, end }
}

impl Jet {
    /// The ticket by which the hub answers what it stores of the messages of a read.
    pub fn batch_ticket(&mut self) -> Ticket {
        Ticket(self.numbers.next())
    }

    /// What a message asks of the stream that takes it; `None`: nothing. What no stream can do is for the stream to refuse: where none takes the
    /// message, it is one as any other.
    #[must_use]
    pub fn terms(message: &Message<'_>) -> Option<Terms> {
        if !may_ask(message.headers) {
            return None;
        }
        let terms = match wishes(message.headers) {
            Ok(wishes) => terms(&wishes, is_marker(message.headers)),
            Err(_) => {
                // Whether the stream knows of schedules at all comes before what is wrong with one.
                let is_due = schedule::schedule(message.headers) != Ok(None);
                let due =
                    is_due.then(|| Due { when: When::At(0), subject: Bytes::new(), how: How::default() });
                let bundle = publish::batch(message.headers).map(bundle);
                Terms { impossible: true, due, bundle, ..Terms::default() }
            }
        };
        (terms != Terms::default()).then_some(terms)
    }

    /// What became of a batch.
    pub(super) fn published(&mut self, published: &Published) {
        for (n, item) in (0..).zip(&published.batch.items) {
            if !item.awaited {
                continue;
            }
            let Some(Answer { mut ack, batch }) = ack(published, n) else { continue };
            let Ok(view) = View::parse(published.batch.record(n)) else { continue };
            match batch {
                Bundled::No => {}
                // It is known that it came, and no more.
                Bundled::Waits => {
                    self.desk.say(Parts::of(&view).reply, b"", b"");
                    continue;
                }
                Bundled::Ends(count) => {
                    ack.batch = publish::batch(Parts::of(&view).block).map(|batch| batch.id.to_owned());
                    ack.count = Some(count);
                }
            }
            if ack.error.as_ref().is_some_and(|error| *error != Code::MessageSchedulesDisabled.error()) {
                // What cannot be read was refused without a word on what it is.
                ack.error = wishes(Parts::of(&view).block).err().or(ack.error);
            }
            self.answer_publish(Parts::of(&view).reply, &ack);
        }
    }

    fn answer_publish(&mut self, reply: &[u8], ack: &PubAck) {
        let body = serde_json::to_vec(ack).expect("an answer is a map with names");
        self.desk.say(reply, b"", &body);
    }
}

/// What is said of an item.
struct Answer {
    ack: PubAck,
    batch: Bundled,
}

/// The answer to an item; `None`: no stream took it and none refused it, or none that acknowledges.
fn ack(published: &Published, item: u32) -> Option<Answer> {
    if let Ok(at) = published.stored.binary_search_by_key(&item, |stored| stored.item)
        && let Some(stored) = published.stored.get(at)
    {
        let (stream, seq) = (stored.stream.clone(), stored.position.0 + 1);
        let ack = PubAck { stream, seq, duplicate: stored.duplicate, ..PubAck::default() };
        return Some(Answer { ack, batch: stored.bundle });
    }
    let at = published.refused.binary_search_by_key(&item, |(item, _)| *item).ok()?;
    let (_, refusal) = published.refused.get(at)?;
    let stream = match refusal {
        Refusal::Stream(StreamRefusal::Record { stream, .. }) => stream.clone(),
        // A queue's refusal is its publisher's alone.
        _ => return None,
    };
    let ack = PubAck { error: Some(refused(refusal)), stream, ..PubAck::default() };
    Some(Answer { ack, batch: Bundled::No })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(headers: &str) -> Option<Terms> {
        let block = format!("NATS/1.0\r\n{headers}\r\n\r\n");
        Jet::terms(&Message { subject: b"a", headers: block.as_bytes(), ..Message::default() })
    }

    #[test]
    fn what_cannot_be_read_is_for_the_stream_to_refuse() {
        assert_eq!(asks("A: b"), None);
        assert!(asks("Nats-Msg-Id: m").is_some_and(|terms| !terms.impossible));
        for vain in ["Nats-TTL: soon", "Nats-Rollup: some", "Nats-Schedule: @at never"] {
            assert!(asks(vain).is_some_and(|terms| terms.impossible), "{vain}");
        }
    }
}
