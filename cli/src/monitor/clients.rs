//! `/connz`: the clients, one by one; `/subsz`: what they listen to.

use super::{Told, lasting};
use serde_json::{Value, json};
use std::cmp::Reverse;
use stele_nats::front::query::Query;
use stele_server::inspect::{ClientLine, Clients};
use stele_server::node::nats_server_id;

/// Clients of a page when nobody says.
const LIMIT: usize = 1024;

impl Told {
    /// Parameters: `sort`, `subs` (1 or `detail`), `auth`, `state`, `cid`, `user`, `acc`, `offset`, `limit`.
    pub(super) fn connz(&self, query: &Query) -> Result<Value, String> {
        let detail = query.text("subs") == Some("detail");
        let subs = detail || query.truth("subs")?;
        let auth = query.truth("auth")?;
        let (offset, limit) = (query.number("offset", 0)?, query.number("limit", LIMIT)?);
        let limit = if limit == 0 { LIMIT } else { limit };
        let (open, closed) = match query.text("state").unwrap_or("open") {
            "open" => (true, false),
            "closed" => (false, true),
            "any" | "all" => (true, true),
            other => return Err(format!("error decoding state for {other}")),
        };
        let cid =
            query.text("cid").map(|text| text.parse::<u64>().map_err(|_| format!("{text:?} is no cid")));
        let cid = cid.transpose()?;
        let clients = self.node.clients(subs);
        let mut lines: Vec<&ClientLine> = clients.lines.iter().collect();
        lines.retain(|line| {
            let is = |wanted: Option<&str>, found: &str| wanted.is_none_or(|wanted| wanted == found);
            (if line.gone.is_some() { closed } else { open })
                && cid.is_none_or(|cid| cid == line.view.number)
                && is(query.text("user"), &line.view.user)
                && is(query.text("acc"), &line.view.account)
        });
        sort(&mut lines, query.text("sort").unwrap_or("cid"))?;
        let total = lines.len();
        let page: Vec<Value> =
            lines.iter().skip(offset).take(limit).map(|line| shown(line, subs, detail, auth)).collect();
        Ok(json!({
            "server_id": nats_server_id(),
            "now": Self::now(),
            "num_connections": page.len(),
            "total": total,
            "offset": offset,
            "limit": limit,
            "connections": page,
        }))
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

/// In the order of one of nats-server's words.
fn sort(lines: &mut [&ClientLine], by: &str) -> Result<(), String> {
    match by {
        "cid" | "start" => lines.sort_by_key(|line| line.view.number),
        "subs" => lines.sort_by_key(|line| Reverse(line.view.listens_count)),
        "pending" => lines.sort_by_key(|line| Reverse(line.pending_bytes)),
        "msgs_to" => lines.sort_by_key(|line| Reverse(line.view.traffic.messages_out)),
        "msgs_from" => lines.sort_by_key(|line| Reverse(line.view.traffic.messages_in)),
        "bytes_to" => lines.sort_by_key(|line| Reverse(line.view.traffic.bytes_out)),
        "bytes_from" => lines.sort_by_key(|line| Reverse(line.view.traffic.bytes_in)),
        "last" => lines.sort_by_key(|line| line.silent_us),
        "idle" => lines.sort_by_key(|line| Reverse(line.silent_us)),
        "uptime" => lines.sort_by_key(|line| Reverse(line.open_us)),
        "rtt" => lines.sort_by_key(|line| Reverse(line.view.answered_in_us)),
        "stop" => lines.sort_by_key(|line| line.gone.as_ref().map(|(_, since)| *since)),
        "reason" => lines.sort_by(|a, b| a.gone.cmp(&b.gone)),
        other => return Err(format!("invalid sorting option: {other}")),
    }
    Ok(())
}

fn shown(line: &ClientLine, subs: bool, detail: bool, auth: bool) -> Value {
    let view = &line.view;
    let gone_us = line.gone.as_ref().map_or(0, |(_, since)| *since);
    let mut shown = json!({
        "cid": view.number,
        "kind": "Client",
        "type": "nats",
        "ip": line.peer.ip().to_canonical().to_string(),
        "port": line.peer.port(),
        "start": Told::ago(line.open_us),
        "last_activity": Told::ago(line.silent_us),
        "rtt": format!("{}µs", view.answered_in_us.unwrap_or(0)),
        "uptime": lasting(line.open_us.saturating_sub(gone_us)),
        "idle": lasting(line.silent_us),
        "pending_bytes": line.pending_bytes,
        "in_msgs": view.traffic.messages_in,
        "out_msgs": view.traffic.messages_out,
        "in_bytes": view.traffic.bytes_in,
        "out_bytes": view.traffic.bytes_out,
        "subscriptions": view.listens_count,
    });
    for (name, text) in [("name", &view.name), ("lang", &view.language), ("version", &view.version)] {
        if !text.is_empty() {
            shown[name] = json!(text);
        }
    }
    if auth {
        shown["authorized_user"] = json!(view.user);
        shown["account"] = json!(view.account);
    }
    if let Some((why, since_us)) = &line.gone {
        shown["stop"] = json!(Told::ago(*since_us));
        shown["reason"] = json!(why);
    }
    if detail && !view.listens.is_empty() {
        shown["subscriptions_list_detail"] = json!(listens(line).collect::<Vec<_>>());
    } else if subs && !view.listens.is_empty() {
        let subjects: Vec<&str> = view.listens.iter().map(|listen| listen.subject.as_str()).collect();
        shown["subscriptions_list"] = json!(subjects);
    }
    shown
}

fn listens(line: &ClientLine) -> impl Iterator<Item = Value> {
    line.view.listens.iter().map(|listen| {
        let mut shown = json!({
            "account": line.view.account, "subject": listen.subject, "sid": listen.name, "cid": line.view.number,
        });
        if let Some(group) = &listen.group {
            shown["qgroup"] = json!(group);
        }
        shown
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u64, count: u32) -> ClientLine {
        let peer = "127.0.0.1:1".parse().unwrap();
        let view = Default::default();
        let mut line = ClientLine { peer, open_us: 10, silent_us: 5, pending_bytes: 0, gone: None, view };
        (line.view.number, line.view.listens_count) = (number, count);
        line
    }

    #[test]
    fn clients_are_sorted_by_their_number_or_as_asked() {
        let all = [line(2, 1), line(1, 5), line(3, 9)];
        let sorted = |by: &str| {
            let mut lines: Vec<&ClientLine> = all.iter().collect();
            sort(&mut lines, by).map(|()| lines.iter().map(|line| line.view.number).collect::<Vec<_>>())
        };
        assert_eq!(sorted("cid"), Ok(vec![1, 2, 3]));
        assert_eq!(sorted("subs"), Ok(vec![3, 1, 2]));
        assert!(sorted("colour").is_err());
    }
}
