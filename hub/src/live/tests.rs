//! Interest against a model too simple to be wrong: a list of subscriptions, compared word by word.
//!
//! Three hubs tell each other of changes at once. After each step every subject is published from every hub: plain subscriptions must hear all
//! of it once, wherever they are; of each group exactly one member; and who had as many as it wanted is gone.

use super::*;
use crate::live::trie::matches;
use proptest::prelude::*;
use std::collections::BTreeMap;

const NAMESPACE: NamespaceId = NamespaceId(1);
const SUBJECTS: [&str; 6] = ["a", "b", "a.b", "a.c", "a.b.c", "b.c"];

/// What is told of each publish: it has two bytes.
const ITEM: Told = Told { number: 0, bytes: 2 };

struct Model {
    hubs: Vec<Interests>,
    slots: Vec<Slot>,
    there: BTreeMap<(usize, u32), Known>,
}

#[derive(Clone, Debug)]
struct Known {
    filter: String,
    group: Option<String>,
    left: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Subscribe { hub: usize, number: u32, filter: String, group: Option<String> },
    Unsubscribe { hub: usize, number: u32, left: Option<u64> },
    Publish { hub: usize, subject: usize },
    Leave { hub: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (hub, number) = (0..3_usize, 0..6_u32);
    let filter = "(a|b|\\*)(\\.(b|c|\\*)){0,2}(\\.>)?|>";
    let group = prop::option::of("q|r");
    let step = prop_oneof![
        4 => (hub.clone(), number.clone(), filter, group)
            .prop_map(|(hub, number, filter, group)| Step::Subscribe { hub, number, filter, group }),
        2 => (hub.clone(), number, prop::option::of(1..4_u64))
            .prop_map(|(hub, number, left)| Step::Unsubscribe { hub, number, left }),
        6 => (hub.clone(), 0..SUBJECTS.len()).prop_map(|(hub, subject)| Step::Publish { hub, subject }),
        1 => hub.prop_map(|hub| Step::Leave { hub }),
    ];
    prop::collection::vec(step, 0..60)
}

impl Model {
    fn new() -> Self {
        let mut hubs: Vec<_> = (0..3).map(|n| Interests::new([1, 2], HubId(n), 3)).collect();
        let session = |n: usize| SessionId { hub: HubId(n as u16), number: 7 };
        let slots = hubs.iter_mut().enumerate().map(|(n, hub)| hub.enter(session(n))).collect();
        Self { hubs, slots, there: BTreeMap::new() }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Subscribe { hub, number, filter, group } => {
                if self.there.contains_key(&(hub, number)) {
                    return;
                }
                let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
                let subscribe = LiveSubscribe {
                    subscription: number,
                    filter: text(&filter),
                    group: group.as_deref().map(text),
                };
                self.hubs[hub].subscribe(self.slots[hub], NAMESPACE, &subscribe, hub as u32);
                self.there.insert((hub, number), Known { filter, group, left: u64::MAX });
            }
            Step::Unsubscribe { hub, number, left } => {
                // The model counts from now on; the hub from the beginning.
                let had = self.hubs[hub].member_mut(self.slots[hub], number).map(|member| member.hits);
                let hits_max = left.zip(had).map(|(left, had)| left + had);
                self.hubs[hub].unsubscribe(self.slots[hub], number, hits_max);
                match (left, self.there.get_mut(&(hub, number))) {
                    (Some(left), Some(known)) => known.left = left,
                    _ => drop(self.there.remove(&(hub, number))),
                }
            }
            Step::Publish { hub, subject } => self.publish(hub, SUBJECTS[subject]),
            Step::Leave { hub } => {
                self.hubs[hub].leave(self.slots[hub]);
                self.slots[hub] = self.hubs[hub].enter(SessionId { hub: HubId(hub as u16), number: 8 });
                self.there.retain(|(of, _), _| *of != hub);
            }
        }
        self.exchange();
    }

    /// Every hub hears of every other.
    fn exchange(&mut self) {
        for from in 0..self.hubs.len() {
            let changes = self.hubs[from].take_changes();
            for to in (0..self.hubs.len()).filter(|to| *to != from) {
                changes.iter().for_each(|change| self.hubs[to].heard_of(HubId(from as u16), change));
            }
        }
    }

