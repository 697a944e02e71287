//! What parts of a node say to each other goes through these: ordered, bounded, and looked into by the scheduler only.
//!
//! A turn may say more than there is room for; the rest stays in the sender's hands, which is what stands above `room`. A
//! sender that may wait ([`WAITS`]) then takes no new work until there is room again. One that must not wait (a shard never
//! waits for a hub, S29) goes on: what it owes is bounded by credit and by open requests, and the bound is asserted.

use std::collections::VecDeque;

/// A part of the node, as far as waiting goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A client of whatever kind.
    Client,
    /// An IO thread's hub.
    Hub,
    /// The registry with its log.
    Registry,
    /// A shard with its log.
    Shard,
    /// The log below a machine.
    Log,
}

/// Who may wait for whom: the first takes no new work while a channel to the second is full. Without a circle, so that somebody
/// can always go on (S29).
pub const WAITS: &[(Part, Part)] = &[
    (Part::Client, Part::Hub),
    (Part::Hub, Part::Registry),
    (Part::Hub, Part::Shard),
    (Part::Registry, Part::Shard),
    (Part::Registry, Part::Log),
    (Part::Shard, Part::Log),
];

/// Most that a sender which does not wait may owe one receiver. Clients give credit for at most some dozens of records each.
const OWED_MAX: usize = 20_000;

/// An ordered channel with room for `room` messages.
#[derive(Debug)]
pub struct Channel<T> {
    room: usize,
    queue: VecDeque<T>,
}

impl<T> Channel<T> {
    /// An empty channel. `room` is at least 1.
    #[must_use]
    pub fn new(room: usize) -> Self {
        assert!(room > 0, "a channel without room never moves");
        Self { room, queue: VecDeque::new() }
    }

    /// Says something.
    pub fn send(&mut self, message: T) {
        self.queue.push_back(message);
        assert!(self.queue.len() <= self.room + OWED_MAX, "S29: what a part owes another is bounded");
    }

    /// Hears the next.
    pub fn take(&mut self) -> Option<T> {
        self.queue.pop_front()
    }

    /// There is nothing to hear.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// A sender that may wait takes no new work.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue.len() >= self.room
    }

    /// How many messages are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Everything under way is lost.
    pub fn clear(&mut self) {
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes away, again and again, whoever waits for nobody that is left.
    #[test]
    fn nobody_waits_for_who_waits_for_him() {
        let mut left = WAITS.to_vec();
        loop {
            let before = left.len();
            let waiting = left.clone();
            left.retain(|(_, on)| waiting.iter().any(|(who, _)| who == on));
            if left.len() == before {
                break;
            }
        }
        assert_eq!(left, [], "these wait in a circle");
    }

    #[test]
    fn what_does_not_fit_stays_with_the_sender_in_order() {
        let mut channel = Channel::new(1);
        channel.send(1);
        channel.send(2);
        assert!(channel.is_full());
        assert_eq!((channel.take(), channel.is_full(), channel.take()), (Some(1), true, Some(2)));
    }
}
