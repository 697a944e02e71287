//! What a disk may hold: structures of the log, entries and snapshots. Under the fuzzer every checksum is 0 (`stele_log::format::crc`), or
//! nothing behind one would ever be reached.

use crate::Target;
use bytes::Bytes;
use stele_core::shard::Shard;
use stele_hub::registry::{Registry, Setup, entry};
use stele_log::format::block;
use stele_log::format::footer::Footer;
use stele_log::format::manifest::Manifest;
use stele_log::format::page::{PAGE_BYTES, Page, padded};
use stele_log::format::segment::SegmentHead;
use stele_log::format::snapshot::SnapshotHead;
use stele_model::id::{Now, Place, ShardId};
use stele_model::machine::Machine;
use stele_model::registry::User;

pub(crate) const TARGETS: &[Target] = &[
    ("log-blocks", blocks),
    ("log-footers", |input| drop(Footer::decode(&whole(input)))),
    ("log-manifests", |input| drop(Manifest::decode(&whole(input)))),
    ("log-segments", |input| {
        let _ = SegmentHead::decode(&page(input));
    }),
    ("log-snapshots", snapshots),
    ("registry-entries", registry_entries),
    ("registry-snapshots", registry_snapshots),
    ("shard-entries", shard_entries),
    ("shard-snapshots", shard_snapshots),
];

/// The input and zeroes up to the end of its last page, as files are.
fn whole(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    bytes.resize(input.len().next_multiple_of(PAGE_BYTES), 0);
    bytes
}

fn page(input: &[u8]) -> Page {
    padded(input).into_iter().next().unwrap_or(Page::ZERO)
}

/// A block as recovery reads it: the header believed first, then its table, then the body.
fn blocks(input: &[u8]) {
    let bytes = whole(input);
    let Ok(head) = block::head(&bytes) else { return };
    let _ = block::table(&head, &bytes);
    if let Ok(body) = block::body(&head, &bytes) {
        assert_eq!(body.len(), head.body_bytes as usize);
        let mut pages = vec![Page::ZERO; head.layout().pages];
        block::encode(head, &bytes[body], &mut pages);
        let again = stele_log::format::page::bytes_of(&pages);
        assert_eq!(again[..4], bytes[..4], "what was read can be written");
    }
}

fn snapshots(input: &[u8]) {
    let (head, table) = input.split_at(input.len().min(PAGE_BYTES));
    if let Ok(head) = SnapshotHead::decode(&page(head)) {
        let _ = head.table(&whole(table));
    }
}

fn registry_entries(input: &[u8]) {
    if let Ok(facts) = entry::decode(input) {
        let again = entry::decode(&entry::encode(&facts));
        assert_eq!(again, Ok(facts), "what was read can be written and read");
    }
}

fn registry_snapshots(input: &[u8]) {
    let user =
        User { name: "u".to_owned(), password_hash: String::new(), tags: Vec::new(), scram: Vec::new() };
    let setup = Setup { shards: 2, seed: [1, 2], first_user: user };
    drop(Registry::restore(setup, &chunks(input)));
}

fn shard_entries(input: &[u8]) {
    let mut shard = Shard::new(ShardId(0));
    for (n, entry) in chunks(input).iter().enumerate() {
        let place = Place { at: n as u32, ..Place::default() };
        if shard.apply(place, Now(n as u64), entry).is_err() {
            return;
        }
    }
}

fn shard_snapshots(input: &[u8]) {
    drop(Shard::restore(&chunks(input)));
}

/// One behind the other, each with its length before it.
fn chunks(mut input: &[u8]) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    while let Some((len, rest)) = input.split_first_chunk::<2>() {
        let (chunk, rest) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*len))));
        chunks.push(Bytes::copy_from_slice(chunk));
        input = rest;
    }
    chunks
}
