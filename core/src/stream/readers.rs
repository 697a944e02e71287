//! Who reads a partition by subscription, how far each has come, and how much credit it has.
//!
//! Called by the shard when batches, readers or credit have come. What must hold: records are granted only against credit in messages and
//! in bytes (S18); every reader gets every record; all of this is attached state and dies with the process (S1). A settle ends nothing: it
//! only gives credit back. Priorities of readers mean nothing here, since nobody takes anything from another.

use super::{Partition, Stored};
use std::collections::BTreeMap;
use stele_model::id::{Lsn, Position, SubscriptionId};
use stele_model::shard::ShardSubscribe;
use stele_model::stream::{FoundRecords, StreamStart};

/// Bytes of batches in one effect, about.
const EFFECT_BYTES_MAX: u64 = 256 << 10;
/// Ranges of batches granted to one reader in one turn.
const RANGES_MAX: usize = 128;

/// The subscriptions to one partition.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    by_id: BTreeMap<SubscriptionId, Reader>,
    /// One reads alone.
    exclusive: bool,
}

#[derive(Debug)]
struct Reader {
    /// What it gets next, or the first there is behind it.
    next: Position,
    no_ack: bool,
    messages_max: Option<u32>,
    /// Positions granted and not settled.
    held: u64,
    bytes_max: i64,
    /// What is left. The last batch may take it below 0, so that one larger than all credit passes.
    bytes: i64,
}

/// Batches granted to a reader, and the block that the last of them waits for.
pub(crate) type Granted = (SubscriptionId, Lsn, Vec<FoundRecords>);

impl Readers {
    pub(crate) fn count(&self) -> u32 {
        self.by_id.len() as u32
    }

    /// All, in the order of their names.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SubscriptionId> + '_ {
        self.by_id.keys().copied()
    }

    /// Attaches a reader that begins at `next`. `false`: somebody reads alone, or this one wants to and is not.
    pub(crate) fn add(&mut self, of: &ShardSubscribe, next: Position) -> bool {
        let others = self.by_id.keys().any(|id| *id != of.subscription);
        if others && (self.exclusive || of.exclusive) {
            return false;
        }
        let bytes_max = i64::try_from(of.bytes_max).unwrap_or(i64::MAX);
        let (no_ack, messages_max) = (of.no_ack, of.messages_max);
        let reader = Reader { next, no_ack, messages_max, held: 0, bytes_max, bytes: bytes_max };
        self.by_id.insert(of.subscription, reader);
        self.exclusive = of.exclusive;
        true
    }

    /// Detaches a reader; `false`: there is none.
    pub(crate) fn remove(&mut self, id: SubscriptionId) -> bool {
        let removed = self.by_id.remove(&id).is_some();
        self.exclusive &= !self.by_id.is_empty();
        removed
    }

    /// Bytes have left for the client.
    pub(crate) fn give_bytes(&mut self, id: SubscriptionId, bytes: u64) {
        let Some(reader) = self.by_id.get_mut(&id) else { return };
        let given = i64::try_from(bytes).unwrap_or(i64::MAX);
        reader.bytes = reader.bytes.saturating_add(given).min(reader.bytes_max);
    }

    /// Deliveries of so many positions are settled, however.
    pub(crate) fn settled(&mut self, id: SubscriptionId, count: u64) {
        if let Some(reader) = self.by_id.get_mut(&id) {
            reader.held = reader.held.saturating_sub(count);
        }
    }
}

impl Reader {
    /// Messages that it may still get.
    fn room(&self) -> u64 {
        match self.messages_max {
            _ if self.bytes <= 0 => 0,
            Some(max) if !self.no_ack => u64::from(max).saturating_sub(self.held),
            _ => u64::MAX,
        }
    }

    /// Takes as much of a batch as credit allows; never called without credit.
    fn take(&mut self, batch: &Stored) -> FoundRecords {
        let from = self.next.max(batch.first);
        let count = (batch.end().0 - from.0).min(self.room());
        let charged = u64::from(batch.len) * count / u64::from(batch.count);
        self.next = Position(from.0 + count);
        self.held += if self.no_ack { 0 } else { count };
        self.bytes -= i64::try_from(charged).unwrap_or(i64::MAX);
        FoundRecords { batch: batch.found(), from, count: count as u32, charged }
    }
}

impl Partition {
    /// Where a reader begins.
    pub(crate) fn start_of(&self, start: Option<StreamStart>) -> Position {
        let first_of = |batch: Option<Stored>| batch.map_or(self.end, |batch| batch.first.max(self.start));
        match start {
            Some(StreamStart::First) => self.start,
            Some(StreamStart::Last) => first_of(self.index.last().filter(|last| last.end() > self.start)),
            Some(StreamStart::Next) | None => self.end,
            Some(StreamStart::Position(position)) => position.max(self.start),
            Some(StreamStart::Time(ms)) => first_of(self.index.appended_at(self.start, ms)),
        }
    }

