//! What a client does when it is told something.

use super::publish::slice;
use super::{Asked, Client, GETS, Heard, Link, REPLIES, Said, record_id};
use crate::desk::Desk;
use crate::history::{Delivery, Event, Held, RecordId};
use crate::link::misfits;
use bytes::Bytes;
use stele_model::id::{QueueId, Ticket};
use stele_model::op::Op;
use stele_model::outcome::{Deliveries, Delivery as Item, Done, Outcome, Published, Wake};
use stele_model::refusal::Refusal;
use stele_model::settle::How;

impl Client {
    /// Takes in what the hub says; what is meant for an earlier session is passed over.
    pub fn hear(&mut self, desk: &mut Desk, heard: Heard) -> Vec<Said> {
        if !self.line.hears(&heard) {
            return Vec::new();
        }
        match heard {
            Heard::Outcome(_, ticket, outcome) => self.answered(desk, ticket, outcome),
            Heard::Deliver(_, deliveries) => self.delivered(desk, &deliveries),
            Heard::Wake(_, Wake::Cancelled { subscription }) => {
                if let Some(reader) = self.readers.get_mut(&subscription) {
                    reader.ended = Some(true);
                }
            }
            Heard::Wake(_, Wake::Close(_)) => self.disconnect(desk),
            Heard::Wake(_, Wake::Blocked(_) | Wake::Unblocked | Wake::Drained | Wake::Leaving) => {}
            Heard::Wake(
                _,
                Wake::Appended { .. } | Wake::Interest { .. } | Wake::Shared(_) | Wake::Echo(_),
            ) => {}
        }
        if self.line.link == Link::Up && self.rng.chance(1, 2) {
            self.give_credit_back();
        }
        self.line.said()
    }

    fn answered(&mut self, desk: &mut Desk, ticket: Ticket, outcome: Outcome) {
        if let Outcome::LaneFailed { lane, item, refusal } = outcome {
            return self.lane_failed(desk, ticket, lane, item, &refusal);
        }
        let Some(asked) = self.line.answered(desk, ticket, &outcome) else { return };
        match (asked, outcome) {
            (Asked::Open, Outcome::Done(Done::Opened)) => self.line.link = Link::Up,
            (Asked::Publish(records), Outcome::Published(published)) => confirmed(desk, &records, &published),
            (Asked::Subscribe(number), Outcome::Done(done)) => self.subscribed(desk, number, done),
            (Asked::Subscribe(number), Outcome::Refused(_)) => drop(self.readers.remove(&number)),
            (Asked::Unsubscribe(number), _) => {
                if let Some(reader) = self.readers.get_mut(&number) {
                    reader.ended = Some(true);
                }
            }
            (Asked::Get { queue, no_ack }, Outcome::Done(Done::Got { queue: id, delivery, .. })) => {
                if let Some((block, item)) = delivery {
                    self.shown(desk, &queue, id, GETS, no_ack, &item, &block);
                }
            }
            (Asked::Removal(number), Outcome::Done(_)) => {
                desk.event(&Event::RemovalAnswered { number, done: true });
            }
            (Asked::Removal(number), Outcome::Refused(_)) => {
                desk.event(&Event::RemovalAnswered { number, done: false });
            }
            (Asked::Get { .. } | Asked::Other, _) => {}
            (asked, outcome) => misfits(desk, &asked, &outcome),
        }
    }

    fn lane_failed(&mut self, desk: &mut Desk, ticket: Ticket, lane: u16, item: u32, refusal: &Refusal) {
        if let Some(Asked::Publish(records)) = self.line.awaited.get(&ticket)
            && let Some(record) = records.get(item as usize)
        {
            let why = format!("{refusal:?}");
            desk.event(&Event::Refused { record: *record, whole: true, why });
        }
        self.tell(lane, Op::CloseLane);
    }

    fn subscribed(&mut self, desk: &mut Desk, number: u64, done: Done) {
        if let Some(reader) = self.readers.get_mut(&number) {
            reader.subscribed = true;
        }
        if let Done::Replies { address } = done {
            desk.addresses.insert(self.line.session, address);
        }
    }

    fn delivered(&mut self, desk: &mut Desk, deliveries: &Deliveries) {
        let number = deliveries.subscription;
        let Some(reader) = self.readers.get(&number).cloned() else {
            let what = format!("a delivery to nobody: subscription {number}");
            return desk.oracle.violate("W7", desk.step, what);
        };
        if !reader.subscribed {
            desk.oracle.violate(
                "W3",
                desk.step,
                format!("subscription {number} got records before its answer"),
            );
        }
        let before = self.held.len();
        let mut bytes = 0;
        for item in &deliveries.items {
            let empty = Bytes::new();
            let block = deliveries.blocks.get(item.block as usize).unwrap_or(&empty);
            let (queue, id) = (&reader.queue, deliveries.queue);
            self.shown(desk, queue, id, number, reader.no_ack || id == REPLIES, item, block);
            bytes += u64::from(item.len);
        }
        if let Some(reader) = self.readers.get_mut(&number) {
            reader.owed += bytes;
        }
        if reader.ended == Some(true) {
            // They were under way when the subscription ended; its client never sees them.
            let unseen = self.held.split_off(before);
            let how = How::Release { seen: false, counted: false };
            let ends = unseen.into_iter().map(|(queue, held)| (queue, held, how)).collect();
            self.settle(desk, ends);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what names a delivery is that much")]
    fn shown(
        &mut self,
        desk: &mut Desk,
        queue: &str,
        id: QueueId,
        subscription: u64,
        no_ack: bool,
        item: &Item,
        block: &Bytes,
    ) {
        let bytes = slice(block, item.at, item.len);
        let held = Held { subscription, queue: id, position: item.position, record: record_id(&bytes) };
        desk.event(&Event::Delivered(Delivery {
            session: self.line.session,
            queue: queue.to_owned(),
            held,
            no_ack,
            redelivered: item.redelivered,
            bytes,
        }));
        if !no_ack {
            self.held.push((queue.to_owned(), held));
        }
    }
}

fn confirmed(desk: &mut Desk, records: &[RecordId], published: &Published) {
    let refusals: std::collections::BTreeMap<_, _> =
        published.refused.iter().map(|(item, why)| (*item, why)).collect();
    for (item, publish) in published.batch.items.iter().enumerate() {
        let number = item as u32;
        let Some(record) = records.get(item).copied() else { continue };
        if published.dropped.contains(&number) {
            desk.event(&Event::Refused { record, whole: true, why: "its lane had failed".to_owned() });
        } else if let Some(why) = refusals.get(&number) {
            desk.event(&Event::Refused { record, whole: false, why: format!("{why:?}") });
        } else if publish.awaited {
            desk.event(&Event::Confirmed { record, returned: published.unroutable.contains(&number) });
        }
    }
}
