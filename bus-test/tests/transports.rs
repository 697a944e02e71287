//! What every transport promises, seen through a bus: the same tests in memory, always, and on each broker whose address stands in
//! `STELE_BUS_BROKERS` (`amqp://…`, `nats://…`, apart by spaces), which `cargo xtask conform-bus` sets.
//!
//! Queues have new names each time, so a broker may have been used before. Time is real, and nothing is awaited without a bound.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use stele_bus::headers::{Headers, Properties, find, names};
use stele_bus::store::memory::MemoryStore;
use stele_bus::topology::{EndpointTopology, Topology};
use stele_bus::transport::amqp::Amqp;
use stele_bus::transport::memory::Memory;
use stele_bus::transport::nats::Nats;
use stele_bus::transport::{Incoming, Subscription, Transport, Verdict};
use stele_bus::{
    Bus, Destination, Failure, Fault, Message, Meta, Msg, Outgoing, RequestError, Respond, Retry,
    SendOptions, State, Timestamp, TypeName,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use uuid::Uuid;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Test.Transports:Work")]
struct Work {
    run: Uuid,
}

#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Test.Transports:Job", implements(Work), correlate = run)]
struct Job {
    run: Uuid,
    number: u32,
}

#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Test.Transports:Done")]
struct Done {
    number: u32,
}

#[derive(Debug, thiserror::Error)]
#[error("no: {0}%,\n  said twice")]
struct No(u32);

/// One broker, and what is new in this test.
struct Place {
    connect: Box<dyn Fn() -> Arc<dyn Transport>>,
    run: Uuid,
}

impl Place {
    fn queue(&self, name: &str) -> String {
        format!("test.{name}-{}", self.run.simple())
    }

    fn job(&self, number: u32) -> Job {
        Job { run: self.run, number }
    }

    fn bus(&self) -> stele_bus::BusBuilder {
        Bus::builder((self.connect)())
    }
}

/// The addresses of the brokers, but for the one in memory.
fn brokers() -> String {
    std::env::var("STELE_BUS_BROKERS").unwrap_or_default()
}

/// Only one test at a time: types are published to all who listen.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Run a test on each broker.
fn on_each(test: impl AsyncFn(&Place)) {
    let (_alone, brokers) = (alone(), brokers());
    for broker in std::iter::once("memory").chain(brokers.split_whitespace()) {
        eprintln!("on {broker}"); // shown when the test fails
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let connect: Box<dyn Fn() -> Arc<dyn Transport>> = match broker.split_once("://") {
                None => {
                    let memory = Memory::default();
                    Box::new(move || Arc::new(memory.clone()))
                }
                Some(("nats", _)) => {
                    let url = broker.to_owned();
                    Box::new(move || Arc::new(Nats::new(&url).unwrap().prefix("bus-test")))
                }
                Some(_) => {
                    let url = broker.to_owned();
                    Box::new(move || Arc::new(Amqp::new(&url).unwrap()))
                }
            };
            test(&Place { connect, run: Uuid::from_u128(rand()) }).await;
        });
    }
}

/// A number that no other run has.
fn rand() -> u128 {
    use std::hash::{BuildHasher, RandomState};
    u128::from(RandomState::new().hash_one(0)) << 64 | u128::from(RandomState::new().hash_one(1))
}

/// What handlers saw, in the order in which they saw it.
#[derive(Clone)]
struct Seen<T>(mpsc::UnboundedSender<T>);

fn seen<T>() -> (Seen<T>, Sight<T>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Seen(sender), Sight(receiver))
}

struct Sight<T>(mpsc::UnboundedReceiver<T>);

impl<T> Sight<T> {
    async fn next(&mut self) -> T {
        let next = tokio::time::timeout(PATIENCE, self.0.recv()).await;
        next.expect("nothing was seen").expect("handlers live")
    }
}

/// Receive from a queue that may not be there yet.
async fn receive(transport: &dyn Transport, queue: &str) -> Subscription {
    let endpoint = EndpointTopology { name: queue.into(), types: Vec::new() };
    transport.declare(&Topology { endpoints: vec![endpoint] }).await.unwrap();
    transport.subscribe(queue, 1).await.unwrap()
}

async fn taken(subscription: &mut Subscription) -> Incoming {
    let next = tokio::time::timeout(PATIENCE, subscription.incoming.recv()).await;
    next.expect("nothing arrived").expect("the subscription lives")
}

type Log = Seen<(String, u32)>;

