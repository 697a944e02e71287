//! Publishing bundles: a few messages that are to be stored whole or not at all, in several submits, so that much may happen between them. One
//! that was not answered is sent again, under another name, until it is; the ids of its messages tell whether it is there already.

use super::publish::{Message, write};
use super::{Asked, Taker};
use crate::desk::Desk;
use crate::history::Event;
use crate::history::shared::{MessageId, SharedEvent};
use crate::topology::WHOLE_SUBJECT;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use stele_model::op::Op;
use stele_model::outcome::Published;
use stele_model::publish::Publishes;
use stele_model::refusal::Refusal;
use stele_model::stream::StreamRefusal;
use stele_model::stream::records::{BundleEnd, BundleRefusal, BundleTerms, Bundled, RecordRefusal, Terms};

/// A bundle on its way.
#[derive(Clone, Debug)]
pub(super) struct Bundle {
    messages: Vec<MessageId>,
    /// How often it was begun before.
    attempt: u32,
    /// Messages that were sent in this attempt.
    sent: usize,
}

impl Bundle {
    /// It is begun anew, by whoever sends something of it next.
    pub(super) fn again(&mut self) {
        (self.attempt, self.sent) = (self.attempt + 1, 0);
    }
}

impl Taker {
    /// Sends something of the bundle that is on its way, or begins one.
    pub(super) fn publish_bundle(&mut self, desk: &mut Desk) {
        let bundle = self.bundle.take().unwrap_or_else(|| {
            let messages: Vec<_> = (0..self.rng.between(2, 5)).map(|_| desk.next_message()).collect();
            desk.event(&Event::Shared(SharedEvent::Bundled { messages: messages.clone() }));
            Bundle { messages, attempt: 0, sent: 0 }
        });
        let rest = bundle.messages.len() - bundle.sent;
        let count = if rest == 0 { 0 } else { self.rng.between(1, rest as u64) as usize };
        self.send_bundle(bundle, count);
    }

    /// Sends all that is left of it.
    pub(super) fn finish_bundle(&mut self) {
        if let Some(bundle) = self.bundle.take() {
            let rest = bundle.messages.len() - bundle.sent;
            self.send_bundle(bundle, rest);
        }
    }

    fn send_bundle(&mut self, mut bundle: Bundle, count: usize) {
        let (mut batch, mut bytes) = (Publishes::default(), BytesMut::new());
        let first = bundle.sent;
        bundle.sent += count;
        let is_whole = bundle.sent == bundle.messages.len();
        // What ends a bundle is its last message, or one behind it that is not stored.
        let ends_behind = is_whole && self.rng.chance(1, 3);
        let name = Bytes::from(format!("b{}-{}", bundle.messages[0].0, bundle.attempt));
        let mut put = |n: usize, message: MessageId, id: Option<Bytes>, end: BundleEnd| {
            let at = batch.items.len() as u32;
            let filler = Message { subject: WHOLE_SUBJECT, filler: n, expected: None };
            batch.items.push(write(message, &filler, &mut bytes));
            let of = BundleTerms { id: name.clone(), sequence: Some(n as u64 + 1), end };
            batch.terms.push((at, Terms { id, bundle: Some(of), ..Terms::default() }));
        };
        for n in first..bundle.sent {
            let message = bundle.messages[n];
            let is_last = n + 1 == bundle.messages.len() && !ends_behind;
            let end = if is_last { BundleEnd::Here } else { BundleEnd::More };
            put(n, message, Some(Bytes::from(format!("id-{}", message.0))), end);
        }
        if count > 0 && ends_behind {
            put(bundle.sent, bundle.messages[0], None, BundleEnd::Before);
        }
        if count > 0 {
            batch.bytes = bytes.freeze();
            self.ask(Op::Publish(Arc::new(batch)), Asked::Bundle(bundle.attempt));
        }
        self.bundle = Some(bundle);
    }

    /// Messages of a bundle were answered.
    pub(super) fn bundled(&mut self, desk: &mut Desk, attempt: u32, said: &Published) {
        let Some(bundle) = self.bundle.as_mut().filter(|bundle| bundle.attempt == attempt) else { return };
        let messages = bundle.messages.clone();
        let whole = |last| Event::Shared(SharedEvent::Whole { messages: messages.clone(), last });
        for stored in &said.stored {
            match stored.bundle {
                Bundled::Waits => {}
                Bundled::Ends(count) if count as usize == messages.len() => {
                    desk.event(&whole(Some(stored.position)));
                    self.bundle = None;
                    return;
                }
                other => {
                    let what = format!("bundle {messages:?} is answered {other:?}");
                    return desk.oracle.violate("W49", desk.step, what);
                }
            }
        }
        match said.refused.first() {
            None => {}
            Some((_, why)) if is_there(why) => {
                desk.event(&whole(None));
                self.bundle = None;
            }
            Some(_) => bundle.again(),
        }
    }
}

/// Its ids are known: an attempt before was stored.
fn is_there(why: &Refusal) -> bool {
    let Refusal::Stream(StreamRefusal::Record { why, .. }) = why else { return false };
    *why == RecordRefusal::Bundle(BundleRefusal::Duplicate)
}
