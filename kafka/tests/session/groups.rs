//! Groups: what is asked of them, and how their answers are told.

use crate::produce::topic;
use crate::support::Run;
use bytes::Bytes;
use stele_kafka::Profile;
use stele_kafka::codec::api::ApiKey;
use stele_kafka::codec::generated::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use stele_kafka::codec::generated::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity};
use stele_kafka::codec::generated::list_groups::{ListGroupsRequest, ListGroupsResponse};
use stele_kafka::codec::generated::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use stele_kafka::codec::generated::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse,
};
use stele_kafka::codec::generated::sync_group::{SyncGroupRequest, SyncGroupResponse};
use stele_kafka::codec::wire::Uuid;
use stele_model::group::{Commit, GroupAnswer, GroupRefusal, GroupState, GroupVerb, Listed, MemberRef};
use stele_model::id::Position;
use stele_model::op::Op;
use stele_model::outcome::{Done, Outcome};
use stele_model::refusal::Refusal;
use stele_model::stream::{PartitionRef, StreamRef, StreamRefusal};

fn says(run: &mut Run, answer: Result<GroupAnswer, GroupRefusal>) {
    run.hub.script.push(Outcome::Done(Done::Group(answer)));
}

fn verb(run: &Run) -> &GroupVerb {
    match run.ops.last() {
        Some(Op::Group(request)) => &request.verb,
        other => panic!("a question to a group: {other:?}"),
    }
}

fn join<'a>(member: &'a str, instance: Option<&'a str>) -> JoinGroupRequest<'a> {
    let metadata = b"\0\x01\0\0\0\x01\0\x01t\0\0\0\0";
    JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 300_000,
        member_id: member.into(),
        group_instance_id: instance.map(Into::into),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata }],
        reason: None,
    }
}

#[test]
fn a_new_member_is_told_its_id_first_from_version_4_on() {
    for version in 0..=9 {
        let mut run = Run::new();
        says(&mut run, Err(GroupRefusal::MemberIdRequired("m-1".to_owned())));
        let body = run.call(ApiKey::JoinGroup, version, &join("", None));
        let answer: JoinGroupResponse<'_> = ApiKey::JoinGroup.read(version, &body).unwrap();
        assert_eq!((answer.error_code, &*answer.member_id), (79, "m-1"));
        let GroupVerb::Join(asked) = verb(&run) else { panic!("a join") };
        assert_eq!(asked.number_first, version >= 4);
        assert_eq!(asked.rebalance_ms, if version == 0 { 45_000 } else { 300_000 });
        assert_eq!((asked.client.as_str(), asked.host.as_str()), ("client-1", "/10.0.0.1"));
        assert_eq!(asked.reads, Some(vec!["t".to_owned()]));
    }
    let mut run = Run::new();
    says(&mut run, Err(GroupRefusal::FencedInstance));
    let body = run.call(ApiKey::JoinGroup, 9, &join("", Some("one")));
    let answer: JoinGroupResponse<'_> = ApiKey::JoinGroup.read(9, &body).unwrap();
    assert_eq!(answer.error_code, 82);
    let GroupVerb::Join(asked) = verb(&run) else { panic!("a join") };
    assert!(!asked.number_first, "a static member has a name");
}

#[test]
fn a_session_time_is_within_what_the_profile_allows() {
    let mut run = Run::with(Profile { session_ms: 1_000..=45_000, ..Profile::default() });
    for (session_timeout_ms, code) in [(999, 26), (1_000, 82), (45_000, 82), (45_001, 26), (-1, 26)] {
        if code == 82 {
            says(&mut run, Err(GroupRefusal::FencedInstance)); // the group's own word: it was asked
        }
        let request = JoinGroupRequest { session_timeout_ms, ..join("", None) };
        let body = run.call(ApiKey::JoinGroup, 9, &request);
        let answer: JoinGroupResponse<'_> = ApiKey::JoinGroup.read(9, &body).unwrap();
        assert_eq!(answer.error_code, code, "{session_timeout_ms} ms");
    }
}

#[test]
fn a_group_without_a_name_is_refused_for_that_before_all_else() {
    let mut run = Run::new();
    for session_timeout_ms in [0, 45_000] {
        let request = JoinGroupRequest { group_id: "".into(), session_timeout_ms, ..join("", None) };
        let body = run.call(ApiKey::JoinGroup, 9, &request);
        let answer: JoinGroupResponse<'_> = ApiKey::JoinGroup.read(9, &body).unwrap();
        assert_eq!(answer.error_code, 24, "{session_timeout_ms} ms");
    }
}

