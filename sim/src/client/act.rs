//! What a client does by itself.

use super::{Asked, Client, GETS, HELD_MAX, Link, Reader};
use crate::desk::Desk;
use crate::history::{Event, Removal, RemovalKind};
use crate::rng::Rng;
use crate::topology::{RACING, RACING_EMPTY, RACING_EXCHANGE, STANDING, declare, rule, standing};
use stele_model::op::{Define, Get, Op, Subscribe};
use stele_model::settle::How;
use stele_model::value::Arguments;

/// Kinds of action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    PublishStanding,
    PublishRacing,
    SubscribeStanding,
    SubscribeRacing,
    Unsubscribe,
    Settle,
    Get,
    Purge,
    DeclareRacing,
    DeleteRacing,
    BindRacing,
    WantReplies,
    Reply,
    OwnQueue,
    Disconnect,
}

/// All actions, each with its usual weight.
const ACTIONS: &[(Action, u64)] = &[
    (Action::PublishStanding, 30),
    (Action::PublishRacing, 12),
    (Action::SubscribeStanding, 10),
    (Action::SubscribeRacing, 4),
    (Action::Unsubscribe, 2),
    (Action::Settle, 40),
    (Action::Get, 8),
    (Action::Purge, 1),
    (Action::DeclareRacing, 5),
    (Action::DeleteRacing, 4),
    (Action::BindRacing, 3),
    (Action::WantReplies, 1),
    (Action::Reply, 4),
    (Action::OwnQueue, 1),
    (Action::Disconnect, 1),
];

/// How much a client likes each action, and how it settles.
#[derive(Clone, Debug)]
pub(super) struct Likes {
    actions: Vec<u64>,
    /// Weights of accept, release seen, release counted, reject.
    ends: [u64; 4],
    /// One subscription at most has a single delivery at a time.
    prefetch_one: bool,
}

impl Likes {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let actions = ACTIONS.iter().map(|(_, weight)| weight * rng.pick(&[0, 1, 1, 1, 2, 5])).collect();
        let ends = [8, *rng.pick(&[0, 1, 3]), *rng.pick(&[0, 1, 3]), *rng.pick(&[0, 1, 3])];
        Self { actions, ends, prefetch_one: rng.chance(1, 3) }
    }
}

impl Client {
    pub(super) fn do_something(&mut self, desk: &mut Desk) {
        if self.left == 0 {
            self.wind_down(desk);
            return;
        }
        self.left -= 1;
        if self.held.len() >= HELD_MAX {
            return self.settle_some(desk);
        }
        let weights = std::mem::take(&mut self.likes.actions);
        let (action, _) = ACTIONS[self.rng.weighted(&weights)];
        self.likes.actions = weights;
        match action {
            Action::PublishStanding => self.publish_standing(desk),
            Action::PublishRacing => self.publish_racing(desk),
            Action::SubscribeStanding => {
                let queue = self.rng.pick(STANDING).name;
                self.subscribe(desk, queue);
            }
            Action::SubscribeRacing => {
                let queue = self.racing_name();
                self.subscribe(desk, queue);
            }
            Action::Unsubscribe => self.unsubscribe(),
            Action::Settle => self.settle_some(desk),
            Action::Get => self.get(desk),
            Action::Purge => self.purge(desk),
            Action::DeclareRacing => {
                let name = self.racing_name();
                self.ask(0, Op::Define(declare(name, Arguments::new())), Asked::Other);
            }
            Action::DeleteRacing => self.delete(desk),
            Action::BindRacing => self.bind(),
            Action::WantReplies => self.want_replies(),
            Action::Reply => self.publish_reply(desk),
            Action::OwnQueue => self.own_queue(desk),
            Action::Disconnect => self.disconnect(desk),
        }
    }

    /// Nothing new: what is held is settled, so that others get it.
    fn wind_down(&mut self, desk: &mut Desk) {
        if !self.held.is_empty() {
            self.settle_some(desk);
        }
    }

