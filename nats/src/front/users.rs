//! Who may come in, and what for: `authorization` and `accounts` as settings of users and their namespaces.
//!
//! Called by [`super::options`]. What must hold: nobody may do more than the configuration says; what cannot be said in settings
//! is an error with its name. Not here: tokens and passwords of the command line, which come by [`Setup::user`] themselves.

use super::conf::{Block, Node, Value};
use super::options::{Setup, ms, subjects, text, truth};

/// Answers to a request when `allow_responses` does not say, as in nats-server.
const ANSWERS_MAX: &str = "1";
/// For how long, milliseconds.
const ANSWERS_MS: &str = "120000";
/// The account of everybody who is in no other.
const GLOBAL_ACCOUNT: &str = "$G";

/// What the users of a block have in common.
#[derive(Clone, Copy, Debug, Default)]
struct Common<'b> {
    /// The block they stand in, for errors.
    within: &'b str,
    /// The account they belong to; `None`: the global one.
    account: Option<&'b str>,
    /// What they may do who have no permissions of their own.
    permissions: Option<&'b Node>,
}

impl Setup {
    /// The users of the global account, or the only user.
    pub(super) fn authorization(&mut self, node: &Node) -> Result<bool, String> {
        let Value::Block(block) = &node.value else { return Err("a block is expected".to_owned()) };
        let of = |keys: &[&str]| keys.iter().find_map(|key| block.get(key)).map(text).transpose();
        let (user, password) = (of(&["user", "username"])?, of(&["password", "pass"])?);
        let (token, users) = (of(&["token"])?, block.get("users"));
        if (user.is_some() || password.is_some()) && token.is_some() {
            return self.refuse_here(node, "Cannot have a user/pass and token");
        }
        if users.is_some() && (user.is_some() || token.is_some()) {
            return self.refuse_here(node, "Can not have a single user/pass or a token, and a users array");
        }
        match (&user, &password) {
            (Some(user), password) => self.user(user, password.as_deref()),
            (None, Some(_)) => return Err("there is no user for the password".to_owned()),
            (None, None) => {}
        }
        if let Some(token) = token {
            self.token(&token);
        }
        let within = "authorization.";
        let permissions = block.get("default_permissions");
        for (key, node) in &block.0 {
            match key.as_str() {
                "user" | "username" | "password" | "pass" | "token" | "default_permissions" => {}
                "timeout" => self.set("nats.auth_timeout_ms", ms(node)?, "authorization.timeout"),
                "users" => self.listed_users(node, Common { within, account: None, permissions })?,
                _ => self.unknown(within, key, node),
            }
        }
        Ok(true)
    }

    /// Accounts are namespaces.
    pub(super) fn accounts(&mut self, node: &Node) -> Result<bool, String> {
        let Value::Block(accounts) = &node.value else { return Err("a block is expected".to_owned()) };
        for (name, node) in &accounts.0 {
            if name == "$SYS" {
                self.refuse("accounts.$SYS", node, "the system account is not supported by this server");
            } else {
                self.account(name, node)?;
            }
        }
        Ok(true)
    }

    fn account(&mut self, name: &str, node: &Node) -> Result<(), String> {
        let Value::Block(block) = &node.value else {
            return Err(format!("account {name} is no block"));
        };
        let within = format!("accounts.{name}.");
        let permissions = block.get("default_permissions");
        let account = (name != GLOBAL_ACCOUNT).then_some(name);
        let namespace = account.unwrap_or("/");
        self.accounts.insert(namespace.to_owned(), false);
        for (key, node) in &block.0 {
            match key.as_str() {
                "default_permissions" => {}
                "users" => self.listed_users(node, Common { within: &within, account, permissions })?,
                "jetstream" => self.jetstream_of_an_account(&within, namespace, node)?,
                _ => self.unknown(&within, key, node),
            }
        }
        Ok(())
    }