#[test]
fn a_generation_and_its_parts_are_told() {
    let mut run = Run::new();
    let members = vec![("m-1".to_owned(), Some("one".to_owned()), Bytes::from_static(b"meta"))];
    let joined = GroupAnswer::Joined {
        generation: 3,
        kind: "consumer".to_owned(),
        protocol: "range".to_owned(),
        leader: "m-1".to_owned(),
        member: "m-1".to_owned(),
        members,
        keep_parts: true,
    };
    says(&mut run, Ok(joined.clone()));
    let body = run.call(ApiKey::JoinGroup, 8, &join("m-1", None));
    let answer: JoinGroupResponse<'_> = ApiKey::JoinGroup.read(8, &body).unwrap();
    assert_eq!((answer.error_code, &*answer.leader, answer.members.len()), (0, "", 0), "the parts stand");
    says(&mut run, Ok(joined));
    let body = run.call(ApiKey::JoinGroup, 9, &join("m-1", None));
    let answer: JoinGroupResponse<'_> = ApiKey::JoinGroup.read(9, &body).unwrap();
    assert_eq!((answer.error_code, answer.generation_id, answer.skip_assignment), (0, 3, true));
    assert_eq!(
        (answer.members[0].metadata, answer.members[0].group_instance_id.as_deref()),
        (&b"meta"[..], Some("one"))
    );
    let (kind, protocol) = ("consumer".to_owned(), "range".to_owned());
    says(&mut run, Ok(GroupAnswer::Synced { kind, protocol, part: Bytes::from_static(b"part") }));
    let request = SyncGroupRequest {
        group_id: "g".into(),
        generation_id: 3,
        member_id: "m-1".into(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        ..Default::default()
    };
    let body = run.call(ApiKey::SyncGroup, 5, &request);
    let answer: SyncGroupResponse<'_> = ApiKey::SyncGroup.read(5, &body).unwrap();
    assert_eq!((answer.error_code, answer.assignment), (0, &b"part"[..]));
    let nameless = SyncGroupRequest { protocol_name: None, ..request.clone() };
    let body = run.call(ApiKey::SyncGroup, 5, &nameless);
    let answer: SyncGroupResponse<'_> = ApiKey::SyncGroup.read(5, &body).unwrap();
    assert_eq!(answer.error_code, 23, "from version 5 on both are named");
    says(&mut run, Err(GroupRefusal::Rebalancing));
    let body = run.call(ApiKey::SyncGroup, 0, &request);
    let answer: SyncGroupResponse<'_> = ApiKey::SyncGroup.read(0, &body).unwrap();
    assert_eq!(answer.error_code, 27);
}

#[test]
fn members_leave_one_by_one_or_together() {
    let mut run = Run::new();
    says(&mut run, Ok(GroupAnswer::Left(vec![Ok(()), Err(GroupRefusal::UnknownMember)])));
    let members =
        ["m-1", "m-2"].map(|id| MemberIdentity { member_id: id.into(), ..MemberIdentity::default() });
    let request =
        LeaveGroupRequest { group_id: "g".into(), member_id: "m-3".into(), members: members.to_vec() };
    let body = run.call(ApiKey::LeaveGroup, 5, &request);
    let answer: LeaveGroupResponse<'_> = ApiKey::LeaveGroup.read(5, &body).unwrap();
    let codes: Vec<i16> = answer.members.iter().map(|member| member.error_code).collect();
    assert_eq!((answer.error_code, codes), (0, vec![0, 25]));
    says(&mut run, Err(GroupRefusal::UnknownMember));
    let body = run.call(ApiKey::LeaveGroup, 5, &request);
    let answer: LeaveGroupResponse<'_> = ApiKey::LeaveGroup.read(5, &body).unwrap();
    let codes: Vec<i16> = answer.members.iter().map(|member| member.error_code).collect();
    assert_eq!((answer.error_code, codes), (0, vec![25, 25]), "of no group nobody is a member");
    says(&mut run, Ok(GroupAnswer::Left(vec![Err(GroupRefusal::UnknownMember)])));
    let body = run.call(ApiKey::LeaveGroup, 1, &request);
    let answer: LeaveGroupResponse<'_> = ApiKey::LeaveGroup.read(1, &body).unwrap();
    assert_eq!(answer.error_code, 25);
}

#[test]
fn offsets_are_committed_by_name_and_by_id() {
    for version in 2..=10 {
        let mut run = Run::new();
        let unknown = Refusal::Stream(StreamRefusal::UnknownPartition);
        says(&mut run, Ok(GroupAnswer::Committed(vec![Ok(()), Ok(()), Err(unknown)])));
        let partition = |partition_index, committed_offset| OffsetCommitRequestPartition {
            partition_index,
            committed_offset,
            committed_metadata: Some("m".into()),
            ..OffsetCommitRequestPartition::default()
        };
        let partitions = vec![partition(0, 7), partition(2, -2), partition(9, 8)];
        let by_id = version >= 10;
        let (name, topic_id) = if by_id { ("", Uuid([4; 16])) } else { ("t", Uuid::default()) };
        let request = OffsetCommitRequest {
            group_id: "g".into(),
            generation_id_or_member_epoch: 3,
            member_id: "m-1".into(),
            topics: vec![OffsetCommitRequestTopic { name: name.into(), topic_id, partitions }],
            ..OffsetCommitRequest::default()
        };
        let body = run.call(ApiKey::OffsetCommit, version, &request);
        let answer: OffsetCommitResponse<'_> = ApiKey::OffsetCommit.read(version, &body).unwrap();
        let codes: Vec<i16> = answer.topics[0].partitions.iter().map(|part| part.error_code).collect();
        assert_eq!(codes, [0, 0, 3]);
        let GroupVerb::Commit { of, positions } = verb(&run) else { panic!("a commit") };
        assert_eq!(*of, MemberRef { generation: 3, member: "m-1".to_owned(), instance: None });
        let kept: Vec<_> = positions.iter().map(|of| (of.of.index, of.position.0.cast_signed())).collect();
        assert_eq!(kept, [(0, 7), (2, -2), (9, 8)]);
        assert_eq!(matches!(positions[0].of.stream, StreamRef::Uuid(_)), by_id);
    }
}

#[test]
fn offsets_are_fetched_at_every_version_as_they_were_committed() {
    for (version, kept) in (1..=10).flat_map(|version| [(version, 7), (version, -2)]) {
        let mut run = Run::new();
        topic(&mut run, "t", &[]);
        let of = PartitionRef { stream: StreamRef::Name("t".to_owned()), index: 1 };
        let position = Position(i64::cast_unsigned(kept));
        let commit = Commit { of, position, epoch: 0, metadata: "m".to_owned() };
        says(&mut run, Ok(GroupAnswer::Positions(vec![commit])));
        let partition_indexes = vec![1, 0];
        let topic_id = if version >= 10 { Uuid(run.hub.info("t").unwrap().uuid.0) } else { Uuid::default() };
        let old = OffsetFetchRequestTopic { name: "t".into(), partition_indexes: partition_indexes.clone() };
        let new = OffsetFetchRequestTopics { name: "t".into(), topic_id, partition_indexes };
        let group =
            OffsetFetchRequestGroup { group_id: "g".into(), topics: Some(vec![new]), ..Default::default() };
        let request = OffsetFetchRequest {
            group_id: "g".into(),
            topics: Some(vec![old]),
            groups: vec![group],
            require_stable: true,
        };
        let body = run.call(ApiKey::OffsetFetch, version, &request);
        let answer: OffsetFetchResponse<'_> = ApiKey::OffsetFetch.read(version, &body).unwrap();
        let told: Vec<(i32, i64, i16)> = if version < 8 {
            let parts = answer.topics[0].partitions.iter();
            parts.map(|part| (part.partition_index, part.committed_offset, part.error_code)).collect()
        } else {
            assert_eq!(answer.groups[0].topics[0].topic_id, topic_id);
            let parts = answer.groups[0].topics[0].partitions.iter();
            parts.map(|part| (part.partition_index, part.committed_offset, part.error_code)).collect()
        };
        assert_eq!(told, [(1, kept, 0), (0, -1, 0)], "version {version}");
    }
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut run = Run::new();
    for (state, kind, count) in
        [(None, None, 2), (Some("stable"), None, 1), (None, Some("Classic"), 2), (None, Some("consumer"), 0)]
    {
        let listed =
            |group: &str, state| Listed { group: group.to_owned(), kind: "consumer".to_owned(), state };
        let groups = vec![listed("a", GroupState::Stable), listed("b", GroupState::Empty)];
        run.hub.script.push(Outcome::Done(Done::Groups(groups)));
        let request = ListGroupsRequest {
            states_filter: state.map(Into::into).into_iter().collect(),
            types_filter: kind.map(Into::into).into_iter().collect(),
        };
        let body = run.call(ApiKey::ListGroups, 5, &request);
        let answer: ListGroupsResponse<'_> = ApiKey::ListGroups.read(5, &body).unwrap();
        assert_eq!(answer.groups.len(), count, "{state:?} {kind:?}");
    }
}
