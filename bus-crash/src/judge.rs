//! What must hold, of what was stored and what arrived. Knows no database, broker or relay.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use uuid::Uuid;

use crate::event::Event;

/// At most so many violations are kept of a kind.
const KEPT_MAX: usize = 3;

/// A row of `orders`.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) id: Uuid,
    pub(crate) aggregate: String,
    /// Ascends within the aggregate, from 0 or 1.
    pub(crate) seq: i64,
}

/// A message that came to the tap.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) message_id: String,
    pub(crate) event: Event,
}

/// Everything that is known at the end.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) orders: Vec<Order>,
    /// Effects by order.
    pub(crate) effects: HashMap<Uuid, i64>,
    /// How often the saga of an order was told that it is billed, by order; `None` where there are no sagas.
    pub(crate) sagas: Option<HashMap<Uuid, i64>>,
    /// What producers said before they died.
    pub(crate) committed: HashSet<Uuid>,
    pub(crate) rolled_back: HashSet<Uuid>,
    /// In the order of their arrival, copies too.
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) kills: u32,
    pub(crate) cuts: u32,
}

/// The outcome of a run.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) orders: usize,
    pub(crate) kills: u32,
    cuts: u32,
    copies: usize,
    pub(crate) violations: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { orders, kills, cuts, copies, violations } = self;
        write!(f, "{orders} orders, {kills} kills, {cuts} connections cut, {copies} copies: ")?;
        match violations.is_empty() {
            true => f.write_str("every promise kept"),
            false => write!(f, "\n  {}", violations.join("\n  ")),
        }
    }
}

/// Message ids by order.
type Messages<'a> = BTreeMap<Uuid, BTreeSet<&'a str>>;

impl Evidence {
    /// Whether everything that must arrive has.
    pub(crate) fn is_complete(&self) -> bool {
        let [placed, billed, closed] = self.arrived();
        self.orders.iter().all(|order| {
            let has_closed = self.sagas.as_ref().is_none_or(|sagas| {
                closed.contains_key(&order.id) && sagas.get(&order.id).is_some_and(|billed| *billed > 0)
            });
            let has_effect = self.effects.contains_key(&order.id);
            placed.contains_key(&order.id) && billed.contains_key(&order.id) && has_effect && has_closed
        })
    }

    /// Message ids by order: of placed, billed and closed.
    fn arrived(&self) -> [Messages<'_>; 3] {
        let mut arrived = [const { BTreeMap::new() }; 3];
        for arrival in &self.arrivals {
            let (which, order) = match &arrival.event {
                Event::Placed(event) => (0, event.order_id),
                Event::Billed(event) => (1, event.order_id),
                Event::Closed(event) => (2, event.closed_order_id),
            };
            let of: &mut Messages<'_> = &mut arrived[which];
            of.entry(order).or_default().insert(&arrival.message_id);
        }
        arrived
    }

    /// All that is wrong.
    pub(crate) fn judge(&self) -> Verdict {
        let mut found = Found::default();
        let [placed, billed, closed] = self.arrived();
        let orders: BTreeMap<Uuid, &Order> = self.orders.iter().map(|order| (order.id, order)).collect();
        for id in self.committed.iter().filter(|id| !orders.contains_key(id)) {
            found.add("said to be committed and not stored", id);
        }
        for id in self.rolled_back.iter().filter(|id| orders.contains_key(id)) {
            found.add("said to be rolled back and stored", id);
        }
        for (id, order) in &orders {
            if !placed.contains_key(id) {
                found.add("lost", format_args!("{} {}", order.aggregate, order.seq));
            }
            if !billed.contains_key(id) {
                found.add("the consumer's own event is lost", id);
            }
            match self.effects.get(id) {
                Some(1) => {}
                effects => found.add("not exactly one effect", format_args!("{id}: {effects:?}")),
            }
            if let Some(sagas) = &self.sagas {
                match sagas.get(id) {
                    Some(1) => {}
                    billed => found.add("a saga not told exactly once", format_args!("{id}: {billed:?}")),
                }
                if !closed.contains_key(id) {
                    found.add("the saga's own event is lost", id);
                }
            }
        }
        for (what, of) in [("placed", &placed), ("billed", &billed), ("closed", &closed)] {
            let mut seen: HashMap<&str, Uuid> = HashMap::new();
            for (id, messages) in of {
                if !orders.contains_key(id) {
                    found.add("invented", format_args!("{what} {id}"));
                }
                if messages.len() > 1 {
                    found.add("copies with several ids", format_args!("{what} {id}: {messages:?}"));
                }
                for message in messages {
                    if seen.insert(message, *id).is_some() {
                        found.add("one id for two events", message);
                    }
                }
            }
        }
        for id in self.effects.keys().filter(|id| !orders.contains_key(id)) {
            found.add("an effect without its order", id);
        }
        for id in self.sagas.iter().flat_map(HashMap::keys).filter(|id| !orders.contains_key(id)) {
            found.add("a saga without its order", id);
        }
        self.judge_order(&mut found);
        let copies = self.arrivals.len() - placed.len() - billed.len() - closed.len();
        let Self { kills, cuts, .. } = *self;
        Verdict { orders: orders.len(), kills, cuts, copies, violations: found.texts() }
    }

