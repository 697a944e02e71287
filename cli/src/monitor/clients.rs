//! `/connz`: the clients, one by one; `/subsz`: what they listen to.

use super::Told;
use serde_json::{Value, json};
use std::time::SystemTime;
use stele_nats::front::query::Query;
use stele_nats::roll::{Wanted, listen};
use stele_server::inspect::{ClientLine, Clients, Now};
use stele_server::node::nats_server_id;

/// Clients of a page when nobody says.
const LIMIT: usize = 1024;

impl Told {
    /// See [`Wanted::of_query`].
    pub(super) fn connz(&self, query: &Query) -> Result<Value, String> {
        let wanted = Wanted::of_query(query)?;
        let clients = self.node.clients(wanted.listens());
        Ok(wanted.connz(unix_now(), &nats_server_id(), &clients))
    }

    /// Parameters: `subs`, `acc`, `offset`, `limit`.
    pub(super) fn subsz(&self, query: &Query) -> Result<Value, String> {
        let subs = query.truth("subs")?;
        let (offset, limit) = (query.number("offset", 0)?, query.number("limit", LIMIT)?);
        let Clients { lines, gone } = self.node.clients(subs);
        let here = || lines.iter().filter(|line| line.gone.is_none());
        let there: u64 = here().map(|line| u64::from(line.view.listens_count)).sum();
        let made: u64 = here().map(|line| line.view.traffic.subscribed).sum::<u64>() + gone.subscribed;
        let matches: u64 = here().map(|line| line.view.traffic.messages_in).sum::<u64>() + gone.messages_in;
        let mut answer = json!({
            "server_id": nats_server_id(),
            "now": Self::now(),
            "num_subscriptions": there,
            "num_cache": 0,
            "num_inserts": made,
            "num_removes": made.saturating_sub(there),
            "num_matches": matches,
            "cache_hit_rate": 0,
            "max_fanout": 0,
            "avg_fanout": 0,
            "total": 0,
            "offset": offset,
            "limit": limit,
        });
        if subs {
            let account = query.text("acc");
            let of = |line: &&ClientLine| account.is_none_or(|account| account == line.view.account);
            let all: Vec<Value> = here().filter(of).flat_map(listens).collect();
            answer["total"] = json!(all.len());
            answer["subscriptions_list"] =
                json!(all.into_iter().skip(offset).take(limit).collect::<Vec<_>>());
        }
        Ok(answer)
    }
}

fn listens(line: &ClientLine) -> impl Iterator<Item = Value> {
    line.view.listens.iter().map(|of| listen(of, line))
}

/// The time of the wall.
fn unix_now() -> Now {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
