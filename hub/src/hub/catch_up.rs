//! Waiting until what other hubs had under way has come ([`stele_model::op::Op::CatchUp`]).
//!
//! A shard's answer comes straight to the hub that asked, while what the same shard said before to a session of another hub, which
//! publishes it live, comes by that hub. So that hub is asked whether it is done. What must hold: it says so behind everything that its
//! sessions had to publish by then; the driver sees to that ([`super::HubOut::passed`]).

use super::{Hub, HubMessage, HubOut};
use stele_model::id::{HubId, SessionId, Ticket};
use stele_model::outcome::{Done, Outcome};

/// Who waits.
pub(super) struct Waiting {
    session: SessionId,
    ticket: Ticket,
    /// Hubs that have not said that they are done.
    missing: u16,
}

impl Hub {
    pub(super) fn catch_up(&mut self, session: SessionId, ticket: Ticket, out: &mut HubOut) {
        self.waiting_last += 1;
        let number = self.waiting_last;
        self.waiting.insert(number, Waiting { session, ticket, missing: self.hubs });
        for hub in (0..self.hubs).map(HubId) {
            if hub == self.id {
                out.passed.push((hub, number));
            } else {
                out.hubs.push((hub, HubMessage::Passing { from: self.id, number }));
            }
        }
    }

    /// A hub is done with what it had under way.
    pub(super) fn passed(&mut self, number: u64, out: &mut HubOut) {
        let Some(waiting) = self.waiting.get_mut(&number) else { return };
        waiting.missing -= 1;
        if waiting.missing == 0
            && let Some(Waiting { session, ticket, .. }) = self.waiting.remove(&number)
        {
            self.complete(session, ticket, Outcome::Done(Done::Unit), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stage::{Stage, id};
    use super::*;
    use stele_model::id::Now;
    use stele_model::op::Op;

    fn hear(stage: &mut Stage, message: HubMessage) -> HubOut {
        let mut out = HubOut::default();
        stage.hub.from_hub(Now(1_000_000), message, &mut out);
        out
    }

    #[test]
    fn who_catches_up_is_answered_when_every_hub_is_done() {
        let (mut stage, mut out) = (Stage::new(), HubOut::default());
        stage.submit(1, 0, Op::CatchUp, &mut out);
        let [(HubId(1), HubMessage::Passing { from: HubId(0), number })] = out.hubs[..] else {
            panic!("the other hub is asked: {:?}", out.hubs)
        };
        assert_eq!((&out.passed[..], stage.hub.open_submits(id(1))), (&[(HubId(0), number)][..], 1));
        assert!(hear(&mut stage, HubMessage::Passed { number }).completions.is_empty());
        let told = hear(&mut stage, HubMessage::Passed { number }).completions;
        assert!(matches!(&told[..], [(to, _, Outcome::Done(Done::Unit))] if *to == id(1)), "{told:?}");
        assert!(hear(&mut stage, HubMessage::Passed { number }).completions.is_empty(), "it was answered");
        assert_eq!(stage.hub.open_submits(id(1)), 0);
    }

    #[test]
    fn a_hub_that_is_asked_leaves_the_answer_to_who_carries_what_it_has_under_way() {
        let mut stage = Stage::new();
        let out = hear(&mut stage, HubMessage::Passing { from: HubId(1), number: 7 });
        assert_eq!((&out.passed[..], out.hubs.len()), (&[(HubId(1), 7)][..], 0));
    }

    #[test]
    fn who_goes_meanwhile_is_not_answered() {
        let (mut stage, mut out) = (Stage::new(), HubOut::default());
        stage.submit(1, 0, Op::CatchUp, &mut out);
        let number = out.passed[0].1;
        stage.hub.detach(id(1), &mut out);
        for _ in 0..2 {
            assert!(hear(&mut stage, HubMessage::Passed { number }).completions.is_empty());
        }
    }
}
