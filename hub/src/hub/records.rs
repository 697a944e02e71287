//! Work on the records of streams that tell them apart: one partition, one shard, one answer.
//!
//! What must hold: who removes needs the grant to configure, who looks the grant to read; the answer names positions, never places.

use super::requests::Request;
use super::streams::Partition;
use super::{Hub, HubOut, Open};
use stele_model::id::{Call, SessionId, Ticket};
use stele_model::outcome::{Done, Outcome, Published};
use stele_model::refusal::{Access, Refusal};
use stele_model::shard::ShardOp;
use stele_model::stream::records::{
    RecordsAnswer, RecordsAsk, RecordsRequest, ShardRecords, ShardStored, Stored,
};

impl Hub {
    pub(super) fn records(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        request: RecordsRequest,
        out: &mut HubOut,
    ) -> Result<(), Refusal> {
        let RecordsRequest { of, ask } = request;
        let access = match ask {
            RecordsAsk::Delete(_) | RecordsAsk::Purge(_) => Access::Configure,
            RecordsAsk::Get(_) | RecordsAsk::Scan(_) | RecordsAsk::Lasts(_) | RecordsAsk::State(_) => {
                Access::Read
            }
        };
        let Partition { id, shard, .. } = self.partition(session, access, &of)?;
        let call = self.call(Open::Request { session, ticket, request: Request::Records });
        let asked = ShardRecords { hub: self.id, call, partition: id, ask };
        out.shards.push((shard, ShardOp::Records(asked)));
        Ok(())
    }

    pub(super) fn records_answered(
        &mut self,
        call: Call,
        answer: Result<RecordsAnswer, Refusal>,
        out: &mut HubOut,
    ) {
        let Some(Open::Request { session, ticket, .. }) = self.ended(call) else { return };
        let done = answer.map(Done::Records);
        self.complete(session, ticket, done.map_or_else(Outcome::Refused, Outcome::Done), out);
    }

    /// What a shard says of awaited records, by the names of streams. One that is gone meanwhile has none any more.
    pub(super) fn name_stored(&self, published: &mut Published, stored: &[ShardStored]) {
        published.stored.extend(stored.iter().filter_map(|of| {
            let (stream, _) = self.snapshot.partition(of.partition)?;
            let ShardStored { item, position, duplicate, bundle, .. } = *of;
            Some(Stored { item, stream: stream.name.to_string(), position, duplicate, bundle })
        }));
    }
}
