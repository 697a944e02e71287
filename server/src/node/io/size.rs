//! How much is read at once: much while that is what comes, little while somebody waits for an answer beside it.
//!
//! A large read is one turn and one hand-over, and cheap for each byte; but whoever comes next waits until all of it is parsed, routed and
//! written. So reads of those who publish live grow while they are filled, and are small again as soon as somebody says little at a time. What
//! other dialects send is not cut: it goes to a shard, whose commits are larger for it.

use stele_model::id::Now;

/// Least bytes asked for.
const BYTES_MIN: usize = 32 << 10;

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
}

impl Default for ReadSize {
    fn default() -> Self {
        Self { bytes: BYTES_MIN, hurries: Now(0) }
    }
}

impl ReadSize {
    /// How much to ask for.
    pub(super) fn bytes(&self, now: Now) -> usize {
        if self.is_hurried(now) { BYTES_MIN } else { self.bytes }
    }

    /// Whether somebody has lately said little.
    pub(super) fn is_hurried(&self, now: Now) -> bool {
        now < self.hurries
    }

    /// So many bytes came. `talks`: of one whose read before was a short one too, so that this is not the rest of much.
    pub(super) fn note(&mut self, now: Now, bytes: usize, talks: bool) {
        if talks && bytes < SHORT_BYTES_MAX {
            self.hurries = Now(now.0.saturating_add(CALM_US));
            self.bytes = BYTES_MIN;
        } else if bytes >= self.bytes {
            self.bytes = (2 * self.bytes).min(BYTES_MAX);
        } else if bytes < self.bytes / 4 {
            self.bytes = (self.bytes / 2).max(BYTES_MIN);
        }
    }
}

const _: () = assert!(SHORT_BYTES_MAX < BYTES_MIN, "a read that is full is no short one");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_grow_while_they_are_filled_and_shrink_when_little_comes() {
        let (mut size, now) = (ReadSize::default(), Now(0));
        let mut asked = Vec::new();
        for _ in 0..5 {
            asked.push(size.bytes(now) >> 10);
            size.note(now, size.bytes(now), false);
        }
        assert_eq!(asked, [32, 64, 128, 256, 256]);
        size.note(now, BYTES_MAX / 2, false);
        assert_eq!(size.bytes(now), BYTES_MAX, "half of it is enough to stay");
        for _ in 0..4 {
            size.note(now, 100, false);
        }
        assert_eq!(size.bytes(now), BYTES_MIN);
    }

    #[test]
    fn reads_are_small_while_somebody_says_little_at_a_time() {
        let mut size = ReadSize::default();
        (0..3).for_each(|_| size.note(Now(0), BYTES_MAX, false));
        size.note(Now(5), 100, true);
        for at in [6, CALM_US] {
            size.note(Now(at), BYTES_MIN, false);
            assert_eq!(size.bytes(Now(at)), BYTES_MIN);
        }
        assert!(size.bytes(Now(CALM_US + 5)) > BYTES_MIN, "nobody has said a word for a while");
    }
}
