//! Direct replies: a requester gives out an address instead of declaring a queue, and whoever publishes to it through the default
//! exchange reaches the requester's session directly, at memory level (RabbitMQ's direct reply-to).
//!
//! An address is signed with the process's seed, so that nobody can reach a session who was not given its address. A reply to a
//! session of another hub is handed to that hub; whether it is still there is not known here, so it counts as routed.

use super::live::LiveForward;
use super::session::Attached;
use super::{Hub, HubOut};
use crate::live::InterestChange;
use crate::registry::names::{base64, from_base64, secret};
use std::sync::Arc;
use stele_model::id::{HubId, Now, Position, QueueId, SessionId, Ticket};
use stele_model::outcome::{Deliveries, Delivery, Done, Outcome};
use stele_model::publish::{Publish, Publishes};

/// What every address starts with; without more it is the name that clients subscribe to.
pub(super) const PREFIX: &str = "amq.rabbitmq.reply-to";

/// Tells the secret of an address from other uses of the seed.
const DOMAIN: u64 = 0x7265_706c_7920_746f;

/// A subscription for replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    session: SessionId,
    subscription: u64,
}

/// From one hub to another.
#[derive(Clone, Debug)]
pub enum HubMessage {
    /// Direct replies to sessions of that hub, in order.
    Replies(Vec<Reply>),
    /// What sessions of a hub listen to has changed.
    Interest {
        /// Which hub.
        from: HubId,
        /// In order.
        changes: Arc<[InterestChange]>,
    },
    /// Live publishes that sessions of that hub may hear.
    Live(Arc<LiveForward>),
    /// Say [`Self::Passed`] with this number when what is under way at you has come.
    Passing {
        /// Which hub asks.
        from: HubId,
        /// Its number for it.
        number: u64,
    },
    /// What was under way when this number was asked about has come.
    Passed {
        /// Which.
        number: u64,
    },
}

impl HubMessage {
    /// Bytes of records in it, for the bounds.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Live(forward) => forward.weight(),
            Self::Replies(_) | Self::Interest { .. } | Self::Passing { .. } | Self::Passed { .. } => 0,
        }
    }
}

/// A direct reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// To whom.
    pub session: SessionId,
    /// To which of its subscriptions.
    pub subscription: u64,
    /// The record.
    pub record: bytes::Bytes,
}

impl Hub {
    pub(super) fn subscribe_replies(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        subscription: u64,
        out: &mut HubOut,
    ) {
        if let Some(attached) = self.sessions.get_mut(&session.number) {
            attached.replies.insert(subscription);
        }
        let address = Address { session, subscription }.text(self.seed);
        self.complete(session, ticket, Outcome::Done(Done::Replies { address }), out);
    }

    /// Whether an item is a direct reply, and to whom; `Err`: to nobody who is there. `own` is the publishing session, which may
    /// answer itself, and which is not among the others while it publishes.
    pub(super) fn direct_reply(
        &self,
        own: (SessionId, &Attached),
        batch: &Publishes,
        item: &Publish,
    ) -> Option<Result<Address, ()>> {
        if !item.exchange.is_empty() {
            return None;
        }
        let token = batch.slice(&item.key).strip_prefix(PREFIX.as_bytes())?.strip_prefix(b".")?;
        let is_there = |address: &Address| {
            let own_reply = address.session == own.0 && own.1.replies.contains(&address.subscription);
            own_reply || self.is_there(*address)
        };
        Some(Address::of(token, self.seed).filter(is_there).ok_or(()))
    }

    /// To whom a token stands, if he is there.
    pub(super) fn reply_address(&self, token: &[u8]) -> Option<Address> {
        Address::of(token, self.seed).filter(|address| self.is_there(*address))
    }

    /// Whether a queue's name is one that stands for direct replies, and somebody waits for them.
    pub(super) fn is_reply_address(&self, name: &[u8]) -> bool {
        match name.strip_prefix(PREFIX.as_bytes()) {
            Some([]) => true,
            Some([b'.', token @ ..]) => {
                Address::of(token, self.seed).is_some_and(|address| self.is_there(address))
            }
            _ => false,
        }
    }

