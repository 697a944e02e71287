//! What the pipeline promises, seen from outside: order of policies, moves, faults, limits.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stele_bus::headers::names;
use stele_bus::recurring::Schedule;
use stele_bus::{
    AnyFault, CircuitBreaker, Context, Destination, Either, Failure, Fault, KillSwitch, Message, Msg,
    Outgoing, Replies, RequestError, Respond, Retry, SendOptions, State,
};
use stele_bus_test::run;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Test:Job", alias = "Old:Job", key = lane)]
struct Job {
    lane: u32,
    number: u32,
}

#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Test:Done", correlate = id)]
struct Done {
    id: Uuid,
    number: u32,
}

#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Test:Refused")]
struct Refused {}

#[derive(Debug, PartialEq, Replies)]
enum Answer {
    Done(Done),
    Refused(Refused),
}

#[derive(Debug, thiserror::Error)]
#[error("not yet")]
struct NotYet;

fn job(number: u32) -> Job {
    Job { lane: 0, number }
}

const SECOND: Duration = Duration::from_secs(1);

/// Fails until it was called as often as the job says; publishes each time.
async fn stubborn(
    Msg(job): Msg<Job>,
    State(calls): State<Arc<AtomicU32>>,
    cx: Context,
) -> Result<(), Failure> {
    cx.publish(&Done { id: Uuid::nil(), number: job.number })?;
    if calls.fetch_add(1, Ordering::Relaxed) < job.number { Err(NotYet.into()) } else { Ok(()) }
}

fn header<'a>(message: &'a Outgoing, name: &str) -> Option<&'a str> {
    message.properties.headers.get(name).and_then(|value| value.as_text())
}

#[test]
fn what_a_failed_attempt_published_never_leaves() {
    let calls = Arc::new(AtomicU32::new(0));
    run(
        |bus| bus.state(calls.clone()).endpoint("jobs", |e| e.handle(stubborn).retry(Retry::immediate(3))),
        async |h| {
            h.publish(&job(3)).await;
            assert_eq!(h.published::<Done>().len(), 1);
            assert!(h.errors("jobs").is_empty() && h.faulted::<Job>().is_empty());
        },
    );
    assert_eq!(calls.load(Ordering::Relaxed), 4);
}

#[test]
fn retries_come_before_redeliveries_and_redeliveries_before_the_error_queue() {
    let calls = Arc::new(AtomicU32::new(0));
    let policy = Retry::interval(2, SECOND);
    run(
        |bus| {
            bus.state(calls.clone())
                .endpoint("jobs", |e| e.handle(stubborn).retry(policy).redeliver([60 * SECOND, 600 * SECOND]))
        },
        async |h| {
            let start = h.now();
            h.publish(&job(u32::MAX)).await;
            assert_eq!(calls.load(Ordering::Relaxed), 3);
            assert_eq!(h.now().since(start), 2 * SECOND);
            h.advance(61 * SECOND).await;
            assert_eq!(calls.load(Ordering::Relaxed), 6);
            assert!(h.errors("jobs").is_empty());
            h.advance(601 * SECOND).await;
            assert_eq!(calls.load(Ordering::Relaxed), 9);
            let errors = h.errors("jobs");
            assert_eq!(errors.len(), 1);
            let headers = &errors[0].properties.headers;
            assert_eq!(headers[names::FAULT_RETRY_COUNT].as_int(), Some(2));
            assert_eq!(headers[names::FAULT_REDELIVERY_COUNT].as_int(), Some(2));
            assert_eq!(header(&errors[0], names::REASON), Some("fault"));
            assert_eq!(header(&errors[0], names::FAULT_MESSAGE), Some("not yet"));
            let faults = h.faulted::<Job>();
            assert_eq!(faults.len(), 1);
            assert_eq!(faults[0].message, job(u32::MAX));
            assert!(faults[0].exceptions[0].exception_type.as_deref().unwrap().ends_with("NotYet"));
            assert!(h.published::<Done>().is_empty());
        },
    );
}

