//! MSG and HMSG: what the hub found becomes messages.
//!
//! A message that came from a NATS client is one copy: everything behind its subject stands in the batch as it goes out. From 4 KiB up it is
//! not even copied, if the batch can be kept.

use super::subscribe::Named;
use super::{Connection, DIALECT, Phase};
use crate::codec::{headers, write};
use crate::subject::is_subset;
use bytes::BufMut;
use smallvec::SmallVec;
use stele_model::id::Now;
use stele_model::live::{LiveHit, LiveItem, LiveView};
use stele_model::session::Outbox;

/// Payloads from this length on are shared, bytes.
const SHARED_BYTES_MIN: usize = 4 << 10;

/// Receipts that one client's session owes at a time; who waits for more does not wait for ever either.
const RECEIPTS_MAX: usize = 1024;

impl Connection {
    pub(super) fn deliver_live(&mut self, now: Now, view: LiveView<'_>, hits: &[LiveHit], out: &mut Outbox) {
        let is_framed = view.frames == DIALECT;
        let mut head = Head::default();
        for hit in hits {
            let Some(item) = view.item(hit.item()) else { continue };
            if !self.permissions.may_hear(view.slice(item.subject())) {
                self.end_if_last(*hit);
                continue;
            }
            if item.reply_len > 0 {
                self.permissions.asked(now, view.slice(item.reply()));
            }
            self.traffic.messages_out += 1;
            self.traffic.bytes_out += u64::from(item.headers_len) + u64::from(item.body_len);
            let sid = self.subscriptions.sid(hit.subscription);
            if is_framed && (item.headers_len == 0 || self.options.headers) {
                head.become_that_of(view, item, (hit.subscription, sid));
                framed(view, item, &head.text, out);
            } else {
                self.assembled(view, item, sid, out);
            }
            self.end_if_last(*hit);
        }
    }

    /// Who published this wants to know when it has left for the client.
    pub(super) fn owe_receipt(&mut self, view: LiveView<'_>) {
        if let Some(receipt) = view.receipt.filter(|_| self.receipts.len() < RECEIPTS_MAX) {
            self.receipts.push(receipt.clone());
        }
    }

    /// What was written has left.
    pub(super) fn send_receipts(&mut self, out: &mut Outbox) {
        for receipt in self.receipts.drain(..) {
            self.answers.publish(&receipt, b"", b"", b"");
        }
        self.answers.leave(out);
    }

    fn end_if_last(&mut self, hit: LiveHit) {
        if hit.is_last() {
            self.subscriptions.ended(hit.subscription);
        }
    }

    /// Nobody hears the client's request: it is told on the subject where it expects the answer.
    pub(super) fn deliver_unheard(&mut self, view: LiveView<'_>, hits: &[LiveHit], out: &mut Outbox) {
        for hit in hits {
            let Some(item) = view.item(hit.item()) else { continue };
            let sid = self.subscriptions.sid(hit.subscription);
            let block = headers::no_responders(view.slice(item.subject()));
            let buffer = out.write.buffer();
            write::head(buffer, (view.slice(item.reply()), sid, b""), block.len(), 0);
            buffer.put_slice(&block);
            buffer.put_slice(b"\r\n");
        }
    }

    /// The server stops: pulls that wait end, by messages that no other session can bring any more.
    pub(super) fn end_pulls(&mut self, out: &mut Outbox) {
        if self.phase != Phase::Ready || !self.options.headers {
            return;
        }
        for (reply, block) in self.jet.stop() {
            let hears = |named: &&Named| named.queue.is_none() && is_subset(&reply, &named.subject);
            let Some(named) = self.subscriptions.all().find(hears) else { continue };
            let buffer = out.write.buffer();
            write::head(buffer, (&reply, &named.sid, b""), block.len(), 0);
            buffer.put_slice(&block);
            buffer.put_slice(b"\r\n");
        }
    }

    /// A message that is put together from its parts.
    fn assembled(&self, view: LiveView<'_>, item: &LiveItem, sid: &[u8], out: &mut Outbox) {
        let block = if self.options.headers { view.slice(item.headers()) } else { &[] };
        let body = view.slice(item.body());
        let names = (view.slice(item.shown()), sid, view.slice(item.reply()));
        let buffer = out.write.buffer();
        write::head(buffer, names, block.len(), body.len());
        buffer.reserve(block.len() + body.len() + 2);
        buffer.put_slice(block);
        buffer.put_slice(body);
        buffer.put_slice(b"\r\n");
    }
}

/// The first words of a message: verb, subject, and the client's name for the subscription. Neighbours mostly share them.
#[derive(Default)]
struct Head<'a> {
    /// With headers or without, subject, subscription.
    of: Option<(bool, &'a [u8], u32)>,
    text: SmallVec<[u8; 96]>,
}

impl<'a> Head<'a> {
    fn become_that_of(&mut self, view: LiveView<'a>, item: &LiveItem, (subscription, sid): (u32, &[u8])) {
        let subject = view.slice(item.shown());
        let of = (item.headers_len > 0, subject, subscription);
        if self.of == Some(of) {
            return;
        }
        self.of = Some(of);
        self.text.clear();
        self.text.extend_from_slice(if of.0 { b"HMSG " } else { b"MSG " });
        self.text.extend_from_slice(subject);
        self.text.push(b' ');
        self.text.extend_from_slice(sid);
    }
}

/// A message that stands there but for its first words.
fn framed(view: LiveView<'_>, item: &LiveItem, head: &[u8], out: &mut Outbox) {
    let tail = item.subject().end..item.body().end + 2;
    let is_shared = tail.len() >= SHARED_BYTES_MIN;
    if let Some(bytes) = view.shared.filter(|bytes| is_shared && tail.end <= bytes.len()) {
        out.write.buffer().extend_from_slice(head);
        return out.write.share(bytes.slice(tail));
    }
    out.write.make_room(head.len() + tail.len());
    let buffer = out.write.buffer();
    buffer.extend_from_slice(head);
    buffer.extend_from_slice(view.slice(tail));
}
