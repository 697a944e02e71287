//! What dead-lettering writes, against RabbitMQ's rules (reference in the documentation of `history`).

use super::*;
use crate::Origin;
use crate::properties::{Properties, Property};
use crate::table;
use proptest::prelude::*;

fn record(key: &[u8], copies: &[&[u8]], ttl_ms: Option<u32>, history: &[u8]) -> BytesMut {
    let mut headers = BytesMut::new();
    table::put_table(&mut headers, |table| {
        table.array("CC", |array| copies.iter().for_each(|key| array.value(Value::Str(key))));
    });
    let mut properties = Properties::default();
    properties.set(Property::Headers, Some(&headers[4..]));
    let mut list = BytesMut::new();
    properties.write(&mut list);
    let mut out = BytesMut::new();
    let draft = Draft {
        origin: Origin::Amqp091,
        persistent: true,
        priority: 3,
        ttl_ms,
        time: 5,
        exchange: b"source",
        key,
        properties: &list,
        history,
    };
    draft.write(b"body", &mut out);
    out
}

fn die(
    bytes: &[u8],
    queue: &str,
    reason: Reason,
    time_s: u64,
    exchange: &str,
    key: Option<&str>,
) -> BytesMut {
    let mut out = BytesMut::new();
    let dying = Dying { queue: queue.as_bytes(), reason, time_s };
    with_death(&View::parse(bytes).unwrap(), dying, exchange.as_bytes(), key.map(str::as_bytes), &mut out)
        .unwrap();
    out
}

fn pairs(bytes: &[u8]) -> Vec<(String, &'static str, u64)> {
    let history = View::parse(bytes).unwrap().history().unwrap();
    let name = |death: &Death<'_>| String::from_utf8(death.queue.to_vec()).unwrap();
    history.deaths().map(|death| (name(&death), death.reason.text(), death.count)).collect()
}

#[test]
fn a_death_takes_the_time_to_live_away_and_notes_it() {
    let before = record(b"k", &[b"cc"], Some(100), b"");
    let after = die(&before, "q", Reason::Expired, 77, "dlx", None);
    let view = View::parse(&after).unwrap();
    assert_eq!((view.ttl_ms(), view.exchange(), view.key()), (None, &b"dlx"[..], &b"k"[..]));
    assert_eq!((view.body(), view.priority(), view.time(), view.persistent()), (&b"body"[..], 3, 5, true));
    assert_eq!(view.properties_bytes(), View::parse(&before).unwrap().properties_bytes());
    let death = view.history().unwrap().deaths().next().unwrap();
    assert_eq!((death.time_s, death.ttl_ms, death.exchange), (77, Some(100), &b"source"[..]));
    assert_eq!(death.keys().collect::<Vec<_>>(), [&b"k"[..], b"cc"]);
}

#[test]
fn the_same_queue_and_reason_again_counts_up_and_moves_to_the_front() {
    let mut bytes = record(b"k", &[], None, b"");
    for (queue, reason) in
        [("a", Reason::Expired), ("b", Reason::Rejected), ("a", Reason::Expired), ("a", Reason::Rejected)]
    {
        bytes = die(&bytes, queue, reason, 1, "dlx", None);
    }
    let expected = [("a", "rejected", 1), ("a", "expired", 2), ("b", "rejected", 1)];
    assert_eq!(pairs(&bytes), expected.map(|(queue, reason, count)| (queue.to_owned(), reason, count)));
}

#[test]
fn the_first_death_is_said_once_and_the_last_follows() {
    let once = die(&record(b"k", &[], None, b""), "a", Reason::Expired, 1, "dlx-1", None);
    let twice = die(&once, "b", Reason::Maxlen, 2, "dlx-2", None);
    let thrice = die(&twice, "a", Reason::Expired, 3, "dlx-3", None);
    let history = View::parse(&thrice).unwrap().history().unwrap();
    let first = history.first().unwrap();
    assert_eq!((first.queue, first.reason, first.exchange), (&b"a"[..], Reason::Expired, &b"source"[..]));
    let last = history.last().unwrap();
    assert_eq!((last.queue, last.reason, last.exchange), (&b"a"[..], Reason::Expired, &b"dlx-2"[..]));
    assert_eq!(
        history.deaths().next().unwrap().exchange,
        b"source",
        "an entry keeps what its first death said"
    );
}