    /// Of another hub's session it is assumed.
    fn is_there(&self, address: Address) -> bool {
        let Address { session, subscription } = address;
        if session.hub != self.id {
            return session.hub.0 < self.hubs;
        }
        self.sessions.get(&session.number).is_some_and(|attached| attached.replies.contains(&subscription))
    }

    pub(super) fn send_replies(
        &mut self,
        batch: &Arc<Publishes>,
        replies: Vec<(u32, Address)>,
        out: &mut HubOut,
    ) {
        let mut elsewhere: Vec<(HubId, Vec<Reply>)> = Vec::new();
        for (n, Address { session, subscription }) in replies {
            let Some(item) = batch.items.get(n as usize) else { continue };
            let range = item.record.start as usize..item.record.end as usize;
            let reply = Reply { session, subscription, record: batch.bytes.slice(range) };
            if session.hub == self.id {
                self.deliver_reply(reply, out);
                continue;
            }
            match elsewhere.iter_mut().find(|(hub, _)| *hub == session.hub) {
                Some((_, replies)) => replies.push(reply),
                None => elsewhere.push((session.hub, vec![reply])),
            }
        }
        out.hubs.extend(elsewhere.into_iter().map(|(hub, replies)| (hub, HubMessage::Replies(replies))));
    }

    /// Something another hub has for sessions of this one.
    pub fn from_hub(&mut self, _: Now, message: HubMessage, out: &mut HubOut) {
        match message {
            HubMessage::Replies(replies) => {
                replies.into_iter().for_each(|reply| self.deliver_reply(reply, out));
            }
            HubMessage::Interest { from, changes } => {
                changes.iter().for_each(|change| self.interests.heard_of(from, change));
                self.tell_interest(out);
            }
            HubMessage::Live(forward) => self.live_from_hub(&forward, out),
            HubMessage::Passing { from, number } => out.passed.push((from, number)),
            HubMessage::Passed { number } => self.passed(number, out),
        }
    }

    fn deliver_reply(&self, reply: Reply, out: &mut HubOut) {
        let Reply { session, subscription, record } = reply;
        if !self.is_there(Address { session, subscription }) {
            return;
        }
        let len = u32::try_from(record.len()).unwrap_or(u32::MAX);
        let delivery =
            Delivery { block: 0, at: 0, len, position: Position(0), redelivered: false, failures: 0 };
        let deliveries =
            Deliveries { subscription, queue: QueueId(0), blocks: vec![record], items: vec![delivery] };
        out.deliveries.push((session, deliveries));
    }
}

/// Whether a name is the one that clients subscribe to, or has the form of an address.
pub(super) fn is_reply_name(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Address {
    fn signature(self, seed: [u64; 2]) -> u64 {
        let Self { session, subscription } = self;
        secret(seed, &[DOMAIN, u64::from(session.hub.0), session.number, subscription])
    }

    fn text(self, seed: [u64; 2]) -> String {
        let Self { session, subscription } = self;
        let mut bytes = session.hub.0.to_be_bytes().to_vec();
        for number in [session.number, subscription, self.signature(seed)] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        format!("{PREFIX}.{}", base64(&bytes))
    }

    /// The address that was given out as `token`.
    fn of(token: &[u8], seed: [u64; 2]) -> Option<Self> {
        let bytes = from_base64(token)?;
        let (hub, rest) = bytes.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (subscription, rest) = rest.split_first_chunk()?;
        let signature = u64::from_be_bytes(rest.try_into().ok()?);
        let session = SessionId { hub: HubId(u16::from_be_bytes(*hub)), number: u64::from_be_bytes(*number) };
        let address = Self { session, subscription: u64::from_be_bytes(*subscription) };
        (address.signature(seed) == signature).then_some(address)
    }
}
