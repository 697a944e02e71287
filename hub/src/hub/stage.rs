//! For tests: a hub on a stage, and a notation for what happens on it.
//!
//! `~` defines something beforehand; `>` is a submit of a session, `!` what the hub wants of others, `=` their answer, `<` what a session
//! is told. A `~`, `>` or `=` line is carried out; what follows it is everything that came of it. Calls and tickets count from 1.

use super::*;
use crate::testing::{World, exchange, exclusive, named, queue, rule, stream, text};
use bytes::{Bytes, BytesMut};
use std::fmt::Write as _;
use stele_model::id::{Position, PrincipalId, QueueId, SubscriptionId};
use stele_model::op::{Credit, Define, DestinationName, Get, Rule, Subscribe};
use stele_model::outcome::Delivery;
use stele_model::publish::{Publish, Publishes};
use stele_model::refusal::Access;
use stele_model::registry::{Change, Grant as Permission, KeyGrant, User};
use stele_model::settle::{How, Run, Settle};
use stele_model::shard::{Answer, DeathReason, Grant, Move, MoveOut, MoveRecords};
use stele_model::stream::StreamSettings;
use stele_model::value::Arguments;
use stele_record::{Draft, Origin};

mod streams;

pub(super) use streams::op as stream_op;

pub(super) const SEED: [u64; 2] = [5, 6];

/// A hub with sessions 1 and 2 of user `guest` and 3 of user `low`, over a registry that answers when it is told to.
pub(super) struct Stage {
    pub(super) world: World,
    pub(super) hub: Hub,
    tickets: u64,
    asked: Vec<RegistryOp>,
    /// Text of the last address for replies that was given out.
    pub(super) address: String,
}

pub(super) fn id(number: u64) -> SessionId {
    SessionId { hub: HubId(0), number }
}

pub(super) fn party() -> Party {
    Party { principal: "guest".into(), client: "test".into(), dialect: "amqp091" }
}

