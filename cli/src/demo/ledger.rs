//! The demo's memory of every order: what was placed, and where it ended. Pure; it knows nothing of the broker it judges.
//!
//! An order ends once: shipped, or parked after its last try. The recommendation service sees each placed order once, and each paid
//! one. A repeat that the broker marks as redelivered is allowed (delivery is at least once); any other repeat was invented. Where there
//! are other readers, the audit reads each order once, the board hears each of its events once, and its status is its end.

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

/// What the shop tells everybody of an order, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// It was placed.
    Placed,
    /// It was paid.
    Paid,
    /// It was shipped: an end.
    Shipped,
    /// It was parked: an end.
    Parked,
}

impl Event {
    pub(crate) const ALL: [Self; 4] = [Self::Placed, Self::Paid, Self::Shipped, Self::Parked];

    /// Its name: the last word of its subject, and an order's status after it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Paid => "paid",
            Self::Shipped => "shipped",
            Self::Parked => "parked",
        }
    }

    pub(crate) fn by_word(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.word().as_bytes() == word)
    }

    /// The subject that it is published to.
    pub(crate) fn subject(self) -> String {
        format!("stele-demo.order.{}", self.word())
    }

    /// The event that is published to this subject.
    pub(crate) fn of(subject: &str) -> Option<Self> {
        Self::by_word(subject.strip_prefix("stele-demo.order.")?.as_bytes())
    }
}

/// Who reads of the orders besides the services.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Readers {
    /// The audit, by Kafka.
    pub(crate) kafka: bool,
    /// The board and the statuses, by NATS.
    pub(crate) nats: bool,
}

/// How often each step happened to one order, and whether the broker confirmed it.
#[derive(Clone, Copy, Debug, Default)]
struct Order {
    confirmed: bool,
    steps: [u32; STEPS],
    /// Which events the board heard.
    heard: [bool; Event::ALL.len()],
    /// The status that was kept of it last.
    kept: Option<Event>,
}

impl Order {
    fn had(&self, step: Step) -> bool {
        self.steps[step as usize] > 0
    }

    fn end(&self) -> Option<Event> {
        match (self.had(Step::Shipped), self.had(Step::Parked)) {
            (true, _) => Some(Event::Shipped),
            (false, true) => Some(Event::Parked),
            (false, false) => None,
        }
    }

    fn paid(&self) -> bool {
        self.had(Step::Paid) || self.had(Step::Shipped)
    }

    /// Nothing more is to come.
    fn complete(&self, readers: Readers) -> bool {
        (!readers.kafka || self.had(Step::Audited))
            && (!readers.nats || self.told())
            && self.end().is_some()
            && self.had(Step::SawPlaced)
            && (!self.paid() || self.had(Step::SawPaid))
    }

    /// The board heard all of it, and its status is its end.
    fn told(&self) -> bool {
        let has_happened = |event| match event {
            Event::Placed => true,
            Event::Paid => self.paid(),
            Event::Shipped => self.had(Step::Shipped),
            Event::Parked => self.had(Step::Parked),
        };
        self.heard == Event::ALL.map(has_happened) && self.kept == self.end()
    }

    fn contradicts_itself(&self) -> bool {
        self.had(Step::Shipped) && self.had(Step::Parked)
    }
}

/// All orders of one run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    readers: Readers,
    orders: BTreeMap<u64, Order>,
    /// Tries that failed.
    failures: u64,
    /// Publishes that the broker refused.
    refused: u64,
    /// Repeats that were marked as such.
    repeats: u64,
    /// Steps of orders that nobody placed, or that happened again unmarked.
    invented: u64,
    /// Statuses that were read at the end, and how many of them were not as they should be.
    statuses: Option<(u64, u64)>,
}

