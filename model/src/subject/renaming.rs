//! How subjects become others: a pattern, and what is made of the words of a subject that matches it.
//!
//! Written by a dialect out of its own language; applied where a stream stores records under other subjects, or tells of them under
//! others. Plain data: what comes out depends on the subject and on the number drawn, and on nothing else. What must hold: whoever logs, logs
//! the result, since this may change; no input makes it panic or grow beyond [`SUBJECT_BYTES_MAX`]. The layout of its bytes stands in
//! `docs/format-entries.md`.

use super::{Pattern, tokens};
use bytes::{BufMut, Bytes};

/// Longest subject that comes out, bytes.
pub const SUBJECT_BYTES_MAX: usize = 8 << 10;
/// Most pieces of a renaming, and most words that one of them looks at.
pub const PIECES_MAX: usize = 1024;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renaming {
    /// Which subjects it is for.
    pub from: Pattern,
    /// What stands between the dots of the subject that comes out.
    pub to: Vec<Piece>,
}

/// What stands between two dots; some make several words. Words are counted from 0; of one that is not there nothing is taken. Counts of bytes
/// that are 0, or not less than the word's length, leave the word as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// This text.
    Text(Bytes),
    /// A word.
    Word(u16),
    /// A number below `of` (0 if that is 0), the same for the same words: FNV-1a, 32 bits, of the words one after the other.
    Hash {
        /// Which words; none: of the whole subject.
        words: Vec<u16>,
        /// See above.
        of: u32,
    },
    /// A number below `of` (0 if that is 0), by chance.
    Chance {
        /// See above.
        of: u32,
    },
    /// A word with a dot behind so many bytes.
    Cut(Measure),
    /// A word with a dot behind each so many bytes.
    Slice(Measure),
    /// So many bytes of a word.
    Keep(Measure),
    /// A word with a dot wherever this text stands in it, or, if that is empty, behind each of its characters.
    Split {
        /// Which.
        word: u16,
        /// The text.
        by: Bytes,
    },
    /// All words that the pattern's `>` stands for.
    Rest,
}

/// A count of bytes of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Which word.
    pub word: u16,
    /// How many bytes.
    pub bytes: u32,
    /// Counted from the word's end.
    pub from_end: bool,
}

/// What comes out is longer than [`SUBJECT_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl Renaming {
    /// What a subject becomes; `None`: it is none that this is for. `draw`: any number, by which [`Piece::Chance`] is decided.
    ///
    /// # Errors
    /// If it becomes too long.
    pub fn apply(&self, subject: &[u8], draw: u64) -> Result<Option<Vec<u8>>, TooLong> {
        let is_literal = tokens(subject).all(|word| !matches!(word, b"" | b"*" | b">"));
        if !is_literal || !self.from.matches(subject) {
            return Ok(None);
        }
        let words: Vec<&[u8]> = tokens(subject).collect();
        let of = Renamed { subject, words, rest: self.from.tokens().count() - 1 };
        let mut out = Vec::with_capacity(subject.len());
        for (n, piece) in (0..).zip(&self.to) {
            if n > 0 {
                out.push(b'.');
            }
            of.put(piece, mix(draw.wrapping_add(n)), &mut out);
            if out.len() > SUBJECT_BYTES_MAX {
                return Err(TooLong);
            }
        }
        Ok(Some(out))
    }

    /// Appends its bytes.
    ///
    /// # Panics
    /// If it has more than [`PIECES_MAX`] pieces, or a text longer than 64 KiB: who makes it checks that.
    pub fn write(&self, out: &mut Vec<u8>) {
        put_text(out, self.from.as_bytes());
        put_len(out, self.to.len());
        self.to.iter().for_each(|piece| piece.write(out));
    }

    /// Reads what [`Self::write`] wrote, exactly; `None`: it is nothing that was.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut input = Input(bytes);
        let from = Pattern::new(input.text()?)?;
        let count = input.len()?;
        let to = (0..count).map(|_| Piece::read(&mut input)).collect::<Option<_>>()?;
        input.0.is_empty().then_some(Self { from, to })
    }
}

