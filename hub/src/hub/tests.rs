//! What a hub does, as transcripts.
//!
//! `~` defines something beforehand; `>` is a submit of a session, `!` what the hub wants of others, `=` their answer, `<` what a session
//! is told. A `~`, `>` or `=` line is carried out; what follows it is everything that came of it. Calls and tickets count from 1.

use super::*;
use crate::testing::{World, exchange, exclusive, queue, rule, text};
use bytes::{Bytes, BytesMut};
use std::fmt::Write as _;
use stele_model::id::{Position, PrincipalId, QueueId, SubscriptionId};
use stele_model::op::{Credit, Define, DestinationName, Get, Rule, Subscribe};
use stele_model::outcome::Delivery;
use stele_model::publish::{Publish, Publishes};
use stele_model::refusal::Access;
use stele_model::registry::{Change, Grant as Permission, User};
use stele_model::settle::{How, Run, Settle};
use stele_model::shard::{Answer, DeathReason, Grant, Move, MoveRecords};
use stele_model::value::Arguments;
use stele_record::{Draft, Origin, View};

const SEED: [u64; 2] = [5, 6];

/// A hub with sessions 1 and 2 of user `guest` and 3 of user `low`, over a registry that answers when it is told to.
struct Stage {
    world: World,
    hub: Hub,
    tickets: u64,
    asked: Vec<RegistryOp>,
    /// Text of the last address for replies that was given out.
    address: String,
}

fn id(number: u64) -> SessionId {
    SessionId { hub: HubId(0), number }
}

fn party() -> Party {
    Party { principal: "guest".into(), client: "test".into(), dialect: "amqp091" }
}

impl Stage {
    fn new() -> Self {
        let mut world = World::new();
        let user = User { name: "low".into(), password_hash: String::new(), tags: Vec::new() };
        world.change(Change::PutUser(user)).unwrap();
        let grant = |write: &str| Permission {
            user: "low".into(),
            namespace: "/".into(),
            configure: String::new(),
            write: write.into(),
            read: "^r".into(),
        };
        world.change(Change::PutGrant(grant("^x$|^amq.default$"))).unwrap();
        let mut hub = Hub::new(HubId(0), 2, 2, SEED, world.registry.current());
        for number in 1..=3 {
            let name = if number == 3 { "low" } else { "guest" };
            hub.attach(id(number), Principal { id: PrincipalId(1), name: name.into() }, party());
        }
        let mut stage = Self { world, hub, tickets: 0, asked: Vec::new(), address: String::new() };
        for number in 1..=3 {
            stage.submit(number, 0, Op::Open { namespace: "/".into() }, &mut HubOut::default());
        }
        stage.tickets = 0;
        stage
    }

    fn submit(&mut self, session: u64, lane: u16, op: Op, out: &mut HubOut) {
        self.tickets += 1;
        let submit = Submit { ticket: Ticket(self.tickets), lane, op };
        self.hub.submit(Now(1_000_000), id(session), submit, out);
    }

