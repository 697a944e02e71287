//! The logged state as chunks of bytes, and back.
//!
//! Begun between two blocks and written step by step while the shard goes on (S7): its tables keep what changes meanwhile as it was
//! ([`crate::shelf`]), and so do leases and what was returned, of which one queue may have millions, page by page ([`crate::paged`]). Read at a start. What must
//! hold: `snapshot + rest of the log == live` on logged state (S1); a full chunk of a ready index is the very allocation that the index
//! reads from, so it costs nothing and need not be written again. Volatile records may stand in such a chunk; restore passes them over.
//! The layout stands in `docs/format-entries.md`.

use super::bytes::Input;
use super::group;
use super::share;
use super::spec;
use super::stream::{self, due::bytes as due};
use super::{LiveBytes, Mutant, Shard};
use crate::link::Links;
use crate::queue::dead_letter::Moving;
use crate::queue::lease::{Leases, NOBODY};
use crate::queue::priority::Ready;
use crate::queue::{NEVER, Queue, Record};
use crate::shelf::Shelved;
use bytes::{BufMut, Bytes};
use std::collections::VecDeque;
use std::sync::Arc;
use stele_model::id::{Boot, Lsn, Now, Place, Position, QueueId, Revision, ShardId};
use stele_model::publish::LinkNumber;
use stele_model::queue::QueueSpec;
use stele_model::shard::DeathReason;

const VERSION: u32 = 1;
/// A table of items is closed when it is this long; one item may be longer.
const TABLE_BYTES: usize = 64 << 10;
/// Room for the item that closes a table: most need less.
const ITEM_BYTES: usize = 4 << 10;
/// Index chunks shorter than this stand in a table; longer ones by themselves.
const INDEX_BYTES_MIN: usize = 8 << 10;

const QUEUE: u8 = 1;
const MOVE: u8 = 2;
const NUMBERS: u8 = 4;
const LEASED: u8 = 10;
const RETURNED: u8 = 14;

/// Most that one step writes before it ends: bytes, chunks beside the tables.
const STEP: (usize, usize) = (TABLE_BYTES, 256);
/// The same in items, unless [`Shard::with_snapshot_steps`] says otherwise.
pub(super) const STEP_ITEMS: u32 = 1024;

/// A snapshot that is being written.
#[derive(Debug)]
pub(super) struct Writing {
    /// The head but for the number of tables, which comes first.
    head: Vec<u8>,
    producers: u64,
    homes: VecDeque<(QueueId, u64)>,
    epoch: u64,
    part: Part,
    tables: Tables,
}

/// What is written next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Queues,
    Moves,
    Numbers,
    Homes,
    Groups,
    Partitions,
    Producers,
    Shares,
    /// Leases and returned records of this queue and those behind it.
    Pages(QueueId),
    /// The same of what is left of queues.
    PagesGone,
}

/// Tables under construction, and the index chunks that they refer to in order.
#[derive(Debug, Default)]
struct Tables {
    done: Vec<Bytes>,
    open: Vec<u8>,
    index: Vec<Bytes>,
}

impl Tables {
    /// Appends an item. What is too long for a table goes to the second list, in order.
    fn item<T>(&mut self, write: impl FnOnce(&mut Vec<u8>, &mut Vec<Bytes>) -> T) -> T {
        if self.open.len() >= TABLE_BYTES {
            let next = Vec::with_capacity(TABLE_BYTES + ITEM_BYTES);
            self.done.push(Bytes::from(std::mem::replace(&mut self.open, next)));
        }
        write(&mut self.open, &mut self.index)
    }
}

/// Begins a snapshot: from here on each table writes what changes before it does.
pub(super) fn begin(shard: &mut Shard) {
    let mut head = Vec::new();
    head.put_u16_le(shard.id.0);
    head.put_u64_le(shard.revision.0);
    head.put_u64_le(shard.boot.0);
    head.put_u64_le(shard.moves.last());
    for link in shard.links.iter() {
        head.put_u16_le(link.from.0);
        head.put_u64_le(link.number);
    }
    shard.queues.freeze();
    shard.moves.open.freeze();
    shard.groups.all.freeze();
    shard.streams.partitions.freeze();
    shard.shares.groups.freeze();
    shard.work.thaw();
    shard.writing = Some(Writing {
        head,
        producers: shard.streams.given(),
        homes: group::homes(&shard.groups).into(),
        epoch: shard.groups.around.numbers.epoch,
        part: Part::Queues,
        tables: Tables::default(),
    });
}

/// Writes the next items. `Some`: the head, then the tables, then the index chunks.
pub(super) fn step(shard: &mut Shard) -> Option<Vec<Bytes>> {
    let mut writing = shard.writing.take()?;
    let (bytes_max, chunks_max) = STEP;
    let (tables, chunks) = (writing.tables.done.len(), writing.tables.index.len());
    for _ in 0..shard.step_items {
        if !write_one(shard, &mut writing) {
            return Some(finish(writing));
        }
        let written = (writing.tables.done.len() - tables) * TABLE_BYTES;
        if written >= bytes_max || writing.tables.index.len() - chunks >= chunks_max {
            break;
        }
    }
    shard.writing = Some(writing);
    None
}

