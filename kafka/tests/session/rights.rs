//! Rules of access: made, listed by filters, removed.

use crate::support::Run;
use stele_kafka::codec::api::ApiKey;
use stele_kafka::codec::generated::alter_user_scram_credentials::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, ScramCredentialDeletion,
    ScramCredentialUpsertion,
};
use stele_kafka::codec::generated::create_acls::{AclCreation, CreateAclsRequest, CreateAclsResponse};
use stele_kafka::codec::generated::delete_acls::{DeleteAclsFilter, DeleteAclsRequest, DeleteAclsResponse};
use stele_kafka::codec::generated::describe_acls::{DescribeAclsRequest, DescribeAclsResponse};
use stele_model::op::Op;
use stele_model::outcome::{Done, Outcome};
use stele_model::refusal::Object;
use stele_model::registry::{AccountInfo, Change, Right, Verb};

fn right(object: Object, name: &str, is_prefix: bool, verb: Verb) -> Right {
    Right { namespace: "/".into(), user: "ann".into(), object, name: name.into(), is_prefix, verb }
}

fn accounts(rights: &[Right]) -> Outcome {
    let (name, rights) = ("ann".to_owned(), rights.to_vec());
    let account = AccountInfo { name, tags: Vec::new(), scram: Vec::new(), grants: Vec::new(), rights };
    Outcome::Done(Done::Accounts(vec![account]))
}

fn rule(resource_type: i8, name: &'static str, operation: i8) -> AclCreation<'static> {
    AclCreation {
        resource_type,
        resource_name: name.into(),
        resource_pattern_type: 3,
        principal: "User:ann".into(),
        host: "*".into(),
        operation,
        permission_type: 3,
    }
}

#[test]
fn a_rule_that_allows_becomes_a_right_and_others_are_refused() {
    let mut run = Run::new();
    run.hub.script = vec![Outcome::Done(Done::Unit), Outcome::Done(Done::Unit)];
    let creations = vec![
        rule(2, "orders", 4),
        AclCreation { resource_pattern_type: 4, ..rule(3, "shop-", 3) },
        AclCreation { permission_type: 2, ..rule(2, "orders", 4) },
        AclCreation { host: "10.0.0.1".into(), ..rule(2, "orders", 4) },
        AclCreation { principal: "User:*".into(), ..rule(2, "orders", 4) },
        rule(4, "kafka-cluster", 2),
        rule(2, "orders", 12),
    ];
    let body = run.call(ApiKey::CreateAcls, 3, &CreateAclsRequest { creations });
    let answer: CreateAclsResponse<'_> = ApiKey::CreateAcls.read(3, &body).unwrap();
    let codes: Vec<i16> = answer.results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [0, 0, 42, 42, 42, 42, 42]);
    let made = run.ops.iter().filter_map(|op| match op {
        Op::Administer(Change::PutRight(right)) => Some(right.clone()),
        _ => None,
    });
    let wanted = [
        right(Object::Stream, "orders", false, Verb::Write),
        right(Object::Group, "shop-", true, Verb::Read),
    ];
    assert_eq!(made.collect::<Vec<_>>(), wanted);
}

fn filter() -> DeleteAclsFilter<'static> {
    DeleteAclsFilter {
        resource_type_filter: 1,
        resource_name_filter: None,
        pattern_type_filter: 1,
        principal_filter: None,
        host_filter: None,
        operation: 1,
        permission_type: 1,
    }
}