/// A subject that is being renamed.
struct Renamed<'a> {
    subject: &'a [u8],
    words: Vec<&'a [u8]>,
    /// Which word is the first that the pattern's last one stands for.
    rest: usize,
}

impl Renamed<'_> {
    fn word(&self, n: u16) -> &[u8] {
        self.words.get(usize::from(n)).copied().unwrap_or_default()
    }

    fn put(&self, piece: &Piece, draw: u64, out: &mut Vec<u8>) {
        let number = |of: u32, number: u64, out: &mut Vec<u8>| {
            out.extend_from_slice(number.checked_rem(u64::from(of)).unwrap_or(0).to_string().as_bytes());
        };
        match piece {
            Piece::Text(text) => out.extend_from_slice(text),
            Piece::Word(word) => out.extend_from_slice(self.word(*word)),
            Piece::Hash { words, of } if words.is_empty() => number(*of, fnv([self.subject]), out),
            Piece::Hash { words, of } => number(*of, fnv(words.iter().map(|word| self.word(*word))), out),
            Piece::Chance { of } => number(*of, draw, out),
            Piece::Cut(measure) => {
                let (front, back) = measure.split(self.word(measure.word));
                join([front, back], out);
            }
            Piece::Slice(measure) => self.slice(*measure, out),
            Piece::Keep(measure) => {
                let (front, back) = measure.split(self.word(measure.word));
                let whole = front.is_empty() || back.is_empty();
                let kept = if whole {
                    self.word(measure.word)
                } else if measure.from_end {
                    back
                } else {
                    front
                };
                out.extend_from_slice(kept);
            }
            Piece::Split { word, by } => split(self.word(*word), by, out),
            Piece::Rest => join(self.words.get(self.rest..).unwrap_or_default().iter().copied(), out),
        }
    }

    fn slice(&self, measure: Measure, out: &mut Vec<u8>) {
        let word = self.word(measure.word);
        let size = measure.bytes as usize;
        if size == 0 || size >= word.len() {
            return out.extend_from_slice(word);
        }
        let (first, rest) = if measure.from_end { word.split_at(word.len() % size) } else { (&[][..], word) };
        let first = Some(first).filter(|first| !first.is_empty());
        join(first.into_iter().chain(rest.chunks(size)), out);
    }
}

impl Measure {
    /// The two parts of a word; one of them is empty where nothing is to be parted.
    fn split(self, word: &[u8]) -> (&[u8], &[u8]) {
        let bytes = self.bytes as usize;
        match bytes < word.len() && bytes > 0 {
            true if self.from_end => word.split_at(word.len() - bytes),
            true => word.split_at(bytes),
            false => (word, &[]),
        }
    }
}

/// Parts that are not empty, with dots between.
fn join<'a>(parts: impl IntoIterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    for (n, part) in parts.into_iter().filter(|part| !part.is_empty()).enumerate() {
        if n > 0 {
            out.push(b'.');
        }
        out.extend_from_slice(part);
    }
}

/// A dot stands before each part that is not empty, but before the first one, and before the second one if the first is empty.
fn split(word: &[u8], by: &[u8], out: &mut Vec<u8>) {
    let parts = parts(word, by);
    for (n, part) in parts.iter().enumerate() {
        let has_front = n > 1 || (n == 1 && !parts[0].is_empty());
        if has_front && !part.is_empty() {
            out.push(b'.');
        }
        out.extend_from_slice(part);
    }
}

fn parts<'a>(word: &'a [u8], by: &[u8]) -> Vec<&'a [u8]> {
    if by.is_empty() {
        return match std::str::from_utf8(word) {
            Ok(text) => text.char_indices().map(|(at, c)| &word[at..at + c.len_utf8()]).collect(),
            Err(_) => word.chunks(1).collect(),
        };
    }
    let (mut parts, mut rest) = (Vec::new(), word);
    while let Some(at) = rest.windows(by.len()).position(|part| part == by) {
        parts.push(&rest[..at]);
        rest = &rest[at + by.len()..];
    }
    parts.push(rest);
    parts
}

