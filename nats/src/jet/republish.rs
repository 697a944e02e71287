//! What a stream publishes again when it has stored it (ADR-28): under which subject, and with which headers.
//!
//! Called by the service session of a namespace for each record that a stream tells of. It is heard by who listens, and stored by what captures
//! its subject. What was published again once is not a second time: so nothing goes in circles between streams.

use super::publish::header;
use super::stored::{FIRST_LINE, put_block};
use super::subject::is_publishable;
use super::time::Time;
use stele_model::stream::PartitionSpec;
use stele_model::stream::echo::Echoed;
use stele_record::View;

/// The subject and the body of the message that a record becomes, and its header block in `block`; `None`: it is not published again.
pub(super) fn message<'a>(
    stream: &PartitionSpec,
    view: &View<'a>,
    of: &Echoed,
    block: &mut Vec<u8>,
) -> Option<(Vec<u8>, &'a [u8])> {
    let echo = stream.settings.records.as_ref()?.echo.as_ref()?;
    let subject = echo.to.apply(view.key(), of.position.0).ok().flatten()?;
    // What is put together of words may be no subject any more.
    std::str::from_utf8(&subject).ok().filter(|subject| is_publishable(subject))?;
    block.clear();
    put_block(view, block);
    if is_of_a_stream(block) {
        return None;
    }
    if block.is_empty() {
        block.extend_from_slice(FIRST_LINE);
    }
    let name = &stream.stream;
    let (key, time) = (String::from_utf8_lossy(view.key()), Time::from(of.appended));
    let (seq, last) = (of.position.0 + 1, of.before.map_or(0, |before| before.0 + 1));
    let lines = format!(
        "Nats-Stream: {name}\r\nNats-Subject: {key}\r\nNats-Sequence: {seq}\r\nNats-Time-Stamp: {time}\r\nNats-Last-Sequence: {last}\r\n"
    );
    block.extend_from_slice(lines.as_bytes());
    let body = view.body();
    if echo.head_only {
        block.extend_from_slice(format!("Nats-Msg-Size: {}\r\n\r\n", body.len()).as_bytes());
        return Some((subject, b""));
    }
    block.extend_from_slice(b"\r\n");
    Some((subject, body))
}

/// Whether a record was published again already: it has the headers that are added here, and clients have no use for.
fn is_of_a_stream(block: &[u8]) -> bool {
    header(block, "Nats-Stream").is_some() && header(block, "Nats-Last-Sequence").is_some()
}

#[cfg(test)]
mod tests {
    use super::super::mapping;
    use super::*;
    use bytes::BytesMut;
    use stele_model::id::{NamespaceId, Now, Position, QueueId};
    use stele_model::stream::StreamSettings;
    use stele_model::stream::echo::Echo;
    use stele_model::stream::records::RecordSettings;
    use stele_record::nats::{Parts, write};

    #[test]
    fn what_was_published_again_is_not_a_second_time() {
        let block = "NATS/1.0\r\nNats-Stream: O\r\nNats-Sequence: 7\r\nNats-Last-Sequence: 0\r\n\r\n";
        assert_eq!(said(">", "again.>", false, block), None);
        let own = "NATS/1.0\r\nNats-Stream: O\r\n\r\n";
        assert!(said(">", "again.>", false, own).is_some());
    }

    fn said(src: &str, dest: &str, head_only: bool, block: &str) -> Option<(String, String, String)> {
        let to = mapping::parse(src, dest).unwrap().unwrap();
        let records = RecordSettings { echo: Some(Echo { to, head_only }), ..RecordSettings::default() };
        let settings = StreamSettings { records: Some(Box::new(records)), ..StreamSettings::default() };
        let stream = "S".to_owned();
        let spec = PartitionSpec { id: QueueId(1), namespace: NamespaceId(1), stream, index: 0, settings };
        let mut record = BytesMut::new();
        let parts = Parts { reply: b"", block: block.as_bytes() };
        write(&mut record, (b"amq.topic", b"a.b", b"body"), parts, 0);
        let view = View::parse(&record).unwrap();
        let of = Echoed { position: Position(4), before: Some(Position(1)), appended: Now(1_000_000) };
        let mut block = Vec::new();
        let (subject, body) = message(&spec, &view, &of, &mut block)?;
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        Some((text(&subject), text(&block), text(body)))
    }

    const LINES: &str = "Nats-Stream: S\r\nNats-Subject: a.b\r\nNats-Sequence: 5\r\nNats-Time-Stamp: 1970-01-01T00:00:01Z\r\nNats-Last-Sequence: 2\r\n";

    #[test]
    fn a_message_says_where_it_was_stored() {
        let (subject, block, body) = said("a.*", "out.$1", false, "NATS/1.0\r\nA: 1\r\n\r\n").unwrap();
        assert_eq!((&*subject, &*body), ("out.b", "body"));
        assert_eq!(block, format!("NATS/1.0\r\nA: 1\r\n{LINES}\r\n"));
        let (_, block, body) = said(">", "out.>", true, "").unwrap();
        assert_eq!((block, &*body), (format!("NATS/1.0\r\n{LINES}Nats-Msg-Size: 4\r\n\r\n"), ""));
    }

    #[test]
    fn what_does_not_match_or_becomes_no_subject_is_not_published() {
        assert_eq!(said("b.*", "out.$1", false, ""), None);
        assert_eq!(said("*.*", "out.x y", false, ""), None);
        assert_eq!(said("*.*", "out.{{split(1,a)}}", false, ""), None);
    }
}
