//! The logged state as chunks of bytes, and back.
//!
//! Called by the runner between two blocks, and at a start. What must hold: `snapshot + rest of the log == live` on logged state (S1); a full
//! chunk of a ready index is the very allocation that the index reads from, so it costs nothing and need not be written again. Volatile
//! records may stand in such a chunk; restore passes them over. The layout stands in `docs/format-entries.md`.

use super::Shard;
use super::bytes::Input;
use super::group;
use super::share;
use super::spec;
use super::stream;
use crate::link::Links;
use crate::queue::dead_letter::Moving;
use crate::queue::lease::NOBODY;
use crate::queue::{NEVER, Queue, Record};
use bytes::{BufMut, Bytes};
use std::collections::VecDeque;
use std::sync::Arc;
use stele_model::id::{Boot, Lsn, Now, Place, Position, Revision, ShardId};
use stele_model::publish::LinkNumber;
use stele_model::shard::DeathReason;

const VERSION: u32 = 1;
/// A table of items is closed when it is this long; one item may be longer.
const TABLE_BYTES: usize = 64 << 10;
/// Index chunks shorter than this stand in a table; longer ones by themselves.
const INDEX_BYTES_MIN: usize = 8 << 10;

const QUEUE: u8 = 1;
const MOVE: u8 = 2;
const GROUP: u8 = 3;
const NUMBERS: u8 = 4;

/// Tables under construction, and the index chunks that they refer to in order.
#[derive(Default)]
pub(super) struct Tables {
    done: Vec<Bytes>,
    open: Vec<u8>,
    index: Vec<Bytes>,
}

impl Tables {
    /// Appends an item. What is too long for a table goes to the second list, in order.
    pub(super) fn item(&mut self, write: impl FnOnce(&mut Vec<u8>, &mut Vec<Bytes>)) {
        if self.open.len() >= TABLE_BYTES {
            self.done.push(Bytes::from(std::mem::take(&mut self.open)));
        }
        write(&mut self.open, &mut self.index);
    }
}

/// The head, then the tables, then the index chunks.
pub(super) fn take(shard: &Shard) -> Vec<Bytes> {
    let mut tables = Tables::default();
    for queue in shard.queues.values() {
        tables.item(|out, index| put_queue(out, index, queue));
    }
    for (number, moving) in shard.moves.iter() {
        tables.item(|out, _| put_move(out, number, moving));
    }
    tables.item(|out, _| {
        out.put_u8(NUMBERS);
        out.put_u64_le(shard.groups.around.numbers.epoch);
    });
    group::put_homes(&shard.groups, |write| {
        tables.item(|out, _| {
            out.put_u8(GROUP);
            write(out);
        });
    });
    stream::put_snapshot(&mut tables, &shard.streams);
    share::put_shares(&mut tables, &shard.shares);
    tables.done.push(Bytes::from(tables.open));
    let mut head = Vec::new();
    head.put_u32_le(VERSION);
    head.put_u32_le(tables.done.len() as u32);
    head.put_u16_le(shard.id.0);
    head.put_u64_le(shard.revision.0);
    head.put_u64_le(shard.boot.0);
    head.put_u64_le(shard.moves.last());
    for link in shard.links.iter() {
        head.put_u16_le(link.from.0);
        head.put_u64_le(link.number);
    }
    let mut chunks = vec![Bytes::from(head)];
    chunks.append(&mut tables.done);
    chunks.append(&mut tables.index);
    chunks
}

pub(super) fn restore(chunks: &[Bytes]) -> Result<Shard, String> {
    let mut chunks = chunks.iter();
    let mut head = Input(chunks.next().ok_or("has no chunks")?);
    let version = head.u32("version")?;
    if version != VERSION {
        return Err(format!("is of version {version}"));
    }
    let count = head.u32("tables")? as usize;
    let mut shard = Shard::new(ShardId(head.u16("shard")?));
    shard.revision = Revision(head.u64("revision")?);
    shard.boot = Boot(head.u64("boot")?);
    shard.moves.set_last(head.u64("last move")?);
    shard.links = links(head)?;
    let tables: Vec<&Bytes> = chunks.by_ref().take(count).collect();
    if tables.len() != count {
        return Err(format!("has {} of {count} tables", tables.len()));
    }
    let mut index: VecDeque<&Bytes> = chunks.collect();
    for table in tables {
        let mut input = Input(table);
        while !input.0.is_empty() {
            match input.u8("item")? {
                QUEUE => read_queue(&mut shard, &mut input, &mut index)?,
                MOVE => read_move(&mut shard, &mut input)?,
                GROUP => group::read_home(&mut shard.groups, &mut input)?,
                NUMBERS => shard.groups.around.numbers.epoch = input.u64("epoch")?,
                stream::PARTITION => stream::read_partition(&mut shard, &mut input, &mut index)?,
                stream::PRODUCERS => stream::read_last_producer(&mut shard, &mut input)?,
                share::SHARE => share::read_share(&mut shard, &mut input)?,
                other => return Err(format!("has an item of unknown kind {other}")),
            }
        }
    }
    if index.is_empty() { Ok(shard) } else { Err(format!("has {} chunks too many", index.len())) }
}

