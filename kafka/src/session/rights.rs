//! DescribeAcls (key 29), CreateAcls (30), DeleteAcls (31): an administrator's work on what users may do.
//!
//! A rule of Kafka's that allows is a [`Right`], kept and told as it was given. There are rules for topics and groups only, for users by
//! name and from any host; nothing is denied but what nobody allows. What the grants of the server's configuration allow is not listed here:
//! they are patterns.

use super::serve::{Context, Stages, Step, done};
use crate::codec::generated::create_acls::{
    AclCreation, AclCreationResult, CreateAclsRequest, CreateAclsResponse,
};
use crate::codec::generated::delete_acls::{
    DeleteAclsFilter, DeleteAclsFilterResult, DeleteAclsMatchingAcl, DeleteAclsRequest, DeleteAclsResponse,
};
use crate::codec::generated::describe_acls::{
    AclDescription, DescribeAclsRequest, DescribeAclsResource, DescribeAclsResponse,
};
use crate::codec::wire::Text;
use crate::refuse::{Code, Fault, refused};
use std::collections::{BTreeMap, BTreeSet};
use stele_model::op::Op;
use stele_model::outcome::{Done, Outcome};
use stele_model::refusal::Object;
use stele_model::registry::{Change, Right, Verb};

/// Stands for all in the fields of a filter that are numbers.
const ANY: i8 = 1;
/// A pattern that is a name.
const LITERAL: i8 = 3;
/// A pattern that is the beginning of names.
const PREFIXED: i8 = 4;
/// In filters: all patterns that the name matches.
const MATCH: i8 = 2;
/// The rule allows.
const ALLOW: i8 = 3;
/// Any host.
const ANY_HOST: &str = "*";
/// What principals that are users begin with.
const USER: &str = "User:";

/// Kafka's numbers of resources.
const OBJECTS: [(Object, i8); 2] = [(Object::Stream, 2), (Object::Group, 3)];

/// Kafka's numbers of operations.
const VERBS: [(Verb, i8); 9] = [
    (Verb::All, 2),
    (Verb::Read, 3),
    (Verb::Write, 4),
    (Verb::Create, 5),
    (Verb::Delete, 6),
    (Verb::Alter, 7),
    (Verb::Describe, 8),
    (Verb::DescribeSettings, 10),
    (Verb::AlterSettings, 11),
];

fn number<T: PartialEq>(table: &[(T, i8)], of: &T) -> i8 {
    table.iter().find(|(known, _)| known == of).map_or(0, |(_, number)| *number)
}

fn meaning<T: Copy>(table: &[(T, i8)], of: i8) -> Option<T> {
    table.iter().find(|(_, number)| *number == of).map(|(known, _)| *known)
}

/// The right that a rule asks for.
fn right(rule: &AclCreation<'_>, namespace: &str) -> Result<Right, Fault> {
    let invalid = |text: String| Fault::new(Code::InvalidRequest, text);
    let object = meaning(&OBJECTS, rule.resource_type)
        .ok_or_else(|| invalid("there are access rules for topics and groups only".to_owned()))?;
    let verb = meaning(&VERBS, rule.operation)
        .ok_or_else(|| invalid(format!("operation {} is none of a topic or group", rule.operation)))?;
    let is_prefix = match rule.resource_pattern_type {
        LITERAL => false,
        PREFIXED => true,
        other => return Err(invalid(format!("pattern type {other} is neither literal nor prefixed"))),
    };
    let user = rule.principal.strip_prefix(USER).filter(|user| !user.is_empty() && *user != "*");
    let user = user.ok_or_else(|| invalid("the principal must be one user, 'User:name'".to_owned()))?;
    if rule.permission_type != ALLOW || &*rule.host != ANY_HOST {
        return Err(invalid("rules here allow, and from any host".to_owned()));
    }
    let (namespace, user, name) = (namespace.to_owned(), user.to_owned(), rule.resource_name.to_string());
    Ok(Right { namespace, user, object, name, is_prefix, verb })
}