impl Stage {
    pub(super) fn new() -> Self {
        let mut world = World::new();
        let user =
            User { name: "low".into(), password_hash: String::new(), tags: Vec::new(), scram: Vec::new() };
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

    pub(super) fn submit(&mut self, session: u64, lane: u16, op: Op, out: &mut HubOut) {
        self.tickets += 1;
        let submit = Submit { ticket: Ticket(self.tickets), lane, op };
        self.hub.submit(Now(1_000_000), id(session), submit, out);
    }

    /// Carries out one line.
    pub(super) fn line(&mut self, line: &str) -> HubOut {
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

    pub(super) fn queue_id(&self, name: &str) -> QueueId {
        let snapshot = self.world.registry.current();
        let found = snapshot.namespace("/").unwrap().queue(name).map(|queue| queue.id());
        found.unwrap_or(QueueId(999))
    }

    pub(super) fn prepare(&mut self, words: &[&str]) {
        let define = match words {
            ["queue", name] => queue(name, &[]),
            ["queue", name, "dlx", dlx] => queue(name, &[("x-dead-letter-exchange", text(dlx))]),
            ["transient", name] => transient(name),
            ["exclusive", name] => exclusive(name),
            ["exchange", name, kind] => exchange(name, kind, &[]),
            ["internal", name] => internal(name),
            ["bind", source, queue, key] => Define::Bind(rule(source, queue, key)),
            ["stream", name, partitions] => stream(name, partitions.parse().unwrap()),
            ["capture", name] => {
                let settings = StreamSettings { capture: true, ..StreamSettings::default() };
                let (arguments, check_only) = (Arguments::new(), false);
                Define::AlterStream { stream: named(name), settings, arguments, check_only }
            }
            ["bind-any", source, queue, header] => Define::Bind(Rule {
                arguments: Arguments::from([("x-match".into(), text("any")), ((*header).into(), text("1"))]),
                ..rule(source, queue, "")
            }),
            ["bind-exchange", source, to, key] => Define::Bind(Rule {
                destination: DestinationName::Exchange((*to).into()),
                ..rule(source, "", key)
            }),
            ["keys", exchange, write, read] => {
                let (user, namespace) = ("low".into(), "/".into());
                let (exchange, write, read) = ((*exchange).into(), (*write).into(), (*read).into());
                let keys = KeyGrant { user, namespace, exchange, write, read };
                self.world.change(Change::PutKeyGrant(keys)).unwrap();
                return self.hub.replace_snapshot(self.world.registry.current());
            }
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
            ["credit", subscription] => Op::Credit(vec![Credit {
                subscription: subscription.parse().unwrap(),
                bytes: 9,
                messages_max: None,
            }]),
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
            other => streams::op(other),
        }
    }

    /// Items: `exchange|key` and flags after another `|`: m mandatory, t transient, a digit for the lane, `cc=key`, `h=header`.
    pub(super) fn batch(&self, items: &[&str]) -> Publishes {
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
            ["published", of] => {
                ToHub::Published { call: call(of), refused: Vec::new(), gone: Vec::new(), stored: Vec::new() }
            }
            ["gone", of, items @ ..] => {
                let gone = items.iter().map(|item| item.parse().unwrap()).collect();
                ToHub::Published { call: call(of), refused: Vec::new(), gone, stored: Vec::new() }
            }
            ["full", of, items @ ..] => {
                let full = |item: &&str| (item.parse().unwrap(), Refusal::Full { name: "q".into() });
                let refused = items.iter().map(full).collect();
                ToHub::Published { call: call(of), refused, gone: Vec::new(), stored: Vec::new() }
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
                    of: Move { from: shard, number: 1, out_of: MoveOut::Queue { queue, reason, records } },
                    bytes,
                })
            }
            other => streams::message(other),
        }
    }

    /// Everything that came of a line, as text.
    pub(super) fn told(&mut self, out: HubOut) -> String {
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
        for (hub, message) in out.hubs {
            let HubMessage::Replies(replies) = message else { panic!("nobody listens live: {message:?}") };
            writeln!(told, "! hub {hub} {} replies", replies.len()).unwrap();
        }
        for op in out.registry {
            match &op {
                RegistryOp::Define { call, .. } => writeln!(told, "! registry define call={call}").unwrap(),
                RegistryOp::SessionGone { session } => {
                    writeln!(told, "! registry gone {}", session.number).unwrap();
                }
                RegistryOp::GroupStream { call, .. } => {
                    writeln!(told, "! registry groups call={call}").unwrap()
                }
                RegistryOp::Administer { call, .. } => {
                    writeln!(told, "! registry change call={call}").unwrap()
                }
                other => panic!("a hub does not ask {other:?}"),
            }
            self.asked.push(op);
        }
        told
    }

    fn shard_text(&self, op: &ShardOp) -> String {
        let snapshot = self.world.registry.current();
        let name = |id: &QueueId| streams::name(&snapshot, *id);
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
            other => streams::op_text(other, &snapshot),
        }
    }
}

fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(Done::Replies { .. }) => "replies".into(),
        Outcome::Done(Done::Got { delivery, .. }) => format!("got {}", usize::from(delivery.is_some())),
        Outcome::Done(done) => streams::done_text(done).unwrap_or_else(|| format!("{done:?}")),
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
        Refusal::KeyDenied { access, key, exchange, .. } => format!("{access:?} key {key} of {exchange}"),
        Refusal::InternalExchange { name, .. } => format!("internal {name}"),
        Refusal::InvalidArgument { argument, name, why, .. } => format!("{argument} {name} {why}"),
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

pub(super) fn subscribe(subscription: &str, queue: &str) -> Subscribe {
    Subscribe {
        subscription: subscription.parse().unwrap(),
        queue: queue.into(),
        direct_reply: queue == replies::PREFIX,
        no_ack: true,
        exclusive: false,
        messages_max: None,
        bytes_max: 1000,
        priority: 0,
        start: None,
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
pub(super) fn check(transcript: &str) -> Stage {
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