    /// Whether it has JetStream, and how much of it.
    fn jetstream_of_an_account(&mut self, within: &str, namespace: &str, node: &Node) -> Result<(), String> {
        let is_on = match &node.value {
            Value::Text(word)
                if word.eq_ignore_ascii_case("enabled") || word.eq_ignore_ascii_case("enable") =>
            {
                true
            }
            Value::Text(word)
                if word.eq_ignore_ascii_case("disabled") || word.eq_ignore_ascii_case("disable") =>
            {
                false
            }
            Value::Block(block) => {
                for (key, node) in &block.0 {
                    self.limit_of_an_account(
                        &format!("{within}jetstream."),
                        namespace,
                        (key.as_str(), node),
                    )?;
                }
                true
            }
            _ => truth(node)?,
        };
        self.accounts.insert(namespace.to_owned(), is_on);
        Ok(())
    }

    fn limit_of_an_account(
        &mut self,
        within: &str,
        namespace: &str,
        (key, node): (&str, &Node),
    ) -> Result<(), String> {
        let limit = match key.to_ascii_lowercase().as_str() {
            "max_memory" | "max_mem" | "mem" | "memory" => "memory_bytes_max",
            "max_store" | "max_file" | "max_disk" | "store" | "disk" => "storage_bytes_max",
            "max_streams" | "streams" => "streams_max",
            "max_consumers" | "consumers" => "consumers_max",
            _ => {
                self.unknown(within, key, node);
                return Ok(());
            }
        };
        match &node.value {
            Value::Int(max) if *max < 0 => {}
            Value::Int(max) => {
                self.set(&format!("namespaces.{namespace}.jetstream_{limit}"), max.to_string(), "accounts");
            }
            _ => return Err(format!("{key}: a number is expected")),
        }
        if limit.ends_with("bytes_max") {
            let what =
                "bounds what streams reserve by their max_bytes; those without one are not bounded by it";
            self.warn(&format!("{within}{key}"), node, what);
        }
        Ok(())
    }

    fn listed_users(&mut self, node: &Node, common: Common<'_>) -> Result<(), String> {
        let Value::List(users) = &node.value else { return Err("an array is expected".to_owned()) };
        for user in users {
            let Value::Block(block) = &user.value else { return Err("users are blocks".to_owned()) };
            self.listed_user(block, common)?;
        }
        Ok(())
    }

    fn listed_user(&mut self, block: &Block, common: Common<'_>) -> Result<(), String> {
        let of = |keys: &[&str]| keys.iter().find_map(|key| block.get(key)).map(text).transpose();
        let (name, key) = (of(&["user", "username"])?, of(&["nkey"])?);
        let Some(user) = name.or_else(|| key.clone()) else { return Err("a user has no name".to_owned()) };
        if self.has_user(&user) {
            return Err(format!("Duplicate user {user:?} detected"));
        }
        self.user(&user, of(&["password", "pass"])?.as_deref());
        if let Some(account) = common.account {
            self.set(&format!("auth.users.{user}.namespace"), account, "accounts");
        }
        if let Some(key) = key {
            self.set(&format!("auth.users.{user}.nats_nkey"), key, "nkey");
        }
        let mut own = None;
        for (key, node) in &block.0 {
            match key.as_str() {
                "user" | "username" | "password" | "pass" | "nkey" => {}
                "permissions" | "permission" | "authorization" => own = Some(node),
                _ => self.unknown(&format!("{}users.", common.within), key, node),
            }
        }
        match own.or(common.permissions) {
            Some(node) => self.permissions(&user, node, common),
            None => Ok(()),
        }
    }

    /// What a user may publish to and subscribe to.
    fn permissions(&mut self, user: &str, node: &Node, common: Common<'_>) -> Result<(), String> {
        let Value::Block(block) = &node.value else { return Err("permissions are a block".to_owned()) };
        let (mut may_answer, mut is_allowed) = (false, false);
        for (key, node) in &block.0 {
            match key.as_str() {
                "publish" | "pub" | "import" => is_allowed |= self.subjects_of(user, "publish", node)?,
                "subscribe" | "sub" | "export" => drop(self.subjects_of(user, "subscribe", node)?),
                "allow_responses" | "allow_response" => may_answer = self.answers(user, node, common)?,
                _ => self.unknown(&format!("{}users.permissions.", common.within), key, node),
            }
        }
        // Who may answer, and is not told what else to publish, may do nothing else.
        if may_answer && !is_allowed {
            self.set(&format!("auth.users.{user}.nats_publish_allow"), "", "allow_responses");
        }
        Ok(())
    }

