//! The bytes of entries about shared groups against golden ones, and against themselves.

use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use stele_model::share::{Pace, PushSettings, SettlePolicy, ShareStart};
use stele_model::subject::Pattern;

fn settings() -> ShareSettings {
    ShareSettings {
        filters: vec![pattern("a.*"), pattern("b.>")],
        start: ShareStart::Position(Position(7)),
        settle: SettlePolicy::All,
        lease_us: 1_000_000,
        backoff_us: vec![5, 6],
        deliveries_max: Some(3),
        pending_max: Some(4),
        waiting_max: 512,
        pull_count_max: Some(8),
        pull_bytes_max: Some(9),
        pull_expires_us_max: Some(10),
        pace: Pace::Original,
        headers_only: true,
        inactive_us: Some(11),
        pause_until: Some(Now(12)),
        dead_letter: Some(DeadLetter { exchange: "amq.topic".to_owned(), key: Some("dead".to_owned()) }),
        durable: true,
        memory: false,
        push: Some(PushSettings { heartbeat_us: Some(13), rate_bytes_max: Some(14) }),
        sampled_percent: 0,
        arguments: Bytes::from_static(b"{}"),
    }
}

fn pattern(text: &'static str) -> Pattern {
    Pattern::new(text).unwrap()
}

fn put() -> Put {
    Put {
        number: ShareNumber(1),
        partition: QueueId(2),
        name: "group".to_owned(),
        created: Now(3),
        next: Position(4),
        settings: settings(),
    }
}

fn leaving() -> Leaving {
    let head = ShareMove {
        partition: QueueId(4),
        namespace: NamespaceId(2),
        stream: "s".to_owned(),
        group: "g".to_owned(),
        target: DeadLetter { exchange: "x".to_owned(), key: Some("dead".to_owned()) },
        why: ShareDeath::Terminated { reason: "no".to_owned() },
        records: Vec::new(),
    };
    let record =
        |position, deliveries, gone| LeavingRecord { position: Position(position), deliveries, gone };
    let records = vec![record(7, 2, false), record(9, 1, true)];
    Leaving { number: Some(ShareNumber(1)), moving: 3, head, records }
}

fn written() -> Vec<(&'static str, Vec<u8>)> {
    let runs = [Run { first: Position(5), count: 2 }, Run { first: Position(9), count: 1 }];
    let number = ShareNumber(1);
    let write = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        out
    };
    vec![
        ("put", write(&|out| put_put(out, &put()))),
        ("gone", write(&|out| put_gone(out, number))),
        ("delivered", write(&|out| put_delivered(out, number, &runs))),
        ("passed", write(&|out| put_passed(out, number, Reached { sequence: 6, next: Position(7) }))),
        ("accepted", write(&|out| put_ended(out, number, Ended::Accepted, &runs))),
        ("terminated", write(&|out| put_ended(out, number, Ended::Terminated, &runs))),
        ("given up", write(&|out| put_ended(out, number, Ended::GivenUp, &runs))),
        ("lost", write(&|out| put_ended(out, number, Ended::Lost, &runs))),
        ("rests", write(&|out| put_rests(out, number, Some(Now(8)), &runs))),
        ("rests no more", write(&|out| put_rests(out, number, None, &runs))),
        ("moving", write(&|out| put_moving(out, &leaving()))),
        ("reset", write(&|out| put_reset(out, number, Position(9)))),
    ]
}

fn parse(bytes: &[u8]) -> Result<ShareEntry<'_>, String> {
    match crate::shard::entry::Entry::parse(bytes)? {
        crate::shard::entry::Entry::Share(entry) => Ok(entry),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn entries_are_the_golden_bytes() {
    let golden = include_str!("../../../../docs/golden/share-entries-v1.txt");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let is: Vec<String> = written().iter().map(|(name, bytes)| format!("{name}: {}", hex(bytes))).collect();
    assert_eq!(is.join("\n"), golden.trim_end());
}

#[test]
fn entries_come_back_as_they_were_written() {
    let all = written();
    assert_eq!(parse(&all[0].1), Ok(ShareEntry::Put(Box::new(put()))));
    let ends = [Ended::Accepted, Ended::Terminated, Ended::GivenUp, Ended::Lost];
    for (n, how) in ends.into_iter().enumerate() {
        let Ok(ShareEntry::Ended { number: ShareNumber(1), how: is, runs }) = parse(&all[4 + n].1) else {
            panic!("{:?}", parse(&all[4 + n].1))
        };
        assert_eq!((is, runs.iter().map(|run| run.count).sum::<u32>()), (how, 3));
    }
    assert_eq!(parse(&all[10].1), Ok(ShareEntry::Moving(Box::new(leaving()))));
    assert_eq!(parse(&all[11].1), Ok(ShareEntry::Reset { number: ShareNumber(1), at: Position(9) }));
    let target = DeadLetter { exchange: String::new(), key: None };
    let head = ShareMove { target, why: ShareDeath::Exhausted, ..leaving().head };
    let unlogged = Leaving { number: None, head, ..leaving() };
    let mut out = Vec::new();
    put_moving(&mut out, &unlogged);
    assert_eq!(parse(&out), Ok(ShareEntry::Moving(Box::new(unlogged))));
    let plain = Put { settings: ShareSettings::default(), ..put() };
    let sampled = Put { settings: ShareSettings { sampled_percent: 15, ..settings() }, ..put() };
    for put in [plain, sampled] {
        let mut out = Vec::new();
        put_put(&mut out, &put);
        assert_eq!(parse(&out), Ok(ShareEntry::Put(Box::new(put))));
    }
}

proptest! {
    #[test]
    fn damaged_entries_are_refused_or_read_and_never_panic(
        which in 0..12usize, cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>(), bit in 0..8u8,
    ) {
        let (_, bytes) = written().swap_remove(which);
        let at = cut.index(bytes.len());
        let _ = parse(&bytes[..at]);
        let mut bytes = bytes;
        let at = flip.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let _ = parse(&bytes);
    }
}