impl Ledger {
    /// A ledger without orders.
    pub(crate) fn new(readers: Readers) -> Self {
        Self { readers, ..Self::default() }
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

    /// The board heard of an order. Nothing is told again to who listens live.
    pub(crate) fn hear(&mut self, order: u64, event: Event) {
        match self.orders.get_mut(&order).map(|order| &mut order.heard[event as usize]) {
            Some(heard) if !*heard => *heard = true,
            Some(_) | None => self.invented += 1,
        }
    }

    /// The status of an order is kept.
    pub(crate) fn keep(&mut self, order: u64, status: Event) {
        match self.orders.get_mut(&order) {
            Some(order) => order.kept = Some(status),
            None => self.invented += 1,
        }
    }

    /// Compares the statuses that were read back with what has happened: each order that was confirmed has its end, and nothing else is there.
    pub(crate) fn compare(&mut self, statuses: &BTreeMap<u64, Event>) {
        let is_wrong = |(number, order): &(&u64, &Order)| {
            let status = statuses.get(*number).copied();
            status != order.end() && (order.confirmed || status.is_some())
        };
        let wrong = self.orders.iter().filter(is_wrong).count();
        let strange = statuses.keys().filter(|order| !self.orders.contains_key(order)).count();
        self.statuses = Some((statuses.len() as u64, (wrong + strange) as u64));
    }

    /// Every confirmed order has come to its end.
    pub(crate) fn complete(&self) -> bool {
        self.orders.values().all(|order| !order.confirmed || order.complete(self.readers))
    }

    /// The counts of this moment.
    pub(crate) fn tally(&self) -> Tally {
        let count = |step| self.orders.values().filter(|order| order.had(step)).count() as u64;
        let confirmed = self.orders.values().filter(|order| order.confirmed).count() as u64;
        let is_lost = |order: &&Order| order.confirmed && !order.complete(self.readers);
        let lost = self.orders.values().filter(is_lost).count() as u64;
        let heard = |order: &Order| order.heard.iter().filter(|heard| **heard).count() as u64;
        Tally {
            placed: self.orders.len() as u64,
            confirmed,
            refused: self.refused,
            failures: self.failures,
            paid: count(Step::Paid),
            shipped: count(Step::Shipped),
            parked: count(Step::Parked),
            seen: count(Step::SawPlaced) + count(Step::SawPaid),
            audited: self.readers.kafka.then(|| count(Step::Audited)),
            heard: self.readers.nats.then(|| self.orders.values().map(heard).sum()),
            kept: self
                .readers
                .nats
                .then(|| self.orders.values().filter(|order| order.kept.is_some()).count() as u64),
            statuses: self.statuses,
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
    /// Events that the board has heard; `None`: there is no board.
    pub(crate) heard: Option<u64>,
    /// Orders whose status is kept.
    pub(crate) kept: Option<u64>,
    /// Statuses that were read back, and how many were wrong; `None`: none were read.
    pub(crate) statuses: Option<(u64, u64)>,
    pub(crate) repeats: u64,
    pub(crate) lost: u64,
    pub(crate) invented: u64,
}

impl Tally {
    /// Something was published, and everything confirmed came to one end, which is what its status says.
    pub(crate) fn is_good(&self) -> bool {
        let are_told = self.kept.is_none() || self.statuses.is_some_and(|(_, wrong)| wrong == 0);
        self.confirmed > 0 && self.lost == 0 && self.invented == 0 && are_told
    }

    /// The end of the demo, in words.
    pub(crate) fn verdict(&self) -> String {
        let Self { placed, confirmed, refused, failures, shipped, parked, repeats, lost, invented, .. } =
            self;
        let statuses = match self.statuses {
            Some((read, 0)) => format!(", all {read} statuses in the key-value bucket as they should be"),
            Some((_, wrong)) => format!(", {wrong} statuses in the key-value bucket wrong"),
            None => String::new(),
        };
        format!(
            "{placed} orders placed, {confirmed} confirmed, {refused} refused: {shipped} shipped, {parked} parked, \
             {failures} tries failed, {repeats} redelivered\n{lost} lost, {invented} invented{statuses}\n"
        )
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { placed, paid, failures, parked, shipped, seen, .. } = self;
        write!(
            f,
            "placed {placed:>5}  paid {paid:>5}  failed tries {failures:>4}  parked {parked:>3}  shipped {shipped:>5}  \
             seen {seen:>5}"
        )?;
        for (reader, count) in [("Kafka", self.audited), ("NATS", self.heard), ("KV", self.kept)] {
            if let Some(count) = count {
                write!(f, "  {reader} {count:>5}")?;
            }
        }
        Ok(())
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
        ledger.readers.kafka = true;
        assert_eq!(ledger.tally().lost, 1);
        ledger.step(1, Step::Audited, false);
        assert!(ledger.tally().is_good());
        ledger.step(1, Step::Audited, false);
        assert_eq!(ledger.tally().invented, 1);
    }

    /// An order that was shipped, and the board heard of it but for `missing`.
    fn heard_but_for(missing: Option<Event>) -> Ledger {
        let mut ledger = one(&SHIPPED);
        ledger.readers.nats = true;
        for event in [Event::Placed, Event::Paid, Event::Shipped] {
            if Some(event) != missing {
                ledger.hear(1, event);
                ledger.keep(1, event);
            }
        }
        ledger
    }

    #[test]
    fn where_there_is_a_board_it_hears_each_event_once_and_the_status_is_the_end() {
        for missing in [Event::Placed, Event::Paid, Event::Shipped] {
            assert_eq!(heard_but_for(Some(missing)).tally().lost, 1, "without {missing:?}");
        }
        let mut ledger = heard_but_for(None);
        assert!(ledger.complete());
        ledger.hear(1, Event::Paid);
        ledger.hear(2, Event::Paid);
        assert_eq!(ledger.tally().invented, 2);
    }

    #[test]
    fn statuses_are_good_only_if_they_were_read_and_are_as_they_should_be() {
        let verdict = |statuses: &[(u64, Event)]| {
            let mut ledger = heard_but_for(None);
            ledger.compare(&statuses.iter().copied().collect());
            (ledger.tally().statuses.unwrap().1, ledger.tally().is_good())
        };
        assert!(!heard_but_for(None).tally().is_good(), "nobody has read them");
        assert_eq!(verdict(&[(1, Event::Shipped)]), (0, true));
        assert_eq!(verdict(&[]), (1, false), "it is missing");
        assert_eq!(verdict(&[(1, Event::Paid)]), (1, false), "it is old");
        assert_eq!(verdict(&[(1, Event::Shipped), (7, Event::Placed)]), (1, false), "one was never placed");
    }

    #[test]
    fn events_are_found_by_their_subjects() {
        for event in Event::ALL {
            assert_eq!(Event::of(&event.subject()), Some(event));
        }
        assert_eq!(Event::of("stele-demo.order.lost"), None);
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