    /// Carries out one line.
    fn line(&mut self, line: &str) -> HubOut {
        let mut out = HubOut::default();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "~" => self.prepare(&words[1..]),
            ">" => {
                let (session, lane) = match words[1].split_once('/') {
                    Some((session, lane)) => (session, lane.parse().unwrap()),
                    None => (words[1], 0),
                };
                let session = session.parse().unwrap();
                if words[2] == "detach" {
                    self.hub.detach(id(session), &mut out);
                } else {
                    let op = self.op(&words[2..]);
                    self.submit(session, lane, op, &mut out);
                }
            }
            "=" => self.answer(&words[1..], &mut out),
            other => panic!("line starts with {other}"),
        }
        for (_, _, outcome) in &out.completions {
            if let Outcome::Done(Done::Replies { address }) = outcome {
                self.address = address.clone();
            }
        }
        out
    }

    fn queue_id(&self, name: &str) -> QueueId {
        let snapshot = self.world.registry.current();
        let found = snapshot.namespace("/").unwrap().queue(name).map(|queue| queue.id());
        found.unwrap_or(QueueId(999))
    }

    fn prepare(&mut self, words: &[&str]) {
        let define = match words {
            ["queue", name] => queue(name, &[]),
            ["queue", name, "dlx", dlx] => queue(name, &[("x-dead-letter-exchange", text(dlx))]),
            ["transient", name] => transient(name),
            ["exclusive", name] => exclusive(name),
            ["exchange", name, kind] => exchange(name, kind, &[]),
            ["internal", name] => internal(name),
            ["bind", source, queue, key] => Define::Bind(rule(source, queue, key)),
            ["bind-any", source, queue, header] => Define::Bind(Rule {
                arguments: Arguments::from([("x-match".into(), text("any")), ((*header).into(), text("1"))]),
                ..rule(source, queue, "")
            }),
            ["bind-exchange", source, to, key] => Define::Bind(Rule {
                destination: DestinationName::Exchange((*to).into()),
                ..rule(source, "", key)
            }),
            ["gone", name] => {
                let queue = self.queue_id(name);
                self.world.take(RegistryOp::Closing { queue });
                return self.hub.replace_snapshot(self.world.registry.current());
            }
            other => panic!("cannot prepare {other:?}"),
        };
        self.world.define(define).unwrap();
        self.hub.replace_snapshot(self.world.registry.current());
    }

    fn op(&self, words: &[&str]) -> Op {
        let address =
            |name: &&str| if **name == *"REPLY" { self.address.clone() } else { (*name).to_owned() };
        match words {
            ["open", namespace] => Op::Open { namespace: (*namespace).into() },
            ["close-lane"] => Op::CloseLane,
            ["publish", items @ ..] => Op::Publish(Arc::new(self.batch(items))),
            ["subscribe", subscription, queue] => Op::Subscribe(subscribe(subscription, queue)),
            ["unsubscribe", subscription] => Op::Unsubscribe { subscription: subscription.parse().unwrap() },
            ["get", queue] => Op::Get(Get { queue: (*queue).into(), subscription: 100, no_ack: true }),
            ["purge", queue] => Op::Purge { queue: (*queue).into() },
            ["settle", queues @ ..] => {
                let runs = || vec![Run { first: Position(0), count: 1 }];
                let settle = |name: &&str| Settle {
                    subscription: 1,
                    queue: self.queue_id(name),
                    how: How::Accept,
                    runs: runs(),
                };
                Op::Settle(queues.iter().map(settle).collect())
            }
            ["credit", subscription] => {
                Op::Credit(vec![Credit { subscription: subscription.parse().unwrap(), bytes: 9 }])
            }
            ["declare", name] => Op::Define(queue(&address(name), &[])),
            ["passive", name] => {
                let Define::DeclareQueue { name, durable, exclusive, auto_delete, arguments, .. } =
                    queue(&address(name), &[])
                else {
                    unreachable!()
                };
                let passive = true;
                Op::Define(Define::DeclareQueue { name, passive, durable, exclusive, auto_delete, arguments })
            }
            ["bind", source, queue, key] => Op::Define(Define::Bind(rule(source, queue, key))),
            ["delete", name] => {
                Op::Define(Define::DeleteQueue { name: (*name).into(), if_unused: false, if_empty: false })
            }
            other => panic!("cannot submit {other:?}"),
        }
    }

    /// Items: `exchange|key` and flags after another `|`: m mandatory, t transient, a digit for the lane, `cc=key`, `h=header`.
    fn batch(&self, items: &[&str]) -> Publishes {
        let mut bytes = BytesMut::new();
        let mut batch = Publishes::default();
        for item in items {
            let mut parts = item.split('|');
            let exchange = parts.next().unwrap();
            let key = parts.next().unwrap().replace("REPLY", &self.address);
            let mut publish = write_record(exchange, &key, parts.clone(), &mut bytes);
            for flag in parts {
                match flag.split_once('=') {
                    Some(("cc", key)) => {
                        let first = u16::try_from(batch.extra_keys.len()).unwrap();
                        batch.extra_keys.push(Bytes::copy_from_slice(key.as_bytes()));
                        publish.extra_keys = first..first + 1;
                    }
                    Some(_) => {}
                    None if flag == "m" => publish.mandatory = true,
                    None if flag == "t" => publish.persistent = false,
                    None => publish.lane = flag.parse().unwrap(),
                }
            }
            batch.items.push(publish);
        }
        batch.bytes = bytes.freeze();
        batch
    }

    fn answer(&mut self, words: &[&str], out: &mut HubOut) {
        let now = Now(2_000_000);
        if words == ["registry"] {
            for op in std::mem::take(&mut self.asked) {
                let from = self.world.answers.len();
                self.world.take(op);
                self.hub.replace_snapshot(self.world.registry.current());
                for (call, answer) in self.world.answers.split_off(from) {
                    self.hub.from_registry(now, Call(call), answer, out);
                }
            }
            return;
        }
        let (shard, rest) = words.split_first().unwrap();
        let shard = ShardId(shard.parse().unwrap());
        let message = self.message(shard, rest);
        self.hub.from_shard(now, shard, message, out);
    }

    fn message(&self, shard: ShardId, words: &[&str]) -> ToHub {
        let call = |text: &str| Call(text.parse().unwrap());
        let answer = |of, answer| ToHub::Answer { call: call(of), answer: Ok(answer) };
        let grant = Grant {
            place: Default::default(),
            len: 4,
            position: Position(7),
            redelivered: false,
            failures: 0,
        };
        match words {
            ["published", of] => ToHub::Published { call: call(of), refused: Vec::new(), gone: Vec::new() },
            ["gone", of, items @ ..] => {
                let gone = items.iter().map(|item| item.parse().unwrap()).collect();
                ToHub::Published { call: call(of), refused: Vec::new(), gone }
            }
            ["full", of, items @ ..] => {
                let full = |item: &&str| (item.parse().unwrap(), Refusal::Full { name: "q".into() });
                let refused = items.iter().map(full).collect();
                ToHub::Published { call: call(of), refused, gone: Vec::new() }
            }
            ["subscribed", of] => answer(of, Answer::Subscribed { counts_deliveries: false }),
            ["unsubscribed", of] => answer(of, Answer::Unsubscribed),
            ["purged", of] => answer(of, Answer::Purged { count: 3 }),
            ["status", of] => answer(of, Answer::Status { ready: 4, unsettled: 0, consumers: 2 }),
            ["deleted", of] => answer(of, Answer::Deleted { ready: 5 }),
            ["missing", of] => {
                let refusal =
                    Refusal::Missing { object: Object::Queue, name: "7".into(), namespace: String::new() };
                ToHub::Answer { call: call(of), answer: Err(refusal) }
            }
            ["got", of] => ToHub::Got {
                call: call(of),
                queue: QueueId(1),
                counts_deliveries: false,
                record: Some((Bytes::from_static(b"four"), grant)),
                ready: 0,
            },
            ["deliver", session, subscription] => ToHub::Deliver {
                session: id(session.parse().unwrap()),
                deliveries: Deliveries {
                    subscription: subscription.parse().unwrap(),
                    queue: QueueId(1),
                    blocks: vec![Bytes::from_static(b"four")],
                    items: vec![Delivery {
                        block: 0,
                        at: 0,
                        len: 4,
                        position: Position(7),
                        redelivered: false,
                        failures: 0,
                    }],
                },
            },
            ["cancelled", session, subscription] => ToHub::Cancelled {
                subscription: SubscriptionId {
                    session: id(session.parse().unwrap()),
                    number: subscription.parse().unwrap(),
                },
            },
            ["move", queue, why, items @ ..] => {
                let snapshot = self.world.registry.current();
                let queue = snapshot.queue(self.queue_id(queue)).unwrap().spec.clone();
                let batch = self.batch(items);
                let bytes: Vec<_> =
                    (0..).take(items.len()).map(|n| Bytes::copy_from_slice(batch.record(n))).collect();
                let records = vec![grant; bytes.len()];
                let reason = if *why == "rejected" { DeathReason::Rejected } else { DeathReason::Expired };
                ToHub::Move(MoveRecords {
                    of: Move { from: shard, number: 1, queue, reason, records },
                    bytes,
                })
            }
            other => panic!("cannot answer {other:?}"),
        }
    }

    /// Everything that came of a line, as text.
    fn told(&mut self, out: HubOut) -> String {
        let mut told = String::new();
        for (session, ticket, outcome) in out.completions {
            let mut outcome = outcome_text(&outcome);
            if !self.address.is_empty() {
                outcome = outcome.replace(&self.address, "REPLY");
            }
            writeln!(told, "< {} {ticket} {outcome}", session.number).unwrap();
        }
        for (session, deliveries) in out.deliveries {
            let count = deliveries.items.len();
            writeln!(told, "< {} deliver {} to {}", session.number, count, deliveries.subscription).unwrap();
        }
        for (session, wake) in out.wakes {
            writeln!(told, "< {} {wake:?}", session.number).unwrap();
        }
        for (shard, op) in out.shards {
            writeln!(told, "! {shard} {}", self.shard_text(&op)).unwrap();
        }
        for (hub, HubMessage::Replies(replies)) in out.hubs {
            writeln!(told, "! hub {hub} {} replies", replies.len()).unwrap();
        }
        for op in out.registry {
            match &op {
                RegistryOp::Define { call, .. } => writeln!(told, "! registry define call={call}").unwrap(),
                RegistryOp::SessionGone { session } => {
                    writeln!(told, "! registry gone {}", session.number).unwrap();
                }
                other => panic!("a hub does not ask {other:?}"),
            }
            self.asked.push(op);
        }
        told
    }

    fn shard_text(&self, op: &ShardOp) -> String {
        let snapshot = self.world.registry.current();
        let name = |id: &QueueId| match snapshot.queue(*id) {
            Some(queue) => queue.name.to_string(),
            None => format!("gone:{id}"),
        };
        match op {
            ShardOp::Publish(publish) => {
                let mut text = format!("publish call={}", publish.call);
                if let Some(link) = publish.link {
                    write!(text, " link={}:{}", link.from, link.number).unwrap();
                }
                for run in &publish.runs {
                    let queues: Vec<_> = publish.routes[run.route as usize].iter().map(name).collect();
                    let kind = if run.volatile { "~" } else { "" };
                    let items = if run.items.len() == 1 {
                        run.items.start.to_string()
                    } else {
                        format!("{}-{}", run.items.start, run.items.end - 1)
                    };
                    write!(text, " {items}{kind}>{}", queues.join(",")).unwrap();
                }
                text
            }
            ShardOp::Settle { settles, .. } => {
                let queues: Vec<_> = settles.iter().map(|settle| name(&settle.queue)).collect();
                format!("settle {}", queues.join(","))
            }
            ShardOp::Credit { queue, .. } => format!("credit {}", name(queue)),
            ShardOp::Subscribe(subscribe) => {
                format!("subscribe call={} {}", subscribe.call, name(&subscribe.queue))
            }
            ShardOp::Unsubscribe { call, queue, .. } => format!("unsubscribe call={call} {}", name(queue)),
            ShardOp::Get { call, queue, .. } => format!("get call={call} {}", name(queue)),
            ShardOp::Purge { call, queue, .. } => format!("purge call={call} {}", name(queue)),
            ShardOp::Status { call, queue, .. } => format!("status call={call} {}", name(queue)),
            ShardOp::Close { answer, queue, .. } => {
                format!("close call={} {}", answer.unwrap().1, name(queue))
            }
            ShardOp::SessionGone { session } => format!("gone {}", session.number),
            ShardOp::Moved { number } => format!("moved {number}"),
            other => panic!("a hub does not ask {other:?}"),
        }
    }
}

fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(Done::Replies { .. }) => "replies".into(),
        Outcome::Done(Done::Got { delivery, .. }) => format!("got {}", usize::from(delivery.is_some())),
        Outcome::Done(done) => format!("{done:?}"),
        Outcome::Refused(refusal) => format!("refused {}", refusal_text(refusal)),
        Outcome::LaneFailed { lane, item, refusal } => {
            format!("lane {lane} failed at {item}: {}", refusal_text(refusal))
        }
        Outcome::Published(published) => {
            let mut text = "published".to_owned();
            let refused: Vec<_> = published.refused.iter().map(|(n, _)| *n).collect();
            let lists = [
                ("unroutable", &published.unroutable),
                ("refused", &refused),
                ("dropped", &published.dropped),
            ];
            for (name, list) in lists {
                if !list.is_empty() {
                    write!(text, " {name}={list:?}").unwrap();
                }
            }
            text
        }
    }
}

fn refusal_text(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Missing { object, name, namespace } => format!("no {object} {name} in {namespace}"),
        Refusal::Denied { access: Access::Write, name, .. } => format!("write {name}"),
        Refusal::Denied { access, name, .. } => format!("{access:?} {name}"),
        Refusal::InternalExchange { name, .. } => format!("internal {name}"),
        Refusal::Locked { name, .. } => format!("locked {name}"),
        other => format!("{other:?}"),
    }
}