/// Writes an item, or turns to the next part. `false`: all is written.
fn write_one(shard: &mut Shard, writing: &mut Writing) -> bool {
    let Writing { producers, homes, epoch, part, tables, .. } = writing;
    let forgets = shard.makes(Mutant::UnkeptLeases);
    let more = match *part {
        Part::Queues => tables.item(|out, index| shard.queues.write_next(out, index)),
        Part::Moves => tables.item(|out, index| shard.moves.open.write_next(out, index)),
        Part::Numbers => tables.item(|out, _| {
            out.put_u8(NUMBERS);
            out.put_u64_le(*epoch);
            false
        }),
        Part::Homes => {
            let home = homes.pop_front();
            home.into_iter().for_each(|home| tables.item(|out, _| group::put_home(out, home)));
            home.is_some()
        }
        Part::Groups => tables.item(|out, index| shard.groups.all.write_next(out, index)),
        Part::Partitions => tables.item(|out, index| shard.streams.partitions.write_next(out, index)),
        Part::Producers => {
            tables.item(|out, _| stream::put_last_producer(out, *producers));
            false
        }
        Part::Shares => tables.item(|out, index| shard.shares.groups.write_next(out, index)),
        Part::Pages(from) => {
            let next = shard.queues.range(from..).next().map(|(id, _)| *id);
            let queue = next.and_then(|id| shard.queues.get_mut(&id));
            if let (Some(id), Some(queue)) = (next, queue) {
                let (ready, leases) = (&mut queue.ready, &mut queue.leases);
                let written = tables.item(|out, _| put_page(out, id, ready, leases, forgets));
                *part = Part::Pages(if written { id } else { QueueId(id.0 + 1) });
            }
            next.is_some()
        }
        Part::PagesGone => {
            let next = shard.work.frozen();
            next.is_some_and(|(id, ready, leases)| {
                tables.item(|out, _| put_page(out, id, ready, leases, forgets))
            })
        }
    };
    if more {
        return true;
    }
    *part = match *part {
        Part::Queues => Part::Moves,
        Part::Moves => Part::Numbers,
        Part::Numbers => Part::Homes,
        Part::Homes => Part::Groups,
        Part::Groups => Part::Partitions,
        Part::Partitions => Part::Producers,
        Part::Producers => Part::Shares,
        Part::Shares => Part::Pages(QueueId(0)),
        Part::Pages(_) => Part::PagesGone,
        Part::PagesGone => return false,
    };
    true
}

