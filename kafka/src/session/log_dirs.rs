//! DescribeLogDirs (key 35): how many bytes each partition holds. Tools and user interfaces show it as a topic's size.
//!
//! There is one directory. A partition's bytes are those of its batches as clients wrote them; what the log needs beside them is
//! shared by everything on a shard and belongs to no partition. How large the disk is, is not told: this machine sees none.

use super::positions::{partition, sought};
use super::produce::offset;
use super::serve::{Context, Stages, Step, done};
use crate::codec::generated::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};
use crate::codec::wire::Text;
use crate::refuse::refused;
use stele_model::op::{Op, StreamsWanted};
use stele_model::outcome::Done;
use stele_model::stream::SeekBy;

/// The size of the volume, when it is not told.
const NOT_TOLD: i64 = -1;

/// DescribeLogDirs. Partitions that are not there, or that the user may not see, are left out, as Kafka leaves out what a directory does not have.
pub(super) fn describe<'a>(
    context: &mut Context<'_>,
    request: DescribeLogDirsRequest<'a>,
    stages: &'a Stages,
) -> Step<DescribeLogDirsResponse<'a>> {
    let (wanted, stages): (Vec<(Text<'a>, i32)>, _) = match request.topics {
        Some(topics) => {
            let parts = |topic: &Text<'a>, parts: Vec<i32>| {
                parts.into_iter().map(|index| (topic.clone(), index)).collect::<Vec<_>>()
            };
            (topics.into_iter().flat_map(|topic| parts(&topic.topic, topic.partitions)).collect(), stages)
        }
        None => match stages.split_first() {
            None => return Step::Ask(vec![Op::Streams(StreamsWanted::All)]),
            Some((all, rest)) => match every(&all[0]) {
                Ok(every) => (every, rest),
                Err(error_code) => {
                    return Step::Answer(DescribeLogDirsResponse {
                        error_code,
                        ..DescribeLogDirsResponse::default()
                    });
                }
            },
        },
    };
    let sizes = match stages.first() {
        _ if wanted.is_empty() => Vec::new(),
        None => {
            let parts = wanted.iter().map(|(topic, index)| (partition(topic, *index), SeekBy::Start));
            return Step::Ask(vec![Op::Seek(parts.collect())]);
        }
        Some(outcomes) => sought(&outcomes[0], wanted.len()),
    };
    let mut topics: Vec<DescribeLogDirsTopic<'a>> = Vec::new();
    for ((name, partition_index), found) in wanted.into_iter().zip(sizes) {
        let Ok(found) = found else { continue };
        let partition = DescribeLogDirsPartition {
            partition_index,
            partition_size: offset(found.ends.bytes),
            ..DescribeLogDirsPartition::default()
        };
        match topics.last_mut().filter(|topic| topic.name == name) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(DescribeLogDirsTopic { name, partitions: vec![partition] }),
        }
    }
    let directory = DescribeLogDirsResult {
        log_dir: context.profile.log_dir.clone().into(),
        topics,
        total_bytes: NOT_TOLD,
        usable_bytes: NOT_TOLD,
        ..DescribeLogDirsResult::default()
    };
    Step::Answer(DescribeLogDirsResponse { results: vec![directory], ..DescribeLogDirsResponse::default() })
}

/// Each partition of all topics that the user may see; or the code of the refusal.
fn every(outcome: &stele_model::outcome::Outcome) -> Result<Vec<(Text<'_>, i32)>, i16> {
    let streams = match done(outcome) {
        Ok(Done::Streams(streams)) => streams,
        Err(refusal) => return Err(refused(refusal).code.number()),
        Ok(other) => unreachable!("the hub answers streams with {other:?}"),
    };
    let each = streams.iter().flatten().flat_map(|info| {
        let indexes = 0..i32::try_from(info.partitions.len()).unwrap_or(i32::MAX);
        indexes.map(move |index| (Text::from(&info.name), index))
    });
    Ok(each.collect())
}
