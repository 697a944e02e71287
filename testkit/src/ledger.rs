//! What publishers and consumers saw of a broker that was killed again and again, and whether that may be.
//!
//! Written by the kill loop's clients, judged at the end. It knows numbers and times, no protocol. A *lane* is one publisher's records in
//! one queue; an *epoch* lasts from one kill to the next. What must hold:
//!
//! - nothing confirmed is lost: it is delivered at least once in each of its lanes;
//! - nothing is invented: what is delivered was sent;
//! - order is kept: within an epoch a lane's numbers only grow;
//! - what was durably settled does not come back. Nobody confirms a settle, but what is answered waits for all that its shard saw before
//!   (S2): once a question about the queue, asked behind its settles, has its answer, they count. Those after it may be lost with a kill.

use std::collections::BTreeMap;

/// At most so many violations are kept; one is enough.
const VIOLATIONS_MAX: usize = 20;

/// Number of a publisher.
pub type Publisher = usize;
/// Number of a queue.
pub type Queue = usize;

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By publisher, by sequence number: whether it was confirmed.
    sent: Vec<Vec<bool>>,
    lanes: BTreeMap<(Publisher, Queue), Lane>,
    settles: BTreeMap<Queue, Settles>,
    /// How often the broker was killed.
    kills: usize,
    violations: Vec<String>,
}

/// The settles of a queue, counted.
#[derive(Clone, Debug, Default)]
struct Settles {
    sent: u64,
    /// The first so many are durable, but for those that a kill has taken.
    durable: u64,
    /// By kill: how many were durable then. What was sent and not durable may be lost, whatever became durable later.
    at_kills: Vec<u64>,
}

#[derive(Debug, Default)]
struct Lane {
    /// By sequence number.
    seen: Vec<Seen>,
    /// The highest number delivered since the last kill.
    last: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    delivered: bool,
    /// As which settle of its queue, and after how many kills.
    settled: Option<(u64, usize)>,
}

/// Totals, for the last line of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records handed to a client library.
    pub sent: u64,
    /// Of these, confirmed by the broker.
    pub confirmed: u64,
    /// Distinct records delivered, once per queue.
    pub delivered: u64,
    /// Of these, acknowledged.
    pub settled: u64,
}

impl Ledger {
    /// Publishers, each with the queues that its records go to.
    #[must_use]
    pub fn new(publishers: &[Vec<Queue>]) -> Self {
        let lanes = publishers.iter().enumerate().flat_map(|(publisher, queues)| {
            queues.iter().map(move |queue| ((publisher, *queue), Lane::default()))
        });
        let queues = publishers.iter().flatten().map(|queue| (*queue, Settles::default()));
        Self {
            sent: vec![Vec::new(); publishers.len()],
            lanes: lanes.collect(),
            settles: queues.collect(),
            ..Self::default()
        }
    }

    /// A publisher is about to send its next record; returns the record's number.
    pub fn sent(&mut self, publisher: Publisher) -> u64 {
        let numbers = &mut self.sent[publisher];
        numbers.push(false);
        numbers.len() as u64 - 1
    }

    /// The broker confirmed it.
    pub fn confirmed(&mut self, publisher: Publisher, number: u64) {
        match self.sent[publisher].get_mut(index(number)) {
            Some(confirmed) => *confirmed = true,
            None => {
                self.violation(format!("publisher {publisher}: {number} is confirmed and was never sent"))
            }
        }
    }

    /// A consumer of the queue was given it.
    pub fn delivered(&mut self, publisher: Publisher, queue: Queue, number: u64) {
        let what = format!("publisher {publisher}, queue {queue}, number {number}");
        let sent = self.sent.get(publisher).is_some_and(|numbers| index(number) < numbers.len());
        let Some(lane) = self.lanes.get_mut(&(publisher, queue)).filter(|_| sent) else {
            return self.violation(format!("invented: {what} was never sent"));
        };
        let previous = lane.last.replace(number);
        let seen = lane.seen(number);
        let settled = seen.settled.take();
        seen.delivered = true;
        if let Some(previous) = previous.filter(|previous| *previous >= number) {
            self.violation(format!("order: {what} came after {previous}"));
        }
        let Some((settle, epoch)) = settled else { return };
        if epoch == self.kills {
            self.violation(format!("twice: {what} came back without a kill after it was settled"));
        } else if self.settles.get(&queue).is_some_and(|settles| settle < settles.at_kills[epoch]) {
            self.violation(format!("undead: {what} was durably settled before the kill and came back"));
        }
    }

    /// A consumer sent its acknowledgement.
    pub fn settled(&mut self, publisher: Publisher, queue: Queue, number: u64) {
        let lane = self.lanes.get_mut(&(publisher, queue));
        if let (Some(lane), Some(settles)) = (lane, self.settles.get_mut(&queue)) {
            lane.seen(number).settled = Some((settles.sent, self.kills));
            settles.sent += 1;
        }
    }

    /// The consumer of the queue has the answer to what it asked behind all its acknowledgements so far.
    pub fn settles_are_durable(&mut self, queue: Queue) {
        if let Some(settles) = self.settles.get_mut(&queue) {
            settles.durable = settles.sent;
        }
    }

    /// The broker was killed, and every client has ended since: everybody starts over.
    pub fn killed(&mut self) {
        self.kills += 1;
        for settles in self.settles.values_mut() {
            settles.at_kills.push(settles.durable);
        }
        for lane in self.lanes.values_mut() {
            lane.last = None;
        }
    }

