//! Filters with wildcards: a trie of words that is changed in place, one for each namespace.
//!
//! Matching walks it with the set of places reached so far, word by word. No place is reached twice, so the work is bounded by the
//! places that the subject leads to. What must hold: a place that leads to no leaf is removed.

use super::LeafId;
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// The word that stands for any one.
const ANY: &[u8] = b"*";
/// The last word of a filter that goes on.
const REST: &[u8] = b">";

/// The words of a subject or filter.
pub(super) fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'.')
}

/// Whether every word has a letter, and `>` stands at the end only.
pub(crate) fn is_filter(text: &[u8]) -> bool {
    let mut words = words(text).peekable();
    while let Some(word) = words.next() {
        if word.is_empty() || (word == REST && words.peek().is_some()) {
            return false;
        }
    }
    true
}

/// Whether it has a word that is a wildcard.
pub(super) fn has_wildcard(filter: &[u8]) -> bool {
    words(filter).any(|word| word == ANY || word == REST)
}

/// Whether a filter matches a subject, word by word: the meaning that the trie has to keep.
pub(super) fn matches(filter: &[u8], subject: &[u8]) -> bool {
    let (mut filter, mut subject) = (words(filter), words(subject));
    loop {
        match (filter.next(), subject.next()) {
            (None, None) => return true,
            (Some(REST), Some(_)) => return true,
            (Some(wanted), Some(word)) if wanted == ANY || wanted == word => {}
            _ => return false,
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Trie {
    root: Node,
}

#[derive(Default)]
struct Node {
    words: BTreeMap<Box<[u8]>, Node>,
    any: Option<Box<Node>>,
    /// The filter that ends here.
    end: Option<LeafId>,
    /// The filter that ends here with `>`.
    rest: Option<LeafId>,
}

impl Trie {
    pub(super) fn is_empty(&self) -> bool {
        self.root.is_empty()
    }

    /// The leaf of a filter.
    pub(super) fn get(&self, filter: &[u8]) -> Option<LeafId> {
        let mut node = &self.root;
        for word in words(filter) {
            node = match word {
                REST => return node.rest,
                ANY => node.any.as_deref()?,
                word => node.words.get(word)?,
            };
        }
        node.end
    }

    /// Puts a leaf where there is none.
    pub(super) fn insert(&mut self, filter: &[u8], leaf: LeafId) {
        let mut node = &mut self.root;
        for word in words(filter) {
            node = match word {
                REST => {
                    node.rest = Some(leaf);
                    return;
                }
                ANY => node.any.get_or_insert_default(),
                word => node.words.entry(word.into()).or_default(),
            };
        }
        node.end = Some(leaf);
    }

    /// Takes a leaf away, and the places that led only to it.
    pub(super) fn remove(&mut self, filter: &[u8]) {
        let path: SmallVec<[&[u8]; 16]> = words(filter).collect();
        self.root.remove(&path);
    }

    /// Hands the leaf of every filter that matches `subject` to `found`, each once.
    pub(super) fn matching(&self, subject: &[u8], mut found: impl FnMut(LeafId)) {
        let mut here: SmallVec<[&Node; 16]> = smallvec::smallvec![&self.root];
        let mut next: SmallVec<[&Node; 16]> = SmallVec::new();
        for word in words(subject) {
            for node in here.drain(..) {
                node.rest.into_iter().for_each(&mut found);
                next.extend(node.words.get(word));
                next.extend(node.any.as_deref());
            }
            if next.is_empty() {
                return;
            }
            std::mem::swap(&mut here, &mut next);
        }
        here.iter().filter_map(|node| node.end).for_each(found);
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.words.is_empty() && self.any.is_none() && self.end.is_none() && self.rest.is_none()
    }

    fn remove(&mut self, path: &[&[u8]]) {
        match path {
            [] => self.end = None,
            [REST] => self.rest = None,
            [ANY, path @ ..] => {
                let Some(below) = &mut self.any else { return };
                below.remove(path);
                if below.is_empty() {
                    self.any = None;
                }
            }
            [word, path @ ..] => {
                let Some(below) = self.words.get_mut(*word) else { return };
                below.remove(path);
                if below.is_empty() {
                    self.words.remove(*word);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filters() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("(a|b|\\*)(\\.(a|b|cd|\\*)){0,4}(\\.>)?|>", 0..40)
    }

    proptest! {
        #[test]
        fn the_trie_finds_what_a_word_by_word_comparison_finds(
            filters in filters(), gone in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            subjects in prop::collection::vec("(a|b|cd|e)(\\.(a|b|cd|e)){0,6}", 1..30),
        ) {
            let mut filters = filters;
            filters.sort();
            filters.dedup();
            let mut trie = Trie::default();
            for (filter, n) in filters.iter().zip(0..) {
                trie.insert(filter.as_bytes(), LeafId(n));
            }
            let mut there: BTreeMap<LeafId, &String> = (0..).map(LeafId).zip(&filters).collect();
            for index in gone.iter().filter(|_| !filters.is_empty()) {
                let filter = index.get(&filters);
                trie.remove(filter.as_bytes());
                there.retain(|_, other| *other != filter);
            }
            for (leaf, filter) in &there {
                prop_assert_eq!(trie.get(filter.as_bytes()), Some(*leaf));
            }
            for subject in &subjects {
                let mut found = Vec::new();
                trie.matching(subject.as_bytes(), |leaf| found.push(leaf));
                found.sort();
                let expected: Vec<_> = there
                    .iter()
                    .filter(|(_, filter)| matches(filter.as_bytes(), subject.as_bytes()))
                    .map(|(leaf, _)| *leaf)
                    .collect();
                prop_assert_eq!(found, expected, "{}", subject);
            }
            there.values().for_each(|filter| trie.remove(filter.as_bytes()));
            prop_assert!(trie.is_empty());
        }
    }

    #[test]
    fn a_rest_stands_for_one_word_at_least() {
        for (filter, subject, is_match) in [
            (">", "a", true),
            ("a.>", "a", false),
            ("a.>", "a.b.c", true),
            ("*", "a.b", false),
            ("a.*.c", "a.b.c", true),
            ("a.b", "a.b", true),
            ("a", "a.b", false),
        ] {
            assert_eq!(matches(filter.as_bytes(), subject.as_bytes()), is_match, "{filter} {subject}");
        }
    }

    #[test]
    fn a_filter_has_no_empty_word_and_goes_on_at_its_end_only() {
        for filter in ["a", "a.b", "*", ">", "a.*.>", "a*", ">a.b"] {
            assert!(is_filter(filter.as_bytes()), "{filter}");
        }
        for filter in ["", ".", "a.", ".a", "a..b", ">.a"] {
            assert!(!is_filter(filter.as_bytes()), "{filter}");
        }
    }
}
