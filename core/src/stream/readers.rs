//! Who reads a partition by subscription, how far each has come, and how much credit it has.
//!
//! Called by the shard when batches, readers or credit have come. What must hold: records are granted only against credit in messages and
//! in bytes (S18); every reader gets every record; all of this is attached state and dies with the process (S1). A settle ends nothing: it
//! only gives credit back. Priorities of readers mean nothing here, since nobody takes anything from another. While batches are being opened
//! for a reader ([`super::opening`]) nothing else is granted to it, so that it can go on with whatever was not opened.

use super::opening::{Opening, Room};
use super::{Partition, Stored};
use std::collections::BTreeMap;
use stele_model::id::{Lsn, Position, SubscriptionId};
use stele_model::shard::ShardSubscribe;
use stele_model::stream::{Format, FoundRecords, OpenMax, Opened, StreamStart};

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
    /// One waits for room to open a batch, and the shard knows.
    waits: bool,
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
    opening: Opening,
}

/// Batches granted to a reader.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) reader: SubscriptionId,
    /// The block that the last of them waits for.
    pub(crate) after: Lsn,
    pub(crate) batches: Vec<FoundRecords>,
    /// Some of them have to be opened, so far.
    pub(crate) open: Option<OpenMax>,
}

/// What a call of [`Partition::serve`] left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// More that credit allows.
    pub(crate) more: bool,
    /// Somebody who waits for room to open a batch.
    pub(crate) waits: bool,
}

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
        let opening = Opening::default();
        let reader = Reader { next, no_ack, messages_max, held: 0, bytes_max, bytes: bytes_max, opening };
        self.by_id.insert(of.subscription, reader);
        self.exclusive = of.exclusive;
        true
    }

    /// Detaches a reader; `false`: there is none.
    pub(crate) fn remove(&mut self, id: SubscriptionId, room: &mut Room) -> bool {
        let removed = self.by_id.remove(&id);
        self.exclusive &= !self.by_id.is_empty();
        removed.inspect(|reader| room.give(reader.opening.borrowed())).is_some()
    }

    /// What all of them have borrowed.
    pub(crate) fn borrowed(&self) -> u64 {
        self.by_id.values().map(|reader| reader.opening.borrowed()).sum()
    }

    /// Bytes have left for the client.
    pub(crate) fn give_bytes(&mut self, id: SubscriptionId, bytes: u64, room: &mut Room) {
        let Some(reader) = self.by_id.get_mut(&id) else { return };
        let given = i64::try_from(bytes).unwrap_or(i64::MAX);
        reader.bytes = reader.bytes.saturating_add(given).min(reader.bytes_max);
        reader.opening.settle(reader.over(), room);
    }

    /// So many records may be unsettled from now on.
    pub(crate) fn limit(&mut self, id: SubscriptionId, messages_max: u32) {
        if let Some(reader) = self.by_id.get_mut(&id) {
            reader.messages_max = Some(messages_max);
        }
    }

    /// An opening has ended: what it did not use comes back, and the reader goes on where it ended.
    pub(crate) fn opened(&mut self, of: &Opened, room: &mut Room) {
        let Some(reader) = self.by_id.get_mut(&of.subscription) else { return };
        let Some(charged) = reader.opening.end(of.is_large) else { return };
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        reader.bytes = reader.bytes.saturating_add(bytes(charged)).saturating_sub(bytes(of.sent));
        reader.held = reader.held.saturating_sub(of.unused);
        reader.next = of.next;
        reader.opening.settle(reader.over(), room);
    }

    /// The shard has been told that one waits; whether it knew.
    pub(crate) fn set_waits(&mut self, waits: bool) -> bool {
        std::mem::replace(&mut self.waits, waits)
    }

    /// Deliveries of so many positions are settled, however.
    pub(crate) fn settled(&mut self, id: SubscriptionId, count: u64) {
        if let Some(reader) = self.by_id.get_mut(&id) {
            reader.held = reader.held.saturating_sub(count);
        }
    }
}

impl Reader {
    /// Bytes that are under way beyond its credit.
    fn over(&self) -> u64 {
        u64::try_from(self.bytes.saturating_neg()).unwrap_or(0)
    }

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
        self.opening.charge(charged);
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