/// What is asked for of the rules there are. `None`: any.
struct Filter<'f> {
    resource_type: i8,
    name: Option<&'f str>,
    pattern_type: i8,
    principal: Option<&'f str>,
    host: Option<&'f str>,
    operation: i8,
    permission_type: i8,
}

impl<'f> Filter<'f> {
    fn of_describe(request: &'f DescribeAclsRequest<'_>) -> Self {
        Self {
            resource_type: request.resource_type_filter,
            name: request.resource_name_filter.as_deref(),
            pattern_type: request.pattern_type_filter,
            principal: request.principal_filter.as_deref(),
            host: request.host_filter.as_deref(),
            operation: request.operation,
            permission_type: request.permission_type,
        }
    }

    fn of_delete(filter: &'f DeleteAclsFilter<'_>) -> Self {
        Self {
            resource_type: filter.resource_type_filter,
            name: filter.resource_name_filter.as_deref(),
            pattern_type: filter.pattern_type_filter,
            principal: filter.principal_filter.as_deref(),
            host: filter.host_filter.as_deref(),
            operation: filter.operation,
            permission_type: filter.permission_type,
        }
    }

    fn takes(&self, right: &Right) -> bool {
        let is = |asked: i8, number: i8| asked == ANY || asked == number;
        let named = self.name.is_none_or(|name| match self.pattern_type {
            MATCH => right.covers(right.object, name),
            _ => right.name == name,
        });
        let pattern = self.pattern_type == MATCH || is(self.pattern_type, pattern_type(right));
        let user = |principal: &str| principal.strip_prefix(USER) == Some(right.user.as_str());
        is(self.resource_type, number(&OBJECTS, &right.object))
            && is(self.operation, number(&VERBS, &right.verb))
            && is(self.permission_type, ALLOW)
            && named
            && pattern
            && self.principal.is_none_or(user)
            && self.host.is_none_or(|host| host == ANY_HOST)
    }
}

fn pattern_type(right: &Right) -> i8 {
    if right.is_prefix { PREFIXED } else { LITERAL }
}

fn principal<'a>(right: &Right) -> Text<'a> {
    format!("{USER}{}", right.user).into()
}

/// All rights of the cluster's namespace.
fn rights(outcome: &Outcome, namespace: &str) -> Result<BTreeSet<Right>, Fault> {
    match done(outcome) {
        Ok(Done::Accounts(accounts)) => {
            let all = accounts.iter().flat_map(|account| &account.rights);
            Ok(all.filter(|right| right.namespace == namespace).cloned().collect())
        }
        Err(refusal) => Err(refused(refusal)),
        Ok(other) => unreachable!("the hub answers accounts with {other:?}"),
    }
}

/// DescribeAcls.
pub(super) fn describe<'a>(
    context: &mut Context<'_>,
    request: DescribeAclsRequest<'a>,
    stages: &'a Stages,
) -> Step<DescribeAclsResponse<'a>> {
    let Some(outcomes) = stages.first() else { return Step::Ask(vec![Op::Accounts]) };
    let rights = match rights(&outcomes[0], &context.profile.namespace) {
        Ok(rights) => rights,
        Err(fault) => {
            return Step::Answer(DescribeAclsResponse {
                error_code: fault.code.number(),
                error_message: Some(fault.text.into()),
                ..DescribeAclsResponse::default()
            });
        }
    };
    let filter = Filter::of_describe(&request);
    let mut resources: BTreeMap<(i8, String, i8), Vec<AclDescription<'a>>> = BTreeMap::new();
    for right in rights.iter().filter(|right| filter.takes(right)) {
        let resource = (number(&OBJECTS, &right.object), right.name.clone(), pattern_type(right));
        resources.entry(resource).or_default().push(AclDescription {
            principal: principal(right),
            host: ANY_HOST.into(),
            operation: number(&VERBS, &right.verb),
            permission_type: ALLOW,
        });
    }
    let resources = resources.into_iter().map(|((resource_type, name, pattern_type), acls)| {
        DescribeAclsResource { resource_type, resource_name: name.into(), pattern_type, acls }
    });
    Step::Answer(DescribeAclsResponse { resources: resources.collect(), ..DescribeAclsResponse::default() })
}

