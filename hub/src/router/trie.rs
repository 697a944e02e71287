//! Topic patterns: words between dots, `*` for exactly one word, `#` for any number of them.
//!
//! A trie of words. Matching walks it with the set of places reached so far, word by word, so that the work is bounded by
//! (words of the key) × (places that match), also for patterns such as `#.a.#.a.#` on which a backtracking walk is exponential.

use super::{BoundRule, Ended};
use crate::map::Map;
use bytes::Bytes;
use smallvec::SmallVec;
use std::sync::Arc;

/// The rules of a topic exchange.
#[derive(Clone, Default)]
pub struct Trie {
    root: Node,
}

#[derive(Clone, Default)]
struct Node {
    words: Map<Bytes, Arc<Node>>,
    star: Option<Arc<Node>>,
    hash: Option<Arc<Node>>,
    rules: Ended,
}

/// Words of a key; the empty key has none (as RabbitMQ has it), every dot separates two.
fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let count = if key.is_empty() { 0 } else { usize::MAX };
    key.split(|byte| *byte == b'.').take(count)
}

impl Trie {
    /// Adds a rule that is not there.
    pub(super) fn add(&mut self, rule: Arc<BoundRule>) {
        let mut node = &mut self.root;
        for word in words(&rule.key) {
            node = Arc::make_mut(match word {
                b"*" => node.star.get_or_insert_default(),
                b"#" => node.hash.get_or_insert_default(),
                _ => {
                    if !node.words.contains(word) {
                        node.words.insert(rule.key.slice_ref(word), Arc::default());
                    }
                    node.words.get_mut(word).expect("it was put in when it was not there")
                }
            });
        }
        node.rules.add(rule.clone());
    }

    /// Removes a rule and the places that led only to it.
    pub(super) fn remove(&mut self, rule: &BoundRule) {
        let words: SmallVec<[&[u8]; 16]> = words(&rule.key).collect();
        self.root.remove(&words, rule);
    }

    /// Whether it is as if nothing had ever been in it.
    pub(super) fn is_empty(&self) -> bool {
        self.root.is_empty()
    }

    /// Hands every rule whose pattern matches `key` to `found`, each once.
    pub fn matching<'a>(&'a self, key: &[u8], mut found: impl FnMut(&'a Arc<BoundRule>)) {
        let mut reached = Reached::default();
        reached.enter(&self.root);
        for word in words(key) {
            reached.step(word);
        }
        reached.here.iter().chain(&reached.loops).for_each(|node| node.rules.each(&mut found));
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.words.is_empty() && self.star.is_none() && self.hash.is_none() && self.rules.is_empty()
    }

    fn remove(&mut self, words: &[&[u8]], rule: &BoundRule) {
        match words {
            [] => self.rules.remove(rule),
            [b"*", rest @ ..] => remove_below(&mut self.star, rest, rule),
            [b"#", rest @ ..] => remove_below(&mut self.hash, rest, rule),
            [word, rest @ ..] => {
                let Some(below) = self.words.get_mut(*word) else { return };
                let below = Arc::make_mut(below);
                below.remove(rest, rule);
                if below.is_empty() {
                    self.words.remove(*word);
                }
            }
        }
    }
}

fn remove_below(place: &mut Option<Arc<Node>>, rest: &[&[u8]], rule: &BoundRule) {
    let Some(below) = place else { return };
    let below = Arc::make_mut(below);
    below.remove(rest, rule);
    if below.is_empty() {
        *place = None;
    }
}

/// The places that the words so far lead to. A place behind a `#` stays reached whatever comes, so it is kept apart, once;
/// all others are entered from the one place above them, hence never twice for a word.
#[derive(Default)]
struct Reached<'a> {
    here: SmallVec<[&'a Node; 16]>,
    next: SmallVec<[&'a Node; 16]>,
    loops: SmallVec<[&'a Node; 8]>,
    /// Addresses of `loops`, once they are too many to be looked through.
    known: hashbrown::HashSet<usize, foldhash::fast::FixedState>,
}

const LOOPS_LOOKED_THROUGH: usize = 16;

impl<'a> Reached<'a> {
    fn enter(&mut self, node: &'a Node) {
        self.next.push(node);
        self.enter_loop(node);
        std::mem::swap(&mut self.here, &mut self.next);
    }

    fn enter_loop(&mut self, mut node: &'a Node) {
        while let Some(hash) = &node.hash {
            if self.is_known(hash) {
                return;
            }
            self.loops.push(hash);
            node = hash; // `#.#` is entered at once, too
        }
    }

    fn is_known(&mut self, node: &'a Node) -> bool {
        if self.loops.len() < LOOPS_LOOKED_THROUGH {
            return self.loops.iter().any(|known| std::ptr::eq(*known, node));
        }
        if self.known.is_empty() {
            self.known.extend(self.loops.iter().map(|node| std::ptr::from_ref(*node).addr()));
        }
        !self.known.insert(std::ptr::from_ref(node).addr())
    }

    fn step(&mut self, word: &[u8]) {
        let loops_before = self.loops.len();
        for at in 0..self.here.len() + loops_before {
            let node = if at < loops_before { self.loops[at] } else { self.here[at - loops_before] };
            for below in node.words.get(word).into_iter().chain(&node.star) {
                self.next.push(below);
                self.enter_loop(below);
            }
        }
        std::mem::swap(&mut self.here, &mut self.next);
        self.next.clear();
    }
}