    /// First deliveries of an aggregate ascend.
    fn judge_order(&self, found: &mut Found) {
        let (mut seen, mut last): (HashSet<Uuid>, HashMap<&str, i64>) = Default::default();
        for arrival in &self.arrivals {
            let Event::Placed(event) = &arrival.event else { continue };
            if seen.insert(event.order_id) {
                let last = last.entry(&event.aggregate_id).or_insert(-1);
                if event.seq <= *last {
                    found
                        .add("order", format_args!("{} {} came after {last}", event.aggregate_id, event.seq));
                }
                *last = event.seq.max(*last);
            }
        }
    }
}

#[derive(Default)]
struct Found(BTreeMap<&'static str, (usize, Vec<String>)>);

impl Found {
    fn add(&mut self, kind: &'static str, what: impl fmt::Display) {
        let (count, kept) = self.0.entry(kind).or_default();
        *count += 1;
        if kept.len() < KEPT_MAX {
            kept.push(what.to_string());
        }
    }

    fn texts(self) -> Vec<String> {
        let text = |(kind, (count, kept)): (&str, (usize, Vec<String>))| {
            format!("{kind}: {count}, such as {}", kept.join("; "))
        };
        self.0.into_iter().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{OrderBilled, OrderPlaced};

    fn id(number: i64) -> Uuid {
        Uuid::from_u128(number as u128)
    }

    fn placed(message: &str, seq: i64) -> Arrival {
        let event = OrderPlaced { order_id: id(seq), aggregate_id: "a".into(), seq };
        Arrival { message_id: message.into(), event: Event::Placed(event) }
    }

    /// Three orders of one aggregate, and everything as it should be, with a copy of the first.
    fn good() -> Evidence {
        let mut evidence = Evidence::default();
        for seq in 1..=3 {
            evidence.orders.push(Order { id: id(seq), aggregate: "a".into(), seq });
            evidence.effects.insert(id(seq), 1);
            evidence.committed.insert(id(seq));
            evidence.arrivals.push(placed(&format!("m{seq}"), seq));
            let event = Event::Billed(OrderBilled { order_id: id(seq) });
            evidence.arrivals.push(Arrival { message_id: format!("b{seq}"), event });
        }
        evidence.arrivals.push(placed("m1", 1));
        evidence
    }

    fn violations(change: impl FnOnce(&mut Evidence)) -> String {
        let mut evidence = good();
        change(&mut evidence);
        evidence.judge().violations.join("\n")
    }

    #[test]
    fn copies_are_no_violation() {
        let verdict = good().judge();
        assert_eq!(verdict.violations, Vec::<String>::new());
        assert_eq!(verdict.copies, 1);
        assert!(good().is_complete());
    }

    #[test]
    fn each_broken_promise_is_named() {
        type Change = fn(&mut Evidence);
        let cases: [(&str, Change); 9] = [
            ("said to be committed", |e| e.committed.extend([id(9)])),
            ("said to be rolled back", |e| e.rolled_back.extend([id(1)])),
            ("lost: 1, such as a 3", |e| e.arrivals.retain(|arrival| arrival.message_id != "m3")),
            ("own event is lost", |e| e.arrivals.retain(|arrival| arrival.message_id != "b2")),
            ("invented", |e| e.arrivals.push(placed("m9", 9))),
            ("several ids", |e| e.arrivals.push(placed("m8", 3))),
            ("not exactly one effect", |e| e.effects.extend([(id(1), 2)])),
            ("an effect without its order", |e| e.effects.extend([(id(9), 1)])),
            ("order: 1, such as a 2 came after 3", |e| e.arrivals.swap(2, 4)),
        ];
        for (text, change) in cases {
            let found = violations(change);
            assert!(found.contains(text), "no {text:?} in {found:?}");
        }
    }
}
