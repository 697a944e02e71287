//! What a user may publish and subscribe to: allowed and denied subjects, and answers to what it was asked (nats-server's `permissions`).
//!
//! A subscription that is wider than a denied subject is let in; messages of the denied part are held back when they come. What must hold: what
//! is remembered of requests has a bound.

use crate::subject::is_subset;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use stele_model::id::Now;
use stele_model::live::{Answers, SubjectFilter, SubjectGrant, SubjectGrants};

/// Requests that are remembered until they are answered; beyond it those whose time is over are forgotten, then the new one.
const REQUESTS_MAX: usize = 4096;

/// See the module. By default: everything.
#[derive(Default)]
pub(super) struct Permissions {
    grants: Option<Arc<SubjectGrants>>,
    /// The last subject that was published to, and whether it may be.
    last: (Vec<u8>, bool),
    /// Reply subjects of what the client was sent: answers that are left, and until when.
    requests: BTreeMap<Vec<u8>, (u32, Now)>,
}

impl Permissions {
    pub(super) fn of(grants: Option<Arc<SubjectGrants>>) -> Self {
        Self { grants, ..Self::default() }
    }

    /// Whether it may publish to a subject. An answer counts.
    pub(super) fn may_publish(&mut self, now: Now, subject: &[u8]) -> bool {
        let Some(grants) = &self.grants else { return true };
        if self.last.0 != subject {
            let allowed = may(&grants.publish, subject, None);
            self.last.0.clear();
            self.last.0.extend_from_slice(subject);
            self.last.1 = allowed;
        }
        self.last.1 || self.may_answer(now, subject)
    }

    /// Whether what [`Self::may_publish`] has just said of a subject holds for the next publish, too: it was not an answer that counts.
    pub(super) fn holds_for(&self, subject: &[u8]) -> bool {
        self.grants.is_none() || (self.last.1 && self.last.0 == subject)
    }

    fn may_answer(&mut self, now: Now, subject: &[u8]) -> bool {
        let Some((left, until)) = self.requests.get_mut(subject) else { return false };
        let may = now < *until && *left > 0;
        *left = left.saturating_sub(1);
        if *left == 0 || !may {
            self.requests.remove(subject);
        }
        may
    }

    /// Whether it may subscribe.
    pub(super) fn may_subscribe(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        self.grants.as_ref().is_none_or(|grants| may(&grants.listen, subject, queue))
    }

    /// Whether the client may be sent a message of this subject, which one of its subscriptions matches.
    pub(super) fn may_hear(&self, subject: &[u8]) -> bool {
        let Some(grants) = &self.grants else { return true };
        let denies =
            |filter: &SubjectFilter| filter.group.is_none() && is_subset(subject, filter.filter.as_bytes());
        !grants.listen.deny.iter().any(denies)
    }

    /// As nats-server lists them; `None`: everything is allowed.
    pub(super) fn listed(&self) -> Option<Listed> {
        let SubjectGrants { publish, listen, answers } = self.grants.as_deref()?;
        Some(Listed {
            publish: ListedGrant::of(publish),
            subscribe: ListedGrant::of(listen),
            responses: answers.map(|Answers { count_max, ms_max }| ListedAnswers {
                max: count_max.map_or(-1, i64::from),
                ttl: ms_max.map_or(-1, |ms| i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000)),
            }),
        })
    }

    /// The client was sent a message that wants an answer.
    pub(super) fn asked(&mut self, now: Now, reply: &[u8]) {
        let Some(Answers { count_max, ms_max }) = self.grants.as_ref().and_then(|grants| grants.answers)
        else {
            return;
        };
        if self.requests.len() >= REQUESTS_MAX {
            self.requests.retain(|_, (_, until)| now < *until);
        }
        if self.requests.len() < REQUESTS_MAX {
            let until = ms_max.map_or(Now(u64::MAX), |ms| now.plus_ms(ms));
            self.requests.insert(reply.to_vec(), (count_max.unwrap_or(u32::MAX), until));
        }
    }
}

/// Permissions as clients read them.
#[derive(Serialize)]
pub(super) struct Listed {
    publish: ListedGrant,
    subscribe: ListedGrant,
    #[serde(skip_serializing_if = "Option::is_none")]
    responses: Option<ListedAnswers>,
}

#[derive(Serialize)]
struct ListedGrant {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deny: Vec<String>,
}

#[derive(Serialize)]
struct ListedAnswers {
    /// To each request; −1: any number.
    max: i64,
    /// How long after it, nanoseconds; −1: at any time.
    ttl: i64,
}

