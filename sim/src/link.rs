//! A client's connection to its hub, as far as all kinds of simulated clients ([`crate::client`], [`crate::streamer`], [`crate::taker`])
//! have it alike. What they do on it is theirs.

/// Whether a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Down,
    Opening,
    Up,
    /// It will not come back.
    Over,
}

impl Link {
    /// The node has stopped.
    pub(crate) fn cut(&mut self) {
        if *self != Self::Over {
            *self = Self::Down;
        }
    }

    /// Whether something from the hub still arrives.
    pub(crate) fn hears(self) -> bool {
        matches!(self, Self::Opening | Self::Up)
    }
}
