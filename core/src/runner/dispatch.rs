//! Joins what a shard has released to the bytes it speaks of, and addresses it.
//!
//! Called by the driver of a shard after each turn of its runner, before the next one: until then memory keeps every record that an
//! effect names. What memory does not hold is asked for as a [`Fetch`]; effects of the same reader queue up behind it, so that order
//! is kept. Moves of a shard stay in one order too, since the receivers of a link drop numbers that run backwards (S5).

mod batches;
mod halves;
mod open;
mod records;
mod share;

use super::Fetches;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use stele_model::id::{HubId, Lsn, Place, SessionId, ShardId, SubscriptionId};
use stele_model::log::ReadError;
use stele_model::outcome::{Deliveries, Delivery};
use stele_model::registry::RegistryOp;
use stele_model::shard::{Grant, MoveOut, MoveRecords, ShardEffect, ShardOp, ToHub};
use stele_model::share::ShareEffect;
use stele_model::stream::echo::Echoes;

/// Something for the driver to carry.
#[derive(Debug)]
pub enum Out {
    /// To a hub.
    Hub(HubId, ToHub),
    /// To the registry.
    Registry(RegistryOp),
    /// Back to the shard itself.
    Shard(ShardOp),
    /// To the reader pool; the answer comes back by [`Dispatch::fetched`].
    Fetch(Fetch),
}

/// Records to be read from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// Comes back with the answer.
    pub number: u64,
    /// Places and lengths, in the order the answer must have.
    pub records: Vec<(Place, u32)>,
}

/// Keeps the order of what waits for bytes.
pub struct Dispatch {
    shard: ShardId,
    hubs: u16,
    waiting: BTreeMap<Lane, VecDeque<Waiting>>,
    /// Which lane a fetch is for.
    fetches: BTreeMap<u64, Lane>,
    begun: u64,
    reads: u64,
    /// Batches that readers have read in part.
    halves: halves::Halves,
}

/// What must stay in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Reader(SubscriptionId),
    Moves,
    /// What a session is told of stored records.
    Echo(SessionId),
    /// A read or a search: in no order with any other. Its number.
    Once(u64),
}

struct Waiting {
    effect: ShardEffect,
    /// The bytes of the effect's records, as far as they are known.
    bytes: Vec<Option<Bytes>>,
    /// The fetch that brings the rest.
    fetch: Option<u64>,
}

impl Dispatch {
    /// For a shard among `hubs` hubs (at least 1).
    #[must_use]
    pub fn new(shard: ShardId, hubs: u16) -> Self {
        assert!(hubs > 0, "a node has a hub");
        let (waiting, fetches) = (BTreeMap::new(), BTreeMap::new());
        Self { shard, hubs, waiting, fetches, begun: 0, reads: 0, halves: halves::Halves::default() }
    }

    /// How far the fetches have come, for [`super::Runner::set_fetches`].
    #[must_use]
    pub fn fetches(&self) -> Fetches {
        let oldest = self.fetches.keys().next().copied().unwrap_or(self.begun);
        Fetches { begun: self.begun, oldest }
    }

