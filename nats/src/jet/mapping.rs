//! nats-server's language of subject mappings, as [`Renaming`]s: `orders.*.>` to `archive.{{partition(3,1)}}.$1.>`.
//!
//! Called by the checks of a stream's configuration and by its settings. What must hold: what nats-server refuses is refused with its words,
//! and what it takes comes to the same subjects (`tests/golden/mapping.jsonl`, recorded). Not here: applying it ([`stele_model`]).

use super::subject::is_valid;
use bytes::Bytes;
use std::fmt;
use stele_model::subject::renaming::{Measure, PIECES_MAX, Piece, Renaming};
use stele_model::subject::{PATTERN_BYTES_MAX, Pattern};

/// Why a mapping is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// One of the two is no subject, or their wildcards do not go together.
    Subject,
    /// The destination is no subject: where.
    Destination(Option<String>),
    /// A function of the destination is wrong: how, and in which token.
    Function(&'static str, String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const INVALID: &str = "invalid mapping destination";
        match self {
            Self::Subject => f.write_str("invalid subject"),
            Self::Destination(None) => write!(f, "{INVALID}: invalid transform"),
            Self::Destination(Some(token)) if token.is_empty() => write!(f, "{INVALID}: invalid transform"),
            Self::Destination(Some(token)) => write!(f, "{INVALID}: invalid transform in {token}"),
            Self::Function(why, token) => write!(f, "{INVALID}: {why} in {token}"),
        }
    }
}

const UNKNOWN: &str = "unknown function";
const OUT_OF_RANGE: &str = "wildcard index out of range";
const TOO_FEW: &str = "not enough arguments passed to the function";
const TOO_MANY: &str = "too many arguments passed to the function";
const BAD: &str = "function argument is invalid or in the wrong format";

/// A mapping. An empty source is `>`; an empty destination maps nothing: `None`.
///
/// # Errors
/// What is wrong with it.
pub fn parse(source: &str, destination: &str) -> Result<Option<Renaming>, Wrong> {
    if destination.is_empty() {
        return Ok(None);
    }
    let source = if source.is_empty() { ">" } else { source };
    let from = subject(source).filter(|_| is_valid(source)).and_then(|_| Pattern::new(source.to_owned()));
    let (Some(from), Some(words)) = (from, subject(destination)) else { return Err(Wrong::Subject) };
    let has_rest = |words: &[&str]| words.last() == Some(&">");
    let of_source: Vec<&str> = source.split('.').collect();
    if words.contains(&"*") || has_rest(&words) != has_rest(&of_source) || words.len() > PIECES_MAX {
        return Err(Wrong::Subject);
    }
    let wildcards = Wildcards::of(&of_source);
    let to = words.iter().map(|word| piece(word, &wildcards)).collect::<Result<_, _>>()?;
    Ok(Some(Renaming { from, to }))
}

/// A mapping of a stream's subjects, which is looked at more closely.
///
/// # Errors
/// What is wrong with it.
pub fn parse_strictly(source: &str, destination: &str) -> Result<Option<Renaming>, Wrong> {
    if destination.is_empty() {
        return Ok(None);
    }
    let mut has_ended = false;
    for token in destination.split('.') {
        if token.is_empty() || has_ended {
            return Err(Wrong::Destination(Some(token.to_owned())));
        }
        if let Some(inner) = mustache(token) {
            call(inner).ok_or_else(|| Wrong::Function(UNKNOWN, token.to_owned()))?;
        } else if token == ">" {
            has_ended = true;
        } else if token.contains(['\t', '\n', '\u{c}', '\r', ' ']) {
            return Err(Wrong::Destination(None));
        }
    }
    parse(source, destination)
}

/// The words of a subject, if it is one: none is empty, and `>` is the last.
fn subject(text: &str) -> Option<Vec<&str>> {
    let words: Vec<&str> = text.split('.').collect();
    let inner = words.split_last().map_or(&[][..], |(_, inner)| inner);
    let is_one = !words.contains(&"") && !inner.contains(&">") && text.len() <= PATTERN_BYTES_MAX;
    is_one.then_some(words)
}

/// Where the source has wildcards.
struct Wildcards {
    /// Words that are `*`.
    stars: Vec<u16>,
    /// There are any, `>` included.
    any: bool,
}

impl Wildcards {
    fn of(words: &[&str]) -> Self {
        let stars = (0..).zip(words).filter(|(_, word)| **word == "*").map(|(n, _)| n).collect::<Vec<_>>();
        let any = !stars.is_empty() || words.last() == Some(&">");
        Self { stars, any }
    }