/// Says where it was and what it saw. Messages of other runs are none of its business.
async fn note(Msg(job): Msg<Job>, meta: Meta, State(run): State<Uuid>, State(seen): State<Log>) {
    if job.run == run {
        let _ = seen.0.send((meta.endpoint.clone(), job.number));
    }
}

async fn note_work(Msg(work): Msg<Work>, meta: Meta, State(run): State<Uuid>, State(seen): State<Log>) {
    if work.run == run {
        let _ = seen.0.send((meta.endpoint.clone(), 1000));
    }
}

#[test]
fn a_publish_reaches_each_queue_of_its_type_and_of_its_supertype_once() {
    on_each(async |place| {
        let (log, mut sight) = seen();
        let [one, two, super_, both] = ["one", "two", "super", "both"].map(|name| place.queue(name));
        let bus = place
            .bus()
            .state::<Log>(log)
            .state(place.run)
            .endpoint(&one, |e| e.handle(note).concurrency(1))
            .endpoint(&two, |e| e.handle(note).concurrency(1))
            .endpoint(&super_, |e| e.handle(note_work).concurrency(1))
            .endpoint(&both, |e| e.handle(note).handle(note_work).concurrency(1))
            .build()
            .unwrap();
        bus.start().await.unwrap();
        bus.publish(&place.job(7)).await.unwrap();
        let mut marked = 0;
        for queue in [&one, &two, &super_, &both] {
            bus.send(format!("queue:{queue}"), &place.job(8)).await.unwrap();
            marked += 1;
        }
        let mut found = Vec::new();
        while marked > 0 {
            let (queue, number) = sight.next().await;
            found.push((queue.clone(), number));
            // The last word on each queue: what was published came before it.
            marked -= usize::from(found.iter().filter(|(other, _)| *other == queue).count() == 2);
        }
        bus.stop().await;
        found.extend(std::iter::from_fn(|| sight.0.try_recv().ok()));
        found.sort();
        let mut expected: Vec<(String, u32)> = [&one, &two, &both]
            .into_iter()
            .flat_map(|queue| [(queue.clone(), 7), (queue.clone(), 8)])
            .chain([(super_.clone(), 1000), (super_.clone(), 1000)])
            .collect();
        expected.sort();
        assert_eq!(found, expected);
    });
}

#[test]
fn a_send_reaches_one_queue_and_keeps_its_order() {
    on_each(async |place| {
        let (log, mut sight) = seen();
        let [one, other] = ["one", "other"].map(|name| place.queue(name));
        let bus = place
            .bus()
            .state::<Log>(log)
            .state(place.run)
            .endpoint(&one, |e| e.handle(note).concurrency(1))
            .endpoint(&other, |e| e.handle(note).concurrency(1))
            .build()
            .unwrap();
        bus.declare().await.unwrap();
        let composer = bus.composer().clone();
        let to = format!("queue:{one}");
        let batch =
            (0..100).map(|number| composer.send(&*to, &place.job(number), SendOptions::default()).unwrap());
        let answers = bus.transport().send(batch.collect()).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        bus.start().await.unwrap();
        for number in 0..100 {
            assert_eq!(sight.next().await, (one.clone(), number));
        }
        bus.stop().await;
        assert!(sight.0.try_recv().is_err());
    });
}