    fn publish(&mut self, from: usize, subject: &str) {
        let mut heard: BTreeMap<(usize, u32), u64> = BTreeMap::new();
        let mut chosen = Vec::new();
        let reach = self.hubs[from].reach(NAMESPACE, subject.as_bytes());
        let hubs = reach.hubs;
        let mut touched = Vec::new();
        self.hubs[from].tell_plain(&reach, ITEM, None, &mut touched);
        self.hubs[from].tell_groups(&reach, ITEM, None, &mut touched, |group| chosen.push(group));
        self.collect(from, &mut touched, &mut heard);
        for other in (0..self.hubs.len()).filter(|other| *other != from) {
            let reach = self.hubs[other].reach(NAMESPACE, subject.as_bytes());
            if hubs.contains(HubId(other as u16)) {
                self.hubs[other].tell_plain(&reach, ITEM, None, &mut touched);
            }
            for Chosen { group, .. } in chosen.iter().filter(|chosen| usize::from(chosen.hub.0) == other) {
                let reach = self.hubs[other].reach(NAMESPACE, subject.as_bytes());
                let (elsewhere, _) = self.hubs[other].tell_group(&reach, group, ITEM, &mut touched);
                assert_eq!(elsewhere, None, "hubs know of each other's members");
            }
            self.collect(other, &mut touched, &mut heard);
        }
        self.judge(subject, &heard);
    }

    fn collect(&mut self, hub: usize, touched: &mut Vec<Slot>, heard: &mut BTreeMap<(usize, u32), u64>) {
        for slot in touched.drain(..) {
            let mut hits = Vec::new();
            self.hubs[hub].take_hits(slot, &mut hits);
            hits.iter().for_each(|hit| *heard.entry((hub, hit.subscription)).or_default() += 1);
        }
    }

    fn judge(&mut self, subject: &str, heard: &BTreeMap<(usize, u32), u64>) {
        let is_of = |known: &Known| matches(known.filter.as_bytes(), subject.as_bytes());
        let mut groups: BTreeMap<&str, u64> = BTreeMap::new();
        for (at, known) in self.there.iter().filter(|(_, known)| is_of(known)) {
            let count = heard.get(at).copied().unwrap_or(0);
            match &known.group {
                None => assert_eq!(count, 1, "{at:?} listens to {subject} by {}", known.filter),
                Some(group) => *groups.entry(group).or_default() += count,
            }
        }
        assert!(groups.values().all(|count| *count == 1), "one of each group hears {subject}: {groups:?}");
        for (at, count) in heard {
            let known = self.there.get_mut(at).expect("who hears is there");
            assert!(is_of(known), "{at:?} does not listen to {subject}");
            known.left -= count;
        }
        self.there.retain(|_, known| known.left > 0);
    }
}

proptest! {
    #[test]
    fn everybody_hears_what_a_word_by_word_comparison_says(steps in steps()) {
        let mut model = Model::new();
        for step in steps {
            model.take(step);
        }
        for hub in 0..3 {
            model.take(Step::Leave { hub });
        }
        for hub in &model.hubs {
            prop_assert!(hub.is_empty() && hub.wild.is_empty() && hub.literals.is_empty(), "nothing is left behind");
        }
    }
}

#[test]
fn members_of_a_group_get_about_the_same_over_all_hubs() {
    let mut model = Model::new();
    for (hub, number) in [(0, 0), (1, 0), (1, 1), (2, 0)] {
        let (filter, group) = ("a".to_owned(), Some("q".to_owned()));
        model.take(Step::Subscribe { hub, number, filter, group });
    }
    let mut chosen = [0; 3];
    for _ in 0..4000 {
        let reach = model.hubs[0].reach(NAMESPACE, b"a");
        let mut elsewhere = None;
        model.hubs[0].tell_groups(&reach, ITEM, None, &mut Vec::new(), |group| elsewhere = Some(group.hub));
        chosen[elsewhere.map_or(0, |hub| usize::from(hub.0))] += 1;
    }
    assert!((850..1150).contains(&chosen[0]) && (850..1150).contains(&chosen[2]), "{chosen:?}");
    assert!((1800..2200).contains(&chosen[1]), "{chosen:?}");
}

#[test]
fn inboxes_that_come_and_go_leave_what_is_kept_for_wildcards_alone() {
    let mut hub = Interests::new([1, 2], HubId(0), 1);
    let slot = hub.enter(SessionId::default());
    let subscribe = |subscription, filter: &str| LiveSubscribe {
        subscription,
        filter: Bytes::copy_from_slice(filter.as_bytes()),
        group: None,
    };
    hub.subscribe(slot, NAMESPACE, &subscribe(0, "a.*"), 0);
    let generation = hub.wild[&NAMESPACE].generation();
    for n in 0..100 {
        hub.subscribe(slot, NAMESPACE, &subscribe(1, &format!("_INBOX.{n}")), 0);
        hub.unsubscribe(slot, 1, None);
    }
    assert_eq!(hub.wild[&NAMESPACE].generation(), generation);
}
