//! The HTTP port over a node that is a fake: what is answered when, to whom, and what the graph looks like.

use super::*;
use crate::inspect::{Counters, Inspect, Names, ObjectName, Readiness, StreamView};
use crate::passwords;
use base64::Engine as _;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use stele_model::flow::{Edge, Flow, FlowCounts, Party};
use stele_model::id::{ExchangeId, QueueId, ShardId};
use stele_model::registry::User;
use stele_model::roll::Clients;
use stele_model::shard::QueueCounts;
use stele_model::stream::{StreamInfo, StreamSettings, StreamUuid};

/// A node with one shop: a publisher, an exchange, a queue and its reader, a deleted queue; and how far its clock has jumped.
#[derive(Default)]
struct Fake(AtomicI64);

impl Inspect for Fake {
    fn readiness(&self) -> Readiness {
        Readiness::Ready
    }

    fn flow(&self) -> FlowCounts {
        let party =
            |client: &str| Party { principal: "ann".into(), client: client.into(), dialect: "amqp091" };
        let (exchange, queue) = (ExchangeId(1), QueueId(7));
        let stream = StreamUuid([7; 16]);
        let kafka = Party { principal: "ann".into(), client: "rdkafka".into(), dialect: "kafka" };
        let nats = |client: &str| Party { principal: "ann".into(), client: client.into(), dialect: "nats" };
        let heard = |filter: &[u8], group: Option<&[u8]>| {
            let (filter, group) = (filter.to_vec(), group.map(<[u8]>::to_vec));
            Edge::Heard { exchange, party: nats("board"), filter, group }
        };
        let edges = [
            (Edge::Published { party: party("shop"), exchange }, 5),
            (Edge::Routed { exchange, rule: b"order.*".to_vec(), queue }, 4),
            (Edge::Routed { exchange, rule: b"#".to_vec(), queue: QueueId(8) }, 2),
            (Edge::Routed { exchange, rule: b"k".to_vec(), queue: QueueId(30) }, 2),
            (Edge::Appended { party: kafka.clone(), stream }, 9),
            (Edge::Read { stream, party: kafka.clone() }, 8),
            (Edge::Committed { stream, group: "billing".into(), party: kafka }, 4),
            (Edge::Taken { stream, group: "works".into(), party: nats("one") }, 6),
            (Edge::Taken { stream, group: "works".into(), party: nats("two") }, 7),
            (heard(b"order.>", Some(b"q")), 4),
            (Edge::Unrouted { exchange }, 1),
            (Edge::Delivered { queue, party: party("payment") }, 3),
            (Edge::DeadLettered { queue, exchange: "shop".into(), reason: "rejected" }, 1),
            (Edge::DeadLettered { queue, exchange: "nowhere".into(), reason: "expired" }, 1),
        ];
        FlowCounts {
            edges: edges.map(|(edge, records)| (edge, Flow { records, bytes: records * 100 })).into(),
        }
    }

    fn names(&self) -> Names {
        let named = |name: &str| ObjectName { namespace: "/".into(), name: name.into() };
        Names {
            exchanges: [(ExchangeId(1), named("shop"))].into(),
            queues: [(QueueId(7), named("payment"))].into(),
            streams: [(StreamUuid([7; 16]), named("orders"))].into(),
            partitions: [(QueueId(30), StreamUuid([7; 16]))].into(),
        }
    }

    fn counters(&self) -> Counters {
        Counters { messages_in: 5, connections_now: 2, ..Counters::default() }
    }

    fn queues(&self) -> Vec<QueueCounts> {
        vec![QueueCounts {
            queue: QueueId(7),
            ready: 3,
            unsettled: 1,
            consumers: 1,
            ..QueueCounts::default()
        }]
    }

    fn streams(&self) -> Vec<StreamView> {
        let info = StreamInfo {
            name: "orders".into(),
            uuid: StreamUuid([7; 16]),
            partitions: vec![(QueueId(30), ShardId(0)), (QueueId(31), ShardId(1))],
            settings: StreamSettings { retention_ms: Some(5), ..StreamSettings::default() },
            arguments: Default::default(),
            internal: false,
        };
        vec![StreamView { namespace: "/".into(), info: Arc::new(info) }]
    }

    fn clock_away_s(&self) -> Option<i64> {
        Some(self.0.load(Relaxed)).filter(|away| *away != 0)
    }

    fn confirm_clock(&self) -> Option<i64> {
        Some(self.0.swap(0, Relaxed)).filter(|away| *away != 0)
    }