    /// Addresses one released effect. `block` gives the body of a block if memory holds it.
    pub fn effect<'m>(
        &mut self,
        effect: ShardEffect,
        block: impl Fn(Lsn) -> Option<&'m Bytes>,
        out: &mut Vec<Out>,
    ) {
        let lane = match &effect {
            ShardEffect::Deliver { subscription, records, .. } => {
                if !self.waiting.contains_key(&Lane::Reader(*subscription))
                    && let Some(deliveries) = from_memory(*subscription, &effect, records, &block)
                {
                    let session = subscription.session;
                    out.push(Out::Hub(session.hub, ToHub::Deliver { session, deliveries }));
                    return;
                }
                Lane::Reader(*subscription)
            }
            ShardEffect::Got { subscription, .. } => Lane::Reader(*subscription),
            ShardEffect::DeliverBatches { subscription, .. } => Lane::Reader(*subscription),
            ShardEffect::Shared { to, .. } => Lane::Reader(*to),
            ShardEffect::Move(_) => Lane::Moves,
            ShardEffect::Echo { session, .. } => Lane::Echo(*session),
            ShardEffect::Read { session, call, parts } => {
                if let Some(parts) = batches::read_from_memory(parts, &block) {
                    out.push(Out::Hub(session.hub, ToHub::Read { call: *call, parts }));
                    return;
                }
                self.once()
            }
            ShardEffect::Sought { .. } | ShardEffect::Records { .. } => self.once(),
            _ => return self.address(effect, Vec::new(), out),
        };
        self.wait(lane, effect, &block, out);
        self.advance(lane, out);
    }

    fn once(&mut self) -> Lane {
        self.reads += 1;
        Lane::Once(self.reads)
    }

    /// The answer to a fetch. An error is the driver's to report: the effect stays where it is, since a record that cannot be read
    /// must not be passed over in silence.
    ///
    /// # Errors
    /// The read error, handed through.
    pub fn fetched(
        &mut self,
        number: u64,
        records: Result<Vec<Bytes>, ReadError>,
        out: &mut Vec<Out>,
    ) -> Result<(), ReadError> {
        let records = records?;
        let Some(lane) = self.fetches.remove(&number) else { return Ok(()) };
        if let Some(queue) = self.waiting.get_mut(&lane)
            && let Some(waiting) = queue.iter_mut().find(|waiting| waiting.fetch == Some(number))
        {
            let mut records = records.into_iter();
            for slot in waiting.bytes.iter_mut().filter(|slot| slot.is_none()) {
                *slot = records.next();
            }
            assert!(
                waiting.bytes.iter().all(Option::is_some),
                "a fetch brings every record it was asked for"
            );
            waiting.fetch = None;
        }
        self.advance(lane, out);
        Ok(())
    }

    fn wait<'m>(
        &mut self,
        lane: Lane,
        effect: ShardEffect,
        block: &impl Fn(Lsn) -> Option<&'m Bytes>,
        out: &mut Vec<Out>,
    ) {
        let places = places(&effect);
        let bytes: Vec<_> =
            places.iter().map(|(place, len)| slice(block(place.lsn)?, *place, *len)).collect();
        let missing: Vec<_> =
            places.iter().zip(&bytes).filter(|(_, bytes)| bytes.is_none()).map(|(place, _)| *place).collect();
        let fetch = (!missing.is_empty()).then_some(self.begun);
        if let Some(number) = fetch {
            self.begun += 1;
            self.fetches.insert(number, lane);
            out.push(Out::Fetch(Fetch { number, records: missing }));
        }
        self.waiting.entry(lane).or_default().push_back(Waiting { effect, bytes, fetch });
    }

    /// Sends what is complete at the head of a lane.
    fn advance(&mut self, lane: Lane, out: &mut Vec<Out>) {
        while let Some(queue) = self.waiting.get_mut(&lane) {
            match queue.front() {
                Some(head) if head.fetch.is_some() => return,
                Some(_) => {}
                None => {
                    self.waiting.remove(&lane);
                    return;
                }
            }
            if let Some(head) = queue.pop_front() {
                let bytes = head.bytes.into_iter().flatten().collect();
                self.address(head.effect, bytes, out);
            }
        }
    }

    fn address(&mut self, effect: ShardEffect, bytes: Vec<Bytes>, out: &mut Vec<Out>) {
        out.push(match effect {
            ShardEffect::Published { hub, call, refused, gone, stored } => {
                Out::Hub(hub, ToHub::Published { call, refused, gone, stored })
            }
            ShardEffect::Records { hub, call, answer } => {
                let answer = answer.map(|answer| records::answer(answer, bytes));
                Out::Hub(hub, ToHub::Records { call, answer })
            }
            ShardEffect::Answer { hub, call, answer } => Out::Hub(hub, ToHub::Answer { call, answer }),
            ShardEffect::Appended { hub, call, parts } => Out::Hub(hub, ToHub::Appended { call, parts }),
            ShardEffect::Woken { session, watch } => Out::Hub(session.hub, ToHub::Woken { session, watch }),
            ShardEffect::Read { session, call, parts } => {
                let parts = batches::read_from_bytes(parts, bytes);
                Out::Hub(session.hub, ToHub::Read { call, parts })
            }
            ShardEffect::Sought { hub, call, parts } => {
                Out::Hub(hub, ToHub::Sought { call, parts: batches::sought(parts, bytes) })
            }
            ShardEffect::DeliverBatches { subscription, partition, batches, open: None } => {
                return open::deliver(subscription, &partition, &batches, bytes, out);
            }
            ShardEffect::DeliverBatches { subscription, partition, batches, open: Some(max) } => {
                let (to, halves) = ((subscription, max), &mut self.halves);
                return open::open(to, &partition, &batches, bytes, halves, out);
            }
            ShardEffect::Shared {
                to,
                what: ShareEffect::Deliver { partition, group, headers_only, ranges },
            } => {
                return share::deliver((to, headers_only), &partition, &group, &ranges, bytes, out);
            }
            ShardEffect::Shared { to, what: ShareEffect::Say(news) } => {
                Out::Hub(to.session.hub, ToHub::Shared { session: to.session, news: Box::new(news) })
            }
            ShardEffect::Echo { session, partition, records } => {
                let items = records.iter().map(|record| record.of).collect();
                let echoes = Box::new(Echoes { partition, records: bytes, items });
                Out::Hub(session.hub, ToHub::Echo { session, echoes })
            }
            ShardEffect::Deliver { subscription, queue, records } => {
                let items =
                    records.iter().enumerate().map(|(n, grant)| delivery(grant, n as u32, 0)).collect();
                let deliveries =
                    Deliveries { subscription: subscription.number, queue, blocks: bytes, items };
                Out::Hub(
                    subscription.session.hub,
                    ToHub::Deliver { session: subscription.session, deliveries },
                )
            }
            ShardEffect::Got { subscription, call, queue, counts_deliveries, record, ready } => {
                let record = bytes.into_iter().next().zip(record);
                let got = ToHub::Got { call, queue, counts_deliveries, record, ready };
                Out::Hub(subscription.session.hub, got)
            }
            ShardEffect::Cancelled { subscription } => {
                Out::Hub(subscription.session.hub, ToHub::Cancelled { subscription })
            }
            ShardEffect::Move(of) => {
                let bytes = match &of.out_of {
                    MoveOut::Queue { .. } | MoveOut::Due(_) => bytes,
                    MoveOut::Share(of) => share::dead(of, bytes),
                };
                Out::Hub(HubId(self.shard.0 % self.hubs), ToHub::Move(MoveRecords { of, bytes }))
            }
            ShardEffect::Closing { queue } => Out::Registry(RegistryOp::Closing { queue }),
            ShardEffect::Applied { shard, revision, queue } => {
                Out::Registry(RegistryOp::Applied { shard, revision, queue })
            }
        });
    }
}

