//! Publishes that repeat the line of the one before them: who sends fast sends to the same subject again and again, in messages of one length.
//!
//! Such a line is compared, not read: what is known of the first message holds for all of them. What must hold: what is found here is what
//! reading each by itself would find; so nothing is taken up for which the second could differ from the first (answers that are counted,
//! `+OK` and warnings, the server's own subjects, another command in between).

use super::Connection;
use crate::codec::Publish;
use stele_model::session::Outbox;

impl Connection {
    /// Takes the messages behind one that was just taken, plain and in `input[at..at + len]`, as long as they repeat its line; their bytes.
    pub(super) fn repeat(
        &mut self,
        (input, at): (&[u8], usize),
        (publish, len): (&Publish, usize),
        out: &mut Outbox,
    ) -> usize {
        let Some(mut item) = out.live.items.last().copied() else { return 0 };
        let is_it = item.at as usize == at + publish.subject.start;
        let subject = &input[at + publish.subject.start..at + publish.subject.end];
        let is_ours = subject.first() == Some(&b'$');
        if !is_it
            || is_ours
            || self.options.pedantic
            || !publish.reply.is_empty()
            || self.options.verbose
            || !self.permissions.holds_for(subject)
        {
            return 0;
        }
        let line = &input[at..at + publish.payload.start];
        let rest = &input[at + len..];
        let repeats =
            rest.chunks_exact(len).take_while(|next| next.starts_with(line) && next.ends_with(b"\r\n"));
        let before = out.live.items.len();
        let step = u32::try_from(len).expect("a read is shorter than 4 GiB");
        for _ in repeats {
            item.at += step;
            out.live.items.push(item);
        }
        let count = out.live.items.len() - before;
        self.traffic.messages_in += count as u64;
        self.traffic.bytes_in += (count * publish.payload.len()) as u64;
        count * len
    }
}
