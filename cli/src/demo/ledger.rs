//! The demo's memory of every order: what was placed, and where it ended. Pure; it knows nothing of the broker it judges.
//!
//! An order ends once: shipped, or parked after its last try. The recommendation service sees each placed order once, and each paid
//! one. A repeat that the broker marks as redelivered is allowed (delivery is at least once); any other repeat was invented.

use std::collections::BTreeMap;
use std::fmt;

/// What a service says has happened to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Paid, and told so to the exchange.
    Paid,
    /// Shipped: an end.
    Shipped,
    /// Parked after the last try: an end.
    Parked,
    /// The recommendation service saw it placed.
    SawPlaced,
    /// The recommendation service saw it paid.
    SawPaid,
    /// The audit read it from the stream, as a Kafka client.
    Audited,
}

const STEPS: usize = 6;

/// How often each step happened to one order, and whether the broker confirmed it.
#[derive(Clone, Copy, Debug, Default)]
struct Order {
    confirmed: bool,
    steps: [u32; STEPS],
}

impl Order {
    fn had(&self, step: Step) -> bool {
        self.steps[step as usize] > 0
    }

    fn ended(&self) -> bool {
        self.had(Step::Shipped) || self.had(Step::Parked)
    }

    /// Nothing more is to come.
    fn complete(&self, audited: bool) -> bool {
        if audited && !self.had(Step::Audited) {
            return false;
        }
        let paid = self.had(Step::Paid) || self.had(Step::Shipped);
        self.ended() && self.had(Step::SawPlaced) && (!paid || self.had(Step::SawPaid))
    }

    fn contradicts_itself(&self) -> bool {
        self.had(Step::Shipped) && self.had(Step::Parked)
    }
}

/// All orders of one run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// There is an audit: it reads each order once.
    audited: bool,
    orders: BTreeMap<u64, Order>,
    /// Tries that failed.
    failures: u64,
    /// Publishes that the broker refused.
    refused: u64,
    /// Repeats that were marked as such.
    repeats: u64,
    /// Steps of orders that nobody placed, or that happened again unmarked.
    invented: u64,
}

impl Ledger {
    /// A ledger without orders.
    pub(crate) fn new(audited: bool) -> Self {
        Self { audited, ..Self::default() }
    }

    /// An order is about to be published.
    pub(crate) fn place(&mut self, order: u64) {
        self.orders.insert(order, Order::default());
    }

    /// The broker has answered for an order.
    pub(crate) fn answer(&mut self, order: u64, confirmed: bool) {
        if confirmed {
            self.orders.entry(order).or_default().confirmed = true;
        } else {
            self.refused += 1;
        }
    }

    /// A service tried and failed.
    pub(crate) fn fail(&mut self) {
        self.failures += 1;
    }

    /// A message that is none of this run's.
    pub(crate) fn stranger(&mut self) {
        self.invented += 1;
    }

    /// Something happened to an order; `redelivered` is what the broker said of the message.
    pub(crate) fn step(&mut self, order: u64, step: Step, redelivered: bool) {
        let Some(order) = self.orders.get_mut(&order) else {
            self.invented += 1;
            return;
        };
        if order.had(step) {
            if redelivered {
                self.repeats += 1;
            } else {
                self.invented += 1;
            }
            return;
        }
        order.steps[step as usize] += 1;
        if order.contradicts_itself() {
            self.invented += 1;
        }
    }

    /// Every confirmed order has come to its end.
    pub(crate) fn complete(&self) -> bool {
        self.orders.values().all(|order| !order.confirmed || order.complete(self.audited))
    }

    /// The counts of this moment.
    pub(crate) fn tally(&self) -> Tally {
        let count = |step| self.orders.values().filter(|order| order.had(step)).count() as u64;
        let confirmed = self.orders.values().filter(|order| order.confirmed).count() as u64;
        let is_lost = |order: &&Order| order.confirmed && !order.complete(self.audited);
        let lost = self.orders.values().filter(is_lost).count() as u64;
        Tally {
            placed: self.orders.len() as u64,
            confirmed,
            refused: self.refused,
            failures: self.failures,
            paid: count(Step::Paid),
            shipped: count(Step::Shipped),
            parked: count(Step::Parked),
            seen: count(Step::SawPlaced) + count(Step::SawPaid),
            audited: self.audited.then(|| count(Step::Audited)),
            repeats: self.repeats,
            lost,
            invented: self.invented,
        }
    }
}