#[test]
fn what_is_unreadable_or_unknown_is_moved_with_its_bytes_and_its_reasons() {
    on_each(async |place| {
        let (log, _sight) = seen();
        let queue = place.queue("picky");
        let bus = place
            .bus()
            .state::<Log>(log)
            .state(place.run)
            .endpoint(&queue, |e| e.handle(note))
            .build()
            .unwrap();
        bus.start().await.unwrap();
        let outgoing = |body: &'static [u8], content_type: &str| Outgoing {
            id: Uuid::from_u128(rand()),
            destination: Destination::Queue(queue.clone()),
            kind: Some(TypeName::declared("Test.Transports:Other")),
            key: None,
            not_before: None,
            token: None,
            properties: Properties {
                content_type: Some(content_type.into()),
                persistent: true,
                correlation_id: Some("ours".into()),
                headers: Headers::from([("tenant".to_owned(), "größe 5%".into())]),
                ..Properties::default()
            },
            body: body.into(),
        };
        let envelope = "application/vnd.masstransit+json";
        bus.send_outgoing(outgoing(b"{ nonsense", envelope)).await.unwrap();
        bus.send_outgoing(outgoing(br#"{"messageType":["urn:message:A:B"],"message":{}}"#, envelope))
            .await
            .unwrap();
        let other = (place.connect)();
        for (suffix, body, reason) in [
            ("error", &b"{ nonsense"[..], "fault"),
            ("skipped", br#"{"messageType":["urn:message:A:B"],"message":{}}"#, "dead-letter"),
        ] {
            let mut moved = receive(&other, &format!("{queue}_{suffix}")).await;
            let message = taken(&mut moved).await;
            assert_eq!(&message.body[..], body);
            let text = |name| find(&message.properties.headers, name).and_then(|value| value.as_text());
            assert_eq!((text(names::REASON), text("tenant")), (Some(reason), Some("größe 5%")));
            assert_eq!(message.properties.correlation_id.as_deref(), Some("ours"));
            assert_eq!(message.properties.content_type.as_deref(), Some(envelope));
            message.settle.settle(Verdict::Accept).await.unwrap();
            moved.stop.stop().await;
        }
        bus.stop().await;
        other.close().await;
    });
}

#[test]
fn a_failure_is_retried_then_moved_and_its_fault_published() {
    async fn fail(Msg(job): Msg<Job>) -> Result<(), No> {
        Err(No(job.number))
    }
    async fn hear(
        Msg(fault): Msg<Fault<Job>>,
        State(run): State<Uuid>,
        State(seen): State<Seen<Fault<Job>>>,
    ) {
        if fault.message.run == run {
            let _ = seen.0.send(fault);
        }
    }
    on_each(async |place| {
        let (faults, mut sight) = seen();
        let [queue, listener] = ["failing", "faults"].map(|name| place.queue(name));
        let bus = place
            .bus()
            .state::<Seen<Fault<Job>>>(faults)
            .state(place.run)
            .endpoint(&queue, |e| e.handle(fail).retry(Retry::immediate(2)))
            .endpoint(&listener, |e| e.handle(hear))
            .build()
            .unwrap();
        bus.start().await.unwrap();
        let id = bus.send(format!("queue:{queue}"), &place.job(5)).await.unwrap();
        let fault = sight.next().await;
        assert_eq!(fault.exceptions[0].message.as_deref(), Some("no: 5%,\n  said twice"));
        assert_eq!(fault.faulted_message_id, Some(id));
        let other = (place.connect)();
        let mut errors = receive(&other, &format!("{queue}_error")).await;
        let message = taken(&mut errors).await;
        let header = |name| find(&message.properties.headers, name);
        assert_eq!(header(names::FAULT_RETRY_COUNT).and_then(|count| count.as_int()), Some(2));
        assert_eq!(
            header(names::FAULT_MESSAGE).and_then(|text| text.as_text()),
            Some("no: 5%,\n  said twice")
        );
        assert_eq!(message.properties.message_id, Some(id.to_string()));
        message.settle.settle(Verdict::Accept).await.unwrap();
        bus.stop().await;
        other.close().await;
    });
}

#[test]
fn a_request_gets_its_answer_or_its_fault() {
    async fn answer(Msg(job): Msg<Job>) -> Result<Respond<Done>, No> {
        if job.number == 0 { Err(No(0)) } else { Ok(Respond(Done { number: job.number + 1 })) }
    }
    on_each(async |place| {
        let queue = place.queue("answering");
        let service = place.bus().endpoint(&queue, |e| e.handle(answer)).build().unwrap();
        service.start().await.unwrap();
        let asker = place.bus().build().unwrap();
        asker.start().await.unwrap();
        let ask = async |number| {
            let job = place.job(number);
            asker.request::<_, Done>(&job).to(format!("queue:{queue}")).timeout(PATIENCE).await
        };
        for number in 1..20 {
            assert_eq!(ask(number).await.unwrap(), Done { number: number + 1 });
        }
        assert!(matches!(ask(0).await, Err(RequestError::Fault(_))));
        asker.stop().await;
        service.stop().await;
    });
}

#[test]
fn a_redelivery_comes_after_its_wait_with_its_count() {
    async fn second_time(meta: Meta, seen: &Seen<(u32, Instant)>) -> Result<(), No> {
        let _ = seen.0.send((meta.redelivery_count(), Instant::now()));
        if meta.redelivery_count() == 0 { Err(No(0)) } else { Ok(()) }
    }
    async fn handle(_: Msg<Job>, meta: Meta, State(seen): State<Seen<(u32, Instant)>>) -> Result<(), No> {
        second_time(meta, &seen).await
    }
    on_each(async |place| {
        let (log, mut sight) = seen();
        let queue = place.queue("patient");
        let wait = Duration::from_millis(300);
        let bus = place
            .bus()
            .state::<Seen<(u32, Instant)>>(log)
            .endpoint(&queue, |e| e.handle(handle).redeliver([wait]))
            .build()
            .unwrap();
        bus.start().await.unwrap();
        bus.send(format!("queue:{queue}"), &place.job(1)).await.unwrap();
        let (first, second) = (sight.next().await, sight.next().await);
        assert_eq!((first.0, second.0), (0, 1));
        // Half: the clock of a broker is not this one.
        assert!(second.1 - first.1 >= wait / 2, "{:?}", second.1 - first.1);
        bus.stop().await;
    });
}

#[test]
fn a_scheduled_message_comes_at_its_time_and_a_cancelled_one_never() {
    on_each(async |place| {
        let (log, mut sight) = seen();
        let queue = place.queue("calendar");
        let bus = place
            .bus()
            .state::<Log>(log)
            .state(place.run)
            .endpoint(&queue, |e| e.handle(note))
            .build()
            .unwrap();
        bus.start().await.unwrap();
        let to = format!("queue:{queue}");
        let in_ms = |ms| Timestamp::now().after(Duration::from_millis(ms));
        let later = bus.schedule_send(&*to, in_ms(600_000), &place.job(3)).await.unwrap();
        // So soon that it would come before the one behind it; and never sooner than it can be taken back.
        let mut soon_ms = 600;
        loop {
            let due = in_ms(soon_ms);
            let cancelled = bus.schedule_send(&*to, due, &place.job(1)).await.unwrap();
            if bus.cancel(&cancelled).await.unwrap() {
                break;
            }
            assert!(Timestamp::now() >= due, "it could not be taken back before its time");
            assert_eq!(sight.next().await.1, 1);
            soon_ms *= 2;
        }
        let (start, wait) = (Instant::now(), Duration::from_millis(soon_ms + 300));
        let sent = bus.schedule_send(&*to, Timestamp::now().after(wait), &place.job(2)).await.unwrap();
        assert_eq!(sight.next().await.1, 2);
        assert!(start.elapsed() >= wait / 2, "{:?}", start.elapsed());
        assert!(!bus.cancel(&sent).await.unwrap());
        assert!(bus.cancel(&later).await.unwrap());
        bus.stop().await;
    });
}

#[test]
fn what_is_released_comes_again_and_says_so() {
    on_each(async |place| {
        let transport = (place.connect)();
        let bus = place.bus().build().unwrap();
        let queue = place.queue("again");
        let to = format!("queue:{queue}");
        for number in [1, 2] {
            bus.send(&*to, &place.job(number)).await.unwrap();
        }
        let mut subscription = transport.subscribe(&queue, 2).await.unwrap();
        let (first, second) = (taken(&mut subscription).await, taken(&mut subscription).await);
        assert!(!first.redelivered && !second.redelivered);
        let body = first.body.clone();
        first.settle.settle(Verdict::Release).await.unwrap();
        second.settle.settle(Verdict::Accept).await.unwrap();
        let again = taken(&mut subscription).await;
        assert!(again.redelivered);
        assert_eq!(again.body, body);
        again.settle.settle(Verdict::Accept).await.unwrap();
        subscription.stop.stop().await;
        bus.stop().await;
        transport.close().await;
    });
}

#[test]
fn a_stop_finishes_what_is_in_hand_and_leaves_the_rest_to_the_next() {
    async fn slow(
        Msg(job): Msg<Job>,
        State(begun): State<Seen<u32>>,
        State(go): State<Arc<Notify>>,
    ) -> Result<(), Failure> {
        let _ = begun.0.send(job.number);
        go.notified().await;
        Ok(())
    }
    on_each(async |place| {
        let (begun, mut sight) = seen();
        let go = Arc::new(Notify::new());
        let queue = place.queue("slow");
        let service = || {
            let builder = place.bus().state::<Seen<u32>>(begun.clone()).state(go.clone());
            builder.endpoint(&queue, |e| e.handle(slow).concurrency(1)).build().unwrap()
        };
        let first = service();
        first.start().await.unwrap();
        for number in 1..=3 {
            first.send(format!("queue:{queue}"), &place.job(number)).await.unwrap();
        }
        assert_eq!(sight.next().await, 1);
        let stopping = first.stop();
        go.notify_one();
        stopping.await;
        let second = service();
        second.start().await.unwrap();
        go.notify_one();
        let mut rest = vec![sight.next().await];
        go.notify_one();
        rest.push(sight.next().await);
        go.notify_one();
        rest.sort_unstable();
        assert_eq!(rest, [2, 3], "the first was finished, the others left");
        second.stop().await;
    });
}

#[test]
fn copies_under_one_id_have_one_effect() {
    on_each(async |place| {
        let (log, mut sight) = seen();
        let queue = place.queue("once");
        let bus = place
            .bus()
            .store(MemoryStore::default())
            .state::<Log>(log)
            .state(place.run)
            .endpoint(&queue, |e| e.handle(note).concurrency(1))
            .build()
            .unwrap();
        bus.start().await.unwrap();
        let once = bus.composer().publish(&place.job(1), SendOptions::default()).unwrap();
        for _ in 0..5 {
            bus.send_outgoing(once.clone()).await.unwrap();
        }
        bus.publish(&place.job(2)).await.unwrap();
        assert_eq!(sight.next().await.1, 1);
        assert_eq!(sight.next().await.1, 2);
        bus.stop().await;
    });
}

#[test]
fn what_has_expired_is_not_handled() {
    on_each(async |place| {
        let (log, mut sight) = seen();
        let queue = place.queue("late");
        let bus = place
            .bus()
            .state::<Log>(log)
            .state(place.run)
            .endpoint(&queue, |e| e.handle(note))
            .build()
            .unwrap();
        bus.declare().await.unwrap();
        let short = SendOptions { ttl: Some(Duration::from_millis(1)), ..SendOptions::default() };
        bus.push(Destination::Queue(queue.clone()), &place.job(1), short).await.unwrap();
        let long = SendOptions { ttl: Some(PATIENCE), ..SendOptions::default() };
        bus.push(Destination::Queue(queue.clone()), &place.job(2), long).await.unwrap();
        let sent = Timestamp::now();
        while Timestamp::now().since(sent) < Duration::from_millis(100) {
            tokio::task::yield_now().await; // or it would not have expired
        }
        bus.start().await.unwrap();
        assert_eq!(sight.next().await.1, 2);
        bus.stop().await;
    });
}

/// Stands between a client and the broker at `host:port`; once `silent` is true the connections stay, and nothing is passed on.
async fn stand_between(broker: &str, silent: watch::Receiver<bool>) -> std::net::SocketAddr {
    async fn pass_on(
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        silent: watch::Receiver<bool>,
    ) {
        let mut bytes = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            if !*silent.borrow() && to.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
    }
    let (listener, broker) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), broker.to_owned());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (from_client, to_client) = client.into_split();
            let (from_broker, to_broker) = TcpStream::connect(&broker).await.unwrap().into_split();
            tokio::spawn(pass_on(from_client, to_broker, silent.clone()));
            tokio::spawn(pass_on(from_broker, to_client, silent.clone()));
        }
    });
    address
}