fn finish(writing: Writing) -> Vec<Bytes> {
    let Writing { head: rest, mut tables, .. } = writing;
    tables.done.push(Bytes::from(tables.open));
    let mut head = Vec::new();
    head.put_u32_le(VERSION);
    head.put_u32_le(tables.done.len() as u32);
    head.put_slice(&rest);
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
                LEASED => read_leased(&mut shard, &mut input)?,
                RETURNED => read_returned(&mut shard, &mut input)?,
                MOVE => read_move(&mut shard, &mut input)?,
                group::GROUP => group::read_home(&mut shard.groups, &mut input)?,
                group::READING => group::read_group_reading(&mut shard.groups, &mut input)?,
                NUMBERS => shard.groups.around.numbers.epoch = input.u64("epoch")?,
                stream::PARTITION => stream::read_partition(&mut shard, &mut input, &mut index)?,
                stream::PRODUCERS => stream::read_last_producer(&mut shard, &mut input)?,
                share::SHARE => share::read_share(&mut shard, &mut input)?,
                share::SHARE_MOVE => share::read_share_move(&mut shard, &mut input)?,
                due::SCHEDULES => due::read_schedules(&mut shard, &mut input)?,
                due::DUE_MOVE => due::read_due_move(&mut shard, &mut input)?,
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

impl Shelved for Queue {
    type Key = QueueId;

    fn write(&self, _: &QueueId, out: &mut Vec<u8>, index: &mut Vec<Bytes>) {
        put_queue(out, index, self);
    }

    fn freeze(&mut self) {
        if self.spec.settings.durable {
            self.leases.freeze();
            self.ready.freeze();
        }
    }
}

impl Shelved for Moving {
    type Key = u64;

    fn write(&self, number: &u64, out: &mut Vec<u8>, _: &mut Vec<Bytes>) {
        match self {
            Self::Queue { queue, reason, records } => put_move(out, *number, (queue, *reason, records)),
            Self::Share(of) => share::put_share_move(out, *number, of),
            Self::Due(of) => due::put_due_move(out, *number, of),
        }
    }
}

fn put_queue(out: &mut Vec<u8>, index: &mut Vec<Bytes>, queue: &Queue) {
    out.put_u8(QUEUE);
    spec::put(out, &queue.spec);
    out.put_u8(u8::from(queue.closing));
    out.put_u64_le(queue.next_logged.0);
    // Leases and what was returned are written page by page.
    put_records(out, std::iter::empty());
    put_records(out, std::iter::empty());
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
    read_leases(&mut queue, &mut shard.live, input)?;
    let returned = read_records(input)?;
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
    put_back(&mut queue, &mut shard.live, returned)?;
    shard.queues.insert(queue.spec.id, Box::new(queue));
    Ok(())
}

/// Writes the next of the leases and returned records that a queue had. `false`: there were no more.
fn put_page(out: &mut Vec<u8>, id: QueueId, ready: &mut Ready, leases: &mut Leases, forgets: bool) -> bool {
    let (kind, frozen) = match ready.frozen() {
        Some(returned) => (RETURNED, returned),
        None => (LEASED, leases),
    };
    if forgets {
        frozen.forget_kept();
    }
    if !frozen.is_frozen() {
        return false;
    }
    if let Some(records) = frozen.next_frozen() {
        out.put_u8(kind);
        out.put_u64_le(id.0);
        put_records(out, records.filter(|record| !record.is_volatile()));
    }
    true
}

fn read_leased(shard: &mut Shard, input: &mut Input<'_>) -> Result<(), String> {
    let id = QueueId(input.u64("queue of leases")?);
    let queue = shard.queues.get_mut(&id).ok_or_else(|| format!("has leases of unknown queue {id}"))?;
    read_leases(queue, &mut shard.live, input)
}

fn read_returned(shard: &mut Shard, input: &mut Input<'_>) -> Result<(), String> {
    let id = QueueId(input.u64("queue of returned records")?);
    let queue = shard.queues.get_mut(&id);
    let queue = queue.ok_or_else(|| format!("has returned records of unknown queue {id}"))?;
    put_back(queue, &mut shard.live, read_records(input)?)
}

fn put_back(queue: &mut Queue, live: &mut LiveBytes, records: Vec<Record>) -> Result<(), String> {
    for record in records {
        is_new(queue, record.position)?;
        live.held(record.place.lsn, u64::from(record.len));
        queue.put_back(record);
    }
    Ok(())
}

fn read_leases(queue: &mut Queue, live: &mut LiveBytes, input: &mut Input<'_>) -> Result<(), String> {
    for record in read_records(input)? {
        is_new(queue, record.position)?;
        live.held(record.place.lsn, u64::from(record.len));
        queue.leases.insert(record, NOBODY);
    }
    Ok(())
}

/// Nothing leased or returned stands there already.
fn is_new(queue: &Queue, position: Position) -> Result<(), String> {
    match queue.leases.find(position).is_some() || queue.ready.is_returned(position) {
        true => Err(format!("has two deliveries at position {position}")),
        false => Ok(()),
    }
}

fn put_move(out: &mut Vec<u8>, number: u64, (queue, reason, records): (&QueueSpec, DeathReason, &[Record])) {
    out.put_u8(MOVE);
    out.put_u64_le(number);
    out.put_u8(match reason {
        DeathReason::Rejected => 1,
        DeathReason::Expired => 2,
        DeathReason::MaxLength => 3,
        DeathReason::DeliveryLimit => 4,
    });
    spec::put(out, queue);
    let lasting = queue.settings.durable;
    put_records(out, records.iter().copied().filter(|record| lasting && !record.is_volatile()));
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
    let moving = Moving::Queue { queue, reason, records };
    moving.hold(&mut shard.live);
    shard.moves.restore(number, moving);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::record_for_tests as record;
    use stele_model::id::NamespaceId;
    use stele_model::queue::QueueSettings;

    #[test]
    fn a_record_that_was_delivered_twice_at_once_is_refused() {
        let id = QueueId(7);
        let (namespace, settings) = (NamespaceId(1), QueueSettings::default());
        let spec = QueueSpec { id, namespace, name: "q".to_owned(), settings };
        let page = |position| {
            let mut page = id.0.to_le_bytes().to_vec();
            put_records(&mut page, std::iter::once(record(position)));
            page
        };
        let kinds = [read_leased, read_returned];
        for (first, second) in kinds.into_iter().flat_map(|first| kinds.map(|second| (first, second))) {
            let mut shard = Shard::new(ShardId(1));
            shard.queues.insert(id, Box::new(Queue::new(Arc::new(spec.clone()))));
            assert_eq!(first(&mut shard, &mut Input(&page(3))), Ok(()));
            assert_eq!(second(&mut shard, &mut Input(&page(4))), Ok(()));
            let again = second(&mut shard, &mut Input(&page(3)));
            assert_eq!(again, Err("has two deliveries at position 3".to_owned()));
        }
    }
}
