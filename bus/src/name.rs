//! The name of a message type: what stands in `messageType`, what its exchange is called, what an endpoint is named after.
//!
//! Called by everything that puts a type on the wire. A name is declared (`Shop.Contracts:SubmitOrder`), never taken from a module
//! path: renaming a module must not change what other services see. Source of both spellings: MassTransit v8's URN and RabbitMQ
//! exchange formatters. Not here: which Rust type a name belongs to ([`crate::Message`]).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Generic arguments of generic arguments: at most so deep, so that a hostile URN cannot exhaust the stack.
const DEPTH_MAX: usize = 8;
/// A URN is at most so long in bytes.
const URN_BYTES_MAX: usize = 2048;
const PREFIX: &str = "urn:message:";

/// Namespace, name (`Outer+Inner` when nested) and generic arguments of a message type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeName {
    namespace: String,
    name: String,
    arguments: Vec<TypeName>,
}

/// A text that is not the name of a message type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a message type: {text:?}: {why}")]
pub struct NotAName {
    text: String,
    why: &'static str,
}

impl TypeName {
    /// A plain type; `name` is `Outer+Inner` for a nested one.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into(), arguments: Vec::new() }
    }

    /// A name that was checked when the program was compiled, as `#[derive(Message)]` does.
    ///
    /// # Panics
    /// If it is not `Namespace:Type`: a mistake of the program.
    pub fn declared(text: &str) -> Self {
        match Self::parse(text) {
            Ok(name) => name,
            Err(error) => panic!("{error}"),
        }
    }

    /// The same type with generic arguments.
    #[must_use]
    pub fn with_arguments(mut self, arguments: Vec<TypeName>) -> Self {
        self.arguments = arguments;
        self
    }

    /// Read `Ns:Type`, `Ns:Outer+Inner` or `Ns:Type[[Ns:Arg],[…]]`, with or without `urn:message:` in front (in any letter case).
    pub fn parse(text: &str) -> Result<Self, NotAName> {
        let fail = |why| NotAName { text: text.chars().take(120).collect(), why };
        if text.len() > URN_BYTES_MAX {
            return Err(fail("too long"));
        }
        let body = match text.get(..PREFIX.len()) {
            Some(head) if head.eq_ignore_ascii_case(PREFIX) => &text[PREFIX.len()..],
            _ => text,
        };
        let mut rest = body;
        let name = Self::take(&mut rest, 0).map_err(fail)?;
        if rest.is_empty() { Ok(name) } else { Err(fail("something stands behind it")) }
    }

    fn take(rest: &mut &str, depth: usize) -> Result<Self, &'static str> {
        if depth > DEPTH_MAX {
            return Err("generic arguments too deep");
        }
        let end = rest.find(['[', ']', ',']).unwrap_or(rest.len());
        let (head, tail) = rest.split_at(end);
        *rest = tail;
        let (namespace, name) = head.split_once(':').unwrap_or(("", head));
        if name.is_empty() || name.contains(':') {
            return Err("expected Namespace:Type");
        }
        let mut arguments = Vec::new();
        if let Some(tail) = rest.strip_prefix("[[") {
            *rest = tail;
            loop {
                arguments.push(Self::take(rest, depth + 1)?);
                if let Some(tail) = rest.strip_prefix("],[") {
                    *rest = tail;
                } else if let Some(tail) = rest.strip_prefix("]]") {
                    *rest = tail;
                    break;
                } else {
                    return Err("generic arguments do not end");
                }
            }
        }
        Ok(Self { namespace: namespace.into(), name: name.into(), arguments })
    }

    /// The namespace, for example `Shop.Contracts`.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name without namespace and arguments.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The generic arguments.
    pub fn arguments(&self) -> &[TypeName] {
        &self.arguments
    }

    /// The URN as it stands in `messageType`: `urn:message:Ns:Type[[Ns:Arg]]`.
    pub fn urn(&self) -> String {
        format!("{PREFIX}{self}")
    }

    /// The name of the type's exchange: `Ns:Type`, nested joined with `-`, generic `Ns:Name--Arg::Arg--`, where an argument's
    /// namespace is left out when it is the outer one.
    pub fn exchange(&self) -> String {
        let mut out = String::new();
        self.write_exchange(None, &mut out);
        out
    }

    fn write_exchange(&self, scope: Option<&str>, out: &mut String) {
        if !self.namespace.is_empty() && scope != Some(&self.namespace) {
            out.push_str(&self.namespace);
            out.push(':');
        }
        out.push_str(&self.name.replace('+', "-"));
        if self.arguments.is_empty() {
            return;
        }
        out.push_str("--");
        for (at, argument) in self.arguments.iter().enumerate() {
            if at > 0 {
                out.push_str("::");
            }
            argument.write_exchange(Some(&self.namespace), out);
        }
        out.push_str("--");
    }

    /// The endpoint that is named after this type when none is given: `SubmitOrder` becomes `submit-order`.
    pub fn endpoint(&self) -> String {
        let mut out = kebab(self.name.rsplit('+').next().unwrap_or(&self.name));
        for argument in &self.arguments {
            out.push('-');
            out.push_str(&argument.endpoint());
        }
        out
    }
}