    /// Comes to an end, in order or not.
    pub(super) fn finish(&mut self, desk: &mut Desk) {
        let busy =
            self.readers.values().any(|reader| reader.ended != Some(true)) || !self.line.awaited.is_empty();
        if self.readers.values().any(|reader| reader.ended.is_none() && reader.subscribed) {
            self.unsubscribe();
        } else if !self.held.is_empty() && self.rng.chance(3, 4) {
            self.settle_some(desk);
        } else if !busy {
            self.disconnect(desk);
            self.line.link = Link::Over;
        }
    }

    /// `finish` can do something now, without hearing anything first.
    pub(crate) fn can_finish(&self) -> bool {
        let unasked = self.readers.values().any(|reader| reader.ended.is_none() && reader.subscribed);
        let busy =
            self.readers.values().any(|reader| reader.ended != Some(true)) || !self.line.awaited.is_empty();
        match self.line.link {
            Link::Down => true,
            Link::Up => unasked || !self.held.is_empty() || !busy || self.owes_credit(),
            Link::Opening | Link::Over => false,
        }
    }

    /// `act` can do something now in a run.
    pub(crate) fn can_act(&self) -> bool {
        !self.is_waiting()
            && !self.is_over()
            && (self.left > 0 || !self.held.is_empty() || self.owes_credit())
    }

    fn owes_credit(&self) -> bool {
        self.readers.values().any(|reader| reader.owed > 0)
    }

