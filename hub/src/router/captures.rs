//! Which stream captures a subject (S26): a trie of the patterns of a namespace's streams, path-copied (S11).
//!
//! Changed by the registry, asked by [`super::resolve`] and by whoever must know whether a subject is stored. What must hold: no two streams
//! capture a subject, which the registry sees to; so the first one found is the only one. Nobody pays where no stream captures.

use crate::map::Map;
use bytes::Bytes;
use std::sync::Arc;
use stele_model::id::{QueueId, ShardId};
use stele_model::subject::{Pattern, tokens};

/// A partition that captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captor {
    /// Its number.
    pub partition: QueueId,
    /// Where it lives.
    pub shard: ShardId,
}

/// See the module.
#[derive(Clone, Default)]
pub struct Captures {
    root: Node,
}

#[derive(Clone, Default)]
struct Node {
    words: Map<Bytes, Arc<Node>>,
    star: Option<Arc<Node>>,
    /// Of a pattern that ends here.
    here: Option<Capture>,
    /// Of one that goes on with `>`.
    rest: Option<Capture>,
}

/// A pattern of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Who captures what matches it.
    pub captor: Captor,
    /// The pattern.
    pub pattern: Pattern,
}

impl Captures {
    /// Whether nothing is captured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_empty()
    }

    /// Who captures a subject.
    #[must_use]
    pub fn find(&self, subject: &[u8]) -> Option<&Capture> {
        if self.is_empty() {
            return None;
        }
        self.root.find(&mut tokens(subject))
    }

    /// Adds a pattern, or takes it out.
    pub(crate) fn set(&mut self, pattern: &Pattern, captor: Option<Captor>) {
        let words: Vec<&[u8]> = pattern.tokens().collect();
        let capture = captor.map(|captor| Capture { captor, pattern: pattern.clone() });
        self.root.set(&words, capture);
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.words.is_empty() && self.star.is_none() && self.here.is_none() && self.rest.is_none()
    }

    /// The depth is bounded by the deepest pattern.
    fn find<'a>(&self, words: &mut (impl Iterator<Item = &'a [u8]> + Clone)) -> Option<&Capture> {
        let Some(word) = words.next() else { return self.here.as_ref() };
        let found = self.words.get(word).and_then(|node| node.find(&mut words.clone()));
        let found = found.or_else(|| self.star.as_ref()?.find(&mut words.clone()));
        found.or(self.rest.as_ref())
    }

    fn set(&mut self, words: &[&[u8]], capture: Option<Capture>) {
        let below = match words {
            [] => {
                self.here = capture;
                return;
            }
            [b">"] => {
                self.rest = capture;
                return;
            }
            [b"*", ..] => self.star.get_or_insert_default(),
            [word, ..] => {
                if !self.words.contains(*word) {
                    self.words.insert(Bytes::copy_from_slice(word), Arc::default());
                }
                self.words.get_mut(*word).expect("it was put in when it was not there")
            }
        };
        let below = Arc::make_mut(below);
        below.set(&words[1..], capture);
        if below.is_empty() {
            match words {
                [b"*", ..] => self.star = None,
                [word, ..] => drop(self.words.remove(*word)),
                [] => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text.to_owned()).unwrap()
    }

    fn captor(number: u64) -> Option<Captor> {
        Some(Captor { partition: QueueId(number), shard: ShardId(0) })
    }

    #[test]
    fn a_subject_is_captured_by_the_stream_whose_pattern_it_matches_and_clones_stay_as_they_were() {
        let patterns = ["a.b", "a.*.c", "a.*.d.>", "b.>", "c.*", "d"];
        let subjects =
            ["a.b", "a.b.c", "a.x.c", "a.b.d", "a.b.d.e.f", "b", "b.x.y", "c.x", "c.x.y", "d", "d.e"];
        let mut captures = Captures::default();
        let mut kept = Vec::new();
        for (n, text) in (0..).zip(patterns) {
            kept.push(captures.clone());
            captures.set(&pattern(text), captor(n));
        }
        kept.push(captures.clone());
        for (count, captures) in kept.iter().enumerate() {
            for subject in subjects {
                let by = |text: &&&str| pattern(text).matches(subject.as_bytes());
                let expected = patterns[..count].iter().position(|text| by(&text));
                let capture = captures.find(subject.as_bytes());
                let found = capture.map(|capture| capture.captor.partition.0 as usize);
                assert_eq!(found, expected, "{subject} with {count}");
                let rule = capture.map(|capture| capture.pattern.to_string());
                assert_eq!(rule.as_deref(), expected.map(|n| patterns[n]));
            }
        }
        patterns.iter().for_each(|text| captures.set(&pattern(text), None));
        assert!(captures.is_empty(), "no places are left that lead nowhere");
    }
}