/// Where the bytes are that an effect needs, in order.
fn places(effect: &ShardEffect) -> Vec<(Place, u32)> {
    let granted = |records: &[Grant]| records.iter().map(|grant| (grant.place, grant.len)).collect();
    match effect {
        ShardEffect::Deliver { records, .. } => granted(records),
        ShardEffect::Got { record, .. } => granted(record.as_slice()),
        ShardEffect::Move(of) => match &of.out_of {
            MoveOut::Queue { records, .. } => granted(records),
            MoveOut::Share(of) => of.records.iter().map(|of| (of.batch.place, of.batch.len)).collect(),
            MoveOut::Due(of) => of.places().map(|of| (of.place, of.len)).collect(),
        },
        ShardEffect::Echo { records, .. } => {
            records.iter().map(|record| (record.place, record.len)).collect()
        }
        ShardEffect::Read { parts, .. } => batches::places_of_read(parts),
        ShardEffect::Sought { parts, .. } => batches::places_of_search(parts),
        ShardEffect::Records { answer: Ok(answer), .. } => records::places(answer),
        ShardEffect::Shared { what: ShareEffect::Deliver { ranges, .. }, .. } => {
            ranges.iter().map(|range| (range.records.batch.place, range.records.batch.len)).collect()
        }
        ShardEffect::DeliverBatches { batches, .. } => {
            batches.iter().map(|of| (of.batch.place, of.batch.len)).collect()
        }
        _ => Vec::new(),
    }
}

fn slice(block: &Bytes, place: Place, len: u32) -> Option<Bytes> {
    let end = place.at.checked_add(len)? as usize;
    (end <= block.len()).then(|| block.slice(place.at as usize..end))
}

fn delivery(grant: &Grant, block: u32, at: u32) -> Delivery {
    Delivery {
        block,
        at,
        len: grant.len,
        position: grant.position,
        redelivered: grant.redelivered,
        failures: grant.failures,
    }
}

/// The hot path: every block is in memory, and shared once for all its records.
fn from_memory<'m>(
    subscription: SubscriptionId,
    effect: &ShardEffect,
    records: &[Grant],
    block: &impl Fn(Lsn) -> Option<&'m Bytes>,
) -> Option<Deliveries> {
    let ShardEffect::Deliver { queue, .. } = effect else { return None };
    let mut blocks: Vec<Bytes> = Vec::new();
    let mut last = None;
    let mut items = Vec::with_capacity(records.len());
    for grant in records {
        if last != Some(grant.place.lsn) {
            blocks.push(block(grant.place.lsn)?.clone());
            last = Some(grant.place.lsn);
        }
        items.push(delivery(grant, blocks.len() as u32 - 1, grant.place.at));
    }
    Some(Deliveries { subscription: subscription.number, queue: *queue, blocks, items })
}