#[test]
fn a_broker_that_falls_silent_holds_nobody_for_ever() {
    async fn ignore(_: Msg<Job>) {}
    let (_alone, brokers, short) = (alone(), brokers(), Duration::from_millis(300));
    for broker in brokers.split_whitespace() {
        eprintln!("on {broker}"); // shown when the test fails
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (silence, silent) = watch::channel(false);
            let (scheme, rest) = broker.split_once("://").unwrap();
            let (login, place) = rest.split_once('@').map_or(("", rest), |(login, place)| (login, place));
            let between = stand_between(place.trim_end_matches('/'), silent).await;
            let url = match login {
                "" => format!("{scheme}://{between}"),
                login => format!("{scheme}://{login}@{between}/"),
            };
            let transport: Arc<dyn Transport> = match scheme {
                "nats" => Arc::new(Nats::new(&url).unwrap().prefix("bus-test").patience(short)),
                _ => Arc::new(Amqp::new(&url).unwrap().patience(short)),
            };
            let queue = format!("test.silent-{}", Uuid::from_u128(rand()).simple());
            let builder = Bus::builder(transport.clone()).stop_within(short);
            let bus = builder.endpoint(&queue, |e| e.handle(ignore)).build().unwrap();
            bus.start().await.unwrap();
            let job = Job { run: Uuid::from_u128(rand()), number: 1 };
            bus.send(format!("queue:{queue}"), &job).await.unwrap();
            silence.send_replace(true);
            let each = async {
                let (sent, subscribed, replies, _) = tokio::join!(
                    bus.send(format!("queue:{queue}"), &job),
                    transport.subscribe(&queue, 1),
                    transport.replies(),
                    bus.declare(), // which need not ask for what this connection has made
                );
                assert!(sent.is_err() && subscribed.is_err() && replies.is_err());
                bus.stop().await;
            };
            tokio::time::timeout(PATIENCE, each).await.expect("somebody waits for ever");
        });
    }
}