fn links(mut input: Input<'_>) -> Result<Links, String> {
    let mut links = Links::default();
    while !input.0.is_empty() {
        let from = ShardId(input.u16("link")?);
        links.taken(LinkNumber { from, number: input.u64("link")? });
    }
    Ok(links)
}

fn put_queue(out: &mut Vec<u8>, index: &mut Vec<Bytes>, queue: &Queue) {
    out.put_u8(QUEUE);
    spec::put(out, &queue.spec);
    out.put_u8(u8::from(queue.closing));
    out.put_u64_le(queue.next_logged.0);
    put_records(out, queue.leases.iter().map(|lease| lease.record).filter(|record| queue.logs(record)));
    put_records(out, queue.ready.returned().copied().filter(|record| queue.logs(record)));
    let lasting = queue.spec.settings.durable;
    let at = out.len();
    out.put_u32_le(0);
    let mut count = 0u32;
    for (priority, read, bytes) in queue.ready.sealed().filter(|_| lasting) {
        count += 1;
        out.put_u8(priority);
        out.put_u32_le(read);
        if bytes.len() < INDEX_BYTES_MIN {
            out.put_u32_le(bytes.len() as u32);
            out.put_slice(&bytes);
        } else {
            out.put_u32_le(0);
            index.push(bytes);
        }
    }
    out[at..at + 4].copy_from_slice(&count.to_le_bytes());
}

fn read_queue(shard: &mut Shard, input: &mut Input<'_>, index: &mut VecDeque<&Bytes>) -> Result<(), String> {
    let mut queue = Queue::new(Arc::new(spec::read(input)?));
    queue.closing = input.u8("closing")? != 0;
    queue.next_logged = Position(input.u64("next position")?);
    queue.next = queue.next_logged;
    for record in read_records(input)? {
        shard.live.held(record.place.lsn, u64::from(record.len));
        queue.leases.insert(record, NOBODY);
    }
    for record in read_records(input)? {
        queue.put_back(record);
    }
    for _ in 0..input.u32("chunks")? {
        let priority = input.u8("chunk")?;
        let read = input.u32("chunk")?;
        let len = input.u32("chunk")? as usize;
        let bytes = if len == 0 {
            index.pop_front().ok_or("lacks a chunk")?.clone()
        } else {
            Bytes::copy_from_slice(input.bytes(len, "chunk")?)
        };
        queue.ready.restore(priority, read, bytes)?;
    }
    for record in queue.ready.iter() {
        shard.live.held(record.place.lsn, u64::from(record.len));
        queue.may_expire |= record.expires != NEVER;
    }
    shard.queues.insert(queue.spec.id, Box::new(queue));
    Ok(())
}

fn put_move(out: &mut Vec<u8>, number: u64, moving: &Moving) {
    out.put_u8(MOVE);
    out.put_u64_le(number);
    out.put_u8(match moving.reason {
        DeathReason::Rejected => 1,
        DeathReason::Expired => 2,
        DeathReason::MaxLength => 3,
        DeathReason::DeliveryLimit => 4,
    });
    spec::put(out, &moving.queue);
    let lasting = moving.queue.settings.durable;
    put_records(out, moving.records.iter().copied().filter(|record| lasting && !record.is_volatile()));
}

fn read_move(shard: &mut Shard, input: &mut Input<'_>) -> Result<(), String> {
    let number = input.u64("move")?;
    let reason = match input.u8("move")? {
        1 => DeathReason::Rejected,
        2 => DeathReason::Expired,
        3 => DeathReason::MaxLength,
        4 => DeathReason::DeliveryLimit,
        other => return Err(format!("moves for unknown reason {other}")),
    };
    let queue = Arc::new(spec::read(input)?);
    let records = read_records(input)?;
    for record in &records {
        shard.live.held(record.place.lsn, u64::from(record.len));
    }
    shard.moves.restore(number, Moving { queue, reason, records });
    Ok(())
}

fn put_records(out: &mut Vec<u8>, records: impl Iterator<Item = Record>) {
    let at = out.len();
    out.put_u32_le(0);
    let mut count = 0u32;
    for record in records {
        count += 1;
        out.put_u64_le(record.position.0);
        out.put_u64_le(record.place.lsn.0);
        out.put_u32_le(record.place.at);
        out.put_u32_le(record.len);
        out.put_u32_le(record.overhead);
        out.put_u64_le(record.expires.0);
        out.put_u8(record.priority);
        out.put_u8(u8::from(record.redelivered));
        out.put_u32_le(record.failures);
    }
    out[at..at + 4].copy_from_slice(&count.to_le_bytes());
}

fn read_records(input: &mut Input<'_>) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    for _ in 0..input.u32("records")? {
        let position = Position(input.u64("record")?);
        let lsn = Lsn(input.u64("record")?);
        let record = Record {
            position,
            place: Place { lsn, at: input.u32("record")? },
            len: input.u32("record")?,
            overhead: input.u32("record")?,
            expires: Now(input.u64("record")?),
            priority: input.u8("record")?,
            redelivered: input.u8("record")? != 0,
            failures: input.u32("record")?,
        };
        if record.overhead > record.len {
            return Err(format!(
                "has a record of {} bytes with {} before its body",
                record.len, record.overhead
            ));
        }
        records.push(record);
    }
    Ok(records)
}