fn transient(name: &str) -> Define {
    let Define::DeclareQueue { name, passive, exclusive, auto_delete, arguments, .. } = queue(name, &[])
    else {
        unreachable!()
    };
    Define::DeclareQueue { name, passive, durable: false, exclusive, auto_delete, arguments }
}

fn internal(name: &str) -> Define {
    let Define::DeclareExchange { name, kind, passive, durable, auto_delete, arguments, .. } =
        exchange(name, "fanout", &[])
    else {
        unreachable!()
    };
    Define::DeclareExchange { name, kind, passive, durable, auto_delete, internal: true, arguments }
}

fn subscribe(subscription: &str, queue: &str) -> Subscribe {
    Subscribe {
        subscription: subscription.parse().unwrap(),
        queue: queue.into(),
        direct_reply: queue == replies::PREFIX,
        no_ack: true,
        exclusive: false,
        messages_max: None,
        bytes_max: 1000,
        priority: 0,
    }
}

fn write_record<'a>(
    exchange: &str,
    key: &str,
    flags: impl Iterator<Item = &'a str>,
    bytes: &mut BytesMut,
) -> Publish {
    let header = flags.filter_map(|flag| flag.strip_prefix("h=")).next();
    // Property flags with the headers bit, and a table with one text: AMQP 0-9-1's form.
    let mut properties = vec![0, 0];
    if let Some(header) = header {
        properties = vec![0x20, 0];
        let mut table = vec![u8::try_from(header.len()).unwrap()];
        table.extend_from_slice(header.as_bytes());
        table.extend_from_slice(b"S\0\0\0\x011");
        properties.extend_from_slice(&u32::try_from(table.len()).unwrap().to_be_bytes());
        properties.extend_from_slice(&table);
    }
    let start = u32::try_from(bytes.len()).unwrap();
    Draft {
        origin: Origin::Amqp091,
        persistent: true,
        priority: 0,
        ttl_ms: None,
        time: 0,
        exchange: exchange.as_bytes(),
        key: key.as_bytes(),
        properties: &properties,
        history: &[],
    }
    .write(b"body", bytes);
    let exchange_at = start + 32;
    let key_at = exchange_at + u32::try_from(exchange.len()).unwrap();
    Publish {
        record: start..u32::try_from(bytes.len()).unwrap(),
        exchange: exchange_at..key_at,
        key: key_at..key_at + u32::try_from(key.len()).unwrap(),
        extra_keys: 0..0,
        lane: 0,
        mandatory: false,
        awaited: true,
        persistent: true,
    }
}