#[cfg(test)]
mod tests {
    use super::*;
    use stele_model::id::{Call, Now, Position, QueueId};
    use stele_model::stream::{Ends, Format, Found, FoundPart};

    fn reader() -> SubscriptionId {
        SubscriptionId { session: SessionId { hub: HubId(0), number: 1 }, number: 7 }
    }

    fn deliver(lsn: u64, position: u64) -> ShardEffect {
        let place = Place { lsn: Lsn(lsn), at: 1 };
        let grant = Grant { place, len: 2, position: Position(position), redelivered: false, failures: 0 };
        ShardEffect::Deliver { subscription: reader(), queue: QueueId(3), records: vec![grant] }
    }

    fn positions(out: &[Out]) -> Vec<u64> {
        out.iter()
            .filter_map(|out| match out {
                Out::Hub(_, ToHub::Deliver { deliveries, .. }) => {
                    assert_eq!(deliveries.record(&deliveries.items[0]), b"bc");
                    Some(deliveries.items[0].position.0)
                }
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_delivery_from_memory_does_not_overtake_one_that_is_being_read() {
        let hot = Bytes::from_static(b"abcd");
        let block = |lsn: Lsn| (lsn == Lsn(2)).then_some(&hot);
        let mut dispatch = Dispatch::new(ShardId(0), 1);
        let mut out = Vec::new();
        dispatch.effect(deliver(1, 10), block, &mut out);
        dispatch.effect(deliver(2, 11), block, &mut out);
        assert!(matches!(&out[..], [Out::Fetch(Fetch { number: 0, records })] if records.len() == 1));
        assert_eq!(dispatch.fetches(), Fetches { begun: 1, oldest: 0 });
        out.clear();
        dispatch.fetched(0, Ok(vec![Bytes::from_static(b"bc")]), &mut out).expect("the read went well");
        assert_eq!(positions(&out), [10, 11]);
        assert_eq!(dispatch.fetches(), Fetches { begun: 1, oldest: 1 });
        out.clear();
        dispatch.effect(deliver(2, 12), block, &mut out);
        assert_eq!(positions(&out), [12]);
    }

    #[test]
    fn a_read_is_joined_to_its_blocks_without_a_copy_or_by_one_fetch_and_overtakes_others() {
        let hot = Bytes::from_static(b"abcd");
        let block = |lsn: Lsn| (lsn == Lsn(2)).then_some(&hot);
        let mut dispatch = Dispatch::new(ShardId(0), 1);
        let mut out = Vec::new();
        dispatch.effect(read(&[1, 2]), block, &mut out);
        assert!(matches!(&out[..], [Out::Fetch(Fetch { number: 0, records })] if records.len() == 1));
        out.clear();
        dispatch.effect(read(&[2, 2]), block, &mut out);
        let [Out::Hub(HubId(0), ToHub::Read { parts, .. })] = &out[..] else { panic!("{out:?}") };
        let part = parts[0].as_ref().expect("it was found");
        assert_eq!(part.blocks.len(), 1);
        assert_eq!(part.blocks[0].as_ptr(), hot.as_ptr());
        assert_eq!(part.batch(&part.batches[1]), "bc");
        out.clear();
        dispatch.fetched(0, Ok(vec![Bytes::from_static(b"xy")]), &mut out).expect("the read went well");
        let [Out::Hub(HubId(0), ToHub::Read { parts, .. })] = &out[..] else { panic!("{out:?}") };
        let part = parts[0].as_ref().expect("it was found");
        let bytes: Vec<Bytes> = part.batches.iter().map(|batch| part.batch(batch)).collect();
        assert_eq!(bytes, ["xy", "bc"]);
    }

    fn read(lsns: &[u64]) -> ShardEffect {
        let batch = |(n, lsn): (usize, &u64)| Found {
            place: Place { lsn: Lsn(*lsn), at: 1 },
            len: 2,
            format: Format::KafkaBatch,
            first: Position(n as u64),
            count: 1,
            epoch: 0,
            appended: Now(5000),
        };
        let batches = lsns.iter().enumerate().map(batch).collect();
        let part = FoundPart { ends: Ends::default(), batches, aborted: Vec::new() };
        ShardEffect::Read { session: reader().session, call: Call(4), parts: vec![Ok(part)] }
    }
}
