//! `tx.select`, `tx.commit`, `tx.rollback`: publishes and acknowledgements of a channel, kept until the client decides.
//!
//! What a commit promises is what RabbitMQ's does: the publishes go out together and `tx.commit-ok` comes when all of them are
//! durable; then the acknowledgements take effect. It is not atomic over several queues: if one refuses, the others stand, and the
//! channel ends with "partial tx completion".

use super::Connection;
use super::publish::Traits;
use super::settle::Held;
use super::ticket::{Awaited, Waiting};
use crate::codec::method::Method;
use crate::profile::TX_BYTES_MAX;
use crate::refuse::{Code, Exception};
use bytes::BytesMut;
use stele_model::session::Outbox;
use stele_model::settle::How;

/// An open transaction of a channel.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    publishes: Vec<(BytesMut, Traits)>,
    /// Octets of their records.
    bytes: usize,
    settles: Vec<(Held, How)>,
    /// A publish was refused while committing.
    pub(super) refused: bool,
}

impl Transaction {
    /// Keeps a publish.
    pub(super) fn publish(&mut self, record: BytesMut, traits: Traits) -> Result<(), Exception> {
        self.bytes += record.len();
        if self.bytes > TX_BYTES_MAX {
            let text = format!("a transaction of more than {TX_BYTES_MAX} octets");
            return Err(Exception::new(Code::PreconditionFailed, text));
        }
        self.publishes.push((record, traits));
        Ok(())
    }

    /// Keeps an acknowledgement.
    pub(super) fn settle(&mut self, held: Held, how: How) {
        self.settles.push((held, how));
    }

    /// Deliveries whose acknowledgements were kept.
    pub(super) fn held(&self) -> impl Iterator<Item = Held> {
        self.settles.iter().map(|(held, _)| *held)
    }
}

impl Connection {
    pub(super) fn tx_method(
        &mut self,
        number: u16,
        method: &Method<'_>,
        out: &mut Outbox,
    ) -> Result<(), Exception> {
        let Some(channel) = self.channels.live(number) else { return Ok(()) };
        let precondition = |text: &str| Exception::new(Code::PreconditionFailed, text);
        match (method, &mut channel.tx) {
            (Method::TxSelect {}, _) if channel.confirms.is_some() => {
                return Err(precondition("cannot switch from confirm to tx mode"));
            }
            (Method::TxSelect {}, tx) => {
                tx.get_or_insert_default();
                self.reply(number, &Method::TxSelectOk {}, out);
            }
            (Method::TxCommit {}, Some(tx)) => {
                let publishes = std::mem::take(&mut tx.publishes);
                tx.bytes = 0;
                for (record, traits) in publishes {
                    self.append(number, &record, &traits, out);
                }
                self.flush(out);
                if self.channels.get(number).is_some_and(|channel| channel.batches > 0) {
                    self.waiting = Some(Waiting::new(number, method, Awaited::Committed));
                } else {
                    self.committed(number, out)?;
                }
            }
            (Method::TxRollback {}, Some(tx)) => {
                let settles = std::mem::take(tx).settles;
                channel.unacked.put_back(settles.into_iter().map(|(held, _)| held));
                self.reply(number, &Method::TxRollbackOk {}, out);
            }
            (_, None) => return Err(precondition("channel is not transactional")),
            (other, Some(_)) => unreachable!("called for tx.* only, not for {other:?}"),
        }
        Ok(())
    }

    /// All publishes of a commit were answered.
    pub(super) fn committed(&mut self, number: u16, out: &mut Outbox) -> Result<(), Exception> {
        let Some(channel) = self.channels.live(number) else { return Ok(()) };
        let Some(tx) = &mut channel.tx else { return Ok(()) };
        let settles = std::mem::take(&mut tx.settles);
        let freed = settles.iter().filter(|(held, _)| held.in_window).count();
        for (held, how) in settles {
            self.settles.add(held.subscription, held.queue, how, held.position);
        }
        channel.window.free(u32::try_from(freed).expect("no more than the window holds"));
        if std::mem::take(&mut tx.refused) {
            return Err(Exception::new(Code::PreconditionFailed, "partial tx completion").by((90, 20)));
        }
        self.reply(number, &Method::TxCommitOk {}, out);
        self.release_held_back(number, out)
    }
}
