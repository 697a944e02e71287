//! The only source of chance: xoshiro256**, seeded by splitmix64. Every part of a run draws from its own fork of one seed, so
//! that one part's drawing more does not change what another draws.
//!
//! Our own thirty lines instead of a crate, because a failing seed must mean the same run for ever.

/// A stream of numbers that follows from its seed.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut mix = seed;
        let state = std::array::from_fn(|_| splitmix(&mut mix));
        Self { state }
    }

    /// A stream of its own for a part, named by `label`; leaves this one as it is.
    #[must_use]
    pub fn fork(&self, label: u64) -> Self {
        Self::new(self.state[0] ^ self.state[3].rotate_left(17) ^ label.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number below `end`; 0 if there is none.
    pub fn below(&mut self, end: u64) -> u64 {
        // The bias of a remainder is far below anything a run of some thousand steps could show.
        if end == 0 { 0 } else { self.number() % end }
    }

    /// A number from `first` to `last`, both included.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// True `n` times of `of`.
    pub fn chance(&mut self, n: u64, of: u64) -> bool {
        self.below(of) < n
    }

    /// One of `items`, which must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// An index, each as likely as its weight; 0 if all weights are 0.
    pub fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (n, weight) in weights.iter().enumerate() {
            if left < *weight {
                return n;
            }
            left -= weight;
        }
        0
    }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_numbers_for_ever() {
        let mut rng = Rng::new(1);
        let numbers: [u64; 3] = std::array::from_fn(|_| rng.number());
        assert_eq!(
            numbers,
            [12_966_619_160_104_079_557, 9_600_361_134_598_540_522, 10_590_380_919_521_690_900]
        );
    }

    #[test]
    fn forks_differ_and_leave_their_parent_alone() {
        let parent = Rng::new(7);
        let (mut one, mut two) = (parent.fork(1), parent.fork(2));
        assert_ne!(one.number(), two.number());
        assert_eq!(parent.fork(1).number(), Rng::new(7).fork(1).number());
    }

    #[test]
    fn what_has_no_weight_is_never_drawn() {
        let mut rng = Rng::new(3);
        assert!((0..1000).all(|_| rng.weighted(&[0, 5, 0, 1]) % 2 == 1));
    }
}
