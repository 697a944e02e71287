//! Classic groups: JoinGroup (key 11), SyncGroup (14), Heartbeat (12), LeaveGroup (13).
//!
//! The group itself is in the core; here its words are translated. A join and a sync are answered when the others have come too.

use super::serve::{Context, Stages, Step, group};
use crate::codec::generated::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::codec::generated::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use crate::codec::generated::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse};
use crate::codec::generated::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::codec::wire::{Reader, Text, Wire};
use crate::refuse::{Code, group_refused, refused};
use bytes::Bytes;
use stele_model::group::{GroupAnswer, GroupRefusal, GroupRequest, GroupVerb, Join, Leaver, MemberRef};
use stele_model::op::Op;
use stele_model::outcome::{Done, Outcome};

/// First version in which a new member is told its id first, and joins with it.
const ID_FIRST: i16 = 4;
/// First version in which many members leave at once.
const LEAVE_MANY_FIRST: i16 = 3;
/// First version whose answer has no protocol rather than an empty one.
const NO_PROTOCOL_FIRST: i16 = 7;
/// First version of SyncGroup that must name protocol and kind.
const NAMES_BOTH_FIRST: i16 = 5;
/// First version that tells a leader to leave the parts as they are.
const KEEP_PARTS_FIRST: i16 = 9;
/// The protocol type of consumers, the only one whose metadata anybody looks into.
const CONSUMER: &str = "consumer";

/// A question to a group.
pub(super) fn ask(group: &str, verb: GroupVerb) -> Op {
    Op::Group(GroupRequest { group: group.to_owned(), verb })
}

fn member(generation: i32, member: &str, instance: Option<&Text<'_>>) -> MemberRef {
    MemberRef { generation, member: member.to_owned(), instance: instance.map(ToString::to_string) }
}

/// JoinGroup.
pub(super) fn join<'a>(
    context: &mut Context<'_>,
    request: JoinGroupRequest<'a>,
    stages: &'a Stages,
) -> Step<JoinGroupResponse<'a>> {
    let no_protocol = (context.version < NO_PROTOCOL_FIRST).then(Text::default);
    let failed = |code: Code, member_id: Text<'a>| JoinGroupResponse {
        error_code: code.number(),
        protocol_name: no_protocol.clone(),
        member_id,
        ..JoinGroupResponse::default()
    };
    let Some(outcomes) = stages.first() else {
        // The name is judged before all else, as clients that ask with nothing filled in expect.
        if request.group_id.is_empty() {
            return Step::Answer(failed(Code::InvalidGroupId, request.member_id));
        }
        if !context.profile.session_ms.contains(&request.session_timeout_ms) {
            return Step::Answer(failed(Code::InvalidSessionTimeout, request.member_id));
        }
        return Step::Ask(vec![ask(&request.group_id, GroupVerb::Join(joining(context, &request)))]);
    };
    if let Outcome::Done(Done::Group(Err(GroupRefusal::MemberIdRequired(id)))) = &outcomes[0] {
        return Step::Answer(failed(Code::MemberIdRequired, id.into()));
    }
    Step::Answer(match group(&outcomes[0]) {
        Ok(GroupAnswer::Joined { generation, kind, protocol, leader, member, members, keep_parts }) => {
            // Who knows no other way to keep the parts is not told that it leads, or it would divide anew (KIP-814).
            let leads = !keep_parts || context.version >= KEEP_PARTS_FIRST;
            let members =
                members.iter().filter(|_| leads).map(|(id, instance, metadata)| JoinGroupResponseMember {
                    member_id: id.into(),
                    group_instance_id: instance.as_ref().map(Text::from),
                    metadata,
                });
            JoinGroupResponse {
                generation_id: *generation,
                protocol_type: Some(kind.into()),
                protocol_name: Some(protocol.into()),
                leader: if leads { leader.into() } else { Text::default() },
                skip_assignment: *keep_parts && leads,
                member_id: member.into(),
                members: members.collect(),
                ..JoinGroupResponse::default()
            }
        }
        Ok(other) => unreachable!("a group answers a join with {other:?}"),
        Err(fault) => failed(fault.code, request.member_id),
    })
}

fn joining(context: &Context<'_>, request: &JoinGroupRequest<'_>) -> Join {
    let session_ms = request.session_timeout_ms;
    // Version 0 has one time for both.
    let rebalance_ms =
        if request.rebalance_timeout_ms < 0 { session_ms } else { request.rebalance_timeout_ms };
    let protocols = request.protocols.iter();
    let metadata = request.protocols.first().map(|protocol| protocol.metadata);
    let reads = metadata.filter(|_| request.protocol_type == CONSUMER).and_then(subscribed);
    Join {
        of: member(-1, &request.member_id, request.group_instance_id.as_ref()),
        number_first: context.version >= ID_FIRST
            && request.member_id.is_empty()
            && request.group_instance_id.is_none(),
        client: context.identity.client().to_owned(),
        host: format!("/{}", context.identity.host),
        session_ms: u32::try_from(session_ms).unwrap_or_default(),
        rebalance_ms: u32::try_from(rebalance_ms).unwrap_or_default(),
        kind: request.protocol_type.to_string(),
        protocols: protocols
            .map(|one| (one.name.to_string(), Bytes::copy_from_slice(one.metadata)))
            .collect(),
        reads,
    }
}

