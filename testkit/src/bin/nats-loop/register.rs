//! Whether what clients saw of one key could have been seen of a key that does one thing at a time: linearizability (Herlihy and Wing).
//!
//! Every operation takes effect at one moment between its call and its return. All states in which the key may be are followed through the
//! events in the order of time: a call opens an operation; before a return, every order of open operations that ends with the returning
//! one is tried. When no state is left the history is not linearizable, and the operation that returned last is named. An operation
//! whose connection ended may have taken effect at any later time, or never; one that nobody ever saw an effect of is left out. Its value may have been
//! read, or a refusal may have named its revision, which nobody else was given.

use std::collections::BTreeSet;
use std::time::Instant;

/// A value; no two writes write the same.
pub(crate) type Value = u64;
/// The number that the server gave to a write.
pub(crate) type Revision = u64;

/// What was asked of the key, and what was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Written, whatever was there.
    Put(Value, Option<Revision>),
    /// Written over the revision named first.
    Update(Revision, Value, Option<Revision>),
    /// Not written, since the revision named first was not there but the second one.
    Refused(Revision, Revision),
    /// Found there.
    Got(Value, Revision),
    /// Nothing was there.
    Nothing,
}

/// An operation; `end` is missing if its answer never came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub start: Instant,
    pub end: Option<Instant>,
    pub act: Act,
}

/// What the key holds. The revision of a write that was never answered is known only to be above the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    value: Option<Value>,
    revision: Revision,
    exact: bool,
}

/// What may be: the state, and which open operations have taken effect.
type Possible = (State, BTreeSet<usize>);

/// Unanswered writes before a refusal that one of them may be the reason of: more clients than write one key when the server is killed.
const SUSPECTS_MAX: usize = 8;

/// Values of unanswered writes that may be behind refusals: the last ones before a refusal by a revision that was neither given to an answered write nor
/// read.
fn suspects(operations: &[Operation]) -> BTreeSet<Value> {
    let known: BTreeSet<Revision> = operations
        .iter()
        .filter_map(|operation| match operation.act {
            Act::Put(_, revision) | Act::Update(_, _, revision) => revision,
            Act::Got(_, revision) => Some(revision),
            Act::Refused(..) | Act::Nothing => None,
        })
        .collect();
    let refused = operations.iter().filter_map(|operation| match operation.act {
        Act::Refused(_, found) if !known.contains(&found) => operation.end,
        _ => None,
    });
    let mut unanswered: Vec<(Instant, Value)> = operations
        .iter()
        .filter_map(|operation| match operation.act {
            Act::Put(value, None) | Act::Update(_, value, None) => Some((operation.start, value)),
            _ => None,
        })
        .collect();
    unanswered.sort_unstable();
    let before = |end: Instant| {
        let count = unanswered.partition_point(|(start, _)| *start < end);
        &unanswered[count.saturating_sub(SUSPECTS_MAX)..count]
    };
    refused.flat_map(before).map(|(_, value)| *value).collect()
}

/// Nothing if the history is possible, or what is not.
pub(crate) fn violation(operations: &[Operation]) -> Option<String> {
    let suspects = suspects(operations);
    let seen = |value: Value| {
        operations.iter().any(|other| matches!(other.act, Act::Got(found, _) if found == value))
    };
    let counts = |operation: &&Operation| match operation.act {
        Act::Put(value, _) | Act::Update(_, value, _) => {
            operation.end.is_some() || seen(value) || suspects.contains(&value)
        }
        _ => operation.end.is_some(),
    };
    let operations: Vec<Operation> = operations.iter().filter(counts).copied().collect();
    let mut events: Vec<(Instant, bool, usize)> = Vec::new();
    for (index, operation) in operations.iter().enumerate() {
        events.push((operation.start, false, index));
        events.extend(operation.end.map(|end| (end, true, index)));
    }
    events.sort_unstable(); // at the same moment calls come first: then they overlap, which allows more
    let empty = State { value: None, revision: 0, exact: true };
    let (mut possible, mut open) = (BTreeSet::from([(empty, BTreeSet::new())]), BTreeSet::new());
    for (_, returns, index) in events {
        if !returns {
            open.insert(index);
            continue;
        }
        let reached = reach(&possible, &open, &operations);
        possible = reached.into_iter().filter(|(_, done)| done.contains(&index)).collect();
        open.remove(&index);
        possible = possible
            .into_iter()
            .map(|(state, mut done)| {
                done.remove(&index);
                (state, done)
            })
            .collect();
        if possible.is_empty() {
            return Some(format!("{:?} cannot have been answered then", operations[index].act));
        }
    }
    None
}