    fn clients(&self, _: bool) -> Clients {
        Clients::default()
    }

    fn jetstream(&self, _: &str, _: &str, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn user(&self, name: &str) -> Option<User> {
        let tags: &[&str] = match name {
            "ann" => &["administrator"],
            "mo" => &["monitoring"],
            "bob" => &[],
            _ => return None,
        };
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Some(User { name: name.into(), password_hash: passwords::hash("pw"), tags, scram: Vec::new() })
    }
}

struct Served {
    gate: Arc<Gate>,
    server: HttpServer,
    api: SocketAddr,
    metrics: SocketAddr,
}

fn served() -> Served {
    let any = Some("127.0.0.1:0".parse().unwrap());
    let listeners = Listeners::bind(any, any).unwrap();
    let address = |listener: &Option<TcpListener>| listener.as_ref().unwrap().local_addr().unwrap();
    let (api, metrics) = (address(&listeners.api), address(&listeners.metrics));
    let gate = Arc::new(Gate::default());
    let server = HttpServer::start(listeners, Arc::clone(&gate)).unwrap();
    Served { gate, server, api, metrics }
}

/// Status and body of a `GET`.
fn get(address: SocketAddr, path: &str, login: Option<&str>) -> (u16, String) {
    ask("GET", address, path, login)
}

fn ask(verb: &str, address: SocketAddr, path: &str, login: Option<&str>) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let login = login.map_or_else(String::new, |login| {
        let encoded = base64::engine::general_purpose::STANDARD.encode(login);
        format!("Authorization: Basic {encoded}\r\n")
    });
    write!(stream, "{verb} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{login}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn health_is_200_only_between_start_and_stop_and_says_why_otherwise() {
    let served = served();
    assert_eq!(get(served.api, "/healthz", None), (503, "starting: the node is starting\n".into()));
    served.gate.open(Arc::new(Fake::default()));
    assert_eq!(get(served.api, "/healthz", None), (200, "ready\n".into()));
    served.gate.close();
    assert_eq!(get(served.api, "/healthz", None), (503, "stopping: the node is stopping\n".into()));
    served.server.stop();
    TcpStream::connect(served.api).unwrap_err();
}

#[test]
fn flow_and_overview_need_a_known_user_with_a_tag() {
    let served = served();
    assert_eq!(get(served.api, "/api/flow", Some("ann:pw")).0, 503);
    served.gate.open(Arc::new(Fake::default()));
    for (login, status) in [
        (None, 401),
        (Some("ann"), 401),
        (Some("ann:wrong"), 401),
        (Some("eve:pw"), 401),
        (Some("bob:pw"), 403),
        (Some("mo:pw"), 200),
        (Some("ann:pw"), 200),
    ] {
        for path in ["/api/flow", "/api/overview"] {
            assert_eq!(get(served.api, path, login).0, status, "{path} as {login:?}");
        }
    }
    assert_eq!(get(served.api, "/elsewhere", Some("ann:pw")).0, 404);
    served.server.stop();
}

#[test]
fn the_graph_joins_counts_to_names_and_shows_what_is_gone() {
    let served = served();
    served.gate.open(Arc::new(Fake::default()));
    let graph: Value = serde_json::from_str(&get(served.api, "/api/flow", Some("ann:pw")).1).unwrap();
    let nodes = graph["nodes"].as_array().unwrap();
    let node =
        |id: &str| nodes.iter().find(|node| node["id"] == id).unwrap_or_else(|| panic!("no node {id}"));
    assert_eq!(node("exchange/1")["name"], "shop");
    assert_eq!(node("exchange/1")["unrouted"]["records"], 1);
    assert_eq!(node("queue/7")["ready"], 3);
    assert_eq!(node("queue/8")["gone"], true);
    assert_eq!(node("exchange///nowhere")["gone"], true);
    assert_eq!(node("party/amqp091/ann/shop")["kind"], "party");

    let edges = graph["edges"].as_array().unwrap();
    let edge =
        |kind: &str, to: &str| edges.iter().find(|edge| edge["kind"] == kind && edge["to"] == to).unwrap();
    assert_eq!(edge("published", "exchange/1")["records"], 5);
    assert_eq!(edge("routed", "queue/7")["rule"], "order.*");
    assert_eq!(edge("delivered", "party/amqp091/ann/payment")["bytes"], 300);
    assert_eq!(edge("dead_lettered", "exchange/1")["reason"], "rejected");
    let stream = "stream/07070707070707070707070707070707";
    assert_eq!(node(stream)["name"], "orders");
    let to_stream: Vec<_> = edges.iter().filter(|edge| edge["to"] == stream).collect();
    let kinds: Vec<_> = to_stream.iter().map(|edge| (&edge["kind"], &edge["records"])).collect();
    assert_eq!(kinds, [(&"published".into(), &9.into()), (&"routed".into(), &2.into())]);
    assert_eq!(edge("committed", "group/billing")["from"], stream);
    assert_eq!(edge("delivered", "party/kafka/ann/rdkafka")["records"], 8);
    let group = "group/07070707070707070707070707070707/works";
    assert_eq!((&node(group)["name"], &edge("delivered", group)["records"]), (&"works".into(), &13.into()));
    assert_eq!(edge("delivered", "party/nats/ann/two")["from"], group);
    let heard = edge("heard", "party/nats/ann/board");
    assert_eq!((&heard["from"], &heard["rule"]), (&"exchange/1".into(), &"order.>".into()));
    assert_eq!((&heard["group"], &heard["records"]), (&"q".into(), &4.into()));
    assert_eq!(edges.len(), 14, "unrouted records are on the exchange");
    assert_eq!(graph["edges_left_out"], 0);
    for edge in edges {
        for end in ["from", "to"] {
            node(edge[end].as_str().unwrap());
        }
    }
    served.server.stop();
}

#[test]
fn a_jump_of_the_clock_is_shown_and_only_an_administrator_confirms_it() {
    let served = served();
    served.gate.open(Arc::new(Fake(AtomicI64::new(-3600))));
    let jumped = |body: String| serde_json::from_str::<Value>(&body).unwrap();
    let in_doubt = serde_json::json!({ "trusted": false, "jumped_s": -3600 });
    let confirm = |login| ask("POST", served.api, "/api/clock/confirm", Some(login));
    assert_eq!(confirm("mo:pw").0, 403);
    assert_eq!(get(served.api, "/api/clock/confirm", Some("ann:pw")).0, 405);
    assert_eq!(jumped(get(served.api, "/api/clock", Some("mo:pw")).1), in_doubt);
    assert_eq!(jumped(confirm("ann:pw").1), in_doubt);
    assert_eq!(jumped(get(served.api, "/api/clock", Some("mo:pw")).1)["trusted"], true);
    served.server.stop();
}

#[test]
fn streams_are_listed_with_their_partitions() {
    let served = served();
    served.gate.open(Arc::new(Fake::default()));
    let streams: Value = serde_json::from_str(&get(served.api, "/api/streams", Some("mo:pw")).1).unwrap();
    assert_eq!(streams[0]["name"], "orders");
    assert_eq!(streams[0]["partitions"][1], serde_json::json!({ "id": 31, "shard": 1 }));
    assert_eq!(streams[0]["retention_ms"], 5);
    served.server.stop();
}

#[test]
fn overview_sums_the_queues() {
    let served = served();
    served.gate.open(Arc::new(Fake::default()));
    let overview: Value = serde_json::from_str(&get(served.api, "/api/overview", Some("mo:pw")).1).unwrap();
    assert_eq!(overview["queues"], 1);
    assert_eq!(overview["messages_ready"], 3);
    assert_eq!(overview["messages_in"], 5);
    served.server.stop();
}

#[test]
fn metrics_need_no_login_and_are_there_before_the_node() {
    let served = served();
    assert!(get(served.metrics, "/metrics", None).1.contains("stele_up 0\n"));
    served.gate.open(Arc::new(Fake::default()));
    let (status, text) = get(served.metrics, "/metrics", None);
    assert_eq!(status, 200);
    for line in ["stele_up 1\n", "stele_io_messages_in_total 5\n", "stele_queue_ready 3\n", "# EOF\n"] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    served.server.stop();
}

#[test]
fn a_graph_has_a_bound_and_says_what_it_left_out() {
    let count = flow::EDGES_MAX + 3;
    let edges = (0..count as u64).map(|n| {
        (Edge::Routed { exchange: ExchangeId(n), rule: Vec::new(), queue: QueueId(n) }, Flow::default())
    });
    let graph =
        flow::graph(&FlowCounts { edges: edges.collect() }, &Names::default(), &[], |_, _| Rate::default());
    assert_eq!((graph.edges.len(), graph.edges_left_out), (flow::EDGES_MAX, 3));
}