/// CreateAcls.
pub(super) fn create<'a>(
    context: &mut Context<'_>,
    request: CreateAclsRequest<'a>,
    stages: &'a Stages,
) -> Step<CreateAclsResponse<'a>> {
    let rights: Vec<Result<Right, Fault>> =
        request.creations.iter().map(|rule| right(rule, &context.profile.namespace)).collect();
    let asked = rights.iter().flatten().cloned().map(|right| Op::Administer(Change::PutRight(right)));
    let asked: Vec<Op> = asked.collect();
    let outcomes = match stages.first() {
        Some(outcomes) => outcomes.as_slice(),
        None if asked.is_empty() => &[],
        None => return Step::Ask(asked),
    };
    let mut outcomes = outcomes.iter();
    let results = rights.into_iter().map(|right| {
        let made = right.and_then(|_| {
            let outcome = outcomes.next().expect("each right that was asked for is answered");
            done(outcome).map_err(refused)
        });
        let fault = made.err();
        AclCreationResult {
            error_code: fault.as_ref().map_or(Code::None, |fault| fault.code).number(),
            error_message: fault.map(|fault| fault.text.into()),
        }
    });
    Step::Answer(CreateAclsResponse { results: results.collect(), throttle_time_ms: 0 })
}

/// DeleteAcls: all rules that one of the filters takes.
pub(super) fn delete<'a>(
    context: &mut Context<'_>,
    request: DeleteAclsRequest<'a>,
    stages: &'a Stages,
) -> Step<DeleteAclsResponse<'a>> {
    let Some(outcomes) = stages.first() else { return Step::Ask(vec![Op::Accounts]) };
    let rights = rights(&outcomes[0], &context.profile.namespace);
    let taken = |filter: &DeleteAclsFilter<'_>| -> Result<Vec<&Right>, &Fault> {
        let filter = Filter::of_delete(filter);
        Ok(rights.as_ref()?.iter().filter(|right| filter.takes(right)).collect())
    };
    let all: BTreeSet<&Right> =
        request.filters.iter().flat_map(|filter| taken(filter).unwrap_or_default()).collect();
    let outcomes = match stages.get(1) {
        Some(outcomes) => outcomes.as_slice(),
        None if all.is_empty() => &[],
        None => {
            let gone = |right: &&Right| Op::Administer(Change::DeleteRight((*right).clone()));
            return Step::Ask(all.iter().map(gone).collect());
        }
    };
    let faults = outcomes.iter().map(|outcome| done(outcome).err().map(refused));
    let faults: BTreeMap<&Right, Option<Fault>> = all.into_iter().zip(faults).collect();
    let matching = |right: &Right| {
        let fault = faults.get(right).cloned().flatten();
        DeleteAclsMatchingAcl {
            error_code: fault.as_ref().map_or(Code::None, |fault| fault.code).number(),
            error_message: fault.map(|fault| fault.text.into()),
            resource_type: number(&OBJECTS, &right.object),
            resource_name: right.name.clone().into(),
            pattern_type: pattern_type(right),
            principal: principal(right),
            host: ANY_HOST.into(),
            operation: number(&VERBS, &right.verb),
            permission_type: ALLOW,
        }
    };
    let results = request.filters.iter().map(|filter| match taken(filter) {
        Ok(taken) => DeleteAclsFilterResult {
            matching_acls: taken.into_iter().map(matching).collect(),
            ..DeleteAclsFilterResult::default()
        },
        Err(fault) => DeleteAclsFilterResult {
            error_code: fault.code.number(),
            error_message: Some(fault.text.clone().into()),
            ..DeleteAclsFilterResult::default()
        },
    });
    Step::Answer(DeleteAclsResponse { filter_results: results.collect(), throttle_time_ms: 0 })
}
