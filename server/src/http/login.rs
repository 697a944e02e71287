//! HTTP basic authentication against the registry's users. Looking at flow crosses all namespaces, so it takes a tag that
//! RabbitMQ's management API takes for that.

use crate::inspect::Inspect;
use crate::passwords;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Tags that may look at everything; the first may change things, too.
const TAGS: [&str; 2] = ["administrator", "monitoring"];

/// Longest `Authorization` header that is looked at, bytes.
const HEADER_BYTES_MAX: usize = 4096;

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// No credentials, or wrong ones; deliberately the same.
    Unknown,
    /// A known user without a tag that allows it.
    Forbidden,
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Look at everything.
    Look,
    /// Change something.
    Change,
}

/// May the sender of these headers do that?
pub(super) fn check(node: &dyn Inspect, headers: &HeaderMap, wish: Wish) -> Result<(), Refused> {
    let (name, password) = credentials(headers).ok_or(Refused::Unknown)?;
    let user = node.user(&name).ok_or(Refused::Unknown)?;
    if !passwords::verify(&password, &user.password_hash) {
        return Err(Refused::Unknown);
    }
    let tags = match wish {
        Wish::Look => &TAGS[..],
        Wish::Change => &TAGS[..1],
    };
    if user.tags.iter().any(|tag| tags.contains(&tag.as_str())) { Ok(()) } else { Err(Refused::Forbidden) }
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    if value.len() > HEADER_BYTES_MAX {
        return None;
    }
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}