impl ListedGrant {
    fn of(grant: &SubjectGrant) -> Self {
        let listed = |filters: &[SubjectFilter]| filters.iter().map(shown).collect();
        Self { allow: listed(grant.allow.as_deref().unwrap_or_default()), deny: listed(&grant.deny) }
    }
}

fn shown(SubjectFilter { filter, group }: &SubjectFilter) -> String {
    group.as_ref().map_or_else(|| filter.to_string(), |group| format!("{filter} {group}"))
}

/// Whether a grant lets a subject in, for a plain subscription or publish, or for a member of a queue group.
fn may(grant: &SubjectGrant, subject: &[u8], queue: Option<&[u8]>) -> bool {
    let matched = |filters: &[SubjectFilter]| {
        let of = |filter: &&SubjectFilter| is_subset(subject, filter.filter.as_bytes());
        let plain = filters.iter().filter(of).any(|filter| filter.group.is_none());
        let groups: Vec<_> = filters.iter().filter(of).filter_map(|filter| filter.group.clone()).collect();
        match queue {
            Some(queue) if !groups.is_empty() => {
                groups.iter().any(|group| is_subset(queue, group.as_bytes()))
            }
            _ => plain,
        }
    };
    grant.allow.as_ref().is_none_or(|allow| matched(allow)) && !matched(&grant.deny)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(texts: &[&str]) -> Vec<SubjectFilter> {
        let filter = |text: &&str| {
            let (filter, group) = text.split_once(' ').map_or((*text, None), |(f, g)| (f, Some(g)));
            SubjectFilter { filter: filter.into(), group: group.map(Arc::from) }
        };
        texts.iter().map(filter).collect()
    }

    fn grant(allow: &[&str], deny: &[&str]) -> SubjectGrant {
        SubjectGrant { allow: (!allow.is_empty()).then(|| filters(allow)), deny: filters(deny) }
    }

    fn listens(allow: &[&str], deny: &[&str], subject: &str, queue: Option<&str>) -> bool {
        let grants = SubjectGrants { listen: grant(allow, deny), ..SubjectGrants::default() };
        let permissions = Permissions::of(Some(Arc::new(grants)));
        permissions.may_subscribe(subject.as_bytes(), queue.map(str::as_bytes))
    }

    #[test]
    fn what_is_denied_is_denied_although_it_is_allowed_too() {
        assert!(listens(&["a.>"], &["a.b"], "a.c", None));
        assert!(!listens(&["a.>"], &["a.b"], "a.b", None));
        assert!(!listens(&["a.>"], &[], "b", None));
        assert!(listens(&[], &["a.b"], "b", None));
        assert!(listens(&[], &["a.b"], "a.*", None), "what is wider is held back when it comes");
    }

    #[test]
    fn a_filter_with_a_group_is_for_members_of_it() {
        assert!(listens(&["a v1.*"], &[], "a", Some("v1.x")));
        assert!(!listens(&["a v1.*"], &[], "a", Some("v2")));
        assert!(!listens(&["a v1.*"], &[], "a", None));
        assert!(listens(&["a", "a v1"], &[], "a", None));
        assert!(!listens(&[], &["a prod"], "a", Some("prod")));
        assert!(listens(&[], &["a prod"], "a", Some("dev")));
    }

    #[test]
    fn an_answer_is_allowed_as_often_and_as_long_as_it_was_granted() {
        let answers = Some(Answers { count_max: Some(2), ms_max: Some(10) });
        let grants = SubjectGrants { publish: grant(&["x"], &[]), answers, ..SubjectGrants::default() };
        let mut permissions = Permissions::of(Some(Arc::new(grants)));
        let now = Now(0);
        assert!(!permissions.may_publish(now, b"inbox"));
        permissions.asked(now, b"inbox");
        let told: Vec<_> = (0..3).map(|_| permissions.may_publish(now, b"inbox")).collect();
        assert_eq!(told, [true, true, false]);
        permissions.asked(now, b"inbox");
        assert!(!permissions.may_publish(now.plus_ms(11), b"inbox"));
        assert!(permissions.may_publish(now, b"x"));
    }

    #[test]
    fn requests_that_nobody_answers_do_not_pile_up() {
        let answers = Some(Answers { count_max: None, ms_max: None });
        let grants = SubjectGrants { publish: grant(&["x"], &[]), answers, ..SubjectGrants::default() };
        let mut permissions = Permissions::of(Some(Arc::new(grants)));
        for n in 0..2 * REQUESTS_MAX {
            permissions.asked(Now(0), n.to_string().as_bytes());
        }
        assert_eq!(permissions.requests.len(), REQUESTS_MAX);
    }
}