    /// Grants what is there to readers with credit, some to each. `true`: there is more that credit allows.
    pub(crate) fn serve(&mut self, out: &mut Vec<Granted>) -> bool {
        let mut more = false;
        for (id, reader) in &mut self.readers.by_id {
            if reader.next >= self.end || reader.room() == 0 {
                continue;
            }
            let (mut batches, mut bytes, mut after) = (Vec::new(), 0, Lsn(0));
            for batch in self.index.from(reader.next.max(self.start)) {
                if bytes >= EFFECT_BYTES_MAX || batches.len() == RANGES_MAX {
                    more = true;
                    break;
                }
                bytes += u64::from(batch.len);
                after = after.max(batch.waited_for());
                reader.next = reader.next.max(self.start);
                batches.push(reader.take(&batch));
                if reader.room() == 0 {
                    break;
                }
            }
            if !batches.is_empty() {
                out.push((*id, after, batches));
            }
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Admitted;
    use std::sync::Arc;
    use stele_model::id::{Call, NamespaceId, Now, Place, QueueId};
    use stele_model::stream::{Format, PartitionSpec, StreamSettings};

    const READER: SubscriptionId = SubscriptionId {
        session: stele_model::id::SessionId { hub: stele_model::id::HubId(0), number: 1 },
        number: 2,
    };

    /// Three batches of ten records, 100 bytes each.
    fn partition() -> Partition {
        let (namespace, stream) = (NamespaceId(1), "s".to_owned());
        let settings = StreamSettings::default();
        let spec = PartitionSpec { id: QueueId(1), namespace, stream, index: 0, settings };
        let mut partition = Partition::new(Arc::new(spec));
        for n in 0..3 {
            let batch = Admitted {
                first: Position(n * 10),
                count: 10,
                place: Place { lsn: Lsn(n + 1), at: 0 },
                len: 100,
                format: Format::Records,
                newest_ms: None,
                producer: None,
            };
            partition.admit(&batch, std::iter::empty(), Now(n * 1_000_000));
        }
        partition
    }

    fn subscribe(messages_max: Option<u32>, bytes_max: u64) -> ShardSubscribe {
        ShardSubscribe {
            call: Call(1),
            subscription: READER,
            queue: QueueId(1),
            no_ack: false,
            exclusive: false,
            messages_max,
            bytes_max,
            priority: 0,
            start: None,
        }
    }

    /// What is granted: first position and how many.
    fn served(partition: &mut Partition) -> Vec<(u64, u32)> {
        let mut out = Vec::new();
        partition.serve(&mut out);
        let granted = out.into_iter().flat_map(|(_, _, batches)| batches);
        granted.map(|of| (of.from.0, of.count)).collect()
    }

    #[test]
    fn a_reader_gets_parts_of_batches_as_its_credit_in_messages_allows() {
        let mut partition = partition();
        assert!(partition.readers.add(&subscribe(Some(12), 1 << 20), Position(5)));
        assert_eq!(served(&mut partition), [(5, 5), (10, 7)]);
        assert!(served(&mut partition).is_empty());
        partition.readers.settled(READER, 2);
        assert_eq!(served(&mut partition), [(17, 2)]);
        partition.readers.settled(READER, 100);
        assert_eq!(served(&mut partition), [(19, 1), (20, 10)]);
    }

    #[test]
    fn a_reader_without_bytes_waits_until_they_are_given_back() {
        let mut partition = partition();
        assert!(partition.readers.add(&subscribe(None, 150), Position(0)));
        assert_eq!(served(&mut partition), [(0, 10), (10, 10)], "the last one may be too much");
        partition.readers.give_bytes(READER, 50);
        assert!(served(&mut partition).is_empty());
        partition.readers.give_bytes(READER, 150);
        assert_eq!(served(&mut partition), [(20, 10)]);
    }

    #[test]
    fn a_reader_begins_where_it_asks_to() {
        let mut partition = partition();
        partition.trim(Position(3));
        let starts = [
            (None, 30),
            (Some(StreamStart::First), 3),
            (Some(StreamStart::Last), 20),
            (Some(StreamStart::Next), 30),
            (Some(StreamStart::Position(Position(1))), 3),
            (Some(StreamStart::Position(Position(77))), 77),
            (Some(StreamStart::Time(0)), 3),
            (Some(StreamStart::Time(1500)), 20),
            (Some(StreamStart::Time(9999)), 30),
        ];
        for (start, position) in starts {
            assert_eq!(partition.start_of(start), Position(position), "{start:?}");
        }
    }

    #[test]
    fn one_that_reads_alone_shuts_out_others() {
        let mut partition = partition();
        let other = SubscriptionId { number: 3, ..READER };
        let alone = ShardSubscribe { exclusive: true, ..subscribe(None, 1) };
        assert!(partition.readers.add(&alone, Position(0)));
        assert!(
            !partition
                .readers
                .add(&ShardSubscribe { subscription: other, ..subscribe(None, 1) }, Position(0))
        );
        assert!(partition.readers.remove(READER) && !partition.readers.remove(READER));
        assert!(
            partition.readers.add(&ShardSubscribe { subscription: other, ..subscribe(None, 1) }, Position(0))
        );
        assert!(!partition.readers.add(&alone, Position(0)));
    }
}
