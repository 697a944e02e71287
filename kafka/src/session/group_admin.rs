//! DescribeGroups (key 15), ListGroups (16), DeleteGroups (42).

use super::groups::ask;
use super::serve::{Context, Stages, Step, done, group};
use crate::codec::generated::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};
use crate::codec::generated::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use crate::codec::generated::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use crate::codec::wire::Text;
use crate::refuse::{Code, refused};
use stele_model::group::{Described, GroupAnswer, GroupState, GroupVerb};
use stele_model::op::Op;
use stele_model::outcome::Done;

/// First version in which a group that is not there is an error rather than a dead one.
const MISSING_IS_ERROR_FIRST: i16 = 6;
/// The only type of group.
const CLASSIC: &str = "classic";

/// Kafka's word for a state.
fn word(state: GroupState) -> &'static str {
    match state {
        GroupState::Empty => "Empty",
        GroupState::Joining => "PreparingRebalance",
        GroupState::Dividing => "CompletingRebalance",
        GroupState::Stable => "Stable",
        GroupState::Dead => "Dead",
    }
}

/// DescribeGroups.
pub(super) fn describe<'a>(
    context: &mut Context<'_>,
    request: DescribeGroupsRequest<'a>,
    stages: &'a Stages,
) -> Step<DescribeGroupsResponse<'a>> {
    let outcomes = match stages.first() {
        Some(outcomes) => outcomes.as_slice(),
        None if request.groups.is_empty() => &[],
        None => return Step::Ask(request.groups.iter().map(|name| ask(name, GroupVerb::Describe)).collect()),
    };
    let groups = request.groups.into_iter().zip(outcomes).map(|(group_id, outcome)| {
        let (code, text, group_id) = match group(outcome) {
            Ok(GroupAnswer::Described(described)) if described.state != GroupState::Dead => {
                return described_group(group_id, described);
            }
            Ok(GroupAnswer::Described(_)) => {
                (Code::GroupIdNotFound, format!("Group {group_id} not found."), group_id)
            }
            Ok(other) => unreachable!("a group answers describe with {other:?}"),
            Err(fault) => (fault.code, fault.text, group_id),
        };
        let told = code != Code::GroupIdNotFound || context.version >= MISSING_IS_ERROR_FIRST;
        DescribedGroup {
            error_code: if told { code } else { Code::None }.number(),
            error_message: told.then(|| text.into()),
            group_id,
            group_state: word(GroupState::Dead).into(),
            ..DescribedGroup::default()
        }
    });
    Step::Answer(DescribeGroupsResponse { groups: groups.collect(), ..DescribeGroupsResponse::default() })
}

fn described_group<'a>(group_id: Text<'a>, described: &'a Described) -> DescribedGroup<'a> {
    let members = described.members.iter().map(|member| DescribedGroupMember {
        member_id: (&member.member).into(),
        group_instance_id: member.instance.as_ref().map(Text::from),
        client_id: (&member.client).into(),
        client_host: (&member.host).into(),
        member_metadata: &member.metadata,
        member_assignment: &member.part,
    });
    DescribedGroup {
        group_id,
        group_state: word(described.state).into(),
        protocol_type: (&described.kind).into(),
        protocol_data: (&described.protocol).into(),
        members: members.collect(),
        ..DescribedGroup::default()
    }
}

/// ListGroups.
pub(super) fn list<'a>(
    _: &mut Context<'_>,
    request: ListGroupsRequest<'a>,
    stages: &'a Stages,
) -> Step<ListGroupsResponse<'a>> {
    let Some(outcomes) = stages.first() else { return Step::Ask(vec![Op::Groups]) };
    let listed = match done(&outcomes[0]) {
        Ok(Done::Groups(listed)) => listed,
        Err(refusal) => {
            let error_code = refused(refusal).code.number();
            return Step::Answer(ListGroupsResponse { error_code, ..ListGroupsResponse::default() });
        }
        Ok(other) => unreachable!("the hub answers groups with {other:?}"),
    };
    let passes = |filter: &[Text<'_>], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let listed = listed.iter().filter(|one| {
        passes(&request.states_filter, word(one.state)) && passes(&request.types_filter, CLASSIC)
    });
    let groups = listed.map(|one| ListedGroup {
        group_id: (&one.group).into(),
        protocol_type: (&one.kind).into(),
        group_state: word(one.state).into(),
        group_type: CLASSIC.into(),
    });
    Step::Answer(ListGroupsResponse { groups: groups.collect(), ..ListGroupsResponse::default() })
}

/// DeleteGroups.
pub(super) fn delete<'a>(
    _: &mut Context<'_>,
    request: DeleteGroupsRequest<'a>,
    stages: &'a Stages,
) -> Step<DeleteGroupsResponse<'a>> {
    let outcomes = match stages.first() {
        Some(outcomes) => outcomes.as_slice(),
        None if request.groups_names.is_empty() => &[],
        None => {
            return Step::Ask(request.groups_names.iter().map(|name| ask(name, GroupVerb::Delete)).collect());
        }
    };
    let results = request.groups_names.into_iter().zip(outcomes).map(|(group_id, outcome)| {
        let code = group(outcome).err().map_or(Code::None, |fault| fault.code);
        DeletableGroupResult { group_id, error_code: code.number() }
    });
    Step::Answer(DeleteGroupsResponse { results: results.collect(), ..DeleteGroupsResponse::default() })
}