#[test]
fn filters_take_what_they_name() {
    let rights = [
        right(Object::Stream, "orders", false, Verb::Write),
        right(Object::Stream, "ord", true, Verb::Read),
        right(Object::Stream, "*", false, Verb::Describe),
        right(Object::Group, "orders", false, Verb::Read),
    ];
    let named = |pattern_type_filter| DeleteAclsFilter {
        resource_type_filter: 2,
        resource_name_filter: Some("orders".into()),
        pattern_type_filter,
        ..filter()
    };
    let cases = [
        (filter(), 4),
        (named(3), 1),
        (named(2), 3),
        (named(4), 0),
        (DeleteAclsFilter { operation: 3, ..filter() }, 2),
        (DeleteAclsFilter { permission_type: 2, ..filter() }, 0),
        (DeleteAclsFilter { principal_filter: Some("User:bob".into()), ..filter() }, 0),
        (DeleteAclsFilter { principal_filter: Some("User:ann".into()), ..filter() }, 4),
        (DeleteAclsFilter { host_filter: Some("10.0.0.1".into()), ..filter() }, 0),
    ];
    for (filter, count) in cases {
        let mut run = Run::new();
        run.hub.script = vec![accounts(&rights)];
        run.hub.script.extend((0..count).map(|_| Outcome::Done(Done::Unit)));
        let filters = vec![filter.clone()];
        let body = run.call(ApiKey::DeleteAcls, 3, &DeleteAclsRequest { filters });
        let answer: DeleteAclsResponse<'_> = ApiKey::DeleteAcls.read(3, &body).unwrap();
        assert_eq!(answer.filter_results[0].matching_acls.len(), count, "{filter:?}");
        let gone = run.ops.iter().filter(|op| matches!(op, Op::Administer(Change::DeleteRight(_))));
        assert_eq!(gone.count(), count, "{filter:?}");
    }
}

#[test]
fn rights_are_listed_by_resource() {
    let rights = [
        right(Object::Stream, "orders", false, Verb::Write),
        right(Object::Stream, "orders", false, Verb::Describe),
        right(Object::Stream, "orders", true, Verb::All),
        Right { namespace: "other".into(), ..right(Object::Stream, "orders", false, Verb::Read) },
    ];
    let mut run = Run::new();
    run.hub.script = vec![accounts(&rights)];
    let request = DescribeAclsRequest {
        resource_type_filter: 1,
        resource_name_filter: None,
        pattern_type_filter: 1,
        principal_filter: None,
        host_filter: None,
        operation: 1,
        permission_type: 1,
    };
    let body = run.call(ApiKey::DescribeAcls, 3, &request);
    let answer: DescribeAclsResponse<'_> = ApiKey::DescribeAcls.read(3, &body).unwrap();
    let listed = answer.resources.iter().map(|resource| {
        let operations: Vec<i8> = resource.acls.iter().map(|acl| acl.operation).collect();
        (&*resource.resource_name, resource.pattern_type, operations)
    });
    assert_eq!(listed.collect::<Vec<_>>(), [("orders", 3, vec![4, 8]), ("orders", 4, vec![2])]);
}

#[test]
fn a_user_is_altered_once_in_a_request_or_not_at_all() {
    let deletion = |name: &'static str, mechanism| ScramCredentialDeletion { name: name.into(), mechanism };
    let upsertion = |name: &'static str, mechanism, iterations| ScramCredentialUpsertion {
        name: name.into(),
        mechanism,
        iterations,
        salt: b"salt",
        salted_password: &[7; 64],
    };
    let mut run = Run::new();
    run.hub.script = vec![Outcome::Done(Done::Unit); 4];
    let deletions = vec![
        deletion("both", 1),
        deletion("gone", 1),
        deletion("twice", 2),
        deletion("twice", 2),
        deletion("wrong", 9),
    ];
    let upsertions = vec![
        upsertion("both", 1, 4096),
        upsertion("new", 2, 4096),
        upsertion("other", 1, 4096),
        upsertion("other", 2, 4096),
        upsertion("few", 1, 1),
        upsertion("few", 1, 4096),
        upsertion("wrong", 1, 4096),
    ];
    let request = AlterUserScramCredentialsRequest { deletions, upsertions };
    let body = run.call(ApiKey::AlterUserScramCredentials, 0, &request);
    let answer: AlterUserScramCredentialsResponse<'_> =
        ApiKey::AlterUserScramCredentials.read(0, &body).unwrap();
    let codes: Vec<(&str, i16)> = answer.results.iter().map(|one| (&*one.user, one.error_code)).collect();
    let expected =
        [("both", 92), ("few", 93), ("gone", 0), ("new", 0), ("other", 92), ("twice", 92), ("wrong", 33)];
    assert_eq!(codes, expected);
    let changed = run.ops.iter().filter_map(|op| match op {
        Op::Administer(Change::DeleteScram { user, .. } | Change::PutScram { user, .. }) => {
            Some(user.as_str())
        }
        _ => None,
    });
    assert_eq!(changed.collect::<Vec<_>>(), ["gone", "new"]);
}
