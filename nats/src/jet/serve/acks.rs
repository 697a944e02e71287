//! Acknowledgements: settles of the group that the subject names, in the order they came.

use super::{Jet, share};
use crate::jet::ack::{Ack, AckSubject};
use crate::jet::api::Consumer;
use crate::jet::stored::Message;
use bytes::Bytes;
use stele_model::id::Position;
use stele_model::op::Op;
use stele_model::settle::Run;
use stele_model::share::{ShareHow, ShareSettle, ShareSettles};

impl Jet {
    /// What a client says of a delivery. What does not name one means nothing; what says nothing known changes nothing, and is answered.
    pub(super) fn acknowledge(&mut self, subject: &str, message: &Message<'_>) {
        let Some(of) = AckSubject::parse(subject) else { return };
        let (how, next) = match Ack::parse(message.body) {
            Ack::Ack => (ShareHow::Accept, None),
            Ack::Next(pull) => (ShareHow::Accept, Some(pull)),
            Ack::Nak(delay) => {
                (ShareHow::Release { delay_us: delay.map_or(0, |nanos| nanos.div_ceil(1000)) }, None)
            }
            Ack::Progress => (ShareHow::Extend, None),
            Ack::Term(reason) => (ShareHow::Terminate { reason: reason.to_owned() }, None),
            Ack::Unknown => return self.desk.say(message.reply, b"", b""),
        };
        let Some(position) = of.stream_seq.checked_sub(1) else { return };
        self.settle(&of, Position(position), how);
        match next {
            Some(pull) => {
                let consumer = Consumer { stream: of.stream, name: of.consumer };
                self.attach(consumer, message.reply, &pull);
            }
            None if !message.reply.is_empty() => self.settle_awaited(message.reply),
            None => {}
        }
    }

    /// Adds a settle to those of this read: neighbours of one group that end alike are one.
    fn settle(&mut self, of: &AckSubject<'_>, position: Position, how: ShareHow) {
        let run = Run { first: position, count: 1 };
        let share = share(of.stream, of.consumer);
        // An acknowledgement of an earlier delivery counts as well: the work is done.
        let delivery = match how {
            ShareHow::Accept | ShareHow::Terminate { .. } => 0,
            ShareHow::Release { .. } | ShareHow::Extend => u32::try_from(of.delivered).unwrap_or(0),
        };
        if let Some(last) = self.desk.settles.last_mut()
            && last.share == share
            && last.how == how
            && last.delivery == delivery
        {
            match last.runs.last_mut() {
                Some(before) if before.first.0 + u64::from(before.count) == position.0 => before.count += 1,
                _ => last.runs.push(run),
            }
            return;
        }
        self.desk.settles.push(ShareSettle { share, how, runs: vec![run], delivery });
    }

    /// The settles up to here leave, and their sender is told when that is safe.
    fn settle_awaited(&mut self, reply: &[u8]) {
        let settles = std::mem::take(&mut self.desk.settles);
        let ticket = self.numbers.next();
        self.settling.insert(ticket, Bytes::copy_from_slice(reply));
        self.desk.submit(ticket, Op::SettleShares(ShareSettles { settles, awaited: true }));
    }
}
