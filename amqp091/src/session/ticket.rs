//! What the session has asked for and not been answered yet.

use super::consume::Consumer;
use super::publish::Publishing;
use crate::codec::method::Method;
use std::collections::VecDeque;
use stele_model::id::Ticket;

/// A request under way.
#[derive(Debug)]
pub(super) enum Pending {
    /// A batch of publishes.
    Publish(Publishing),
    /// The answer that the parsing waits for: [`Waiting`] knows what to do with it.
    Waiting,
    /// The end of a consumer whose channel was closed.
    ConsumerGone,
}

/// Requests under way, by ticket. Tickets are dense, and answers come nearly in order, so this is a window.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    /// Tickets given before the window.
    before: u64,
    window: VecDeque<Option<Pending>>,
}

impl Tickets {
    /// The next ticket; never 0, which stands for "no answer".
    pub(super) fn issue(&mut self, pending: Pending) -> Ticket {
        self.window.push_back(Some(pending));
        Ticket(self.before + self.window.len() as u64)
    }

    fn slot(&mut self, ticket: Ticket) -> Option<&mut Option<Pending>> {
        let index = ticket.0.checked_sub(self.before + 1)?;
        self.window.get_mut(usize::try_from(index).ok()?)
    }

    /// Looks at a request without ending it.
    pub(super) fn get(&mut self, ticket: Ticket) -> Option<&Pending> {
        self.slot(ticket)?.as_ref()
    }

    /// Ends a request.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<Pending> {
        let pending = self.slot(ticket)?.take();
        while let Some(None) = self.window.front() {
            self.window.pop_front();
            self.before += 1;
        }
        pending
    }
}

/// The one request that the parsing waits for.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Its ticket; 0 if the answer does not come by ticket.
    pub(super) ticket: Ticket,
    /// Who asked; 0 for the connection.
    pub(super) channel: u16,
    /// By which method.
    pub(super) method: (u16, u16),
    /// What to do with the answer.
    pub(super) what: Awaited,
}

/// What to do with an answer.
#[derive(Debug)]
pub(super) enum Awaited {
    /// `connection.open`.
    Opened,
    /// Publishes of the channel before this are to be answered first; then the method is read again.
    Publishes,
    /// `channel.close`: these consumers are to be gone.
    Closed {
        /// The requests by which they end.
        left: Vec<Ticket>,
    },
    /// `tx.commit`: its publishes are to be answered.
    Committed,
    /// Reply with this, if anything.
    Unit(Option<Method<'static>>),
    /// `queue.declare`.
    Queue {
        /// Do not reply.
        no_wait: bool,
    },
    /// `queue.delete`.
    Deleted {
        /// Do not reply.
        no_wait: bool,
    },
    /// `queue.purge`.
    Purged {
        /// Do not reply.
        no_wait: bool,
    },
    /// `basic.consume`.
    Subscribed {
        /// Its number.
        subscription: u64,
        /// The consumer to be.
        consumer: Box<Consumer>,
        /// Do not reply.
        no_wait: bool,
    },
    /// `basic.cancel`.
    Unsubscribed {
        /// Whose end it is.
        subscription: u64,
        /// Its consumer tag: the reply names it, also when the server has ended the consumer meanwhile.
        tag: Box<[u8]>,
        /// Do not reply.
        no_wait: bool,
    },
    /// `basic.get`.
    Got {
        /// No acknowledgement will come.
        no_ack: bool,
    },
}

impl Waiting {
    /// For a method of a channel; the ticket is filled in when it is sent.
    pub(super) fn new(channel: u16, method: &Method<'_>, what: Awaited) -> Self {
        Self { ticket: Ticket(0), channel, method: method.id(), what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_as_long_as_what_is_under_way() {
        let mut tickets = Tickets::default();
        let issued: Vec<Ticket> = (0..4).map(|_| tickets.issue(Pending::Waiting)).collect();
        assert_eq!(issued[0], Ticket(1), "0 stands for no answer");
        assert!(tickets.take(Ticket(0)).is_none());
        for (ticket, left) in [(issued[1], 4), (issued[0], 2), (issued[3], 2), (issued[2], 0)] {
            assert!(tickets.take(ticket).is_some());
            assert!(tickets.take(ticket).is_none(), "a request ends once");
            assert_eq!(tickets.window.len(), left);
        }
        assert_eq!(tickets.issue(Pending::Waiting), Ticket(5));
    }
}
