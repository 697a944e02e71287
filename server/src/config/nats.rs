//! What a user may do as a NATS client, and how it logs in there besides by its password.

use super::NatsTls;
use std::fmt;
use std::sync::Arc;
use stele_model::live::{Answers, SubjectFilter, SubjectGrant, SubjectGrants};

/// The `nats_…` keys of a user. By default: everything that its grants allow, and no other way to log in.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct NatsUserSetting {
    /// A token that stands for the user.
    pub token: Option<String>,
    /// A public key whose holder it is.
    pub nkey: Option<String>,
    /// Subjects that it may publish to; `None`: all that are not denied.
    pub publish_allow: Option<Vec<String>>,
    /// Subjects that it may not publish to.
    pub publish_deny: Vec<String>,
    /// Subjects that it may subscribe to, each perhaps with a queue group behind a blank; `None`: all that are not denied.
    pub subscribe_allow: Option<Vec<String>>,
    /// Subjects that it may not subscribe to.
    pub subscribe_deny: Vec<String>,
    /// Answers that it may give to each request it hears, whatever else is said; `None`: none.
    pub answers_max: Option<u32>,
    /// For how long, milliseconds.
    pub answers_ms: Option<u64>,
}

impl fmt::Debug for NatsUserSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is a secret.
        f.debug_struct("NatsUserSetting").field("nkey", &self.nkey).finish_non_exhaustive()
    }
}

impl NatsUserSetting {
    /// The subjects; `None`: all.
    #[must_use]
    pub fn grants(&self) -> Option<Arc<SubjectGrants>> {
        let Self { publish_allow, publish_deny, subscribe_allow, subscribe_deny, .. } = self;
        let grant = |allow: &Option<Vec<String>>, deny: &[String]| SubjectGrant {
            allow: allow.as_ref().map(|allow| filters(allow)),
            deny: filters(deny),
        };
        let answers = self.answers_max.map(|max| Answers { count_max: Some(max), ms_max: self.answers_ms });
        let grants = SubjectGrants {
            publish: grant(publish_allow, publish_deny),
            listen: grant(subscribe_allow, subscribe_deny),
            answers,
        };
        (grants != SubjectGrants::default()).then(|| Arc::new(grants))
    }
}

fn filters(texts: &[String]) -> Vec<SubjectFilter> {
    let filter = |text: &String| match text.split_once(' ') {
        Some((filter, group)) => SubjectFilter { filter: filter.into(), group: Some(group.trim().into()) },
        None => SubjectFilter { filter: text.as_str().into(), group: None },
    };
    texts.iter().map(filter).collect()
}

/// Subjects as the configuration gives them, each perhaps with a queue group.
pub(super) fn subjects(texts: Vec<String>) -> Result<Vec<String>, String> {
    let is_good = |text: &String| {
        let subject = text.split_once(' ').map_or(text.as_str(), |(subject, _)| subject);
        stele_nats::subject::is_valid(subject.as_bytes())
    };
    match texts.iter().find(|text| !is_good(text)) {
        Some(bad) => Err(format!("\"{bad}\" is no subject")),
        None => Ok(texts),
    }
}

/// How TLS begins for NATS, from its word.
pub(super) fn nats_tls(word: &str) -> Result<NatsTls, String> {
    let all = [NatsTls::Optional, NatsTls::Required, NatsTls::First];
    let found = all.into_iter().find(|tls| nats_tls_word(*tls) == word);
    found.ok_or_else(|| format!("expected \"optional\", \"required\" or \"first\", found \"{word}\""))
}

/// Its word.
pub(super) fn nats_tls_word(tls: NatsTls) -> &'static str {
    match tls {
        NatsTls::Optional => "optional",
        NatsTls::Required => "required",
        NatsTls::First => "first",
    }
}