    /// The word that wildcard `n` stands for; what is below the first is the first word of all.
    fn word(&self, n: i64, token: &str) -> Result<u16, Wrong> {
        let out_of_range = || Wrong::Function(OUT_OF_RANGE, format!("{token}: [{n}]"));
        match usize::try_from(n) {
            Err(_) | Ok(0) => Ok(0),
            Ok(n) => self.stars.get(n - 1).copied().ok_or_else(out_of_range),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Wildcard,
    Partition,
    SplitFromLeft,
    SplitFromRight,
    SliceFromLeft,
    SliceFromRight,
    Right,
    Left,
    Split,
    Random,
}

/// Names, where each word but a first one may begin with a capital letter.
const NAMES: [(&[&str], Name); 10] = [
    (&["wildcard"], Name::Wildcard),
    (&["partition"], Name::Partition),
    (&["split", "from", "left"], Name::SplitFromLeft),
    (&["split", "from", "right"], Name::SplitFromRight),
    (&["slice", "from", "left"], Name::SliceFromLeft),
    (&["slice", "from", "right"], Name::SliceFromRight),
    (&["right"], Name::Right),
    (&["left"], Name::Left),
    (&["split"], Name::Split),
    (&["random"], Name::Random),
];

fn piece(token: &str, wildcards: &Wildcards) -> Result<Piece, Wrong> {
    let wrong = |why| Err(Wrong::Function(why, token.to_owned()));
    let text = || Ok(Piece::Text(Bytes::copy_from_slice(token.as_bytes())));
    if token == ">" {
        return Ok(Piece::Rest);
    }
    if let Some(number) = token.strip_prefix('$').filter(|number| !number.is_empty()) {
        return match integer(number) {
            // Other things begin so, too.
            None => text(),
            Some(_) if !wildcards.any => wrong(OUT_OF_RANGE),
            Some(n) => wildcards.word(n, token).map(Piece::Word),
        };
    }
    let Some(inner) = mustache(token) else { return text() };
    let Some((name, args)) = call(inner) else { return wrong(UNKNOWN) };
    let args: Vec<&str> = arguments(args);
    let number = |at: usize| args.get(at).and_then(|text| integer(text.trim_matches(' ')));
    match name {
        Name::Partition => {
            let Some(of) = number(0).and_then(bound) else { return wrong(BAD) };
            let Some(words) = (1..args.len()).map(number).collect::<Option<Vec<_>>>() else {
                return wrong(BAD);
            };
            if !wildcards.any && !words.is_empty() {
                // Without wildcards there is only the whole subject.
                return Ok(Piece::Hash { words: Vec::new(), of });
            }
            let words = words.into_iter().map(|n| wildcards.word(n, token)).collect::<Result<_, _>>()?;
            return Ok(Piece::Hash { words, of });
        }
        Name::Random => {
            return match (&args[..], number(0).and_then(bound)) {
                ([_], Some(of)) => Ok(Piece::Chance { of }),
                ([_], None) => wrong(BAD),
                _ => wrong(TOO_FEW),
            };
        }
        Name::Wildcard if args == [""] => return wrong(TOO_FEW),
        Name::Wildcard if args.len() > 1 => return wrong(TOO_MANY),
        Name::Wildcard => {}
        _ if args.len() < 2 => return wrong(TOO_FEW),
        _ if args.len() > 2 => return wrong(TOO_MANY),
        _ => {}
    }
    let Some(word) = number(0) else { return wrong(BAD) };
    let counts = !matches!(name, Name::Wildcard | Name::Split);
    let Some(bytes) = (if counts { number(1).and_then(count) } else { Some(0) }) else { return wrong(BAD) };
    let by = args.get(1).copied().unwrap_or_default();
    if name == Name::Split && by.contains([' ', '.']) {
        return wrong(BAD);
    }
    if !wildcards.any {
        return wrong(OUT_OF_RANGE);
    }
    let word = wildcards.word(word, token)?;
    let of = |from_end| Measure { word, bytes, from_end };
    Ok(match name {
        Name::Wildcard | Name::Partition | Name::Random => Piece::Word(word),
        Name::SplitFromLeft => Piece::Cut(of(false)),
        Name::SplitFromRight => Piece::Cut(of(true)),
        Name::SliceFromLeft => Piece::Slice(of(false)),
        Name::SliceFromRight => Piece::Slice(of(true)),
        Name::Left => Piece::Keep(of(false)),
        Name::Right => Piece::Keep(of(true)),
        Name::Split => Piece::Split { word, by: Bytes::copy_from_slice(by.as_bytes()) },
    })
}

/// What stands in double braces.
fn mustache(token: &str) -> Option<&str> {
    token.strip_prefix("{{")?.strip_suffix("}}").filter(|inner| !inner.is_empty())
}

/// A function's name and what is in its parentheses.
fn call(inner: &str) -> Option<(Name, &str)> {
    let white = ['\t', '\n', '\u{c}', '\r', ' '];
    let (name, args) = inner.trim_matches(white).strip_suffix(')')?.split_once('(')?;
    let name = name.trim_end_matches(white);
    let is_called = |words: &[&str]| {
        let mut rest = name;
        for word in words {
            let (head, tail) = word.split_at(1);
            let capital = head.to_ascii_uppercase();
            let Some(after) = rest.strip_prefix(head).or_else(|| rest.strip_prefix(&*capital)) else {
                return false;
            };
            let Some(after) = after.strip_prefix(tail) else { return false };
            rest = after;
        }
        rest.is_empty()
    };
    NAMES.iter().find(|(words, _)| is_called(words)).map(|(_, name)| (*name, args))
}

/// What stands between commas, each of which may have white space behind it.
fn arguments(text: &str) -> Vec<&str> {
    let white = ['\t', '\n', '\u{c}', '\r', ' '];
    let mut parts = text.split(',');
    let first = parts.next();
    first.into_iter().chain(parts.map(|part| part.trim_start_matches(white))).collect()
}

fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// How many numbers there are to choose from; a number below 0 is taken for what its bits say without a sign.
fn bound(number: i64) -> Option<u32> {
    let number = i32::try_from(number).ok()?;
    Some(number.cast_unsigned())
}

/// Bytes of a word; less than none are none.
fn count(number: i64) -> Option<u32> {
    let number = i32::try_from(number).ok()?;
    Some(u32::try_from(number).unwrap_or(0))
}
