//! Answers that are looked at piece by piece as they come, by the readers of [`super::consume`].
//!
//! What was looked at makes room for what comes next, so that an answer of many MB goes through a buffer that stays in a core's cache: to put it
//! together first would cost as much again as to read it. What must hold: nothing is taken beyond the end of the answer.

use std::io::Read;

use anyhow::{Context, Result, ensure};

use super::wire::{ANSWER_BYTES_MAX, Fields};

/// Room for what is read at once; it grows where one piece is larger.
const BUFFER_BYTES: usize = 256 << 10;

/// What comes from a broker, one answer after the other.
pub(crate) struct Incoming<R> {
    pub stream: R,
    buffer: Vec<u8>,
    /// What is in the buffer and was not taken.
    at: usize,
    end: usize,
    /// Bytes of the answer that were not taken.
    left: usize,
}

impl<R: Read> Incoming<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, buffer: vec![0; BUFFER_BYTES], at: 0, end: 0, left: 0 }
    }

    /// Waits for the next answer; its correlation id.
    pub(crate) fn answer(&mut self) -> Result<i32> {
        ensure!(self.left == 0, "{} bytes behind an answer", self.left);
        self.left = 4;
        let length = self.fields(4)?.i32()?;
        let length = usize::try_from(length).context("an answer of negative length")?;
        ensure!((4..=ANSWER_BYTES_MAX).contains(&length), "an answer of {length} bytes");
        self.left = length;
        self.fields(4)?.i32()
    }

    /// The next bytes of the answer, and takes them.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<&[u8]> {
        self.peek(bytes)?;
        self.left -= bytes;
        self.at += bytes;
        Ok(&self.buffer[self.at - bytes..self.at])
    }

    /// The same as fields.
    pub(crate) fn fields(&mut self, bytes: usize) -> Result<Fields<'_>> {
        self.take(bytes).map(Fields)
    }

    /// The next bytes of the answer, which stay.
    pub(crate) fn peek(&mut self, bytes: usize) -> Result<&[u8]> {
        ensure!(bytes <= self.left, "an answer that is too short");
        if self.end - self.at < bytes {
            self.buffer.copy_within(self.at..self.end, 0);
            self.end -= self.at;
            self.at = 0;
            self.buffer.resize(self.buffer.len().max(bytes), 0);
        }
        while self.end - self.at < bytes {
            self.read()?;
        }
        Ok(&self.buffer[self.at..self.at + bytes])
    }

    /// Takes bytes without looking at them.
    pub(crate) fn skip(&mut self, mut bytes: usize) -> Result<()> {
        self.left = self.left.checked_sub(bytes).context("an answer that is too short")?;
        loop {
            let here = bytes.min(self.end - self.at);
            self.at += here;
            bytes -= here;
            if bytes == 0 {
                return Ok(());
            }
            (self.at, self.end) = (0, 0);
            self.read()?;
        }
    }

    fn read(&mut self) -> Result<()> {
        let bytes = self.stream.read(&mut self.buffer[self.end..]).context("wait for an answer")?;
        ensure!(bytes > 0, "the connection ended inside an answer");
        self.end += bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Torn<'a>(&'a [u8], usize);

    impl Read for Torn<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let most = into.len().min(self.1);
            (&mut self.0).take(most as u64).read(into)
        }
    }

    #[test]
    fn torn_answers_are_read_as_whole_ones() {
        let bytes = [0, 0, 0, 10, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 0, 0, 0, 4, 0, 0, 0, 8];
        for at_once in 1..=bytes.len() {
            let mut incoming = Incoming::new(Torn(&bytes, at_once));
            assert_eq!(incoming.answer().unwrap(), 7);
            assert_eq!(incoming.peek(2).unwrap(), [1, 2]);
            assert_eq!(incoming.take(1).unwrap(), [1]);
            incoming.skip(3).unwrap();
            assert!(incoming.take(3).is_err() && incoming.skip(3).is_err(), "the answer has two more bytes");
            assert!(incoming.answer().is_err(), "and they were not taken");
            assert_eq!(incoming.fields(2).unwrap().i16().unwrap(), 0x0506);
            assert_eq!(incoming.answer().unwrap(), 8);
            assert!(incoming.answer().is_err(), "nothing more comes");
        }
    }

    #[test]
    fn a_piece_larger_than_the_buffer_is_put_together() {
        let length = 4 + BUFFER_BYTES + 9;
        let mut bytes = u32::try_from(length).unwrap().to_be_bytes().to_vec();
        bytes.resize(4 + length, 3);
        let mut incoming = Incoming::new(Torn(&bytes, 1000));
        incoming.answer().unwrap();
        assert_eq!(incoming.take(BUFFER_BYTES + 9).unwrap().len(), BUFFER_BYTES + 9);
    }
}
