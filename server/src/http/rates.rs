//! Records and bytes per second on each edge, from samples of the counts taken once a second.

use std::collections::VecDeque;
use std::time::Instant;
use stele_model::flow::{Edge, Flow, FlowCounts};

/// Samples that are kept, one a second: rates are over the last so many seconds.
pub const WINDOW_SAMPLES: usize = 5;

/// What goes over an edge per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Records per second.
    pub records: f64,
    /// Bytes per second.
    pub bytes: f64,
}

/// The last samples, oldest first.
#[derive(Debug, Default)]
pub(super) struct Samples(VecDeque<(Instant, FlowCounts)>);

impl Samples {
    /// Takes a sample; the oldest makes room.
    pub(super) fn push(&mut self, at: Instant, counts: FlowCounts) {
        if self.0.len() == WINDOW_SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back((at, counts));
    }

    /// The rate on an edge that now has counted `flow`, against the oldest sample. An edge that was not there then began at 0.
    pub(super) fn rate(&self, edge: &Edge, at: Instant, flow: Flow) -> Rate {
        let Some((since, counts)) = self.0.front() else { return Rate::default() };
        let seconds = at.saturating_duration_since(*since).as_secs_f64();
        if seconds <= 0.0 {
            return Rate::default();
        }
        let before = counts.edges.get(edge).copied().unwrap_or_default();
        Rate {
            records: flow.records.saturating_sub(before.records) as f64 / seconds,
            bytes: flow.bytes.saturating_sub(before.bytes) as f64 / seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use stele_model::id::ExchangeId;

    fn counts(records: u64) -> FlowCounts {
        let flow = Flow { records, bytes: records * 10 };
        FlowCounts { edges: [(Edge::Unrouted { exchange: ExchangeId(1) }, flow)].into() }
    }

    #[test]
    fn a_rate_is_over_the_window_and_forgets_what_was_before_it() {
        let start = Instant::now();
        let edge = Edge::Unrouted { exchange: ExchangeId(1) };
        let mut samples = Samples::default();
        assert_eq!(samples.rate(&edge, start, Flow { records: 9, bytes: 9 }), Rate::default());
        for second in 0..20 {
            samples.push(start + Duration::from_secs(second), counts(1000 + second * 7));
        }
        let last = counts(1000 + 19 * 7).edges[&edge];
        let rate = samples.rate(&edge, start + Duration::from_secs(19), last);
        assert_eq!(rate, Rate { records: 7.0, bytes: 70.0 });
    }
}