/// Counts of a ledger. `lost` means "not there yet" while the demo runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) placed: u64,
    pub(crate) confirmed: u64,
    pub(crate) refused: u64,
    pub(crate) failures: u64,
    pub(crate) paid: u64,
    pub(crate) shipped: u64,
    pub(crate) parked: u64,
    pub(crate) seen: u64,
    /// Orders that the audit has read; `None`: there is no audit.
    pub(crate) audited: Option<u64>,
    pub(crate) repeats: u64,
    pub(crate) lost: u64,
    pub(crate) invented: u64,
}

impl Tally {
    /// Something was published, and everything confirmed came to one end.
    pub(crate) fn is_good(&self) -> bool {
        self.confirmed > 0 && self.lost == 0 && self.invented == 0
    }

    /// The end of the demo, in words.
    pub(crate) fn verdict(&self) -> String {
        let Self { placed, confirmed, refused, failures, shipped, parked, repeats, lost, invented, .. } =
            self;
        format!(
            "{placed} orders placed, {confirmed} confirmed, {refused} refused: {shipped} shipped, {parked} parked, \
             {failures} tries failed, {repeats} redelivered\n{lost} lost, {invented} invented\n"
        )
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { placed, paid, failures, parked, shipped, seen, audited, .. } = self;
        write!(
            f,
            "placed {placed:>6}  paid {paid:>6}  failed tries {failures:>5}  parked {parked:>4}  shipped {shipped:>6}  \
             recommendation saw {seen:>6}"
        )?;
        audited.map_or(Ok(()), |audited| write!(f, "  audit (Kafka) {audited:>6}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(steps: &[(Step, bool)]) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.place(1);
        ledger.answer(1, true);
        for (step, redelivered) in steps {
            ledger.step(1, *step, *redelivered);
        }
        ledger
    }

    const SHIPPED: [(Step, bool); 4] =
        [(Step::SawPlaced, false), (Step::Paid, false), (Step::SawPaid, false), (Step::Shipped, false)];

    #[test]
    fn an_order_that_is_shipped_or_parked_and_seen_is_complete() {
        assert!(one(&SHIPPED).complete() && one(&SHIPPED).tally().is_good());
        let parked = one(&[(Step::Parked, false), (Step::SawPlaced, false)]);
        assert!(parked.complete() && parked.tally().is_good());
    }

    #[test]
    fn where_there_is_an_audit_it_reads_each_order_once() {
        let mut ledger = one(&SHIPPED);
        ledger.audited = true;
        assert_eq!(ledger.tally().lost, 1);
        ledger.step(1, Step::Audited, false);
        assert!(ledger.tally().is_good());
        ledger.step(1, Step::Audited, false);
        assert_eq!(ledger.tally().invented, 1);
    }

    #[test]
    fn each_missing_step_is_a_loss() {
        for missing in [Step::SawPlaced, Step::SawPaid, Step::Shipped] {
            let steps: Vec<_> = SHIPPED.into_iter().filter(|(step, _)| *step != missing).collect();
            let tally = one(&steps).tally();
            assert_eq!((tally.lost, tally.is_good()), (1, false), "without {missing:?}");
        }
    }

    #[test]
    fn repeats_are_allowed_only_when_marked() {
        for (step, _) in SHIPPED {
            let marked = one(&[&SHIPPED[..], &[(step, true)]].concat()).tally();
            assert_eq!((marked.repeats, marked.is_good()), (1, true));
            let unmarked = one(&[&SHIPPED[..], &[(step, false)]].concat()).tally();
            assert_eq!((unmarked.invented, unmarked.is_good()), (1, false));
        }
    }

    #[test]
    fn two_ends_strangers_and_orders_nobody_placed_are_inventions() {
        assert_eq!(one(&[&SHIPPED[..], &[(Step::Parked, false)]].concat()).tally().invented, 1);
        let mut ledger = one(&SHIPPED);
        ledger.step(2, Step::Shipped, true);
        ledger.stranger();
        assert_eq!(ledger.tally().invented, 2);
    }

    #[test]
    fn what_was_never_confirmed_is_not_lost_and_nothing_confirmed_is_not_good() {
        let mut ledger = Ledger::default();
        ledger.place(1);
        ledger.answer(1, false);
        assert!(ledger.complete());
        assert_eq!((ledger.tally().lost, ledger.tally().is_good()), (0, false));
    }
}