/// Plays a transcript on a new stage and compares what came of each line.
fn check(transcript: &str) -> Stage {
    let mut stage = Stage::new();
    let lines: Vec<&str> =
        transcript.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let out = stage.line(line);
        let told = stage.told(out);
        let expected: Vec<_> = lines[at + 1..]
            .iter()
            .take_while(|line| line.starts_with(['<', '!']))
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(told.lines().collect::<Vec<_>>(), expected, "after `{line}`");
        at += 1 + expected.len();
    }
    stage
}

#[test]
fn a_batch_is_split_by_shard_and_answered_when_all_have_answered() {
    check(
        "~ queue a
         ~ queue b
         ~ exchange x fanout
         ~ bind x a k
         ~ bind x b k
         > 1 publish |a |a x|k |b
         ! 0 publish call=1 0-2>a
         ! 1 publish call=2 2-3>b
         = 1 published 2
         = 0 published 1
         < 1 1 published",
    );
}

#[test]
fn neighbours_of_other_keys_that_go_the_same_way_are_one_run() {
    check(
        "~ queue a
         ~ bind amq.topic a #
         > 1 publish amq.topic|k.1 amq.topic|k.2 amq.topic|k.3 |a
         ! 0 publish call=1 0-3>a",
    );
}

#[test]
fn queues_that_keep_records_are_told_apart_from_those_that_do_not() {
    check(
        "~ queue a
         ~ queue other
         ~ transient t
         ~ exchange x fanout
         ~ bind x a k
         ~ bind x t k
         > 1 publish x|k x|k|t x|k
         ! 0 publish call=1 0>a 0~>t 1~>a,t 2>a 2~>t",
    );
}

#[test]
fn what_no_queue_takes_is_told_if_it_is_mandatory() {
    check(
        "~ exchange x direct
         > 1 publish x|k x|k|m |none|m
         < 1 1 published unroutable=[1, 2]",
    );
}

#[test]
fn a_refused_publish_fails_its_lane_and_no_other() {
    check(
        "~ queue a
         ~ internal i
         > 1 publish |a|1 none|k|1 |a|1 |a|2 i|k|2
         < 1 1 lane 1 failed at 1: no exchange none in /
         < 1 1 lane 2 failed at 4: internal i
         ! 0 publish call=1 0>a 3>a
         = 0 published 1
         < 1 1 published dropped=[1, 2, 4]
         > 1/1 purge a
         > 1 publish |a|1 |a|3
         ! 0 publish call=2 1>a
         > 1/1 close-lane
         > 1 publish |a|1
         ! 0 publish call=3 0>a",
    );
}

#[test]
fn a_publish_needs_a_write_grant_of_the_exchange() {
    check(
        "~ queue a
         ~ exchange x fanout
         ~ exchange y fanout
         > 3 publish x|k |a|1 y|k|2 y|k|2
         < 3 1 lane 2 failed at 2: write y
         ! 0 publish call=1 1>a
         > 3 publish missing|k|4
         < 3 2 lane 4 failed at 0: write missing
         < 3 2 published dropped=[0]",
    );
}

