//! DescribeUserScramCredentials (key 50), AlterUserScramCredentials (51): an administrator's work on passwords for SCRAM.

use super::scram;
use super::serve::{Context, Stages, Step, done};
use crate::codec::generated::alter_user_scram_credentials::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, AlterUserScramCredentialsResult,
};
use crate::codec::generated::describe_user_scram_credentials::{
    CredentialInfo, DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
    DescribeUserScramCredentialsResult,
};
use crate::codec::wire::Text;
use crate::refuse::{Code, Fault, refused};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use stele_model::op::Op;
use stele_model::outcome::Done;
use stele_model::refusal::Refusal;
use stele_model::registry::{AccountInfo, Change, ScramHash};

/// Rounds that are accepted, as in Kafka.
const ITERATIONS: RangeInclusive<u32> = 4_096..=16_384;

fn hash(mechanism: i8) -> Option<ScramHash> {
    match mechanism {
        1 => Some(ScramHash::Sha256),
        2 => Some(ScramHash::Sha512),
        _ => None,
    }
}

/// DescribeUserScramCredentials.
pub(super) fn describe<'a>(
    _: &mut Context<'_>,
    request: DescribeUserScramCredentialsRequest<'a>,
    stages: &'a Stages,
) -> Step<DescribeUserScramCredentialsResponse<'a>> {
    let Some(outcomes) = stages.first() else { return Step::Ask(vec![Op::Accounts]) };
    let accounts = match done(&outcomes[0]) {
        Ok(Done::Accounts(accounts)) => accounts,
        Err(refusal) => {
            let fault = refused(refusal);
            return Step::Answer(DescribeUserScramCredentialsResponse {
                error_code: fault.code.number(),
                error_message: Some(fault.text.into()),
                ..DescribeUserScramCredentialsResponse::default()
            });
        }
        Ok(other) => unreachable!("the hub answers accounts with {other:?}"),
    };
    let with_some = accounts.iter().filter(|account| !account.scram.is_empty());
    let results = match request.users.filter(|users| !users.is_empty()) {
        None => with_some.map(described).collect(),
        Some(users) => {
            let known: BTreeMap<&str, &AccountInfo> = with_some.map(|one| (one.name.as_str(), one)).collect();
            let mut counts: BTreeMap<Text<'a>, u32> = BTreeMap::new();
            users.into_iter().for_each(|user| *counts.entry(user.name).or_default() += 1);
            let asked = counts.into_iter().map(|(name, count)| match (known.get(&*name), count) {
                (_, 2..) => failed(
                    Fault::new(Code::DuplicateResource, format!("user {name} is asked for twice")),
                    name,
                ),
                (None, _) => failed(
                    Fault::new(Code::ResourceNotFound, format!("nothing is kept of user {name}")),
                    name,
                ),
                (Some(account), _) => described(account),
            });
            asked.collect()
        }
    };
    Step::Answer(DescribeUserScramCredentialsResponse {
        results,
        ..DescribeUserScramCredentialsResponse::default()
    })
}

fn failed<'a>(fault: Fault, user: Text<'a>) -> DescribeUserScramCredentialsResult<'a> {
    let (error_code, error_message) = (fault.code.number(), Some(fault.text.into()));
    DescribeUserScramCredentialsResult { user, error_code, error_message, credential_infos: Vec::new() }
}

fn described(account: &AccountInfo) -> DescribeUserScramCredentialsResult<'_> {
    let infos = account.scram.iter().map(|(hash, iterations)| CredentialInfo {
        mechanism: match hash {
            ScramHash::Sha256 => 1,
            ScramHash::Sha512 => 2,
        },
        iterations: i32::try_from(*iterations).unwrap_or(i32::MAX),
    });
    DescribeUserScramCredentialsResult {
        user: (&account.name).into(),
        credential_infos: infos.collect(),
        ..DescribeUserScramCredentialsResult::default()
    }
}

/// AlterUserScramCredentials. The client has salted the password; what is kept of it is made here.
pub(super) fn alter<'a>(
    context: &mut Context<'_>,
    request: AlterUserScramCredentialsRequest<'a>,
    stages: &'a Stages,
) -> Step<AlterUserScramCredentialsResponse<'a>> {
    let changes = changes(&request);
    let wanted = changes.values().filter_map(|change| change.as_ref().ok());
    // Whoever gets a password here may use it here.
    let let_in = wanted.clone().filter_map(|change| match change {
        Change::PutScram { user, .. } => {
            Some(Change::Admit { user: user.clone(), namespace: context.profile.namespace.clone() })
        }
        _ => None,
    });
    let asked: Vec<Op> = wanted.cloned().chain(let_in).map(Op::Administer).collect();
    let outcomes = match stages.first() {
        Some(outcomes) => outcomes.as_slice(),
        None if asked.is_empty() => &[],
        None => return Step::Ask(asked),
    };
    let mut outcomes = outcomes.iter();
    let results = changes.into_iter().map(|(user, change)| {
        let result = change.and_then(|_| {
            let outcome = outcomes.next().expect("each change that was asked for is answered");
            done(outcome).map(|_| ()).map_err(|refusal| match refusal {
                Refusal::Missing { .. } => {
                    Fault::new(Code::ResourceNotFound, format!("nothing is kept of user {user}"))
                }
                refusal => refused(refusal),
            })
        });
        let fault = result.err();
        AlterUserScramCredentialsResult {
            user,
            error_code: fault.as_ref().map_or(Code::None, |fault| fault.code).number(),
            error_message: fault.map(|fault| fault.text.into()),
        }
    });
    Step::Answer(AlterUserScramCredentialsResponse { results: results.collect(), throttle_time_ms: 0 })
}

/// The change of each user. A request may change each only once, whatever the mechanism; who is named more often keeps what it has.
fn changes<'a>(request: &AlterUserScramCredentialsRequest<'a>) -> BTreeMap<Text<'a>, Result<Change, Fault>> {
    let checked = |name: &str, mechanism: i8| {
        if name.is_empty() {
            return Err(Fault::new(Code::UnacceptableCredential, "Username must not be empty"));
        }
        hash(mechanism).ok_or_else(|| Fault::new(Code::UnsupportedSaslMechanism, "Unknown SCRAM mechanism"))
    };
    let deletions = request.deletions.iter().map(|one| {
        let change = checked(&one.name, one.mechanism)
            .map(|hash| Change::DeleteScram { user: one.name.to_string(), hash });
        (one.name.clone(), change)
    });
    let upsertions = request.upsertions.iter().map(|one| {
        let change = checked(&one.name, one.mechanism).and_then(|hash| {
            let iterations = u32::try_from(one.iterations).ok().filter(|rounds| ITERATIONS.contains(rounds));
            let text = "Too few or too many iterations";
            let iterations = iterations.ok_or_else(|| Fault::new(Code::UnacceptableCredential, text))?;
            let secret = scram::secret(hash, one.salt, iterations, one.salted_password);
            Ok(Change::PutScram { user: one.name.to_string(), secret })
        });
        (one.name.clone(), change)
    });
    let mut changes: BTreeMap<Text<'a>, Result<Change, Fault>> = BTreeMap::new();
    for (user, change) in deletions.chain(upsertions) {
        let twice = "a user credential cannot be altered twice in the same request";
        changes
            .entry(user)
            .and_modify(|first| {
                // What was wrong first is what is told.
                if first.is_ok() {
                    *first = Err(Fault::new(Code::DuplicateResource, twice));
                }
            })
            .or_insert(change);
    }
    changes
}