    /// Grants what is there to readers with credit, some to each.
    pub(crate) fn serve(&mut self, room: &mut Room, out: &mut Vec<Granted>) -> Left {
        let mut left = Left::default();
        for (id, reader) in &mut self.readers.by_id {
            if reader.next >= self.end || reader.room() == 0 || reader.opening.is_under_way() {
                continue;
            }
            let (mut batches, mut bytes, mut after, mut open) = (Vec::new(), 0, Lsn(0), None);
            for batch in self.index.from(reader.next.max(self.start)) {
                if bytes >= EFFECT_BYTES_MAX || batches.len() == RANGES_MAX {
                    left.more |= open.is_none();
                    break;
                }
                if batch.format == Format::KafkaBatch && open.is_none() {
                    let credit = u64::try_from(reader.bytes).unwrap_or(0);
                    let charged = batches.iter().map(|of: &FoundRecords| of.charged).sum();
                    open = reader.opening.begin(credit, charged, room);
                    if open.is_none() {
                        left.waits = true;
                        break;
                    }
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
                out.push(Granted { reader: *id, after, batches, open });
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Admitted;
    use crate::stream::opening::OPEN_BYTES_MAX;
    use proptest::prelude::*;
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
        partition.serve(&mut Room::default(), &mut out);
        let granted = out.into_iter().flat_map(|of| of.batches);
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
    fn a_reader_whose_limit_was_raised_gets_what_fits_now() {
        let mut partition = partition();
        assert!(partition.readers.add(&subscribe(Some(4), 1 << 20), Position(0)));
        assert_eq!(served(&mut partition), [(0, 4)]);
        partition.readers.limit(READER, 6);
        assert_eq!(served(&mut partition), [(4, 2)]);
        partition.readers.limit(READER, 1);
        partition.readers.settled(READER, 5);
        assert!(served(&mut partition).is_empty());
    }

    #[test]
    fn a_reader_without_bytes_waits_until_they_are_given_back() {
        let mut partition = partition();
        assert!(partition.readers.add(&subscribe(None, 150), Position(0)));
        assert_eq!(served(&mut partition), [(0, 10), (10, 10)], "the last one may be too much");
        partition.readers.give_bytes(READER, 50, &mut Room::default());
        assert!(served(&mut partition).is_empty());
        partition.readers.give_bytes(READER, 150, &mut Room::default());
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
        let room = &mut Room::default();
        assert!(partition.readers.remove(READER, room) && !partition.readers.remove(READER, room));
        assert!(
            partition.readers.add(&ShardSubscribe { subscription: other, ..subscribe(None, 1) }, Position(0))
        );
        assert!(!partition.readers.add(&alone, Position(0)));
    }

    /// Batches of these lengths, of ten records each, packed.
    fn packed(lens: &[u32]) -> Partition {
        let mut partition = partition();
        for (len, n) in lens.iter().zip(3..) {
            let batch = Admitted {
                first: Position(n * 10),
                count: 10,
                place: Place { lsn: Lsn(n + 1), at: 0 },
                len: *len,
                format: Format::KafkaBatch,
                newest_ms: None,
                producer: None,
            };
            partition.admit(&batch, std::iter::empty(), Now(n * 1_000_000));
        }
        partition
    }

    #[test]
    fn while_batches_are_being_opened_nothing_is_granted_and_the_reader_goes_on_where_that_ended() {
        let mut partition = packed(&[100, 100]);
        let (mut room, mut out) = (Room::default(), Vec::new());
        assert!(partition.readers.add(&subscribe(None, 150), Position(30)));
        assert_eq!(partition.serve(&mut room, &mut out), Left::default());
        let granted = out.pop().expect("there is credit");
        assert_eq!(granted.open, Some(OpenMax { bytes: 150, batch_bytes: OPEN_BYTES_MAX }));
        assert_eq!(granted.batches.len(), 2, "small ones are opened together");
        partition.readers.settled(READER, 9999);
        partition.serve(&mut room, &mut out);
        assert!(out.is_empty());
        let (partition_id, next) = (QueueId(1), Position(33));
        let ended = Opened {
            subscription: READER,
            partition: partition_id,
            sent: 400,
            unused: 17,
            next,
            is_large: false,
        };
        partition.readers.opened(&ended, &mut room);
        assert_eq!(room.loans(), 3, "it is 250 over its credit");
        partition.serve(&mut room, &mut out);
        assert!(out.is_empty());
        partition.readers.give_bytes(READER, 251, &mut room);
        assert_eq!(room.loans(), 4);
        partition.serve(&mut room, &mut out);
        assert_eq!(out[0].batches[0].from, next);
        assert_eq!(out[0].open.map(|max| max.bytes), Some(1));
    }

    #[test]
    fn who_finds_no_room_gets_little_and_waits_if_that_is_not_enough() {
        let mut partition = packed(&[100]);
        let (mut room, mut out) = (Room::default(), Vec::new());
        let reader = |number| SubscriptionId { number, ..READER };
        for number in 0..6 {
            let of = ShardSubscribe { subscription: reader(number), ..subscribe(None, 1000) };
            assert!(partition.readers.add(&of, Position(30)));
        }
        assert!(!partition.serve(&mut room, &mut out).waits);
        let most: Vec<u64> =
            out.drain(..).filter_map(|of| of.open).map(|max| max.batch_bytes >> 20).collect();
        assert_eq!(most, [64, 64, 64, 64, 1, 1]);
        let ended = |number, is_large| {
            let (subscription, partition, next) = (reader(number), QueueId(1), Position(30));
            Opened { subscription, partition, sent: 0, unused: 10, next, is_large }
        };
        partition.readers.opened(&ended(4, true), &mut room);
        assert_eq!(partition.serve(&mut room, &mut out), Left { more: false, waits: true });
        assert!(out.is_empty());
        partition.readers.opened(&ended(0, false), &mut room);
        assert!(partition.readers.remove(reader(0), &mut room));
        assert!(!partition.serve(&mut room, &mut out).waits);
        assert_eq!(out[0].reader, reader(4));
        assert_eq!(room.loans(), 0);
        (1..6).for_each(|number| assert!(partition.readers.remove(reader(number), &mut room)));
        assert_eq!(room.loans(), 4, "who goes gives back what it has borrowed");
    }

    /// What happens to one reader.
    #[derive(Clone, Debug)]
    enum Step {
        /// Its opening ends after so many positions, of which each has so many bytes; the batch behind is large.
        Open(u32, u64, bool),
        /// So many bytes of what was sent leave.
        Give(u64),
        /// So many deliveries are settled.
        Settle(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_u32..40, prop_oneof![Just(0_u64), 1_u64..300, Just(OPEN_BYTES_MAX / 2)], any::<bool>())
                .prop_map(|(count, bytes, large)| Step::Open(count, bytes, large)),
            (1_u64..500).prop_map(Step::Give),
            (1_u64..9).prop_map(Step::Settle),
        ]
    }

    proptest! {
        #[test]
        fn credit_is_never_lost_and_every_position_comes_once(
            lens in prop::collection::vec(1_u32..2000, 1..20),
            steps in prop::collection::vec(step(), 0..60),
            (messages_max, bytes_max) in (1_u32..30, 1_u64..3000),
        ) {
            let mut partition = packed(&lens);
            let (mut room, mut out) = (Room::default(), Vec::new());
            prop_assert!(partition.readers.add(&subscribe(Some(messages_max), bytes_max), Position(0)));
            let (mut next, mut under_way, mut unsettled, mut large) = (0, 0_u64, 0, false);
            let end = partition.end.0;
            // Whatever happened, it goes on to the end with what is given back at last.
            let at_last = std::iter::repeat_n([Step::Open(7, 50, false), Step::Give(u64::MAX), Step::Settle(u64::MAX)], 400);
            for step in steps.into_iter().chain(at_last.flatten()) {
                partition.serve(&mut room, &mut out);
                for granted in &mut out.extract_if(.., |granted| granted.open.is_none()) {
                    for range in granted.batches {
                        prop_assert_eq!(range.from.0, next);
                        next += u64::from(range.count);
                        unsettled += u64::from(range.count);
                        under_way += range.charged;
                    }
                }
                match step {
                    Step::Open(count, bytes, is_large) => {
                        let Some(granted) = out.pop() else { continue };
                        let from = granted.batches[0].from.0;
                        prop_assert_eq!(from, next, "in order, without holes");
                        let all: u64 = granted.batches.iter().map(|range| u64::from(range.count)).sum();
                        let max = granted.open.expect("it is to be opened");
                        large = is_large && max.batch_bytes < OPEN_BYTES_MAX;
                        let bytes = bytes.min(max.batch_bytes);
                        let fits = max.bytes.div_ceil(bytes.max(1));
                        let count = u64::from(count).min(all).min(fits).max(u64::from(!large).min(all));
                        (next, unsettled, under_way) = (next + count, unsettled + count, under_way + count * bytes);
                        let (subscription, partition_id) = (READER, QueueId(1));
                        let (sent, unused, next) = (count * bytes, all - count, Position(next));
                        let of = Opened { subscription, partition: partition_id, sent, unused, next, is_large: large };
                        partition.readers.opened(&of, &mut room);
                        prop_assert!(under_way <= bytes_max + OPEN_BYTES_MAX, "S18: {} under way", under_way);
                    }
                    Step::Give(bytes) => {
                        let bytes = bytes.min(under_way);
                        under_way -= bytes;
                        partition.readers.give_bytes(READER, bytes, &mut room);
                    }
                    Step::Settle(count) => {
                        let count = count.min(unsettled);
                        unsettled -= count;
                        partition.readers.settled(READER, count);
                    }
                }
                prop_assert!(unsettled <= u64::from(messages_max), "S18: {} unsettled", unsettled);
            }
            prop_assert_eq!(next, end, "it comes to the end");
            let reader = &partition.readers.by_id[&READER];
            prop_assert_eq!((reader.bytes, reader.held, room.loans()), (reader.bytes_max, 0, 4));
            prop_assert!(!large);
        }
    }
}