/// `CheckOrderStatus` becomes `check-order-status`; a run of capitals is one word (`HTTPCall` becomes `http-call`).
pub fn kebab(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len() + 4);
    for (at, &letter) in letters.iter().enumerate() {
        let after_lower = at > 0 && (letters[at - 1].is_lowercase() || letters[at - 1].is_ascii_digit());
        let ends_run = at > 0
            && letters[at - 1].is_uppercase()
            && letters.get(at + 1).is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && (after_lower || ends_run) {
            out.push('-');
        }
        if letter.is_alphanumeric() {
            out.extend(letter.to_lowercase());
        } else if !out.ends_with('-') {
            out.push('-');
        }
    }
    out
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.namespace.is_empty() {
            write!(f, "{}:", self.namespace)?;
        }
        f.write_str(&self.name)?;
        for (at, argument) in self.arguments.iter().enumerate() {
            write!(f, "{}{argument}]", if at == 0 { "[[" } else { ",[" })?;
        }
        if self.arguments.is_empty() { Ok(()) } else { f.write_str("]") }
    }
}

impl Serialize for TypeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TypeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_name_has_its_urn_and_exchange() {
        let rows = [
            ("Shop.Contracts:SubmitOrder", "Shop.Contracts:SubmitOrder"),
            ("Shop:Outer+Inner", "Shop:Outer-Inner"),
            ("MassTransit:Fault[[Shop:Order]]", "MassTransit:Fault--Shop:Order--"),
            ("Shop:Pair[[Shop:A],[Other:B]]", "Shop:Pair--A::Other:B--"),
            ("A:B[[C:D[[E:F],[C:G]]]]", "A:B--C:D--E:F::G----"),
            ("Bare", "Bare"),
        ];
        for (text, exchange) in rows {
            let name = TypeName::parse(text).unwrap();
            assert_eq!(name.to_string(), text);
            assert_eq!(name.urn(), format!("urn:message:{text}"));
            assert_eq!(name.exchange(), exchange);
            assert_eq!(TypeName::parse(&name.urn()), Ok(name));
        }
    }

    #[test]
    fn a_broken_urn_is_an_error_and_not_a_panic() {
        for text in
            ["", "urn:message:", "A:", "A:B[[", "A:B[[C:D]", "A:B]]", "A:B[[C:D]]x", "A:B:C", "A:B[[C:D],"]
        {
            assert!(TypeName::parse(text).is_err(), "{text}");
        }
        assert!(TypeName::parse(&"A:B[[".repeat(200)).is_err());
        assert!(TypeName::parse(&"x".repeat(5000)).is_err());
    }

    #[test]
    fn an_endpoint_is_named_after_its_message() {
        for (name, endpoint) in [
            ("SubmitOrder", "submit-order"),
            ("HTTPCall", "http-call"),
            ("Outer+InnerThing", "inner-thing"),
            ("Order2Cash", "order2-cash"),
        ] {
            assert_eq!(TypeName::new("Ns", name).endpoint(), endpoint);
        }
    }
}
