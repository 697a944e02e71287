//! `#[derive(Message)]` and `#[derive(Replies)]` for `stele-bus`.
//!
//! Called by the compiler, through the re-exports of `stele-bus`. What they write is small enough to be written by hand; nothing of the
//! library depends on it. Errors point at the attribute that is wrong.

mod message;
mod replies;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implement `Message` by attribute:
///
/// | `#[message(…)]` | meaning |
/// |---|---|
/// | `urn = "Ns:Type"` | the declared name, required; for a generic type its arguments are added |
/// | `alias = "Ns:Old"` | also accepted; may be repeated |
/// | `implements(Type, …)` | supertypes: messages that consumers of those types receive too |
/// | `correlate = field` | the field (a `Uuid`) that is the correlation id |
/// | `key = field` | the field that keeps order (anything that is `ToString`) |
#[proc_macro_derive(Message, attributes(message))]
pub fn message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    message::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Implement `Replies` for an enum whose variants hold one message each: the possible answers of a request.
#[proc_macro_derive(Replies)]
pub fn replies(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    replies::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