/// All that can come of open operations taking effect in any order.
fn reach(
    possible: &BTreeSet<Possible>,
    open: &BTreeSet<usize>,
    operations: &[Operation],
) -> BTreeSet<Possible> {
    let mut reached = possible.clone();
    let mut fresh: Vec<Possible> = possible.iter().cloned().collect();
    while let Some((state, done)) = fresh.pop() {
        for index in open.difference(&done) {
            let Some(next) = step(state, operations[*index].act) else { continue };
            let mut done = done.clone();
            done.insert(*index);
            if reached.insert((next, done.clone())) {
                fresh.push((next, done));
            }
        }
    }
    reached
}

/// What an operation makes of a state; nothing if it cannot have been answered so in that state.
fn step(state: State, act: Act) -> Option<State> {
    let written = |value, revision: Option<Revision>| match revision {
        Some(revision) if revision > state.revision => {
            Some(State { value: Some(value), revision, exact: true })
        }
        Some(_) => None,
        None => Some(State { value: Some(value), revision: state.revision, exact: false }),
    };
    // An inexact revision is above the one that is known.
    let is_at =
        |revision: Revision| if state.exact { state.revision == revision } else { revision > state.revision };
    match act {
        Act::Put(value, revision) => written(value, revision),
        Act::Update(expected, value, revision) => (is_at(expected)
            && revision.is_none_or(|revision| revision > expected))
        .then(|| written(value, revision))?,
        Act::Refused(expected, found) => {
            // What is there may be a write that nobody ever saw and that was therefore left out.
            let fits = found != expected && found >= state.revision;
            fits.then_some(state)
        }
        Act::Got(value, revision) => (state.value == Some(value) && is_at(revision)).then_some(State {
            revision,
            exact: true,
            ..state
        }),
        Act::Nothing => state.value.is_none().then_some(state),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Operations as (start, end, act) in milliseconds; an end of 0 is none.
    fn judged(operations: &[(u64, u64, Act)]) -> Option<String> {
        let origin = Instant::now();
        let at = |ms: u64| origin + Duration::from_millis(ms);
        let all = operations.iter().map(|(start, end, act)| Operation {
            start: at(*start),
            end: (*end > 0).then(|| at(*end)),
            act: *act,
        });
        violation(&all.collect::<Vec<_>>())
    }

    #[test]
    fn one_after_the_other_is_possible() {
        let some = [
            (1, 2, Act::Nothing),
            (3, 4, Act::Put(7, Some(1))),
            (5, 6, Act::Got(7, 1)),
            (7, 8, Act::Update(1, 8, Some(4))),
            (9, 10, Act::Refused(1, 4)),
        ];
        assert_eq!(judged(&some), None);
    }

    #[test]
    fn overlapping_operations_may_come_in_any_order() {
        let some = [
            (1, 10, Act::Put(7, Some(2))),
            (1, 10, Act::Put(8, Some(1))),
            (2, 9, Act::Got(8, 1)),
            (2, 9, Act::Got(7, 2)),
            (11, 12, Act::Got(7, 2)),
        ];
        assert_eq!(judged(&some), None);
    }

    #[test]
    fn an_old_value_is_not() {
        let some = [(1, 2, Act::Put(7, Some(1))), (3, 4, Act::Put(8, Some(2))), (5, 6, Act::Got(7, 1))];
        assert!(judged(&some).is_some());
    }

    #[test]
    fn another_value_of_a_revision_is_not() {
        assert!(judged(&[(1, 2, Act::Put(7, Some(1))), (3, 4, Act::Got(8, 1))]).is_some());
    }

    #[test]
    fn a_lost_write_is_not() {
        assert!(judged(&[(1, 2, Act::Put(7, Some(1))), (3, 4, Act::Nothing)]).is_some());
    }

    #[test]
    fn a_value_that_was_seen_and_then_gone_is_not() {
        // The write was never answered, so it may have been lost; but somebody had read it.
        let gone = [
            (1, 2, Act::Put(7, Some(1))),
            (3, 0, Act::Put(8, None)),
            (4, 5, Act::Got(8, 2)),
            (6, 7, Act::Got(7, 1)),
        ];
        assert!(judged(&gone).is_some());
        let late = [
            (1, 2, Act::Put(7, Some(1))),
            (3, 0, Act::Put(8, None)),
            (4, 5, Act::Got(7, 1)),
            (6, 7, Act::Got(8, 2)),
        ];
        assert_eq!(judged(&late), None);
    }

    #[test]
    fn two_updates_of_one_revision_are_not() {
        let some = [
            (1, 2, Act::Put(7, Some(1))),
            (3, 9, Act::Update(1, 8, Some(2))),
            (3, 9, Act::Update(1, 9, Some(3))),
        ];
        assert!(judged(&some).is_some());
    }

    #[test]
    fn a_refusal_by_a_revision_of_the_past_is_not() {
        let some = [(1, 2, Act::Put(7, Some(1))), (3, 4, Act::Put(8, Some(5))), (5, 6, Act::Refused(5, 1))];
        assert!(judged(&some).is_some());
    }

    #[test]
    fn an_unanswered_write_of_which_only_a_refusal_tells_may_be_updated_and_without_one_nothing() {
        let mut some = vec![
            (1, 2, Act::Put(7, Some(1))),
            (3, 0, Act::Put(8, None)),
            (4, 5, Act::Refused(1, 5)),
            (6, 7, Act::Update(5, 9, Some(6))),
            (8, 9, Act::Got(9, 6)),
        ];
        assert_eq!(judged(&some), None);
        some.push((10, 11, Act::Got(7, 1)));
        assert!(judged(&some).is_some(), "and then it is there to stay");
        some.truncate(5);
        some.remove(1);
        assert!(judged(&some).is_some(), "nobody wrote what was updated");
    }

    #[test]
    fn revisions_only_grow() {
        assert!(judged(&[(1, 2, Act::Put(7, Some(5))), (3, 4, Act::Put(8, Some(4)))]).is_some());
    }

    #[test]
    fn a_revision_that_never_was_is_not() {
        let put = |value, revision| Act::Put(value, revision);
        for (what, some) in [
            ("read", vec![(1, 2, put(7, Some(1))), (3, 4, Act::Got(7, 2))]),
            ("refused with what was expected", vec![(1, 2, put(7, Some(1))), (3, 4, Act::Refused(1, 1))]),
            (
                "read below what was there before a write that nobody answered",
                vec![(1, 2, put(7, Some(5))), (3, 0, put(8, None)), (4, 5, Act::Got(8, 3))],
            ),
            (
                "read twice, and another time otherwise",
                vec![(1, 0, put(8, None)), (2, 3, Act::Got(8, 2)), (4, 5, Act::Got(8, 3))],
            ),
            (
                "an update's, below what it replaced",
                vec![
                    (1, 2, put(7, Some(1))),
                    (3, 0, put(8, None)),
                    (4, 5, Act::Update(5, 9, Some(3))),
                    (6, 7, Act::Got(9, 3)),
                    (8, 0, Act::Got(8, 5)),
                ],
            ),
        ] {
            assert!(judged(&some).is_some(), "{what}");
        }
    }

    #[test]
    fn what_begins_when_another_ends_may_be_before_it() {
        assert_eq!(judged(&[(1, 5, Act::Put(7, Some(1))), (5, 6, Act::Nothing)]), None);
        assert!(judged(&[(1, 5, Act::Put(7, Some(1))), (6, 7, Act::Nothing)]).is_some());
    }
}
