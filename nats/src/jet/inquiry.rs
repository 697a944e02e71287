//! One request to JetStream's API by the server itself, for those who look at it from outside (`/jsz`).
//!
//! A session without a socket, like [`super::push`]: it opens its namespace, asks as a client would, hands the answer over and ends.
//! What must hold: the answer is handed over once, and goes nowhere else.

use super::api;
use super::serve::Jet;
use super::stored::Message;
use stele_model::id::{Now, Ticket};
use stele_model::live::LiveItem;
use stele_model::op::{Op, Submit};
use stele_model::outcome::{Deliveries, Outcome, Wake};
use stele_model::session::{Outbox, Principal, Rejected, Session};

/// The ticket by which the namespace is opened.
const OPEN: Ticket = Ticket(0);

/// Where a client would expect the answer.
const REPLY: &[u8] = b"_INQUIRY";

/// Takes the answer.
pub type Answer = Box<dyn FnOnce(&[u8]) + Send>;

/// See the module.
pub struct Inquiry {
    namespace: String,
    subject: String,
    body: String,
    jet: Jet,
    is_open: bool,
    answer: Option<Answer>,
}

impl Inquiry {
    /// Asks `$JS.API.` and `subject` in a namespace.
    #[must_use]
    pub fn new(namespace: &str, subject: &str, body: &str, answer: Answer) -> Self {
        Self {
            namespace: namespace.to_owned(),
            subject: format!("{}{subject}", api::PREFIX),
            body: body.to_owned(),
            jet: Jet::new(0),
            is_open: false,
            answer: Some(answer),
        }
    }

    /// What is asked of the hub goes out; what would be published is the answer.
    fn flush(&mut self, out: &mut Outbox) {
        let mut own = Outbox::default();
        self.jet.flush(&mut own);
        for submit in own.submits {
            let Op::Live(batch) = &submit.op else {
                out.submits.push(submit);
                continue;
            };
            let is_it = |item: &&LiveItem| batch.view().slice(item.subject()) == REPLY;
            if let Some(item) = batch.items.iter().find(is_it) {
                self.end(batch.view().slice(item.body()), out);
            }
        }
    }

    fn end(&mut self, answer: &[u8], out: &mut Outbox) {
        if let Some(tell) = self.answer.take() {
            tell(answer);
        }
        out.close = Some("the inquiry is answered".to_owned());
    }
}

impl Session for Inquiry {
    fn receive(&mut self, _: Now, input: &[u8], out: &mut Outbox) -> usize {
        if !self.is_open {
            self.is_open = true;
            let op = Op::Open { namespace: self.namespace.clone() };
            out.submits.push(Submit { ticket: OPEN, lane: 0, op });
        }
        input.len()
    }

    fn complete(&mut self, now: Now, ticket: Ticket, outcome: Outcome, out: &mut Outbox) {
        match outcome {
            Outcome::Done(_) if ticket == OPEN => {
                let (subject, body) = (self.subject.clone(), self.body.clone());
                let message = Message {
                    subject: subject.as_bytes(),
                    reply: REPLY,
                    headers: b"",
                    body: body.as_bytes(),
                };
                self.jet.receive(now, &message);
            }
            _ if ticket == OPEN => self.end(b"", out),
            outcome => self.jet.complete(now, ticket, outcome),
        }
        self.flush(out);
    }

    fn authenticated(&mut self, _: Now, _: Result<Principal, Rejected>, _: &mut Outbox) {}

    fn deliver(&mut self, _: Now, _: &Deliveries, _: &mut Outbox) {
        unreachable!("an inquiry subscribes to no queue");
    }

    fn wake(&mut self, _: Now, what: Wake, out: &mut Outbox) {
        if matches!(what, Wake::Close(_)) {
            self.end(b"", out);
        }
    }

    fn deadline(&self) -> Option<Now> {
        None
    }

    fn expire(&mut self, _: Now, _: &mut Outbox) {}

    fn client(&self) -> &str {
        "monitoring"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use stele_model::outcome::Done;

    #[test]
    fn an_answer_is_handed_over_and_published_to_nobody() {
        let (to, heard) = channel();
        let answer = move |answer: &[u8]| to.send(answer.to_vec()).unwrap();
        let mut inquiry = Inquiry::new("/", "STREAM.NAMES", "", Box::new(answer));
        let mut out = Outbox::default();
        inquiry.receive(Now(0), b"", &mut out);
        assert!(matches!(&out.submits[0].op, Op::Open { namespace } if namespace == "/"));
        inquiry.complete(Now(1), OPEN, Outcome::Done(Done::Opened), &mut out);
        let ticket = out.submits.last().unwrap().ticket;
        out.submits.clear();
        inquiry.complete(Now(2), ticket, Outcome::Done(Done::Streams(Vec::new())), &mut out);
        assert!(out.submits.is_empty() && out.close.is_some());
        let json: serde_json::Value = serde_json::from_slice(&heard.recv().unwrap()).unwrap();
        assert_eq!(json["total"], 0);
        assert!(heard.recv().is_err(), "it is answered once");
    }
}
