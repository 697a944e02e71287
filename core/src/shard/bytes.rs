//! Reading and writing the fixed little-endian fields of entries and snapshots.
//!
//! Called by [`super::entry`], [`super::spec`] and [`super::snapshot`]. What must hold: no length is believed before it is checked,
//! reading allocates nothing, and nothing here panics on input.

use bytes::BufMut;
use stele_model::id::Position;
use stele_model::settle::Run;

/// Bytes of one encoded [`Run`].
pub(crate) const RUN_BYTES: usize = 12;

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    fn fixed<const N: usize>(&mut self, what: &str) -> Result<[u8; N], String> {
        let (bytes, rest) =
            self.0.split_first_chunk::<N>().ok_or_else(|| format!("ends early at its {what}"))?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(crate) fn u8(&mut self, what: &str) -> Result<u8, String> {
        self.fixed::<1>(what).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, what: &str) -> Result<u16, String> {
        self.fixed(what).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self, what: &str) -> Result<u32, String> {
        self.fixed(what).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, what: &str) -> Result<u64, String> {
        self.fixed(what).map(u64::from_le_bytes)
    }

    pub(crate) fn bytes(&mut self, len: usize, what: &str) -> Result<&'a [u8], String> {
        let (bytes, rest) =
            self.0.split_at_checked(len).ok_or_else(|| format!("ends early in its {what}"))?;
        self.0 = rest;
        Ok(bytes)
    }

    /// A u16 length and as many bytes of UTF-8.
    pub(crate) fn text(&mut self, what: &str) -> Result<String, String> {
        let len = self.u16(what)?;
        let bytes = self.bytes(usize::from(len), what)?;
        let text = str::from_utf8(bytes).map_err(|_| format!("{what} is not UTF-8"))?;
        Ok(text.to_owned())
    }

    /// All that is left, as runs.
    pub(crate) fn runs(self) -> Result<Runs<'a>, String> {
        let (runs, rest) = self.0.as_chunks::<RUN_BYTES>();
        if rest.is_empty() { Ok(Runs(runs)) } else { Err("its runs end early".to_owned()) }
    }

    pub(crate) fn end(self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("{} bytes are left over", self.0.len())) }
    }
}

/// Encoded runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Runs<'a>(&'a [[u8; RUN_BYTES]]);

impl<'a> Runs<'a> {
    pub(crate) fn iter(self) -> impl Iterator<Item = Run> + use<'a> {
        self.0.iter().map(|bytes| {
            let [a0, a1, a2, a3, a4, a5, a6, a7, count @ ..] = *bytes;
            Run {
                first: Position(u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7])),
                count: u32::from_le_bytes(count),
            }
        })
    }
}

/// Appends runs.
pub(crate) fn put_runs(out: &mut Vec<u8>, runs: &[Run]) {
    for run in runs {
        out.put_u64_le(run.first.0);
        out.put_u32_le(run.count);
    }
}

/// Appends a u16 length and the text.
///
/// # Panics
/// If it is longer than 65 535 bytes: names have far lower bounds where they come in.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_u16_le(u16::try_from(text.len()).expect("a name is shorter than 64 KiB"));
    out.put_slice(text.as_bytes());
}