fn fnv<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let octets = words.into_iter().flatten();
    let sum = octets.fold(0x811c_9dc5_u32, |sum, octet| (sum ^ u32::from(*octet)).wrapping_mul(0x0100_0193));
    u64::from(sum)
}

/// A number that looks nothing like the one before (the finaliser of SplitMix64).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Kinds of pieces.
mod kind {
    pub(super) const TEXT: u8 = 1;
    pub(super) const WORD: u8 = 2;
    pub(super) const HASH: u8 = 3;
    pub(super) const CHANCE: u8 = 4;
    pub(super) const CUT: u8 = 5;
    pub(super) const SLICE: u8 = 6;
    pub(super) const KEEP: u8 = 7;
    pub(super) const SPLIT: u8 = 8;
    pub(super) const REST: u8 = 9;
}

impl Piece {
    fn write(&self, out: &mut Vec<u8>) {
        let measured = |kind: u8, of: &Measure, out: &mut Vec<u8>| {
            out.put_u8(kind);
            out.put_u8(u8::from(of.from_end));
            out.put_u16_le(of.word);
            out.put_u32_le(of.bytes);
        };
        match self {
            Self::Text(text) => {
                out.put_u8(kind::TEXT);
                put_text(out, text);
            }
            Self::Word(word) => {
                out.put_u8(kind::WORD);
                out.put_u16_le(*word);
            }
            Self::Hash { words, of } => {
                out.put_u8(kind::HASH);
                put_len(out, words.len());
                words.iter().for_each(|word| out.put_u16_le(*word));
                out.put_u32_le(*of);
            }
            Self::Chance { of } => {
                out.put_u8(kind::CHANCE);
                out.put_u32_le(*of);
            }
            Self::Cut(of) => measured(kind::CUT, of, out),
            Self::Slice(of) => measured(kind::SLICE, of, out),
            Self::Keep(of) => measured(kind::KEEP, of, out),
            Self::Split { word, by } => {
                out.put_u8(kind::SPLIT);
                out.put_u16_le(*word);
                put_text(out, by);
            }
            Self::Rest => out.put_u8(kind::REST),
        }
    }

    fn read(input: &mut Input<'_>) -> Option<Self> {
        let kind = input.u8()?;
        Some(match kind {
            kind::TEXT => Self::Text(input.text()?),
            kind::WORD => Self::Word(input.u16()?),
            kind::HASH => {
                let count = input.len()?;
                let words = (0..count).map(|_| input.u16()).collect::<Option<_>>()?;
                Self::Hash { words, of: input.u32()? }
            }
            kind::CHANCE => Self::Chance { of: input.u32()? },
            kind::CUT => Self::Cut(input.measure()?),
            kind::SLICE => Self::Slice(input.measure()?),
            kind::KEEP => Self::Keep(input.measure()?),
            kind::SPLIT => Self::Split { word: input.u16()?, by: input.text()? },
            kind::REST => Self::Rest,
            _ => return None,
        })
    }
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.put_u16_le(u16::try_from(text.len()).expect("a renaming's texts are short"));
    out.put_slice(text);
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    assert!(len <= PIECES_MAX, "a renaming has few pieces");
    out.put_u16_le(u16::try_from(len).unwrap_or(u16::MAX));
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn len(&mut self) -> Option<usize> {
        self.u16().map(usize::from).filter(|len| *len <= PIECES_MAX)
    }

