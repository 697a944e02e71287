//! The names of subjects, and the number of each.
//!
//! Called by [`super::Subjects`]. Names stand in chunks that are only appended to; a chunk's memory *is* its snapshot form. A name that goes
//! leaves a hole; a chunk that is mostly holes is given up and what is left of it appended anew. A number is used again once its name is
//! gone; then the later chunk is right. The layout stands in `docs/format-entries.md`.

use bytes::{BufMut, Bytes};

/// A chunk is sealed before it grows beyond this, bytes; one with a single longer name is as long as that.
const CHUNK_BYTES: usize = 16 << 10;
/// Bytes before a name: number and length.
const HEAD_BYTES: usize = 6;

/// Where a name stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NameAt {
    chunk: u32,
    at: u32,
}

#[derive(Debug, Default)]
pub(super) struct Names {
    chunks: Vec<Chunk>,
    /// Chunks that were given up.
    free: Vec<u32>,
    growing: Option<u32>,
    /// The age of the next chunk.
    age: u64,
}

#[derive(Debug, Default)]
struct Chunk {
    age: u64,
    body: Vec<u8>,
    sealed: Bytes,
    /// Bytes of names that are there.
    used: usize,
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        if self.sealed.is_empty() { &self.body } else { &self.sealed }
    }

    fn seal(&mut self) {
        self.sealed = std::mem::take(&mut self.body).into_boxed_slice().into();
    }
}

impl Names {
    pub(super) fn get(&self, of: NameAt) -> &[u8] {
        let chunk = self.chunks.get(of.chunk as usize).map_or(&[][..], Chunk::bytes);
        entry(chunk, of.at as usize).map_or(&[], |(_, name)| name)
    }

    /// Adds a name under a number.
    ///
    /// # Panics
    /// If it is longer than 64 KiB, which a record's key cannot be.
    pub(super) fn put(&mut self, number: u32, name: &[u8]) -> NameAt {
        let bytes = HEAD_BYTES + name.len();
        let fits = |chunk: &Chunk| chunk.body.is_empty() || chunk.body.len() + bytes <= CHUNK_BYTES;
        let growing = self.growing.filter(|at| fits(&self.chunks[*at as usize]));
        let at = growing.unwrap_or_else(|| self.begin());
        let chunk = &mut self.chunks[at as usize];
        let name_at = NameAt { chunk: at, at: chunk.body.len() as u32 };
        chunk.body.put_u32_le(number);
        chunk.body.put_u16_le(u16::try_from(name.len()).expect("I70: a record's key is shorter than 64 KiB"));
        chunk.body.put_slice(name);
        chunk.used += bytes;
        name_at
    }

    /// A name is gone. If its chunk should be given up then all that stood in it, there or not, is returned: what is there is to be put
    /// anew.
    pub(super) fn forget(&mut self, of: NameAt) -> Option<(Given, u32)> {
        let name = HEAD_BYTES + self.get(of).len();
        let chunk = &mut self.chunks[of.chunk as usize];
        chunk.used -= name;
        if self.growing == Some(of.chunk) || chunk.used * 2 > chunk.sealed.len() {
            return None;
        }
        let given = std::mem::take(chunk);
        self.free.push(of.chunk);
        Some((Given { bytes: given.sealed, at: 0 }, of.chunk))
    }

    /// The chunks' bytes for a snapshot, oldest first. Full ones are shared, not copied.
    pub(super) fn chunks(&self) -> Vec<Bytes> {
        let mut chunks: Vec<&Chunk> = self.chunks.iter().filter(|chunk| !chunk.bytes().is_empty()).collect();
        chunks.sort_unstable_by_key(|chunk| chunk.age);
        let shared = |chunk: &&Chunk| match chunk.sealed.is_empty() {
            true => Bytes::copy_from_slice(&chunk.body),
            false => chunk.sealed.clone(),
        };
        chunks.iter().map(shared).collect()
    }

    /// Takes up a chunk of a snapshot; each name in it is told to `found`. Whether it is there is known when all chunks are: see
    /// [`Self::is_used`].
    pub(super) fn restore(&mut self, bytes: Bytes, mut found: impl FnMut(u32, NameAt)) -> Result<(), String> {
        let chunk = self.begin();
        let mut at = 0;
        while at < bytes.len() {
            let (number, name) = entry(&bytes, at).ok_or("a chunk of subjects does not add up")?;
            found(number, NameAt { chunk, at: at as u32 });
            at += HEAD_BYTES + name.len();
        }
        self.chunks[chunk as usize].sealed = bytes;
        self.growing = None;
        Ok(())
    }

    /// A name of a restored chunk is there.
    pub(super) fn is_used(&mut self, of: NameAt) {
        let name = HEAD_BYTES + self.get(of).len();
        self.chunks[of.chunk as usize].used += name;
    }

    fn begin(&mut self) -> u32 {
        if let Some(growing) = self.growing {
            self.chunks[growing as usize].seal();
        }
        let chunk = Chunk { age: self.age, ..Chunk::default() };
        self.age += 1;
        let at = match self.free.pop() {
            Some(at) => {
                self.chunks[at as usize] = chunk;
                at
            }
            None => {
                self.chunks.push(chunk);
                self.chunks.len() as u32 - 1
            }
        };
        self.growing = Some(at);
        at
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let of = |chunk: &Chunk| size_of::<Chunk>() + chunk.body.capacity() + chunk.sealed.len();
        self.chunks.iter().map(of).sum()
    }
}

/// What stood in a chunk that was given up.
pub(super) struct Given {
    bytes: Bytes,
    at: usize,
}

impl Given {
    /// The next name: number, where it stood in the chunk, and the name.
    pub(super) fn next(&mut self) -> Option<(u32, u32, Bytes)> {
        let (number, name) = entry(&self.bytes, self.at)?;
        let name = self.bytes.slice_ref(name);
        let at = self.at as u32;
        self.at += HEAD_BYTES + name.len();
        Some((number, at, name))
    }
}

impl NameAt {
    /// Whether it is this place.
    pub(super) fn is(self, chunk: u32, at: u32) -> bool {
        self == Self { chunk, at }
    }
}

fn entry(chunk: &[u8], at: usize) -> Option<(u32, &[u8])> {
    let (head, rest) = chunk.get(at..)?.split_first_chunk::<HEAD_BYTES>()?;
    let [n0, n1, n2, n3, l0, l1] = *head;
    let len = usize::from(u16::from_le_bytes([l0, l1]));
    Some((u32::from_le_bytes([n0, n1, n2, n3]), rest.get(..len)?))
}
