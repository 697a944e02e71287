//! Work on single records: what is asked, and removing.
//!
//! What must hold: an answer waits for the last append or removal that it speaks of (S2); what goes is logged by position (S1), so a replay
//! matches no subject. Not here: reading ([`super::look`]) and removing many ([`super::purge`]).

use super::super::effect::Turn;
use super::look::{Gathering, Getting, Scanning, Telling, What};
use super::{Shard, entry, unknown};
use crate::queue::extend_runs;
use crate::stream::Partition;
use stele_model::id::{Lsn, Position, QueueId};
use stele_model::machine::Urgency;
use stele_model::refusal::Refusal;
use stele_model::settle::Run;
use stele_model::shard::ShardEffect;
use stele_model::stream::StreamRefusal;
use stele_model::stream::records::{RecordRefusal, RecordsAsk, ShardRecords, ShardRecordsAnswer};

type Answered = Result<ShardRecordsAnswer, Refusal>;

impl Shard {
    pub(in crate::shard) fn records(&mut self, of: ShardRecords, turn: &mut Turn<'_>) {
        let ShardRecords { hub, call, partition: id, ask } = of;
        let Some(partition) = self.streams.partitions.get(&id) else {
            return turn.say_present(ShardEffect::Records { hub, call, answer: Err(unknown()) });
        };
        let (to, mut after) = ((hub, call), partition.after);
        let answer = match check(partition, &ask) {
            Err(why) => Err(refused(partition, why)),
            Ok(()) => match ask {
                RecordsAsk::Delete(position) => self.delete(id, position, &mut after, turn),
                RecordsAsk::Purge(of) => return self.purge_records(to, id, of, turn),
                RecordsAsk::Get(wanted) => return self.look(to, id, What::Get(Getting::new(wanted)), turn),
                RecordsAsk::Scan(of) => return self.look(to, id, What::Scan(Scanning::new(of)), turn),
                RecordsAsk::Lasts(of) => return self.look(to, id, What::Lasts(Gathering::new(of)), turn),
                RecordsAsk::State(of) => return self.look(to, id, What::State(Telling::new(of)), turn),
            },
        };
        let after = if answer.is_err() { turn.journal.tail() } else { after };
        turn.say(after, ShardEffect::Records { hub, call, answer });
    }

    /// Takes records out and logs it. Those that are not there are passed over. How many went.
    pub(in crate::shard) fn remove_records(
        &mut self,
        id: QueueId,
        positions: &[Position],
        urgency: Urgency,
        turn: &mut Turn<'_>,
    ) -> u64 {
        let Some(partition) = self.streams.partitions.get_mut(&id) else { return 0 };
        let (live, mut runs, mut count) = (&mut self.live, Vec::<Run>::new(), 0);
        for position in positions {
            if partition.let_go(*position, |batch| live.let_go(batch.place.lsn, batch.len)) {
                extend_runs(&mut runs, *position);
                count += 1;
            }
        }
        if count > 0 && !partition.is_volatile() {
            let place = turn.log(urgency, |out| entry::put_records_gone(out, id, &runs));
            partition.after = place.lsn;
        }
        if count > 0 {
            self.shares.look_at(id);
        }
        count
    }

    fn delete(&mut self, id: QueueId, position: Position, after: &mut Lsn, turn: &mut Turn<'_>) -> Answered {
        let count = self.remove_records(id, &[position], Urgency::Urgent, turn);
        let Some(partition) = self.streams.partitions.get(&id) else { return Err(unknown()) };
        *after = partition.after;
        if count == 0 {
            return Err(refused(partition, RecordRefusal::NoRecord));
        }
        self.end_gone(id, vec![position], true, turn);
        Ok(ShardRecordsAnswer::Removed(count))
    }
}

/// What the settings do not allow.
fn check(partition: &Partition, ask: &RecordsAsk) -> Result<(), RecordRefusal> {
    let settings = partition.by_record().ok_or(RecordRefusal::NotByRecord)?;
    match ask {
        RecordsAsk::Delete(_) | RecordsAsk::Purge(_) if settings.sealed => Err(RecordRefusal::Sealed),
        RecordsAsk::Delete(_) if settings.deny_delete => Err(RecordRefusal::NoDelete),
        RecordsAsk::Purge(_) if settings.deny_purge => Err(RecordRefusal::NoPurge),
        _ => Ok(()),
    }
}

fn refused(partition: &Partition, why: RecordRefusal) -> Refusal {
    Refusal::Stream(StreamRefusal::Record { stream: partition.spec.stream.clone(), why })
}
