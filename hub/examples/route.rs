//! What routing costs: nanoseconds per record from a batch of publishes to the parts for shards and the joined answer, on one thread.
//!
//! `cargo run --release -p stele-hub --example route`. A batch has 512 records with bodies of 16 bytes, as one read of a socket
//! brings them; shards are played by an answer at once. Nothing is written or stored.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::time::{Duration, Instant};
use stele_hub::{Hub, HubOut, Registry, Setup};
use stele_model::flow::Party;
use stele_model::id::{Call, HubId, Lsn, Now, Place, PrincipalId, SessionId, Ticket};
use stele_model::machine::{Journal, Machine, Urgency};
use stele_model::op::{Define, DestinationName, Op, Rule, Submit};
use stele_model::publish::{Publish, Publishes};
use stele_model::registry::{AppliesTo, Change, Policy, RegistryEffect, RegistryOp, User};
use stele_model::session::Principal;
use stele_model::shard::{ShardOp, ToHub};
use stele_model::value::{Arguments, Value};
use stele_record::{Draft, Origin};

const RECORDS: usize = 512;
const SESSION: SessionId = SessionId { hub: HubId(0), number: 1 };

struct NoLog(u64);

impl Journal for NoLog {
    fn now(&self) -> Now {
        Now(0)
    }
    fn tail(&self) -> Lsn {
        Lsn(self.0)
    }
    fn append(&mut self, _: Urgency, _: &[&[u8]]) -> Place {
        self.0 += 1;
        Place { lsn: Lsn(self.0), at: 0 }
    }
    fn keep(&mut self, _: &[u8]) -> Place {
        Place::default()
    }
    fn entry_bytes_max(&self) -> usize {
        1 << 20
    }
}

struct World {
    registry: Registry,
    log: NoLog,
    calls: u64,
}

impl World {
    fn new() -> Self {
        let first_user =
            User { name: "guest".into(), password_hash: String::new(), tags: Vec::new(), scram: Vec::new() };
        let setup = Setup { shards: 2, seed: [1, 2], first_user };
        let mut world = Self { registry: Registry::new(setup), log: NoLog(0), calls: 0 };
        let mut effects = Vec::new();
        world.registry.started(&mut world.log, &mut effects);
        world.apply(effects.into_iter().map(|(_, effect)| effect).collect());
        world
    }

    fn apply(&mut self, effects: Vec<RegistryEffect>) {
        for effect in effects {
            let op = match effect {
                RegistryEffect::Put { shard, revision, queue } => {
                    RegistryOp::Applied { shard, revision, queue: Some(queue.id) }
                }
                RegistryEffect::Sync { shard, revision, .. } => {
                    RegistryOp::Applied { shard, revision, queue: None }
                }
                _ => continue,
            };
            self.take(op);
        }
    }

    fn take(&mut self, op: RegistryOp) {
        let mut effects = Vec::new();
        self.registry.take(op, &mut self.log, &mut effects);
        self.apply(effects.into_iter().map(|(_, effect)| effect).collect());
    }

    fn define(&mut self, define: Define) {
        self.calls += 1;
        let principal = Principal { id: PrincipalId(1), name: "guest".into() };
        let (hub, call, namespace) = (HubId(0), Call(self.calls), "/".to_owned());
        self.take(RegistryOp::Define { hub, call, session: SESSION, principal, namespace, define });
    }

    fn queue(&mut self, name: &str) {
        self.define(Define::DeclareQueue {
            name: name.into(),
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: Arguments::new(),
        });
    }

    /// A turn of the registry alone; how long it took.
    fn tick(&mut self) -> Duration {
        let mut effects = Vec::new();
        let start = Instant::now();
        self.registry.tick(&mut self.log, &mut effects);
        let took = start.elapsed();
        self.apply(effects.into_iter().map(|(_, effect)| effect).collect());
        took
    }

    fn policy(&mut self) -> Duration {
        let policy = Policy {
            namespace: "/".into(),
            name: "p".into(),
            pattern: "^q".into(),
            applies_to: AppliesTo::Queues,
            priority: 0,
            operator: false,
            definition: Arguments::from([("max-length".to_owned(), Value::Int(1000))]),
        };
        let change = Change::PutPolicy(policy);
        let start = Instant::now();
        self.take(RegistryOp::Administer { hub: HubId(0), call: Call(0), change });
        start.elapsed()
    }

    fn bind(&mut self, source: &str, queue: &str, key: &str) {
        self.define(Define::Bind(Rule {
            source: source.into(),
            destination: DestinationName::Queue(queue.into()),
            key: Bytes::copy_from_slice(key.as_bytes()),
            arguments: Arguments::new(),
        }));
    }
}

fn batch(exchange: &str, mut key: impl FnMut(usize) -> String) -> Arc<Publishes> {
    let mut bytes = BytesMut::new();
    let mut items = Vec::new();
    for n in 0..RECORDS {
        let key = key(n);
        let start = u32::try_from(bytes.len()).unwrap();
        let draft = Draft {
            origin: Origin::Amqp091,
            persistent: true,
            priority: 0,
            ttl_ms: None,
            time: 0,
            exchange: exchange.as_bytes(),
            key: key.as_bytes(),
            properties: &[0, 0],
            history: &[],
        };
        draft.write(&[7; 16], &mut bytes);
        let exchange_at = start + 32;
        let key_at = exchange_at + u32::try_from(exchange.len()).unwrap();
        items.push(Publish {
            record: start..u32::try_from(bytes.len()).unwrap(),
            exchange: exchange_at..key_at,
            key: key_at..key_at + u32::try_from(key.len()).unwrap(),
            extra_keys: 0..0,
            lane: 1,
            mandatory: false,
            awaited: true,
            persistent: true,
        });
    }
    Arc::new(Publishes { bytes: bytes.freeze(), items, ..Publishes::default() })
}