#[test]
fn a_dead_letter_key_ends_the_copies_and_no_key_keeps_them() {
    let mut hidden = BytesMut::new();
    put_hidden_keys(&[b"bcc"], &mut hidden);
    let kept = die(&record(b"k", &[b"cc"], None, &hidden), "q", Reason::Rejected, 1, "dlx", None);
    let view = View::parse(&kept).unwrap();
    assert_eq!(routing_keys(&view, &view.history().unwrap()).collect::<Vec<_>>(), [&b"k"[..], b"cc", b"bcc"]);
    let replaced = die(&kept, "q", Reason::Rejected, 1, "dlx", Some("other"));
    let view = View::parse(&replaced).unwrap();
    assert_eq!(routing_keys(&view, &view.history().unwrap()).collect::<Vec<_>>(), [&b"other"[..]]);
    let again = die(&replaced, "p", Reason::Rejected, 1, "dlx", None);
    let newest = View::parse(&again).unwrap().history().unwrap().deaths().next().unwrap();
    assert_eq!(newest.keys().collect::<Vec<_>>(), [&b"other"[..]]);
}

#[test]
fn a_cycle_needs_nobody_to_have_rejected_since() {
    let history = |deaths: &[(&str, Reason)]| {
        deaths.iter().fold(record(b"k", &[], None, b""), |bytes, (queue, reason)| {
            die(&bytes, queue, *reason, 1, "dlx", None)
        })
    };
    let cycles = |deaths: &[(&str, Reason)], queue: &[u8]| {
        View::parse(&history(deaths)).unwrap().history().unwrap().cycles(queue)
    };
    assert!(!cycles(&[], b"a"));
    assert!(cycles(&[("a", Reason::Expired)], b"a"));
    assert!(!cycles(&[("a", Reason::Expired)], b"b"));
    assert!(cycles(&[("a", Reason::Expired), ("b", Reason::Maxlen)], b"a"));
    assert!(!cycles(&[("a", Reason::Rejected)], b"a"));
    assert!(!cycles(&[("a", Reason::Expired), ("b", Reason::Rejected)], b"a"));
    assert!(
        cycles(&[("b", Reason::Rejected), ("a", Reason::Expired)], b"a"),
        "a rejection before the cycle does not break it"
    );
}

#[test]
fn names_longer_than_their_length_fields_are_cut() {
    let long = "k".repeat(100_000);
    let after = die(&record(b"k", &[], None, b""), &long, Reason::Expired, 1, &long, Some(&long));
    let view = View::parse(&after).unwrap();
    assert_eq!((view.exchange().len(), view.key().len()), (65_535, 65_535));
    assert_eq!(view.history().unwrap().deaths().next().unwrap().queue.len(), 65_535);
}

#[test]
fn the_oldest_death_is_forgotten_beyond_the_most() {
    let mut bytes = record(b"k", &[], None, b"");
    for n in 0..=DEATHS_MAX {
        bytes = die(&bytes, &format!("q{n}"), Reason::Expired, 1, "dlx", None);
    }
    let pairs = pairs(&bytes);
    assert_eq!(pairs.len(), usize::from(DEATHS_MAX));
    assert_eq!(pairs.last().unwrap().0, "q1");
    assert_eq!(View::parse(&bytes).unwrap().history().unwrap().first().unwrap().queue, b"q0");
}

proptest! {
    #[test]
    fn damage_anywhere_is_a_value(at in 0_usize..200, byte: u8, cut in 0_usize..200) {
        let whole = die(&die(&record(b"k", &[b"cc"], Some(1), b""), "a", Reason::Expired, 1, "x", None), "b", Reason::Rejected, 2, "y", None);
        let mut bytes = View::parse(&whole).unwrap().history_bytes().to_vec();
        prop_assert!(History::parse(&bytes[..cut.min(bytes.len() - 1)]).is_err() || cut == 0);
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(history) = History::parse(&bytes) {
            prop_assert_eq!(history.deaths().count(), usize::from(history.count), "what was checked is read");
        }
    }
}