    /// Something else that must not be, found by a client: a body that differs from what was sent, say.
    pub fn violation(&mut self, text: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(text);
        }
    }

    /// How much was seen.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let seen = || self.lanes.values().flat_map(|lane| &lane.seen);
        Totals {
            sent: self.sent.iter().map(|numbers| numbers.len() as u64).sum(),
            confirmed: self.sent.iter().flatten().filter(|confirmed| **confirmed).count() as u64,
            delivered: seen().filter(|seen| seen.delivered).count() as u64,
            settled: seen().filter(|seen| seen.settled.is_some()).count() as u64,
        }
    }

    /// After the queues were drained: all that is wrong, empty if nothing is.
    #[must_use]
    pub fn verdict(&self) -> Vec<String> {
        let mut violations = self.violations.clone();
        for (&(publisher, queue), lane) in &self.lanes {
            let confirmed = self.sent[publisher]
                .iter()
                .enumerate()
                .filter(|(_, confirmed)| **confirmed)
                .map(|(number, _)| number);
            let lost: Vec<usize> = confirmed
                .filter(|number| !lane.seen.get(*number).is_some_and(|seen| seen.delivered))
                .collect();
            if let (Some(first), Some(last)) = (lost.first(), lost.last()) {
                let count = lost.len();
                violations.push(format!("lost: publisher {publisher}, queue {queue}: {count} confirmed records from {first} to {last}"));
            }
        }
        violations
    }
}

impl Lane {
    fn seen(&mut self, number: u64) -> &mut Seen {
        let at = index(number);
        if self.seen.len() <= at {
            self.seen.resize(at + 1, Seen::default());
        }
        &mut self.seen[at]
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("fewer records than memory has bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One publisher, one queue, three records sent and confirmed.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(&[vec![0]]);
        for _ in 0..3 {
            let number = ledger.sent(0);
            ledger.confirmed(0, number);
        }
        ledger
    }

    fn deliver(ledger: &mut Ledger, numbers: &[u64]) {
        numbers.iter().for_each(|number| ledger.delivered(0, 0, *number));
    }

    fn check(ledger: &Ledger, wanted: &[&str]) {
        let verdict = ledger.verdict();
        assert_eq!(verdict.len(), wanted.len(), "{verdict:?}");
        for (found, wanted) in verdict.iter().zip(wanted) {
            assert!(found.starts_with(wanted), "{verdict:?}");
        }
    }

    #[test]
    fn a_broker_that_delivers_everything_in_order_is_right() {
        let mut ledger = ledger();
        deliver(&mut ledger, &[0, 1, 2]);
        check(&ledger, &[]);
        assert_eq!(ledger.totals(), Totals { sent: 3, confirmed: 3, delivered: 3, settled: 0 });
    }

    #[test]
    fn a_confirmed_record_that_never_comes_is_lost() {
        let mut ledger = ledger();
        deliver(&mut ledger, &[0, 2]);
        check(&ledger, &["lost: publisher 0, queue 0: 1 confirmed records from 1 to 1"]);
    }

    #[test]
    fn an_unconfirmed_record_may_be_lost_or_not() {
        let mut ledger = ledger();
        ledger.sent(0);
        deliver(&mut ledger, &[0, 1, 2]);
        check(&ledger, &[]);
        deliver(&mut ledger, &[3]);
        check(&ledger, &[]);
    }

    #[test]
    fn a_record_that_nobody_sent_is_invented() {
        let mut ledger = ledger();
        deliver(&mut ledger, &[0, 1, 2, 3]);
        ledger.delivered(0, 9, 0);
        check(&ledger, &["invented", "invented"]);
    }

    #[test]
    fn a_record_that_overtakes_breaks_the_order() {
        let mut ledger = ledger();
        deliver(&mut ledger, &[0, 2, 1]);
        check(&ledger, &["order"]);
    }

    #[test]
    fn after_a_kill_what_was_not_settled_may_come_again() {
        let mut ledger = ledger();
        deliver(&mut ledger, &[0, 1]);
        ledger.killed();
        deliver(&mut ledger, &[0, 1, 2]);
        check(&ledger, &[]);
    }

    #[test]
    fn what_was_durably_settled_before_a_kill_must_not_come_back() {
        let run = |again: &[u64]| {
            let mut ledger = ledger();
            deliver(&mut ledger, &[0, 1]);
            ledger.settled(0, 0, 0);
            ledger.settles_are_durable(0);
            ledger.settled(0, 0, 1);
            ledger.killed();
            deliver(&mut ledger, again);
            ledger
        };
        check(&run(&[1, 2]), &[]);
        check(&run(&[0, 1, 2]), &["undead: publisher 0, queue 0, number 0"]);

        // What a kill may have taken stays taken, though later settles of the queue are durable.
        let mut ledger = run(&[2]);
        ledger.settled(0, 0, 2);
        ledger.settles_are_durable(0);
        ledger.killed();
        deliver(&mut ledger, &[1]);
        check(&ledger, &[]);
    }

    #[test]
    fn what_was_settled_comes_back_only_after_a_kill() {
        let mut ledger = ledger();
        deliver(&mut ledger, &[0]);
        ledger.settled(0, 0, 0);
        deliver(&mut ledger, &[1, 2]);
        check(&ledger, &[]);
        deliver(&mut ledger, &[0]);
        check(&ledger, &["order", "twice"]);
    }
}
