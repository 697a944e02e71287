//! Crashes and pauses from a seed.

use std::sync::{Mutex, PoisonError};

use stele_bus::mishap::{Mishaps, Point};
use stele_bus::transport::memory::Chaos;

/// Crashes of one run at most: a run must come to an end.
const CRASHES_MAX: u32 = 50;

/// What goes wrong in one run. All chances in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The same seed gives the same run.
    pub seed: u64,
    /// A message is delivered before older ones.
    pub reorder: u8,
    /// A message is delivered again after it was accepted.
    pub duplicate: u8,
    /// A handler's process dies, at each step of the pipeline.
    pub crash: u8,
}

impl Plan {
    /// A mixture that differs from seed to seed; seed 0 is orderly.
    pub fn from_seed(seed: u64) -> Self {
        let pick = |salt: u64, most: u64| u8::try_from(mix(seed ^ (salt << 32)) % (most + 1)).unwrap_or(0);
        if seed == 0 {
            return Self { seed, reorder: 0, duplicate: 0, crash: 0 };
        }
        Self { seed, reorder: pick(1, 80), duplicate: pick(2, 30), crash: pick(3, 20) }
    }

    pub(crate) fn chaos(self) -> Chaos {
        Chaos { seed: self.seed, reorder: self.reorder, duplicate: self.duplicate }
    }
}

/// The plan while it is carried out.
pub(crate) struct Saboteur {
    plan: Plan,
    state: Mutex<State>,
}

struct State {
    chance: u64,
    crashes: u32,
}

impl Saboteur {
    pub(crate) fn new(plan: Plan) -> Self {
        Self { plan, state: Mutex::new(State { chance: mix(plan.seed), crashes: 0 }) }
    }

    fn roll(state: &mut State) -> u64 {
        state.chance = mix(state.chance);
        state.chance
    }
}

impl Mishaps for Saboteur {
    fn crashes(&self, _point: Point) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let crashes =
            Self::roll(&mut state) % 100 < u64::from(self.plan.crash) && state.crashes < CRASHES_MAX;
        state.crashes += u32::from(crashes);
        crashes
    }

    fn pauses(&self) -> u32 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        u32::try_from(Self::roll(&mut state) % 4).unwrap_or(0)
    }
}

/// One step of SplitMix64.
fn mix(state: u64) -> u64 {
    let mut word = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}
