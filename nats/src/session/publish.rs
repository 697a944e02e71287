//! PUB and HPUB: a message becomes ranges into the bytes that came.

use super::{Connection, Phase};
use crate::codec::Publish;
use crate::jet::api::PREFIX;
use crate::jet::serve::Jet;
use crate::jet::stored::Message;
use crate::subject;
use std::ops::Range;
use stele_model::id::Now;
use stele_model::live::LiveItem;
use stele_model::session::Outbox;

impl Connection {
    /// A message; `at` is where its command begins in `input`.
    pub(super) fn publish(
        &mut self,
        now: Now,
        (input, at): (&[u8], usize),
        publish: &Publish,
        out: &mut Outbox,
    ) {
        debug_assert_eq!(self.phase, Phase::Ready, "who publishes was let in");
        let Publish { subject, reply, payload, headers_len, has_headers, is_plain } = publish;
        if *has_headers && !self.options.headers {
            // nats-server says nothing, and closes.
            return self.close(None, "headers by a client that does not support them", out);
        }
        let text = &input[at + subject.start..at + subject.end];
        if self.options.pedantic && !subject::is_literal(text) {
            Self::error(out, "Invalid Publish Subject");
        }
        if !self.permissions.may_publish(now, text) {
            let subject = String::from_utf8_lossy(text);
            return Self::error(out, &format!("Permissions Violation for Publish to {subject:?}"));
        }
        self.ok(out);
        self.traffic.messages_in += 1;
        self.traffic.bytes_in += payload.len() as u64;
        let part = |range: &Range<usize>| &input[at + range.start..at + range.end];
        let (headers, body) = part(payload).split_at(*headers_len);
        let message = Message { subject: text, reply: part(reply), headers, body };
        // Whatever the server itself takes begins so.
        let is_ours = text.first() == Some(&b'$');
        if is_ours && self.profile.jetstream && Jet::takes(text) {
            if self.jet.is_strange() {
                let client = self.audited();
                self.jet.introduce(client);
            }
            if text.starts_with(PREFIX.as_bytes()) {
                // A request is a message, too: who looks after a client listens to what it asks.
                self.answers.publish(text, message.reply, headers, body);
            }
            return self.jet.receive(now, &message);
        }
        let terms = Jet::terms(&message);
        let serves = is_ours && Self::serves(text);
        if serves {
            self.serve(now, &message, out);
        }
        // A message with an empty header block reads differently from one without: only its parts can be used.
        if !is_plain || (*has_headers && *headers_len == 0) {
            out.live.frames = "";
        }
        let short = |n: usize| u16::try_from(n).expect("a control line is shorter than 64 KiB");
        let long = |n: usize| u32::try_from(n).expect("a read is shorter than 4 GiB");
        let from = subject.start;
        let item = long(out.live.items.len());
        out.live.terms.extend(terms.map(|terms| (item, terms)));
        out.live.items.push(LiveItem {
            at: long(at + from),
            subject_len: short(subject.len()),
            reply_at: if reply.is_empty() { 0 } else { short(reply.start - from) },
            reply_len: short(reply.len()),
            headers_at: short(payload.start - from),
            headers_len: long(*headers_len),
            body_len: long(payload.len() - headers_len),
            tell_unheard: self.options.no_responders && !reply.is_empty() && !serves,
            shown_len: 0,
        });
    }
}