#[test]
fn an_error_that_no_retry_can_mend_is_not_retried() {
    let calls = Arc::new(AtomicU32::new(0));
    run(
        |bus| {
            bus.state(calls.clone()).endpoint("jobs", |e| {
                e.handle(stubborn).retry(Retry::immediate(5).unless(|_: &NotYet| true)).redeliver([SECOND])
            })
        },
        async |h| {
            h.publish(&job(1)).await;
            assert_eq!(h.errors("jobs").len(), 1);
        },
    );
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[test]
fn a_fault_is_consumed_like_any_message() {
    let seen: Arc<Mutex<Vec<u32>>> = Arc::default();
    async fn fault(Msg(fault): Msg<Fault<Job>>, State(seen): State<Arc<Mutex<Vec<u32>>>>) {
        seen.lock().unwrap().push(fault.message.number);
    }
    async fn any(Msg(fault): Msg<AnyFault>, State(seen): State<Arc<Mutex<Vec<u32>>>>) {
        seen.lock().unwrap().push(fault.fault_message_types.len() as u32);
    }
    run(
        |bus| {
            bus.state(seen.clone())
                .state(Arc::new(AtomicU32::new(0)))
                .endpoint("jobs", |e| e.handle(stubborn))
                .endpoint("faults", |e| e.handle(fault))
                .endpoint("any-faults", |e| e.handle(any))
        },
        async |h| h.publish(&job(9)).await,
    );
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_unstable();
    assert_eq!(seen, [1, 9]);
}

#[test]
fn unknown_unreadable_and_misfit_messages_are_moved_with_their_reasons_and_the_endpoint_goes_on() {
    let calls = Arc::new(AtomicU32::new(0));
    run(
        |bus| bus.state(calls.clone()).endpoint("jobs", |e| e.handle(stubborn)),
        async |h| {
            h.send("queue:jobs", &Refused {}).await;
            let skipped = h.skipped("jobs");
            assert_eq!(header(&skipped[0], names::REASON), Some("dead-letter"));
            assert_eq!(header(&skipped[0], names::SKIPPED_OFFERED), Some("urn:message:Test:Refused"));
            assert!(header(&skipped[0], names::SKIPPED_HANDLED).unwrap().contains("urn:message:Test:Job"));

            let mut broken = h.bus().composer().send("queue:jobs", &job(0), SendOptions::default()).unwrap();
            broken.body = stele_bus_test_bytes(b"{");
            h.bus().send_outgoing(broken.clone()).await.unwrap();
            h.quiet().await;
            assert_eq!(h.errors("jobs")[0].body, broken.body);
            assert_eq!(
                header(&h.errors("jobs")[0], names::FAULT_EXCEPTION_TYPE),
                Some("stele_bus::Unreadable")
            );

            h.publish(&job(0)).await;
            assert_eq!(h.published::<Done>().len(), 1);
        },
    );
    fn stele_bus_test_bytes(bytes: &'static [u8]) -> stele_bus::__private::Bytes {
        stele_bus::__private::Bytes::from_static(bytes)
    }
}

#[test]
fn a_panic_is_a_failure_of_its_message_only() {
    async fn shaky(Msg(job): Msg<Job>, cx: Context) -> Result<(), Failure> {
        assert!(job.number != 1, "one is too much");
        cx.publish(&Done { id: Uuid::nil(), number: job.number })?;
        Ok(())
    }
    run(
        |bus| bus.endpoint("jobs", |e| e.handle(shaky)),
        async |h| {
            h.publish(&job(1)).await;
            h.publish(&job(2)).await;
            assert_eq!(header(&h.errors("jobs")[0], names::FAULT_MESSAGE), Some("one is too much"));
            assert_eq!(h.published::<Done>().len(), 1);
        },
    );
}

/// Remembers when each job began and ended, taking longer for earlier numbers.
async fn slow(Msg(job): Msg<Job>, State(log): State<Log>) {
    log.lock().unwrap().push((job.lane, job.number, true));
    tokio::time::sleep(SECOND * (10 - job.number % 10)).await;
    log.lock().unwrap().push((job.lane, job.number, false));
}
type Log = Arc<Mutex<Vec<(u32, u32, bool)>>>;

#[test]
fn messages_of_one_key_are_handled_one_after_the_other_in_order() {
    let log = Log::default();
    run(
        |bus| bus.state(log.clone()).endpoint("jobs", |e| e.handle(slow).partition_by_key(4).concurrency(64)),
        async |h| {
            for number in 0..8 {
                for lane in 0..6 {
                    h.bus().publish(&Job { lane, number }).await.unwrap();
                }
            }
            h.quiet().await;
        },
    );
    let log = log.lock().unwrap();
    for lane in 0..6 {
        let of_lane: Vec<_> =
            log.iter().filter(|entry| entry.0 == lane).map(|entry| (entry.1, entry.2)).collect();
        let serial: Vec<_> = (0..8).flat_map(|number| [(number, true), (number, false)]).collect();
        assert_eq!(of_lane, serial);
    }
}

#[test]
fn no_more_messages_are_in_hand_than_the_limit_says() {
    let log = Log::default();
    run(
        |bus| bus.state(log.clone()).endpoint("jobs", |e| e.handle(slow).concurrency(3)),
        async |h| {
            for number in 0..20 {
                h.bus().publish(&job(number)).await.unwrap();
            }
            h.quiet().await;
        },
    );
    let mut in_hand = 0i32;
    let mut most = 0;
    for entry in log.lock().unwrap().iter() {
        in_hand += if entry.2 { 1 } else { -1 };
        most = most.max(in_hand);
    }
    assert_eq!(most, 3);
}

#[test]
fn a_rate_limit_spreads_a_burst() {
    let calls = Arc::new(AtomicU32::new(0));
    run(
        |bus| bus.state(calls.clone()).endpoint("jobs", |e| e.handle(stubborn).rate_limit(10, SECOND)),
        async |h| {
            let start = h.now();
            for _ in 0..40 {
                h.bus().publish(&job(0)).await.unwrap();
            }
            h.quiet().await;
            assert!(h.now().since(start) >= Duration::from_millis(2900), "{:?}", h.now().since(start));
        },
    );
}

#[test]
fn a_kill_switch_stops_receiving_and_starts_again() {
    let calls = Arc::new(AtomicU32::new(0));
    let switch = KillSwitch { messages_min: 5, ..KillSwitch::trip_at(0.5).restart_after(60 * SECOND) };
    run(
        |bus| {
            bus.state(calls.clone())
                .endpoint("jobs", |e| e.handle(stubborn).concurrency(1).kill_switch(switch))
        },
        async |h| {
            for _ in 0..20 {
                h.bus().publish(&job(u32::MAX)).await.unwrap();
            }
            tokio::time::sleep(SECOND).await;
            assert_eq!(calls.load(Ordering::Relaxed), 5);
            assert!(!h.bus().health().endpoints[0].1);
            h.advance(61 * SECOND).await;
            assert!(calls.load(Ordering::Relaxed) >= 10);
        },
    );
}

#[test]
fn an_open_breaker_spares_the_handler() {
    let calls = Arc::new(AtomicU32::new(0));
    let breaker = CircuitBreaker { attempts_min: 4, ..CircuitBreaker::default() };
    run(
        |bus| {
            bus.state(calls.clone())
                .endpoint("jobs", |e| e.handle(stubborn).concurrency(1).circuit_breaker(breaker))
        },
        async |h| {
            for _ in 0..10 {
                h.publish(&job(u32::MAX)).await;
            }
            assert_eq!(calls.load(Ordering::Relaxed), 4);
            assert_eq!(h.errors("jobs").len(), 10);
            assert_eq!(
                header(&h.errors("jobs")[9], names::FAULT_MESSAGE),
                Some("the circuit breaker is open")
            );
        },
    );
}

#[test]
fn a_request_gets_one_of_its_answers_or_the_fault_or_a_timeout() {
    async fn answer(Msg(job): Msg<Job>) -> Result<Option<Either<Respond<Done>, Respond<Refused>>>, NotYet> {
        match job.number {
            0 => Ok(Some(Either::Left(Respond(Done { id: Uuid::max(), number: 0 })))),
            1 => Ok(Some(Either::Right(Respond(Refused {})))),
            2 => Err(NotYet),
            _ => Ok(None),
        }
    }
    run(
        |bus| bus.endpoint("jobs", |e| e.handle(answer)),
        async |h| {
            let ask = async |number| h.bus().request::<_, Answer>(&job(number)).timeout(5 * SECOND).await;
            assert_eq!(ask(0).await.unwrap(), Answer::Done(Done { id: Uuid::max(), number: 0 }));
            assert_eq!(ask(1).await.unwrap(), Answer::Refused(Refused {}));
            match ask(2).await {
                Err(RequestError::Fault(fault)) => {
                    assert_eq!(fault.exceptions[0].message.as_deref(), Some("not yet"))
                }
                other => panic!("{other:?}"),
            }
            assert!(matches!(ask(3).await, Err(RequestError::TimedOut(_))));
            assert_eq!(h.errors("jobs").len(), 1);
        },
    );
}

#[test]
fn a_scheduled_message_leaves_at_its_time_unless_it_was_cancelled() {
    let calls = Arc::new(AtomicU32::new(0));
    run(
        |bus| bus.state(calls.clone()).endpoint("jobs", |e| e.handle(stubborn)),
        async |h| {
            let at = h.now().after(60 * SECOND);
            let kept = h.bus().schedule_publish(at, &job(0)).await.unwrap();
            let cancelled = h.bus().schedule_send("queue:jobs", at, &job(0)).await.unwrap();
            assert!(h.bus().cancel(&cancelled).await.unwrap());
            h.advance(59 * SECOND).await;
            assert_eq!(calls.load(Ordering::Relaxed), 0);
            h.advance(2 * SECOND).await;
            assert_eq!(calls.load(Ordering::Relaxed), 1);
            assert!(!h.bus().cancel(&kept).await.unwrap());
        },
    );
}

#[test]
fn an_alias_is_accepted_and_never_written() {
    let calls = Arc::new(AtomicU32::new(0));
    run(
        |bus| bus.state(calls.clone()).endpoint("jobs", |e| e.handle(stubborn)),
        async |h| {
            let mut old = h.bus().composer().send("queue:jobs", &job(0), SendOptions::default()).unwrap();
            let text = String::from_utf8(old.body.to_vec()).unwrap();
            assert!(text.contains("urn:message:Test:Job") && !text.contains("Old:Job"));
            old.body = text.replace("Test:Job", "Old:Job").into();
            h.bus().send_outgoing(old).await.unwrap();
            h.quiet().await;
        },
    );
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[test]
fn copies_of_one_message_have_one_effect() {
    let calls = Arc::new(AtomicU32::new(0));
    run(
        |bus| bus.state(calls.clone()).endpoint("jobs", |e| e.handle(stubborn)),
        async |h| {
            let once = h.bus().composer().publish(&job(0), SendOptions::default()).unwrap();
            for _ in 0..5 {
                h.bus().send_outgoing(once.clone()).await.unwrap();
            }
            h.quiet().await;
            assert_eq!(h.published::<Done>().len(), 1);
        },
    );
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[test]
fn a_stop_lets_what_is_in_hand_finish_and_begins_nothing() {
    let log = Log::default();
    run(
        |bus| bus.state(log.clone()).endpoint("jobs", |e| e.handle(slow).concurrency(2)),
        async |h| {
            for number in 0..10 {
                h.bus().publish(&job(number)).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            h.bus().stop().await;
            assert_eq!(h.broker().queued("jobs").len(), 8);
        },
    );
    assert_eq!(log.lock().unwrap().len(), 4);
}

#[test]
fn an_endpoint_with_two_consumers_of_one_type_is_not_built() {
    async fn one(_: Msg<Job>) {}
    let bus = stele_bus::Bus::builder(stele_bus::transport::memory::Memory::default());
    let runtime = bus.endpoint("jobs", |e| e.handle(one).handle(one)).build();
    assert!(runtime.err().unwrap().to_string().contains("two consumers"));
}

#[test]
fn a_consumers_messages_carry_the_conversation_on() {
    async fn forward(Msg(done): Msg<Done>, cx: Context) -> Result<(), Failure> {
        cx.send("queue:next", &done)?;
        Ok(())
    }
    run(
        |bus| bus.endpoint("forward", |e| e.handle(forward)),
        async |h| {
            let id = Uuid::from_u128(5);
            let headers = [("tenant".to_owned(), "t".into()), ("MT-Own".to_owned(), "x".into())].into();
            let options = SendOptions { headers, ..SendOptions::default() };
            h.bus()
                .push(Destination::parse("queue:forward"), &Done { id, number: 1 }, options)
                .await
                .unwrap();
            h.quiet().await;
            let journal = h.broker().journal();
            let read =
                |at: usize| stele_bus::wire::decode(&journal[at].properties, &journal[at].body).unwrap();
            let (first, second) = (read(0), read(1));
            assert_eq!(second.conversation_id, first.conversation_id);
            assert_eq!(second.initiator_id, Some(id));
            assert_eq!(second.source_address.as_deref(), Some("loopback://localhost/forward"));
            assert_eq!(second.headers.keys().collect::<Vec<_>>(), ["tenant"]);
        },
    );
}

#[test]
fn a_recurring_message_is_published_until_it_is_cancelled_and_once_for_all_instances() {
    let calls = Arc::new(AtomicU32::new(0));
    run(
        |bus| bus.state(calls.clone()).endpoint("jobs", |e| e.handle(stubborn)),
        async |h| {
            let cron = || Schedule::Cron("*/10 * * * *".parse().unwrap());
            let (one, other) =
                (h.bus().recurring("nightly", cron(), job(0)), h.bus().recurring("nightly", cron(), job(0)));
            h.advance(61 * 60 * SECOND).await;
            assert_eq!(calls.load(Ordering::Relaxed), 6);
            one.cancel();
            other.cancel();
            h.advance(60 * 60 * SECOND).await;
            assert_eq!(calls.load(Ordering::Relaxed), 6);
        },
    );
}

#[test]
fn a_bus_describes_itself() {
    run(
        |bus| {
            bus.state(Arc::new(AtomicU32::new(0)))
                .endpoint("jobs", |e| e.handle(stubborn).retry(Retry::immediate(2)).redeliver([SECOND]))
        },
        async |h| {
            let description = h.bus().describe();
            let jobs = &description.endpoints[0];
            assert_eq!(
                (jobs.name.as_str(), jobs.retries, &jobs.redeliver_ms[..], jobs.inbox),
                ("jobs", 2, &[1000][..], true)
            );
            let urns: Vec<_> = jobs.consumes.iter().map(|consumed| consumed.urn.as_str()).collect();
            assert_eq!(urns, ["urn:message:Test:Job", "urn:message:Old:Job"]);
            let api = h.bus().asyncapi("jobs", "1.0.0");
            assert_eq!(api["asyncapi"], "3.0.0");
            let operation = &api["operations"]["receive-jobs"];
            for reference in operation["messages"].as_array().unwrap() {
                let path = reference["$ref"].as_str().unwrap().trim_start_matches('#');
                let target = api.pointer(path).and_then(|message| message["$ref"].as_str()).unwrap();
                assert!(api.pointer(target.trim_start_matches('#')).is_some(), "{target}");
            }
            assert_eq!(api["channels"]["Test_Job"]["bindings"]["amqp"]["exchange"]["type"], "fanout");
        },
    );
}
