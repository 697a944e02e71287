//! Patterns of subjects: tokens between dots, `*` for exactly one, `>` at the end for one or more.
//!
//! Said by whoever captures, filters or listens by subject; the hub and the shards match with it. A subject is bytes, since AMQP's routing
//! keys are; what a client may write is its dialect's business. What must hold: `matches`, `covers` and `overlaps` agree with each other
//! (property tests against a naive matcher). Not here: AMQP's topic patterns, whose `#` also matches nothing (hub's router).

pub mod renaming;

use bytes::Bytes;
use std::fmt;

/// Longest pattern, bytes; and so the longest subject that can be asked for.
pub const PATTERN_BYTES_MAX: usize = 8 << 10;

/// A pattern that is well formed: no empty token, `>` only as the last one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Bytes);

impl Pattern {
    /// Checks a pattern. `None`: it is empty, too long, has an empty token, white space, or a `>` before the end.
    #[must_use]
    pub fn new(text: impl Into<Bytes>) -> Option<Self> {
        let text: Bytes = text.into();
        let is_sized = !text.is_empty() && text.len() <= PATTERN_BYTES_MAX;
        (is_sized && is_well_formed(&text)).then_some(Self(text))
    }

    /// The pattern that every subject matches.
    #[must_use]
    pub fn everything() -> Self {
        Self(Bytes::from_static(b">"))
    }

    /// Its text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The one subject that matches it; `None`: it has wildcards.
    #[must_use]
    pub fn literal(&self) -> Option<&[u8]> {
        self.tokens().all(|token| token != b"*" && token != b">").then_some(&self.0[..])
    }

    /// What every subject that matches begins with.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        let mut len = 0;
        for token in self.tokens() {
            if token == b"*" || token == b">" {
                return &self.0[..len];
            }
            len += token.len() + 1;
        }
        &self.0
    }

    /// A prefix and nothing else decides: the pattern is `>`, or tokens without a wildcard and then `>`.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        self.0.len() == self.prefix().len() + 1 && self.0.ends_with(b">")
    }

    /// Whether a subject matches.
    #[must_use]
    pub fn matches(&self, subject: &[u8]) -> bool {
        let mut subject = tokens(subject);
        for token in self.tokens() {
            let Some(of_subject) = subject.next() else { return false };
            match token {
                b">" => return true,
                b"*" => {}
                _ if token == of_subject => {}
                _ => return false,
            }
        }
        subject.next().is_none()
    }

    /// Whether every subject that matches `other` matches this.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let mut others = other.tokens();
        for token in self.tokens() {
            let Some(of_other) = others.next() else { return false };
            match token {
                b">" => return true,
                b"*" if of_other != b">" => {}
                _ if token == of_other => {}
                _ => return false,
            }
        }
        others.next().is_none()
    }

    /// Whether some subject matches both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.tokens(), other.tokens());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (None, Some(_)) | (Some(_), None) => return false,
                (Some(b">"), Some(_)) | (Some(_), Some(b">")) => return true,
                (Some(b"*"), Some(_)) | (Some(_), Some(b"*")) => {}
                (Some(a), Some(b)) if a == b => {}
                (Some(_), Some(_)) => return false,
            }
        }
    }

    /// Its tokens.
    pub fn tokens(&self) -> impl Iterator<Item = &[u8]> {
        tokens(&self.0)
    }
}

fn is_well_formed(text: &[u8]) -> bool {
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
    let mut tokens = tokens(text).peekable();
    while let Some(token) = tokens.next() {
        let is_inner_rest = token == b">" && tokens.peek().is_some();
        if token.is_empty() || is_inner_rest || token.iter().any(blank) {
            return false;
        }
    }
    true
}

/// What stands between the dots.
pub fn tokens(subject: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    subject.split(|byte| *byte == b'.')
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text.to_owned()).unwrap()
    }

    /// All texts of one to three tokens out of these.
    fn all(tokens: &[&str]) -> Vec<String> {
        let one = tokens.iter().map(|token| (*token).to_owned());
        let two = tokens.iter().flat_map(|a| tokens.iter().map(move |b| format!("{a}.{b}")));
        let three = two.clone().flat_map(|two| tokens.iter().map(move |c| format!("{two}.{c}")));
        one.chain(two).chain(three).collect()
    }

    #[test]
    fn covering_and_overlapping_are_what_matching_makes_of_them() {
        // Three letters stand for all: no pattern here tells more apart. A fourth token shows what `>` reaches.
        let mut subjects = all(&["a", "b", "c"]);
        subjects.extend(all(&["a", "b", "c"]).iter().map(|three| format!("{three}.c")));
        let patterns: Vec<Pattern> =
            all(&["a", "b", "*", ">"]).into_iter().filter_map(Pattern::new).collect();
        assert_eq!(patterns.len(), 4 + 3 * 4 + 9 * 4);
        for one in &patterns {
            let of_one: Vec<bool> = subjects.iter().map(|subject| one.matches(subject.as_bytes())).collect();
            for other in &patterns {
                let both =
                    || of_one.iter().zip(&subjects).map(|(is, of)| (*is, other.matches(of.as_bytes())));
                assert_eq!(one.overlaps(other), both().any(|(a, b)| a && b), "{one} overlaps {other}");
                assert_eq!(one.covers(other), both().all(|(a, b)| a || !b), "{one} covers {other}");
            }
        }
    }

    #[test]
    fn a_pattern_matches_token_by_token() {
        for (text, subject, is) in [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("*", "a.b", false),
            ("a.>", "a", false),
            ("a.>", "a.b.c", true),
            (">", "a", true),
            ("a.*.c", "a..c", true),
            ("a*", "ab", false),
        ] {
            assert_eq!(pattern(text).matches(subject.as_bytes()), is, "{text} {subject}");
        }
    }

    #[test]
    fn a_malformed_pattern_is_none() {
        for text in ["", ".", "a.", ".a", "a..b", ">.a", "a b", "a.\t"] {
            assert_eq!(Pattern::new(text.to_owned()), None, "{text:?}");
        }
        assert_eq!(Pattern::new(vec![b'a'; PATTERN_BYTES_MAX + 1]), None);
    }

    #[test]
    fn a_pattern_knows_its_literal_part() {
        for (text, prefix, is_prefix, literal) in [
            ("a.b", "a.b", false, true),
            ("a.*", "a.", false, false),
            ("a.>", "a.", true, false),
            (">", "", true, false),
            ("a.*.>", "a.", false, false),
        ] {
            let of = pattern(text);
            assert_eq!(of.prefix(), prefix.as_bytes(), "{text}");
            assert_eq!((of.is_prefix(), of.literal().is_some()), (is_prefix, literal), "{text}");
        }
    }
}