/// The topics that a consumer subscribes to, as its metadata says: a version, and a list of names, in all versions.
fn subscribed(metadata: &[u8]) -> Option<Vec<String>> {
    let mut reader = Reader::new(metadata, 0, false);
    i16::read(&mut reader).ok()?;
    let topics: Vec<Text<'_>> = Wire::read(&mut reader).ok()?;
    Some(topics.into_iter().map(Text::into_owned).collect())
}

/// SyncGroup.
pub(super) fn sync<'a>(
    context: &mut Context<'_>,
    request: SyncGroupRequest<'a>,
    stages: &'a Stages,
) -> Step<SyncGroupResponse<'a>> {
    let names_both = request.protocol_type.is_some() && request.protocol_name.is_some();
    if context.version >= NAMES_BOTH_FIRST && !names_both {
        let error_code = Code::InconsistentGroupProtocol.number();
        return Step::Answer(SyncGroupResponse { error_code, ..SyncGroupResponse::default() });
    }
    let Some(outcomes) = stages.first() else {
        let parts = request.assignments.iter();
        let verb = GroupVerb::Sync {
            of: member(request.generation_id, &request.member_id, request.group_instance_id.as_ref()),
            protocol: (
                request.protocol_type.as_ref().map(ToString::to_string),
                request.protocol_name.as_ref().map(ToString::to_string),
            ),
            parts: parts
                .map(|one| (one.member_id.to_string(), Bytes::copy_from_slice(one.assignment)))
                .collect(),
        };
        return Step::Ask(vec![ask(&request.group_id, verb)]);
    };
    Step::Answer(match group(&outcomes[0]) {
        Ok(GroupAnswer::Synced { kind, protocol, part }) => SyncGroupResponse {
            protocol_type: Some(kind.into()),
            protocol_name: Some(protocol.into()),
            assignment: part,
            ..SyncGroupResponse::default()
        },
        Ok(other) => unreachable!("a group answers a sync with {other:?}"),
        Err(fault) => SyncGroupResponse { error_code: fault.code.number(), ..SyncGroupResponse::default() },
    })
}

/// Heartbeat.
pub(super) fn heartbeat<'a>(
    _: &mut Context<'_>,
    request: HeartbeatRequest<'a>,
    stages: &'a Stages,
) -> Step<HeartbeatResponse> {
    let Some(outcomes) = stages.first() else {
        let of = member(request.generation_id, &request.member_id, request.group_instance_id.as_ref());
        return Step::Ask(vec![ask(&request.group_id, GroupVerb::Heartbeat { of })]);
    };
    let error_code = match group(&outcomes[0]) {
        Ok(_) => Code::None,
        Err(fault) => fault.code,
    };
    Step::Answer(HeartbeatResponse { error_code: error_code.number(), throttle_time_ms: 0 })
}

/// LeaveGroup.
pub(super) fn leave<'a>(
    context: &mut Context<'_>,
    request: LeaveGroupRequest<'a>,
    stages: &'a Stages,
) -> Step<LeaveGroupResponse<'a>> {
    let many = context.version >= LEAVE_MANY_FIRST;
    let Some(outcomes) = stages.first() else {
        let each = request.members.iter().map(|member| Leaver {
            member: member.member_id.to_string(),
            instance: member.group_instance_id.as_ref().map(ToString::to_string),
        });
        let one = || Leaver { member: request.member_id.to_string(), instance: None };
        let members = if many { each.collect() } else { vec![one()] };
        return Step::Ask(vec![ask(&request.group_id, GroupVerb::Leave { members })]);
    };
    let codes: Vec<Code> = match group(&outcomes[0]) {
        Ok(GroupAnswer::Left(left)) => {
            let code = |left: &Result<(), GroupRefusal>| {
                left.as_ref().err().map_or(Code::None, |refusal| group_refused(refusal).code)
            };
            left.iter().map(code).collect()
        }
        Ok(other) => unreachable!("a group answers a leave with {other:?}"),
        // Of a group that is not there nobody is a member.
        Err(fault) if many && fault.code == Code::UnknownMemberId => vec![fault.code; request.members.len()],
        Err(fault) => {
            let error_code = fault.code.number();
            return Step::Answer(LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() });
        }
    };
    if !many {
        let error_code = codes.first().copied().unwrap_or(Code::None).number();
        return Step::Answer(LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() });
    }
    let members = request.members.into_iter().zip(codes).map(|(member, code)| MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code: code.number(),
    });
    Step::Answer(LeaveGroupResponse { members: members.collect(), ..LeaveGroupResponse::default() })
}

/// The code of one of several results of a group.
pub(super) fn code(result: &Result<(), stele_model::refusal::Refusal>) -> Code {
    result.as_ref().err().map_or(Code::None, |refusal| refused(refusal).code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topics_of_a_subscription_are_read_whatever_follows_them() {
        let metadata = b"\0\x03\0\0\0\x02\0\x01a\0\x02bb\xff\xff\xff\xffmore";
        assert_eq!(subscribed(metadata), Some(vec!["a".to_owned(), "bb".to_owned()]));
        assert_eq!(subscribed(b"\0\x03\0\0"), None);
    }
}
