//! Judges bundles (W49): what was sent as one stands in the stream whole, at neighbouring places, in order, once; or nothing of it does.

use super::stream::Wrong;
use crate::history::shared::MessageId;
use std::collections::{BTreeMap, BTreeSet};
use stele_model::id::Position;

/// What has been seen of bundles.
#[derive(Debug, Default)]
pub(super) struct Bundles {
    sent: Vec<Vec<MessageId>>,
    /// By their first messages those that are stored, says an answer; and where the last message stands, if it said that.
    whole: BTreeMap<MessageId, Option<Position>>,
    looked: bool,
}

impl Bundles {
    pub(super) fn sent(&mut self, messages: &[MessageId]) {
        self.sent.push(messages.to_vec());
    }

    pub(super) fn whole(&mut self, messages: &[MessageId], last: Option<Position>) {
        self.whole.extend(messages.first().map(|first| (*first, last)));
    }

    /// The final look: all that the stream holds.
    pub(super) fn looked(&mut self, found: &[(Position, Option<MessageId>)]) -> Result<(), Wrong> {
        self.looked = true;
        let known: BTreeSet<MessageId> = self.sent.iter().flatten().copied().collect();
        let mut places = BTreeMap::new();
        for (position, message) in found {
            let message = message.filter(|message| known.contains(message));
            let message = message.ok_or_else(|| ("W49", format!("at {position} stands what nobody sent")))?;
            if let Some(before) = places.insert(message, *position) {
                return Err(("W49", format!("message {} stands at {before} and at {position}", message.0)));
            }
        }
        self.sent.iter().try_for_each(|bundle| self.is_whole(bundle, &places))
    }

    fn is_whole(&self, bundle: &[MessageId], places: &BTreeMap<MessageId, Position>) -> Result<(), Wrong> {
        let at: Vec<Option<Position>> = bundle.iter().map(|message| places.get(message).copied()).collect();
        let answered = bundle.first().and_then(|first| self.whole.get(first));
        let wrong = |what: &str| Err(("W49", format!("bundle {bundle:?} {what}: {at:?}")));
        if at.iter().all(Option::is_none) {
            return if answered.is_some() { wrong("was stored, and is not there") } else { Ok(()) };
        }
        let follows =
            |pair: &[Option<Position>]| matches!(pair, [Some(one), Some(next)] if next.0 == one.0 + 1);
        if !at.windows(2).all(follows) {
            return wrong("is torn");
        }
        match (answered, at.last()) {
            (Some(Some(said)), Some(Some(last))) if said != last => wrong("ends elsewhere than was said"),
            _ => Ok(()),
        }
    }

    /// At the end somebody has looked.
    pub(super) fn close(&self) -> Option<Wrong> {
        let is_unseen = !self.looked && !self.sent.is_empty();
        is_unseen.then(|| ("W49", "nobody looked after the bundles".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One bundle of two messages, answered or not; what is found of it.
    fn judged(answered: Option<Option<u64>>, found: &[(u64, u64)]) -> Result<(), Wrong> {
        let (mut bundles, sent) = (Bundles::default(), [MessageId(1), MessageId(2)]);
        bundles.sent(&sent);
        if let Some(last) = answered {
            bundles.whole(&sent, last.map(Position));
        }
        let found: Vec<_> = found.iter().map(|(at, id)| (Position(*at), Some(MessageId(*id)))).collect();
        bundles.looked(&found)
    }

    #[test]
    fn a_bundle_is_whole_or_not_there() {
        assert!(judged(None, &[]).is_ok());
        assert!(judged(None, &[(5, 1), (6, 2)]).is_ok());
        assert!(judged(Some(None), &[(5, 1), (6, 2)]).is_ok());
        assert!(judged(Some(Some(6)), &[(5, 1), (6, 2)]).is_ok());
    }

    #[test]
    fn a_bundle_that_is_torn_doubled_lost_or_elsewhere_is_noticed() {
        for (answered, found) in [
            (None, &[(5, 1)][..]),
            (None, &[(6, 2)]),
            (None, &[(5, 2), (6, 1)]),
            (None, &[(5, 1), (7, 2)]),
            (None, &[(5, 1), (6, 2), (7, 1), (8, 2)]),
            (None, &[(5, 1), (6, 2), (7, 3)]),
            (Some(None), &[]),
            (Some(Some(7)), &[(5, 1), (6, 2)]),
        ] {
            assert!(judged(answered, found).is_err_and(|(rule, _)| rule == "W49"), "{found:?}");
        }
    }
}
