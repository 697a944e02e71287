//! How far partitions were read: remembering it, and forgetting it.

use super::Seat;
use super::entry::PositionEntry;
use stele_model::group::{Commit, GroupAnswer, GroupRefusal, GroupState, MemberRef};
use stele_model::id::QueueId;
use stele_model::refusal::Refusal;
use stele_model::stream::{PartitionRef, StreamRef, StreamRefusal};

impl Seat<'_, '_> {
    pub(super) fn commit(
        &mut self,
        of: &MemberRef,
        positions: Vec<Commit>,
        partitions: &[Option<QueueId>],
    ) -> Result<GroupAnswer, GroupRefusal> {
        let member = self.may_commit(of)?;
        if let Some(member) = member {
            self.touch(member);
        }
        let settings = self.around.settings;
        let mut known = self.group.known.positions.len();
        let mut taken = Vec::new();
        let mut said = Vec::with_capacity(positions.len());
        let partitions = partitions.iter().copied().chain(std::iter::repeat(None));
        for (commit, partition) in positions.into_iter().zip(partitions) {
            let Some(partition) = partition else {
                said.push(Err(Refusal::Stream(StreamRefusal::UnknownPartition)));
                continue;
            };
            if commit.metadata.len() > settings.metadata_bytes_max {
                said.push(Err(Refusal::Group(GroupRefusal::MetadataTooLarge)));
                continue;
            }
            known += usize::from(!self.group.known.positions.contains_key(&partition));
            if known > settings.positions_max {
                let what = format!("positions of group '{}'", self.name);
                said.push(Err(Refusal::Limit { what, max: settings.positions_max as u64 }));
                continue;
            }
            let Commit { of, position, epoch, metadata } = commit;
            if let StreamRef::Name(stream) = &of.stream {
                self.group.reading.committed(stream, partition);
            }
            taken.push(PositionEntry { partition, position, epoch, metadata: metadata.into() });
            said.push(Ok(()));
        }
        self.log_reading();
        self.log_positions(taken);
        self.look_later();
        Ok(GroupAnswer::Committed(said))
    }

    /// Who commits, if it is a member, and may.
    fn may_commit(&self, of: &MemberRef) -> Result<Option<u64>, GroupRefusal> {
        if of.generation < 0 && self.group.state == GroupState::Empty {
            return Ok(None);
        }
        if of.generation < 0 && of.member.is_empty() && of.instance.is_none() {
            return Err(GroupRefusal::UnknownMember);
        }
        let member = self.known_member(of)?;
        if of.generation != self.group.generation && !self.makes(super::Mutant::AnyGeneration) {
            return Err(GroupRefusal::IllegalGeneration);
        }
        if self.group.state == GroupState::Dividing {
            return Err(GroupRefusal::Rebalancing);
        }
        Ok(Some(member))
    }

    pub(super) fn forget(
        &mut self,
        of: &[PartitionRef],
        partitions: &[Option<QueueId>],
    ) -> Result<GroupAnswer, GroupRefusal> {
        let mut forgotten = Vec::new();
        let mut said = Vec::with_capacity(of.len());
        let read = self.group.roster.reads().ok_or(GroupRefusal::NotEmpty)?;
        let partitions = partitions.iter().copied().chain(std::iter::repeat(None));
        for (of, partition) in of.iter().zip(partitions) {
            let subscribed = match &of.stream {
                StreamRef::Name(name) => read.contains(name.as_str()),
                // The hub names streams by name here; who does not is refused rather than believed.
                StreamRef::Uuid(_) => !read.is_empty(),
            };
            let Some(partition) = partition else {
                said.push(Err(Refusal::Stream(StreamRefusal::UnknownPartition)));
                continue;
            };
            if subscribed {
                said.push(Err(Refusal::Group(GroupRefusal::Subscribed)));
                continue;
            }
            if self.group.known.positions.contains_key(&partition) && !forgotten.contains(&partition) {
                forgotten.push(partition);
            }
            said.push(Ok(()));
        }
        self.log_forgotten(&forgotten);
        self.look_later();
        Ok(GroupAnswer::Committed(said))
    }
}