    /// Whether something is allowed by name.
    fn subjects_of(&mut self, user: &str, what: &str, node: &Node) -> Result<bool, String> {
        let Value::Block(lists) = &node.value else {
            self.set(&format!("auth.users.{user}.nats_{what}_allow"), subjects(node)?, "permissions");
            return Ok(true);
        };
        for (list, node) in &lists.0 {
            if list != "allow" && list != "deny" {
                return Err(format!("{list:?} is neither allow nor deny"));
            }
            self.set(&format!("auth.users.{user}.nats_{what}_{list}"), subjects(node)?, "permissions");
        }
        Ok(lists.get("allow").is_some())
    }

    /// How many answers to a request are allowed, and for how long; whether any are.
    fn answers(&mut self, user: &str, node: &Node, common: Common<'_>) -> Result<bool, String> {
        let (mut max, mut lasts_ms) = (ANSWERS_MAX.to_owned(), Some(ANSWERS_MS.to_owned()));
        if let Value::Block(block) = &node.value {
            for (key, node) in &block.0 {
                match (key.as_str(), &node.value) {
                    ("max" | "max_msgs" | "max_messages" | "max_responses", Value::Int(0)) => {}
                    ("max" | "max_msgs" | "max_messages" | "max_responses", Value::Int(count))
                        if *count > 0 =>
                    {
                        max = count.to_string();
                    }
                    ("max" | "max_msgs" | "max_messages" | "max_responses", _) => {
                        return Err("allow_responses: a number above 0 is expected".to_owned());
                    }
                    ("expires" | "expiration" | "ttl", _) => match ms(node) {
                        Ok(zero) if zero == "0" => {}
                        Ok(some) => lasts_ms = Some(some),
                        // Less than nothing stands for ever.
                        Err(_) if text(node)?.starts_with('-') => lasts_ms = None,
                        Err(why) => return Err(format!("allow_responses: {why}")),
                    },
                    _ => {
                        let within = format!("{}users.permissions.allow_responses.", common.within);
                        self.unknown(&within, key, node);
                    }
                }
            }
        } else if !truth(node)? {
            return Ok(false);
        }
        self.set(&format!("auth.users.{user}.nats_answers_max"), max, "allow_responses");
        if let Some(ms) = lasts_ms {
            self.set(&format!("auth.users.{user}.nats_answers_ms"), ms, "allow_responses");
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::tests::{setup, value};

    #[test]
    fn users_are_named_in_both_ways() {
        let one = setup("authorization { password: \"s3cret\", user: derek, timeout: 1 }");
        assert_eq!(value(&one, "auth.users.derek.password"), Some("s3cret"));
        assert_eq!(value(&one, "nats.auth_timeout_ms"), Some("1000"));
        assert_eq!(value(&one, "nats.anonymous"), None);
        let many = setup(
            "authorization { users = [ {user: a, password: b}, {nkey: UX, permissions: {publish: [\"x.>\", y], sub: {deny: z}}} ] }\n\
             no_auth_user: a",
        );
        assert_eq!(many.problems, []);
        assert_eq!(value(&many, "auth.users.a.password"), Some("b"));
        assert_eq!(value(&many, "auth.users.UX.nats_nkey"), Some("UX"));
        assert_eq!(value(&many, "auth.users.UX.nats_publish_allow"), Some("x.>,y"));
        assert_eq!(value(&many, "auth.users.UX.nats_subscribe_deny"), Some("z"));
        assert_eq!(value(&many, "nats.anonymous"), Some("a"));
    }

    #[test]
    fn who_may_answer_may_do_that_and_what_is_allowed_by_name() {
        let text = "authorization { users = [ {user: a, permissions: {allow_responses: true}},\n\
             {user: b, permissions: {publish: x, allow_responses: {max: 2, expires: \"1m\"}}},\n\
             {user: c, permissions: {publish: {deny: x}, allow_responses: {expires: -1}}} ] }";
        let all = setup(text);
        assert_eq!(all.problems, []);
        let of = |key: &str| value(&all, &format!("auth.users.{key}"));
        assert_eq!(of("a.nats_publish_allow"), Some(""));
        assert_eq!((of("a.nats_answers_max"), of("a.nats_answers_ms")), (Some("1"), Some("120000")));
        assert_eq!(of("b.nats_publish_allow"), Some("x"));
        assert_eq!((of("b.nats_answers_max"), of("b.nats_answers_ms")), (Some("2"), Some("60000")));
        assert_eq!((of("c.nats_publish_allow"), of("c.nats_answers_ms")), (Some(""), None));
        assert!(
            setup("authorization { users = [{user: a, permissions: {allow_responses: {max: -1}}}] }")
                .has_errors()
        );
    }

    #[test]
    fn default_permissions_are_of_those_without_their_own() {
        let all = setup(
            "authorization { users = [ {user: a}, {user: b, permissions: {publish: mine}} ],\n\
             default_permissions: {publish: open, subscribe: open} }",
        );
        assert_eq!(value(&all, "auth.users.a.nats_publish_allow"), Some("open"));
        assert_eq!(value(&all, "auth.users.a.nats_subscribe_allow"), Some("open"));
        assert_eq!(value(&all, "auth.users.b.nats_publish_allow"), Some("mine"));
        assert_eq!(value(&all, "auth.users.b.nats_subscribe_allow"), None);
    }

    #[test]
    fn accounts_are_namespaces_and_what_crosses_them_is_refused_by_name() {
        let apart = setup("accounts { A { users = [{user: a, password: s}] }, $G { users = [{user: g}] } }");
        assert_eq!(apart.problems, []);
        assert_eq!(value(&apart, "auth.users.a.namespace"), Some("A"));
        assert_eq!(value(&apart, "auth.users.g.namespace"), None);
        assert_eq!(value(&apart, "nats.anonymous"), None);
        let crossing =
            setup("accounts { A { exports = [], jetstream { max_ack_pending: 1 } }, $SYS { users = [] } }");
        let said: Vec<&str> = crossing.problems.iter().map(|problem| problem.directive.as_str()).collect();
        assert_eq!(said, ["accounts.A.exports", "accounts.A.jetstream.max_ack_pending", "accounts.$SYS"]);
        assert!(crossing.has_errors());
    }

    #[test]
    fn accounts_have_the_jetstream_that_they_ask_for() {
        let some = setup(
            "jetstream: enabled, accounts { A { jetstream: enabled }, B { users = [] },\n\
             C { jetstream { max_mem: 1MB, max_file: 2MB, max_streams: 1, max_consumers: -1 } } }",
        );
        assert!(!some.has_errors());
        assert_eq!(value(&some, "namespaces.A.jetstream"), None);
        assert_eq!(value(&some, "namespaces.B.jetstream"), Some("no"));
        assert_eq!(value(&some, "namespaces./.jetstream"), Some("no"));
        assert_eq!(value(&some, "namespaces.C.jetstream_memory_bytes_max"), Some("1048576"));
        assert_eq!(value(&some, "namespaces.C.jetstream_storage_bytes_max"), Some("2097152"));
        assert_eq!(value(&some, "namespaces.C.jetstream_streams_max"), Some("1"));
        assert_eq!(value(&some, "namespaces.C.jetstream_consumers_max"), None);
        assert_eq!(some.problems.len(), 2, "the two bounds of bytes are explained: {:?}", some.problems);
    }

    #[test]
    fn a_user_is_named_once_and_in_one_way() {
        for text in [
            "authorization { user: a, password: b, token: c }",
            "authorization { token: c, users = [] }",
            "authorization { password: b }",
            "accounts { A { users = [{user: a}] }, B { users = [{user: a}] } }",
        ] {
            assert!(setup(text).has_errors(), "{text}");
        }
    }

    #[test]
    fn a_bcrypt_hash_is_not_taken_for_a_password() {
        let hashed = setup("authorization { user: a, password: \"$2a$11$x\" }");
        assert_eq!(value(&hashed, "auth.users.a.password_hash"), Some("$2a$11$x"));
        assert_eq!(value(&hashed, "auth.users.a.password"), None);
        let plain = setup("authorization { user: a, password: \"$2a$1$x\" }");
        assert_eq!(value(&plain, "auth.users.a.password"), Some("$2a$1$x"));
    }
}
