//! Asking `GET /api/flow`, and telling a person what it says.

use super::shop::PREFIX;
use crate::api;
use hyper::Method;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The graph of a broker whose API is at `address`.
pub(super) async fn flow(address: &str, user: &str, password: &str) -> anyhow::Result<Value> {
    api::ask(Method::GET, address, "/api/flow", (user, password)).await
}

/// The edges that touch the demo's objects, one a line, but for the answers that a client hears at an address of its own.
pub(super) fn summary(graph: &Value) -> String {
    let none = Vec::new();
    let nodes = graph["nodes"].as_array().unwrap_or(&none);
    let names: BTreeMap<&str, &str> =
        nodes.iter().filter_map(|node| Some((node["id"].as_str()?, name(node)?))).collect();
    let short = |id: &str| {
        let name = names.get(id).copied().unwrap_or(id);
        if name.is_empty() { "default".to_owned() } else { shortened(name) }
    };
    let ours = |id: &str| names.get(id).is_some_and(|name| shortened(name) != *name);
    let (mut text, mut shown) = (String::new(), BTreeSet::new());
    for kind in ["published", "routed", "heard", "delivered", "dead_lettered"] {
        for edge in graph["edges"].as_array().unwrap_or(&none).iter().filter(|edge| edge["kind"] == kind) {
            let (Some(from), Some(to)) = (edge["from"].as_str(), edge["to"].as_str()) else { continue };
            let is_answer = edge["rule"].as_str().is_some_and(|rule| rule.starts_with('_'));
            if is_answer || (!ours(from) && !ours(to)) {
                continue;
            }
            shown.extend([from, to]);
            let by = edge["rule"].as_str().or(edge["reason"].as_str());
            let by = by.map_or_else(String::new, |by| format!("({})", shortened(by)));
            let path = format!("{} → {} {by}", short(from), short(to));
            let records = edge["records"].as_u64().unwrap_or(0);
            writeln!(text, "  {kind:<14} {path:<48} {records:>8} records").expect("a string takes any text");
        }
    }
    for node in nodes.iter().filter(|node| node["id"].as_str().is_some_and(|id| shown.contains(id))) {
        let unrouted = node["unrouted"]["records"].as_u64().unwrap_or(0);
        if unrouted > 0 {
            let path = format!("{} → nothing", short(node["id"].as_str().unwrap_or_default()));
            writeln!(text, "  {:<14} {path:<48} {unrouted:>8} records", "unrouted")
                .expect("a string takes any text");
        }
    }
    text
}

/// A name without what all names of the demo begin with. JetStream's have no dots, and a bucket's stream has a word before it.
fn shortened(name: &str) -> String {
    let dashed = PREFIX.replace('.', "-");
    name.replacen(PREFIX, "", 1).replacen(&dashed, "", 1)
}

fn name(node: &Value) -> Option<&str> {
    if node["kind"] == "party" { node["client"].as_str() } else { node["name"].as_str() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_shows_our_edges_and_nobody_elses() {
        let graph = serde_json::json!({
            "nodes": [
                { "kind": "party", "id": "p", "client": "stele-demo.shop" },
                { "kind": "party", "id": "b", "client": "stele-demo.board" },
                { "kind": "party", "id": "o", "client": "other" },
                { "kind": "exchange", "id": "t", "name": "amq.topic", "unrouted": { "records": 4 } },
                { "kind": "stream", "id": "s", "name": "KV_stele-demo-statuses" },
                { "kind": "exchange", "id": "e", "name": "stele-demo.shop", "unrouted": { "records": 3 } },
                { "kind": "exchange", "id": "x", "name": "other", "unrouted": { "records": 9 } },
                { "kind": "queue", "id": "q", "name": "stele-demo.payment" },
            ],
            "edges": [
                { "kind": "routed", "from": "e", "to": "q", "rule": "order.placed", "records": 7 },
                { "kind": "published", "from": "p", "to": "e", "records": 10 },
                { "kind": "published", "from": "p", "to": "t", "records": 9 },
                { "kind": "published", "from": "o", "to": "x", "records": 11 },
                { "kind": "routed", "from": "t", "to": "s", "rule": "stele-demo.order.*", "records": 2 },
                { "kind": "heard", "from": "t", "to": "b", "rule": "_INBOX.>", "records": 6 },
                { "kind": "heard", "from": "t", "to": "b", "rule": "stele-demo.order.*", "records": 5 },
                { "kind": "dead_lettered", "from": "q", "to": "e", "reason": "rejected", "records": 2 },
            ],
        });
        let text = summary(&graph);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines,
            [
                vec!["published", "shop", "→", "shop", "10", "records"],
                vec!["published", "shop", "→", "amq.topic", "9", "records"],
                vec!["routed", "shop", "→", "payment", "(order.placed)", "7", "records"],
                vec!["routed", "amq.topic", "→", "KV_statuses", "(order.*)", "2", "records"],
                vec!["heard", "amq.topic", "→", "board", "(order.*)", "5", "records"],
                vec!["dead_lettered", "payment", "→", "shop", "(rejected)", "2", "records"],
                vec!["unrouted", "amq.topic", "→", "nothing", "4", "records"],
                vec!["unrouted", "shop", "→", "nothing", "3", "records"],
            ]
        );
    }

    #[test]
    fn a_graph_of_another_shape_is_an_empty_summary() {
        assert_eq!(summary(&serde_json::json!({ "nodes": 1, "edges": [{ "kind": "routed" }] })), "");
    }
}