    fn text(&mut self) -> Option<Bytes> {
        let len = usize::from(self.u16()?);
        let (text, rest): (&'a [u8], _) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(Bytes::copy_from_slice(text))
    }

    fn measure(&mut self) -> Option<Measure> {
        let from_end = match self.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(Measure { word: self.u16()?, bytes: self.u32()?, from_end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renaming(from: &str, to: Vec<Piece>) -> Renaming {
        Renaming { from: Pattern::new(from.to_owned()).unwrap(), to }
    }

    fn text(text: &'static str) -> Piece {
        Piece::Text(Bytes::from_static(text.as_bytes()))
    }

    fn applied(of: &Renaming, subject: &str) -> Option<String> {
        of.apply(subject.as_bytes(), 0).unwrap().map(|subject| String::from_utf8(subject).unwrap())
    }

    #[test]
    fn what_does_not_match_is_not_renamed() {
        let of = renaming("a.*.>", vec![text("z"), Piece::Rest, Piece::Word(1)]);
        assert_eq!(applied(&of, "a.b.c.d").as_deref(), Some("z.c.d.b"));
        for other in ["a.b", "b.b.c", "a..c", "a.*.c", "a.b.>"] {
            assert_eq!(applied(&of, other), None, "{other}");
        }
    }

    #[test]
    fn words_are_cut_sliced_and_split() {
        let measure = |bytes, from_end| Measure { word: 0, bytes, from_end };
        let one = |piece| applied(&renaming("*", vec![piece]), "abcde").unwrap();
        assert_eq!(one(Piece::Cut(measure(2, false))), "ab.cde");
        assert_eq!(one(Piece::Cut(measure(2, true))), "abc.de");
        assert_eq!(one(Piece::Slice(measure(2, false))), "ab.cd.e");
        assert_eq!(one(Piece::Slice(measure(2, true))), "a.bc.de");
        assert_eq!(one(Piece::Keep(measure(2, false))), "ab");
        assert_eq!(one(Piece::Keep(measure(2, true))), "de");
        for bytes in [0, 5, 9] {
            for piece in [Piece::Cut, Piece::Slice, Piece::Keep] {
                assert_eq!(one(piece(measure(bytes, bytes == 9))), "abcde");
            }
        }
        let split = |word: &str, by: &'static str| {
            let piece = Piece::Split { word: 0, by: Bytes::from_static(by.as_bytes()) };
            applied(&renaming("*", vec![piece]), word).unwrap()
        };
        assert_eq!(split("a-b--c-", "-"), "a.b.c");
        assert_eq!(split("-a-b", "-"), "a.b");
        assert_eq!(split("äb", ""), "ä.b");
    }

    #[test]
    fn a_subject_does_not_grow_beyond_its_bound() {
        let of = renaming("*", vec![Piece::Word(0); PIECES_MAX]);
        assert_eq!(of.apply(&[b'a'; 8], 0), Err(TooLong));
        assert_eq!(of.apply(b"a", 0).unwrap().map(|subject| subject.len()), Some(2 * PIECES_MAX - 1));
    }

    #[test]
    fn a_number_by_chance_is_below_its_bound_and_follows_the_draw() {
        let of = renaming("a", vec![Piece::Chance { of: 7 }]);
        let drawn = |draw| String::from_utf8(of.apply(b"a", draw).unwrap().unwrap()).unwrap();
        let all: std::collections::BTreeSet<String> = (0..200).map(drawn).collect();
        assert_eq!(all.len(), 7, "{all:?}");
        assert_eq!(drawn(5), drawn(5));
        assert_eq!(applied(&renaming("a", vec![Piece::Chance { of: 0 }]), "a").as_deref(), Some("0"));
    }

    #[test]
    fn what_is_written_reads_back_and_what_is_cut_does_not() {
        let measure = Measure { word: 2, bytes: 70_000, from_end: true };
        let pieces = vec![
            text("x"),
            Piece::Word(1),
            Piece::Hash { words: vec![1, 2], of: 9 },
            Piece::Chance { of: 3 },
            Piece::Cut(measure),
            Piece::Slice(measure),
            Piece::Keep(Measure { from_end: false, ..measure }),
            Piece::Split { word: 1, by: Bytes::from_static(b"-") },
            Piece::Rest,
        ];
        let of = renaming("a.*.*.>", pieces);
        let mut bytes = Vec::new();
        of.write(&mut bytes);
        assert_eq!(Renaming::read(&bytes), Some(of));
        for len in 0..bytes.len() {
            assert_eq!(Renaming::read(&bytes[..len]), None, "{len} bytes");
        }
    }
}