#[test]
fn one_refusal_refuses_the_item_and_the_first_reason_stands() {
    check(
        "~ queue a
         ~ queue b
         ~ exchange x fanout
         ~ bind x a k
         ~ bind x b k
         > 1 publish x|k x|k
         ! 0 publish call=1 0-1>a
         ! 1 publish call=2 0-1>b
         = 1 full 2 1
         = 0 full 1 0 1
         < 1 1 published refused=[0, 1]",
    );
}

#[test]
fn an_item_whose_queues_are_gone_is_routed_once_more_to_what_is_new() {
    check(
        "~ queue a
         ~ exchange x topic
         ~ bind x a #
         > 1 publish x|k|m x|k
         ! 0 publish call=1 0-1>a
         ~ gone a
         ~ queue b
         ~ bind x b #
         = 0 gone 1 0 1
         ! 0 publish call=2 0-1>b
         = 0 gone 2 0 1
         < 1 1 published unroutable=[0]
         # A queue that was there at first has what it should have.
         ~ queue c
         ~ bind x c #
         > 1 publish x|k
         ! 0 publish call=3 0>b
         ! 1 publish call=4 0>c
         = 1 gone 4 0
         = 0 published 3
         < 1 2 published",
    );
}

#[test]
fn an_item_is_unroutable_only_when_every_way_it_went_is_closed() {
    check(
        "~ queue a
         ~ queue b
         ~ transient t
         ~ exchange x fanout
         ~ bind x a k
         ~ bind x b k
         ~ bind x t k
         > 1 publish x|k|m x|k|m
         ! 0 publish call=1 0-1>a 0-1~>t
         ! 1 publish call=2 0-1>b
         = 0 gone 1 0 1 0
         = 1 gone 2 0 1
         < 1 1 published unroutable=[0]",
    );
}

#[test]
fn a_route_is_found_again_when_what_it_depends_on_has_changed() {
    check(
        "~ queue a
         ~ queue b
         ~ exchange x direct
         ~ exchange y fanout
         ~ bind x a k
         > 1 publish x|k
         ! 0 publish call=1 0>a
         ~ bind-exchange x y k
         > 1 publish x|k
         ! 0 publish call=2 0>a
         ~ bind y b k
         > 1 publish x|k
         ! 0 publish call=3 0>a
         ! 1 publish call=4 0>b
         ~ gone a
         > 1 publish x|k |a
         ! 1 publish call=5 0>b
         ~ queue a
         > 1 publish |a
         ! 0 publish call=6 0>a",
    );
}

#[test]
fn a_fanout_ignores_keys_unless_it_leads_to_an_exchange_that_does_not() {
    check(
        "~ queue a
         ~ queue b
         ~ exchange f fanout
         ~ exchange d direct
         ~ bind f a k
         > 1 publish f|1 f|2
         ! 0 publish call=1 0-1>a
         ~ bind-exchange f d k
         ~ bind d b 2
         > 1 publish f|1 f|2
         ! 0 publish call=2 0-1>a
         ! 1 publish call=3 1>b",
    );
}

#[test]
fn headers_and_further_keys_are_looked_at_record_by_record() {
    check(
        "~ queue a
         ~ queue other
         ~ queue b
         ~ bind-any amq.headers a color
         ~ bind-any amq.headers b shape
         > 1 publish amq.headers|k|h=color amq.headers|k|h=shape amq.headers|k amq.headers|k|h=color
         ! 0 publish call=1 0>a 1>b 3>a
         > 1 publish |a|cc=b |a |none|cc=a
         ! 0 publish call=2 0>a,b 1-2>a",
    );
}

