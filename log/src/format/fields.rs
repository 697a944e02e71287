//! Little-endian integers, one after the other, in a slice whose length was checked before.

/// Writes fields from the front. Panics when the slice ends: its length is our own constant.
pub(super) struct Writer<'a> {
    rest: &'a mut [u8],
}

impl<'a> Writer<'a> {
    pub(super) fn new(bytes: &'a mut [u8]) -> Self {
        Self { rest: bytes }
    }

    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        let (head, tail) = std::mem::take(&mut self.rest).split_at_mut(N);
        head.copy_from_slice(&bytes);
        self.rest = tail;
    }

    pub(super) fn bytes<const N: usize>(&mut self, value: [u8; N]) -> &mut Self {
        self.put(value);
        self
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(value.to_le_bytes())
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(value.to_le_bytes())
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(value.to_le_bytes())
    }
}

/// Reads fields from the front; zeroes once the slice has ended, so callers check the length first.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let Some((head, tail)) = self.rest.split_first_chunk::<N>() else {
            self.rest = &[];
            return [0; N];
        };
        self.rest = tail;
        *head
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.bytes())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }
}
