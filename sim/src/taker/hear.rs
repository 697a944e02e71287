//! What a taker does when it is told something.

use super::publish::{message_id, next_time};
use super::{Asked, Link, Look, Taker};
use crate::client::{Heard, Said};
use crate::desk::Desk;
use crate::history::shared::{MessageId, SharedEvent};
use crate::history::{Event, Step};
use crate::link::misfits;
use stele_model::id::{Position, Ticket};
use stele_model::outcome::{Done, Outcome, Wake};
use stele_model::share::{PullEnd, ShareAnswer, ShareHow, ShareInfo, ShareNews, ShareRecords};
use stele_model::stream::records::{FoundAnswer, RecordsAnswer};

impl Taker {
    /// Takes in what the hub says; what is meant for an earlier session is passed over.
    pub fn hear(&mut self, desk: &mut Desk, heard: Heard) -> Vec<Said> {
        if !self.line.hears(&heard) {
            return Vec::new();
        }
        match heard {
            Heard::Outcome(_, ticket, outcome) => self.answered(desk, ticket, outcome),
            Heard::Wake(_, Wake::Shared(news)) => self.news(desk, *news),
            Heard::Wake(_, Wake::Close(_)) => self.disconnect(desk),
            Heard::Wake(..) | Heard::Deliver(..) => {}
        }
        self.line.said()
    }

    fn answered(&mut self, desk: &mut Desk, ticket: Ticket, outcome: Outcome) {
        let Some(asked) = self.line.answered(desk, ticket, &outcome) else { return };
        match (asked, outcome) {
            (Asked::Open, Outcome::Done(Done::Opened)) => self.put_group(desk),
            (Asked::Put(asked), Outcome::Done(Done::Share(Ok(ShareAnswer::Put { info, .. })))) => {
                self.line.link = Link::Up;
                told(desk, asked, &info);
                self.publish_again(desk);
            }
            (Asked::Publish(ids), Outcome::Published(said)) => self.published(desk, &ids, &said),
            (Asked::Settle(number), Outcome::Done(Done::Share(Ok(ShareAnswer::Settled { .. })))) => {
                desk.event(&Event::Shared(SharedEvent::Ended { number }));
            }
            (Asked::Info(asked), Outcome::Done(Done::Share(Ok(ShareAnswer::Info(info))))) => {
                told(desk, asked, &info);
            }
            (Asked::Scan, Outcome::Done(Done::Records(RecordsAnswer::Found(found)))) => {
                self.scanned(desk, &found);
            }
            (Asked::Dig, Outcome::Done(Done::Records(RecordsAnswer::Found(found)))) => {
                let messages = found.records.iter().flatten().map(|of| message_id(&found.record(of)));
                desk.event(&Event::Shared(SharedEvent::Buried { messages: messages.collect() }));
                self.closer = Some(Look::Waits);
            }
            (Asked::Wait, Outcome::Done(Done::Records(RecordsAnswer::Found(found)))) => {
                let records = found.records.iter().flatten().map(|of| found.record(of));
                let messages = records.map(|record| (message_id(&record), next_time(&record)));
                desk.event(&Event::Shared(SharedEvent::Later { messages: messages.collect() }));
                self.closer = Some(Look::Counts);
            }
            (Asked::Count, Outcome::Done(Done::Records(RecordsAnswer::Found(found)))) => {
                let messages = places(&found);
                desk.event(&Event::Shared(SharedEvent::LookedForBundles { messages }));
                self.closer = Some(Look::Done);
            }
            (Asked::Bundle(attempt), Outcome::Published(said)) => self.bundled(desk, attempt, &said),
            (Asked::Later(message), Outcome::Published(said)) => self.kept(desk, message, &said),
            (asked, outcome) => misfits(desk, &asked, &outcome),
        }
    }

    fn news(&mut self, desk: &mut Desk, news: ShareNews) {
        match news {
            ShareNews::Records(records) => self.given(desk, &records),
            ShareNews::Ended { taker, why } => {
                if self.pulls.remove(&taker).is_none() {
                    let what = format!("pull {taker} has ended, and was not under way");
                    desk.oracle.violate("W11", desk.step, what);
                }
                if why == PullEnd::NoRecords && self.closer == Some(Look::Takes) {
                    self.closer = Some(Look::Scans);
                }
            }
            ShareNews::Idle { .. } | ShareNews::Event(_) | ShareNews::Abandoned(_) => {}
        }
    }

    fn given(&mut self, desk: &mut Desk, records: &ShareRecords) {
        let Some(asked) = self.pulls.get(&records.taker).copied() else {
            let what = format!("records for pull {}, which is not under way", records.taker);
            return desk.oracle.violate("W11", desk.step, what);
        };
        let mut positions = Vec::new();
        for item in &records.items {
            let position = item.position;
            let message = message_id(records.record(item));
            desk.event(&Event::Shared(SharedEvent::Shown { asked, position, message }));
            positions.push(position);
        }
        if self.closer.is_some() {
            self.end(desk, positions, ShareHow::Accept);
        } else {
            self.held.extend(positions);
        }
    }

    fn scanned(&mut self, desk: &mut Desk, found: &FoundAnswer) {
        desk.event(&Event::Shared(SharedEvent::Looked { messages: places(found) }));
        self.closer = Some(Look::Digs);
    }
}

/// What is found, each with its place.
fn places(found: &FoundAnswer) -> Vec<(Position, Option<MessageId>)> {
    let records = found.records.iter().flatten();
    records.map(|of| (of.position, message_id(&found.record(of)))).collect()
}

fn told(desk: &mut Desk, asked: Step, info: &ShareInfo) {
    let (floor, unsettled) = (info.floor.next, info.unsettled);
    desk.event(&Event::Shared(SharedEvent::Told { asked, floor, unsettled }));
}