fn measure(name: &str, world: &World, batches: &[Arc<Publishes>]) -> f64 {
    let mut hub = Hub::new(HubId(0), 1, 2, [3, 4], world.registry.current());
    let party = Party { principal: "guest".into(), client: "bench".into(), dialect: "amqp091" };
    hub.attach(SESSION, Principal { id: PrincipalId(1), name: "guest".into() }, party);
    let mut out = HubOut::default();
    let open = Submit { ticket: Ticket(0), lane: 0, op: Op::Open { namespace: "/".into() } };
    hub.submit(Now(0), SESSION, open, &mut out);
    let mut rates = Vec::new();
    for round in 0..7 {
        let start = Instant::now();
        let mut records = 0;
        while start.elapsed().as_millis() < 150 {
            for batch in batches {
                let op = Op::Publish(batch.clone());
                hub.submit(Now(0), SESSION, Submit { ticket: Ticket(1), lane: 0, op }, &mut out);
                for (shard, op) in std::mem::take(&mut out.shards) {
                    let ShardOp::Publish(publish) = op else { continue };
                    let done = ToHub::Published {
                        call: publish.call,
                        refused: Vec::new(),
                        gone: Vec::new(),
                        stored: Vec::new(),
                    };
                    hub.from_shard(Now(0), shard, done, &mut out);
                }
                out.completions.clear();
                records += batch.items.len();
            }
        }
        if round > 0 {
            rates.push(start.elapsed().as_nanos() as f64 / records as f64);
        }
    }
    rates.sort_by(f64::total_cmp);
    let median = rates[rates.len() / 2];
    println!("{name:<52} {median:>8.1} ns/record {:>7.1} M/s", 1000.0 / median);
    median
}

fn main() {
    let mut world = World::new();
    for n in 0..10 {
        world.queue(&format!("q{n}"));
        world.bind("amq.fanout", &format!("q{n}"), "");
        world.bind("amq.topic", &format!("q{n}"), &format!("device.{n}.*"));
    }
    measure("default exchange, one key", &world, &[batch("", |_| "q0".into())]);
    measure("default exchange, 10 keys in turn", &world, &[batch("", |n| format!("q{}", n % 10))]);
    measure("fanout to 10 queues", &world, &[batch("amq.fanout", |_| "k".into())]);
    let ten: Vec<_> =
        (0..100).map(|b| batch("amq.topic", |n| format!("device.{}.t{}", n % 10, b * RECORDS + n))).collect();
    let few = measure("topic, 10 rules, 51 200 keys in turn", &world, &ten);
    let one = measure("topic, 10 rules, one key", &world, &[batch("amq.topic", |_| "device.3.t".into())]);
    let start = Instant::now();
    for n in 10..100_000 {
        world.bind("amq.topic", &format!("q{}", n % 10), &format!("device.{n}.*"));
    }
    println!(
        "{:<52} {:>8.1} ns/rule",
        "a rule more, up to 100 000",
        start.elapsed().as_nanos() as f64 / 99_990.0
    );
    let many_one =
        measure("topic, 100 000 rules, one key", &world, &[batch("amq.topic", |_| "device.3.t".into())]);
    let many = measure("topic, 100 000 rules, the same 51 200 keys in turn", &world, &ten);
    let wide: Vec<_> = (0..100)
        .map(|b| batch("amq.topic", |n| format!("device.{}.t", (b * RECORDS + n) * 7919 % 100_000)))
        .collect();
    measure("topic, 100 000 rules, 51 200 keys to as many rules", &world, &wide);
    let cold: Vec<_> =
        (0..400).map(|b| batch("amq.topic", |n| format!("device.{}.t{b}", n * 193 % 100_000))).collect();
    measure("topic, 100 000 rules, 204 800 keys (none kept)", &world, &cold);
    let (mut chunks, mut longest) = (None, Duration::ZERO);
    let all = Instant::now();
    world.registry.begin_snapshot();
    while chunks.is_none() {
        let start = Instant::now();
        chunks = world.registry.step_snapshot();
        longest = longest.max(start.elapsed());
    }
    let (all, bytes) = (all.elapsed(), chunks.iter().flatten().map(Bytes::len).sum::<usize>());
    let (longest, all) = (longest.as_secs_f64() * 1e3, all.as_secs_f64() * 1e3);
    let what = "snapshot of 100 000 rules, longest turn";
    println!("{what:<52} {longest:>8.1} ms, {all:.0} ms in all, {bytes} bytes");
    (10..10_000).for_each(|n| world.queue(&format!("q{n}")));
    let start = Instant::now();
    let mut longest = world.policy();
    while world.registry.deadline().is_some() {
        longest = longest.max(world.tick());
    }
    let all = start.elapsed();
    let what = "a policy that changes 10 000 queues, longest turn";
    println!("{what:<52} {:>8.1} ms of {:.1}", longest.as_secs_f64() * 1e3, all.as_secs_f64() * 1e3);
    println!("100 000 rules to 10: {:.2} (one key), {:.2} (51 200 keys)", one / many_one, few / many);
}