    fn racing_name(&mut self) -> &'static str {
        let names = if self.rng.chance(1, 2) { RACING } else { RACING_EMPTY };
        let name: &&'static str = self.rng.pick(names);
        name
    }

    fn subscribe(&mut self, desk: &mut Desk, queue: &str) {
        if self.readers.len() >= 4 {
            return self.unsubscribe();
        }
        let no_ack = standing(queue).is_some_and(|rule| rule.settled_by_sending) && self.rng.chance(1, 2);
        let one = self.likes.prefetch_one || self.rng.chance(1, 3);
        let messages_max = if one { Some(1) } else { *self.rng.pick(&[None, Some(3), Some(10)]) };
        desk.event(&Event::Reads { session: self.line.session, queue: queue.to_owned() });
        self.numbers += 1;
        let subscription = self.numbers;
        let reader = Reader { queue: queue.to_owned(), no_ack, subscribed: false, ended: None, owed: 0 };
        self.readers.insert(subscription, reader);
        let subscribe = Subscribe {
            subscription,
            queue: queue.to_owned(),
            direct_reply: false,
            no_ack,
            exclusive: self.rng.chance(1, 12),
            messages_max,
            bytes_max: *self.rng.pick(&[500, 8_000, 1 << 20]),
            priority: *self.rng.pick(&[0, 0, 5]),
            start: None,
        };
        self.ask(0, Op::Subscribe(subscribe), Asked::Subscribe(subscription));
    }

    fn want_replies(&mut self) {
        if self.readers.values().any(|reader| reader.queue.is_empty()) {
            return;
        }
        self.numbers += 1;
        let subscription = self.numbers;
        let reader = Reader { queue: String::new(), no_ack: true, subscribed: false, ended: None, owed: 0 };
        self.readers.insert(subscription, reader);
        let subscribe = Subscribe {
            subscription,
            queue: "amq.rabbitmq.reply-to".to_owned(),
            direct_reply: true,
            no_ack: true,
            exclusive: false,
            messages_max: None,
            bytes_max: 1 << 20,
            priority: 0,
            start: None,
        };
        self.ask(0, Op::Subscribe(subscribe), Asked::Subscribe(subscription));
    }

    fn unsubscribe(&mut self) {
        let open = self.readers.iter().filter(|(_, reader)| reader.subscribed && reader.ended.is_none());
        let open: Vec<_> = open.map(|(subscription, _)| *subscription).collect();
        if open.is_empty() {
            return;
        }
        let subscription = *self.rng.pick(&open);
        if let Some(reader) = self.readers.get_mut(&subscription) {
            reader.ended = Some(false);
        }
        self.ask(0, Op::Unsubscribe { subscription }, Asked::Unsubscribe(subscription));
    }

    fn settle_some(&mut self, desk: &mut Desk) {
        let count = self.rng.between(1, 6).min(self.held.len() as u64);
        let mut ends = Vec::new();
        for _ in 0..count {
            // Mostly in order, as most clients do.
            let n = if self.rng.chance(3, 4) { 0 } else { self.rng.below(self.held.len() as u64) };
            let (queue, held) = self.held.remove(n as usize);
            let how = match self.rng.weighted(&self.likes.ends) {
                0 => How::Accept,
                1 => How::Release { seen: true, counted: false },
                2 => How::Release { seen: true, counted: true },
                _ => How::Reject,
            };
            ends.push((queue, held, how));
        }
        self.settle(desk, ends);
    }

    fn get(&mut self, desk: &mut Desk) {
        let queue = if self.rng.chance(3, 4) { self.rng.pick(STANDING).name } else { self.racing_name() };
        let no_ack = standing(queue).is_some_and(|rule| rule.settled_by_sending) && self.rng.chance(1, 2);
        let queue = queue.to_owned();
        desk.event(&Event::Reads { session: self.line.session, queue: queue.clone() });
        let get = Get { queue: queue.clone(), subscription: GETS, no_ack };
        self.ask(0, Op::Get(get), Asked::Get { queue, no_ack });
    }

    fn purge(&mut self, desk: &mut Desk) {
        let purged = STANDING.iter().filter(|rule| rule.purged).map(|rule| rule.name);
        let names: Vec<_> = purged.chain(RACING.iter().copied()).collect();
        let queue = (*self.rng.pick(&names)).to_owned();
        let number = self.removal(desk, &queue, RemovalKind::Purge);
        self.ask(0, Op::Purge { queue }, Asked::Removal(number));
    }

    fn delete(&mut self, desk: &mut Desk) {
        let name = self.racing_name().to_owned();
        let if_empty = RACING_EMPTY.contains(&name.as_str());
        let kind = if if_empty { RemovalKind::DeleteIfEmpty } else { RemovalKind::Delete };
        let number = self.removal(desk, &name, kind);
        let if_unused = !if_empty && self.rng.chance(1, 3);
        self.ask(0, Op::Define(Define::DeleteQueue { name, if_unused, if_empty }), Asked::Removal(number));
    }

    fn removal(&mut self, desk: &mut Desk, queue: &str, kind: RemovalKind) -> u64 {
        let number = desk.next_removal();
        let removal = Removal { number, session: self.line.session, queue: queue.to_owned(), kind };
        desk.event(&Event::RemovalAsked(removal));
        number
    }

    fn bind(&mut self) {
        let queue: &&str = self.rng.pick(RACING);
        let rule = rule(RACING_EXCHANGE, "", queue);
        let define = if self.rng.chance(2, 3) { Define::Bind(rule) } else { Define::Unbind(rule) };
        self.ask(0, Op::Define(define), Asked::Other);
    }

    /// Makes a queue that is its own, or reads it, or ends it, by itself or by what is left when its last reader leaves.
    fn own_queue(&mut self, desk: &mut Desk) {
        let name = format!("own.{}.{}", self.line.session.hub, self.line.session.number);
        match self.rng.weighted(&[3, 2, 1]) {
            0 => {
                let declare = Define::DeclareQueue {
                    name: name.clone(),
                    passive: false,
                    durable: false,
                    exclusive: true,
                    auto_delete: self.line.session.number.is_multiple_of(2),
                    arguments: Arguments::new(),
                };
                self.ask(0, Op::Define(declare), Asked::Other);
                self.publish_own(desk, name);
            }
            1 => self.subscribe(desk, &name),
            _ => {
                let delete = Define::DeleteQueue { name, if_unused: false, if_empty: false };
                self.ask(0, Op::Define(delete), Asked::Other);
            }
        }
    }
}
