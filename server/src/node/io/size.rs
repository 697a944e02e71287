//! How much is read at once: much while that is what comes, little while somebody waits for an answer beside it.
//!
//! A large read is one turn and one hand-over, and cheap for each byte; but whoever comes next waits until all of it is parsed, routed and
//! written. So reads of those who publish live grow while they are filled, and are small again as soon as somebody says little at a time. What
//! other dialects send is not cut: it goes to a shard, whose commits are larger for it.

use stele_model::id::Now;

/// Least bytes asked for while nobody waits.
const BYTES_MIN: usize = 32 << 10;

/// Bytes asked for while somebody does: what one read brings is some 10 to 20 µs of work then.
const HURRIED_BYTES: usize = 4 << 10;

/// Most bytes asked for. Long messages, which are shared and not copied, gain up to here.
pub(super) const BYTES_MAX: usize = 256 << 10;

/// Who waits for something, or is waited for, says less than this at a time, bytes.
pub(super) const SHORT_BYTES_MAX: usize = 4 << 10;

/// So long after somebody has said little reads stay small, microseconds.
const CALM_US: u64 = 10_000;

/// How much to read of those who publish live.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadSize {
    bytes: usize,
    /// Until when somebody is expected to say more.
    hurries: Now,
    /// Who said little last, by slot: nobody waits for him but himself.
    talker: usize,
}

impl Default for ReadSize {
    fn default() -> Self {
        Self { bytes: BYTES_MIN, hurries: Now(0), talker: 0 }
    }
}

impl ReadSize {
    /// How much to ask the connection in this slot for.
    pub(super) fn bytes(&self, now: Now, slot: usize) -> usize {
        if self.is_hurried(now) && slot != self.talker { HURRIED_BYTES } else { self.bytes }
    }

    /// Whether somebody has lately said little.
    pub(super) fn is_hurried(&self, now: Now) -> bool {
        now < self.hurries
    }

    /// So many bytes came from the connection in this slot. `talks`: of one who waits for an answer or has one, and whose read before was a short one
    /// too, so that this is not the rest of much.
    pub(super) fn note(&mut self, now: Now, slot: usize, bytes: usize, talks: bool) {
        if talks && bytes < SHORT_BYTES_MAX {
            self.talker = slot;
            self.hurries = Now(now.0.saturating_add(CALM_US));
            self.bytes = BYTES_MIN;
        } else if bytes >= self.bytes {
            self.bytes = (2 * self.bytes).min(BYTES_MAX);
        } else if bytes < self.bytes / 4 {
            self.bytes = (self.bytes / 2).max(BYTES_MIN);
        }
    }
}

const _: () = assert!(SHORT_BYTES_MAX <= HURRIED_BYTES, "a read that is full is no short one");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_grow_while_they_are_filled_and_shrink_when_little_comes() {
        let (mut size, now) = (ReadSize::default(), Now(0));
        let mut asked = Vec::new();
        for _ in 0..5 {
            asked.push(size.bytes(now, 1) >> 10);
            size.note(now, 1, size.bytes(now, 1), false);
        }
        assert_eq!(asked, [32, 64, 128, 256, 256]);
        size.note(now, 1, BYTES_MAX / 2, false);
        assert_eq!(size.bytes(now, 1), BYTES_MAX, "half of it is enough to stay");
        for _ in 0..4 {
            size.note(now, 1, 100, false);
        }
        assert_eq!(size.bytes(now, 1), BYTES_MIN);
    }

    #[test]
    fn reads_are_small_while_somebody_else_says_little_at_a_time() {
        let (mut size, flood, talker) = (ReadSize::default(), 1, 2);
        (0..3).for_each(|_| size.note(Now(0), flood, BYTES_MAX, false));
        size.note(Now(5), talker, 100, true);
        for at in [6, CALM_US] {
            size.note(Now(at), flood, HURRIED_BYTES, false);
            assert_eq!([flood, talker].map(|slot| size.bytes(Now(at), slot)), [HURRIED_BYTES, BYTES_MIN]);
        }
        assert_eq!(size.bytes(Now(CALM_US + 5), flood), BYTES_MIN, "nobody has said a word for a while");
    }
}
