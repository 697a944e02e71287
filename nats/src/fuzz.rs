//! The ways from a stranger's bytes into this crate, as functions that must not panic whatever the bytes are.
//!
//! Called by a fuzzer or by the property tests below. What they find becomes a test where the mistake was.

use crate::codec::options::Options;
use crate::codec::{Limits, Parsed, headers, parse};
use crate::front::query::Query;
use crate::{Arrival, Connection, Profile};
use std::sync::Arc;
use stele_model::id::{Now, PrincipalId};
use stele_model::live::{LiveHit, LiveView};
use stele_model::op::Op;
use stele_model::outcome::{Done, Outcome};
use stele_model::session::{Outbox, Principal, Session};

/// Commands, one after the other.
pub fn commands(mut input: &[u8]) {
    let limits = Limits { control_line_bytes_max: 64, payload_bytes_max: 64 };
    while let Ok(Parsed::Command(_, used)) = parse(input, &limits) {
        assert!(used > 0 && used <= input.len(), "a command has bytes, and they are there");
        input = &input[used..];
    }
}

/// A header block.
pub fn header_block(input: &[u8]) {
    let _ = headers::fields(input).count();
}

/// The JSON of CONNECT.
pub fn options(input: &[u8]) {
    let _ = Options::read(input);
}

/// What stands behind the question mark of a monitoring endpoint; and what is escaped comes back as it was.
pub fn query(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let query = Query::parse(&text);
    for name in ["subs", "limit", ""] {
        let value = query.text(name);
        assert!(value.is_none_or(|value| !value.is_empty()), "an empty value is none");
        let (_, _) = (query.truth(name), query.number(name, 0));
    }
    let escaped: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let again = Query::parse(&format!("a=b&{escaped}={escaped}"));
    assert_eq!(again.text(&text).unwrap_or_default(), if *text == *"a" { "b" } else { &*text });
}

/// A whole connection, which is let in and hears everything it publishes by each of its subscriptions.
pub fn connection(input: &[u8]) {
    let arrival = Arrival { client_id: 1, ip: "127.0.0.1".to_owned(), nonce: "nonce".to_owned() };
    let profile = Profile { subscriptions_max: 8, ..Profile::default() };
    let mut session = Connection::new(Arc::new(profile), arrival, Now(0));
    let (mut out, mut rest, mut subscriptions) = (Outbox::default(), input, 0);
    session.greet(Now(0), &mut out);
    loop {
        let used = session.receive(Now(1), rest, &mut out);
        assert!(used <= rest.len(), "no more is taken than was given");
        let live = std::mem::take(&mut out.live);
        for item in &live.items {
            let view = live.view(rest);
            for range in [item.subject(), item.reply(), item.headers(), item.body()] {
                assert!(view.bytes.get(range).is_some(), "an item's parts are in its bytes");
            }
        }
        hear(&mut session, live.view(rest), &mut subscriptions, &mut out);
        let asked = answer(&mut session, &mut out);
        rest = &rest[used..];
        if out.close.is_some() || (used == 0 && !asked) {
            return;
        }
        out.write.take(|_| {});
    }
}

fn hear(session: &mut Connection, view: LiveView<'_>, subscriptions: &mut u32, out: &mut Outbox) {
    let count = u32::try_from(view.items.len()).expect("inputs are short");
    *subscriptions = (*subscriptions + 1) % 8;
    let hits: Vec<_> = (0..count).map(|item| LiveHit::new(*subscriptions, item, item % 3 == 0)).collect();
    session.live(Now(1), view, &hits, out);
    session.unheard(Now(1), view, &hits, out);
}

/// Lets it in; whether it had asked.
fn answer(session: &mut Connection, out: &mut Outbox) -> bool {
    let mut asked = false;
    while out.authenticate.take().is_some() {
        asked = true;
        let principal = Principal { id: PrincipalId(1), name: "u".to_owned() };
        session.authenticated(Now(1), Ok(principal), out);
    }
    for submit in std::mem::take(&mut out.submits) {
        if matches!(submit.op, Op::Open { .. }) {
            session.complete(Now(1), submit.ticket, Outcome::Done(Done::Opened), out);
        }
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_anything_panic(input in prop::collection::vec(any::<u8>(), 0..300)) {
            [commands, header_block, options, query, connection].iter().for_each(|target| target(&input));
        }

        #[test]
        fn no_commands_in_any_order_make_a_connection_panic(
            input in "((CONNECT \\{\"verbose\":false,\"headers\":true,\"no_responders\":true\\}|PING|PONG|SUB a(\\.\\*)? (q )?[1-4]|UNSUB [1-4]( [0-3])?|PUB a( r)? 2\r\nhi|HPUB a 12 14\r\nNATS/1\\.0\r\n\r\nhi|HPUB a 0 2\r\nhi|PUB  a\t0 \r\n|[A-Z]{0,3})\r\n){0,20}"
        ) {
            connection(input.as_bytes());
        }

        #[test]
        fn no_query_makes_anything_panic(input in "((subs|limit|a)?=?(%[0-9a-f+]{0,2}|[0-9a+=é]){0,6}&?){0,8}") {
            query(input.as_bytes());
        }
    }
}