#[test]
fn a_declaration_is_counted_before_it_is_answered_and_what_follows_waits() {
    check(
        "> 1 declare q
         ! registry define call=1
         > 1 bind amq.direct q k
         ! registry define call=2
         > 1 publish amq.direct|k|m
         > 1 declare r
         > 2 publish amq.direct|k|m
         < 2 5 published unroutable=[0]
         = registry
         < 1 2 Unit
         ! 0 status call=3 q
         = 0 status 3
         < 1 1 Queue { name: \"q\", ready: 4, consumers: 2 }
         ! 0 publish call=4 0>q
         ! registry define call=5",
    );
}

#[test]
fn a_declaration_that_meets_a_closing_queue_is_tried_again() {
    check(
        "~ queue q
         > 1 declare q
         ! registry define call=1
         = registry
         ! 0 status call=2 q
         ~ gone q
         = 0 missing 2
         ! registry define call=3
         = registry
         ! 0 status call=4 q
         = 0 status 4
         < 1 1 Queue { name: \"q\", ready: 4, consumers: 2 }",
    );
}

#[test]
fn a_queue_is_deleted_by_its_shard() {
    check(
        "~ queue q
         ~ exclusive own
         > 1 delete q
         ! 0 close call=1 q
         > 1 declare q
         ! registry define call=2
         ~ gone q
         = 0 deleted 1
         < 1 1 Deleted { ready: 5 }
         > 1 delete none
         < 1 3 Deleted { ready: 0 }
         > 2 delete own
         < 2 4 refused locked own
         > 3 delete q
         < 3 5 refused Configure q",
    );
}

#[test]
fn passive_declarations_count_what_is_there() {
    check(
        "~ queue q
         > 1 passive q
         ! 0 status call=1 q
         = 0 status 1
         < 1 1 Queue { name: \"q\", ready: 4, consumers: 2 }
         > 1 passive none
         < 1 2 refused no queue none in /",
    );
}

#[test]
fn readers_are_attached_served_and_let_go() {
    check(
        "~ queue q
         > 1 subscribe 1 q
         ! 0 subscribe call=1 q
         = 0 subscribed 1
         < 1 1 Subscribed { queue: QueueId(1), counts_deliveries: false }
         = 0 deliver 1 1
         < 1 deliver 1 to 1
         > 1 settle q q
         ! 0 settle q,q
         > 1 credit 1
         ! 0 credit q
         > 1 credit 2
         > 1 get q
         ! 0 get call=2 q
         = 0 got 2
         < 1 5 got 1
         > 1 purge q
         ! 0 purge call=3 q
         = 0 purged 3
         < 1 6 Purged { count: 3 }
         > 1 unsubscribe 1
         ! 0 unsubscribe call=4 q
         = 0 unsubscribed 4
         < 1 7 Unsubscribed
         > 1 unsubscribe 1
         < 1 8 Unsubscribed
         > 1 subscribe 2 q
         ! 0 subscribe call=5 q
         = 0 subscribed 5
         < 1 9 Subscribed { queue: QueueId(1), counts_deliveries: false }
         = 0 cancelled 1 2
         < 1 Cancelled { subscription: 2 }
         = 0 cancelled 1 2
         > 3 subscribe 1 q
         < 3 10 refused Read q
         > 1 subscribe 3 none
         < 1 11 refused no queue none in /
         > 1 subscribe 4 q
         ! 0 subscribe call=6 q
         = 0 missing 6
         < 1 12 refused no queue q in /
         > 1 detach
         ! 0 gone 1
         > 1 get q",
    );
}

#[test]
fn what_a_session_published_behind_a_definition_is_routed_after_it_is_gone() {
    check(
        "> 1 declare q
         ! registry define call=1
         > 1 publish |q
         > 1 detach
         = registry
         ! 0 status call=2 q
         = 0 status 2
         ! 0 publish call=3 0>q
         ! registry gone 1
         = 0 published 3",
    );
}

#[test]
fn a_reply_reaches_its_requester_and_nobody_else_can() {
    let mut stage = check(
        "> 1 subscribe 7 amq.rabbitmq.reply-to
         < 1 1 replies
         > 2 publish |REPLY|m |REPLYx|m |amq.rabbitmq.reply-to.AAAA|m
         < 2 2 published unroutable=[1, 2]
         < 1 deliver 1 to 7
         > 2 passive REPLY
         < 2 3 Queue { name: \"REPLY\", ready: 0, consumers: 1 }
         > 1 publish |REPLY|m
         < 1 4 published
         < 1 deliver 1 to 7
         > 1 unsubscribe 7
         < 1 5 Unsubscribed
         > 2 publish |REPLY|m
         < 2 6 published unroutable=[0]
         > 2 declare REPLY
         < 2 7 refused no queue REPLY in /",
    );
    // To another hub's session: signed alike, handed over unseen.
    let mut other = Hub::new(HubId(1), 2, 2, SEED, stage.world.registry.current());
    let there = SessionId { hub: HubId(1), number: 1 };
    other.attach(there, Principal { id: PrincipalId(1), name: "guest".into() }, party());
    let mut out = HubOut::default();
    let submit = |ticket, op| Submit { ticket: Ticket(ticket), lane: 0, op };
    other.submit(Now(0), there, submit(1, Op::Open { namespace: "/".into() }), &mut out);
    other.submit(Now(0), there, submit(2, Op::Subscribe(subscribe("7", replies::PREFIX))), &mut out);
    let Some((_, _, Outcome::Done(Done::Replies { address }))) = out.completions.pop() else { panic!() };
    stage.address = address;
    let mut sent = stage.line("> 2 publish |REPLY|m");
    let (hub, message) = sent.hubs.pop().unwrap();
    assert_eq!((hub, stage.told(sent)), (HubId(1), "< 2 8 published\n".to_owned()));
    let mut out = HubOut::default();
    other.from_hub(Now(0), message, &mut out);
    assert_eq!(View::parse(&out.deliveries[0].1.blocks[0]).unwrap().body(), b"body");
}

#[test]
fn dead_letters_are_routed_when_they_move_and_the_source_hears_when_all_have_them() {
    check(
        "~ queue q dlx d
         ~ queue b
         ~ queue c
         ~ exchange d direct
         ~ bind d b k
         ~ bind d c k
         ~ bind d c other
         = 0 move q rejected |k |other |none
         ! 1 publish call=1 link=0:1 0>b
         ! 0 publish call=2 link=0:1 0-1>c
         = 0 published 2
         = 1 full 1 0
         ! 0 moved 1
         # Without the exchange, or without a route, they are gone.
         = 0 move q expired |none
         ! 0 moved 1
         ~ queue lost dlx nowhere
         = 1 move lost expired |k
         ! 1 moved 1",
    );
}

#[test]
fn a_dead_letter_does_not_go_round_unless_somebody_rejects_it() {
    check(
        "~ queue q dlx d
         ~ exchange d fanout
         ~ bind d q k
         = 0 move q expired |k
         ! 0 moved 1
         = 0 move q rejected |k
         ! 0 publish call=1 link=0:1 0>q",
    );
}

#[test]
fn each_edge_of_the_flow_graph_counts_what_went_over_it() {
    let stage = check(
        "~ queue q dlx d
         ~ exchange d fanout
         ~ bind amq.topic q a.*
         > 1 publish amq.topic|a.b amq.topic|a.c amq.topic|other
         ! 0 publish call=1 0-1>q
         > 1 subscribe 1 q
         ! 0 subscribe call=2 q
         = 0 subscribed 2
         < 1 2 Subscribed { queue: QueueId(1), counts_deliveries: false }
         = 0 deliver 1 1
         < 1 deliver 1 to 1
         = 0 move q expired |k
         ! 0 moved 1",
    );
    let counted: Vec<_> = stage
        .hub
        .flow()
        .edges
        .into_iter()
        .map(|(edge, flow)| match edge {
            Edge::Published { .. } => format!("published {}", flow.records),
            Edge::Routed { rule, .. } => {
                format!("routed {} {}", String::from_utf8_lossy(&rule), flow.records)
            }
            Edge::Unrouted { .. } => format!("unrouted {}", flow.records),
            Edge::Delivered { .. } => format!("delivered {} {}", flow.records, flow.bytes),
            Edge::DeadLettered { reason, .. } => format!("dead {reason} {}", flow.records),
        })
        .collect();
    // One unrouted is the dead letter's own.
    let expected =
        ["published 3", "routed a.* 2", "unrouted 1", "unrouted 1", "delivered 1 4", "dead expired 1"];
    assert_eq!(counted, expected);
}

#[test]
fn beyond_the_bound_requests_are_refused_and_publishes_too() {
    let mut stage = check("> 1 declare q\n ! registry define call=1");
    let mut out = HubOut::default();
    for _ in 0..OPEN_SUBMITS_MAX {
        stage.submit(1, 0, Op::Purge { queue: "q".into() }, &mut out);
    }
    assert!(out.completions.is_empty());
    let batch = Arc::new(stage.batch(&["|q", "|q"]));
    stage.submit(1, 0, Op::Publish(batch), &mut out);
    stage.submit(1, 0, Op::Purge { queue: "q".into() }, &mut out);
    let told = stage.told(out);
    assert!(told.contains("published refused=[0, 1]"), "{told}");
    assert!(told.contains("refused Limit"), "{told}");
}

#[test]
fn open_submits_are_those_without_an_answer() {
    let mut stage = check(
        "~ queue q
         > 1 publish |q
         ! 0 publish call=1 0>q
         > 1 get q
         ! 0 get call=2 q",
    );
    assert_eq!(stage.hub.open_submits(id(1)), 2);
    let out = stage.line("= 0 published 1");
    assert_eq!(stage.told(out), "< 1 1 published\n");
    assert_eq!(stage.hub.open_submits(id(1)), 1);
}
