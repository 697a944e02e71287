//! Names of streams, subjects and consumers, and addresses. Pure.

use crate::name::TypeName;
use crate::outgoing::{Destination, ScheduleToken};

/// All names of one prefix.
#[derive(Clone, Debug)]
pub(super) struct Names(String);

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(!prefix.is_empty() && prefix.chars().all(plain), "a prefix of letters, digits, - and _");
        Self(prefix.into())
    }

    /// The stream of everything that is on its way.
    pub(super) fn stream(&self) -> String {
        self.0.clone()
    }

    /// The subjects of that stream.
    pub(super) fn subjects(&self) -> Vec<String> {
        vec![format!("{}.type.>", self.0), format!("{}.queue.>", self.0)]
    }

    /// The stream of everything that waits for its time.
    pub(super) fn delays(&self) -> String {
        format!("{}-delays", self.0)
    }

    pub(super) fn delay_subjects(&self) -> Vec<String> {
        vec![format!("{}.delay.>", self.0)]
    }

    /// Where one message waits.
    pub(super) fn of_delay(&self, token: ScheduleToken) -> String {
        format!("{}.delay.{}", self.0, token.0)
    }

    pub(super) fn of_type(&self, name: &TypeName) -> String {
        format!("{}.type.{}", self.0, token(&name.exchange()))
    }

    pub(super) fn of_queue(&self, name: &str) -> String {
        format!("{}.queue.{}", self.0, token(name))
    }

    /// The subjects that a message is published to, the most derived first. An exchange is that of a type if its name has a colon.
    pub(super) fn of(&self, destination: &Destination) -> Vec<String> {
        match destination {
            Destination::Type { name, supertypes } => {
                std::iter::once(name).chain(supertypes).map(|name| self.of_type(name)).collect()
            }
            Destination::Exchange(name) if name.contains(':') => {
                vec![format!("{}.type.{}", self.0, token(name))]
            }
            Destination::Queue(name) | Destination::Exchange(name) => vec![self.of_queue(name)],
            Destination::Address { address, .. } => vec![subject_in(address).to_owned()],
        }
    }

    /// Whether a subject is kept by the stream; all others are heard now or never.
    pub(super) fn is_kept(&self, subject: &str) -> bool {
        let rest = subject.strip_prefix(self.0.as_str());
        rest.is_some_and(|rest| rest.starts_with(".type.") || rest.starts_with(".queue."))
    }

    /// The queue of a subject, if it is one's.
    pub(super) fn queue_in<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(self.0.as_str())?.strip_prefix(".queue.")
    }

    pub(super) fn address(&self, base: &str, destination: &Destination) -> String {
        match destination {
            Destination::Address { address, .. } => address.clone(),
            other => format!("{base}{}", self.of(other).swap_remove(0)),
        }
    }
}

/// The last part of an address: `nats://host:4222/bus.queue.x?temporary=true` names `bus.queue.x`.
fn subject_in(address: &str) -> &str {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

/// The name of the consumer behind a queue's token: without dots, which subjects have and consumers may not.
pub(super) fn consumer(token: &str) -> String {
    token.replace('.', "=2E")
}

/// A name as part of a subject: what a subject cannot hold is written as `=` and two hex digits.
pub(super) fn token(name: &str) -> String {
    let mut token = String::with_capacity(name.len());
    let mut after_dot = true; // also the beginning: no part of a subject is empty
    for (at, c) in name.char_indices() {
        let is_last = at + c.len_utf8() == name.len();
        let special = c.is_whitespace() || c.is_control() || "*>=/\\?#%".contains(c);
        if special || (c == '.' && (after_dot || is_last)) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                token.push_str(&format!("={byte:02X}"));
            }
        } else {
            token.push(c);
        }
        after_dot = c == '.';
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_part_of_a_subject_that_any_server_takes() {
        for (name, expected) in [
            ("submit-order", "submit-order"),
            ("Shop.Contracts:SubmitOrder", "Shop.Contracts:SubmitOrder"),
            ("a b", "a=20b"),
            ("a*>", "a=2A=3E"),
            (".a..b.", "=2Ea.=2Eb=2E"),
            ("a=2Eb", "a=3D2Eb"),
            ("ä", "ä"),
        ] {
            assert_eq!(token(name), expected, "{name}");
        }
        assert_eq!(consumer(&token("Shop.orders")), "Shop=2Eorders");
    }

    #[test]
    fn an_address_leads_back_to_its_subject() {
        let names = Names::new("bus");
        for destination in
            [Destination::Queue("submit order".into()), Destination::Exchange("Shop:Order".into())]
        {
            let address = names.address("nats://localhost:4222/", &destination);
            let again = Destination::Address { address, reply_to: None };
            assert_eq!(names.of(&again), names.of(&destination));
            assert!(names.is_kept(&names.of(&again)[0]));
        }
        let inbox =
            Destination::Address { address: "nats://h:1/_INBOX.x?temporary=true".into(), reply_to: None };
        assert_eq!(names.of(&inbox), ["_INBOX.x"]);
        assert!(!names.is_kept("_INBOX.x") && !names.is_kept("business.type.x"));
    }
}
