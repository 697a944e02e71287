//! The other side of a session: what driver and hub say to it.

use super::{Run, Words};
use bytes::{Bytes, BytesMut};
use stele_model::id::{Now, Position, PrincipalId, QueueId};
use stele_model::outcome::{Deliveries, Delivery, Done, Outcome, Published, Wake};
use stele_model::refusal::{Object, Refusal};
use stele_model::session::{Principal, Rejected, Session};
use stele_record::history::{Dying, Reason, with_death};
use stele_record::properties::{Properties, Property};
use stele_record::{Draft, Origin, View};

/// `= …`: an answer to the last request, or to the publishes under way.
pub(crate) fn answer(run: &mut Run, line: &str) {
    let words = Words::of(line);
    let text = |name: &str| words.text(name).to_owned();
    let done = match words.0[0] {
        "authenticated" => {
            let principal = Principal { id: PrincipalId(1), name: "guest".to_owned() };
            run.session.authenticated(run.now, Ok(principal), &mut run.out);
            return run.collect();
        }
        "rejected" => {
            run.session.authenticated(run.now, Err(Rejected), &mut run.out);
            return run.collect();
        }
        "published" => return published(run, &words),
        "lane-failed" => return lane_failed(run, &words),
        "refused" => return complete(run, Outcome::Refused(refusal(&words))),
        "opened" => Done::Opened,
        "unit" => Done::Unit,
        "queue" => Done::Queue {
            name: text("name"),
            ready: words.number("ready"),
            consumers: u32::try_from(words.number("consumers")).unwrap(),
        },
        "deleted" => Done::Deleted { ready: words.number("ready") },
        "purged" => Done::Purged { count: words.number("count") },
        "subscribed" => {
            let (counts_deliveries, is_stream) = (words.has("counts"), words.has("stream"));
            Done::Subscribed { queue: QueueId(words.number("queue")), counts_deliveries, is_stream }
        }
        "replies" => Done::Replies { address: text("address") },
        "unsubscribed" => Done::Unsubscribed,
        "got" => {
            let delivery = (!words.has("none")).then(|| {
                let bytes = record(&words);
                let delivery = delivery(&words, 0, 0, bytes.len());
                (bytes, delivery)
            });
            let queue = QueueId(words.number("queue"));
            Done::Got {
                queue,
                counts_deliveries: words.has("counts"),
                delivery,
                ready: words.number("ready"),
            }
        }
        other => panic!("answers do not know {other}"),
    };
    complete(run, Outcome::Done(done));
}

fn complete(run: &mut Run, outcome: Outcome) {
    let ticket = run.asked.take().expect("something was asked");
    run.session.complete(run.now, ticket, outcome, &mut run.out);
    run.collect();
}

/// Answers batches, in order or (`newest-first`) not; item numbers count over all of them.
fn published(run: &mut Run, words: &Words<'_>) {
    let mut before = 0;
    let (unroutable, refused, dropped) =
        (words.numbers("unroutable"), words.numbers("refused"), words.numbers("dropped"));
    let mut answers = Vec::new();
    for (ticket, batch) in std::mem::take(&mut run.batches) {
        let count = u32::try_from(batch.items.len()).unwrap();
        let mine = |list: &[u32]| -> Vec<u32> {
            list.iter().filter(|n| (before..before + count).contains(*n)).map(|n| n - before).collect()
        };
        let full = Refusal::Full { name: "q".to_owned() };
        let refused = mine(&refused).into_iter().map(|n| (n, full.clone())).collect();
        let published = Published {
            unroutable: mine(&unroutable),
            refused,
            dropped: mine(&dropped),
            batch,
            stored: Vec::new(),
        };
        answers.push((ticket, Outcome::Published(published)));
        before += count;
    }
    if words.has("newest-first") {
        answers.reverse();
    }
    for (ticket, outcome) in answers {
        run.session.complete(run.now, ticket, outcome, &mut run.out);
    }
    run.collect();
}

/// The publish `item` is refused for its lane.
fn lane_failed(run: &mut Run, words: &Words<'_>) {
    let lane = u16::try_from(words.number("lane")).unwrap();
    let mut item = u32::try_from(words.number("item")).unwrap();
    let holder = run.batches.iter().find(|(_, batch)| {
        let count = u32::try_from(batch.items.len()).unwrap();
        let is_here = item < count;
        item -= if is_here { 0 } else { count };
        is_here
    });
    let (ticket, _) = holder.expect("the item is in a batch").clone();
    let outcome = Outcome::LaneFailed { lane, item, refusal: refusal(words) };
    run.session.complete(run.now, ticket, outcome, &mut run.out);
    run.collect();
}

fn refusal(words: &Words<'_>) -> Refusal {
    let (name, namespace) = (words.text("name").to_owned(), "/".to_owned());
    let object = match words.text("object") {
        "exchange" => Object::Exchange,
        "namespace" => Object::Namespace,
        _ => Object::Queue,
    };
    match words.text("why") {
        "missing" => Refusal::Missing { object, name, namespace },
        "locked" => Refusal::Locked { name, namespace },
        "not-empty" => Refusal::NotEmpty { name, namespace },
        "namespace-denied" => Refusal::NamespaceDenied { namespace, user: "guest".to_owned() },
        other => panic!("answers do not know the refusal {other}"),
    }
}

/// `@ …`: what happens unasked.
pub(crate) fn happens(run: &mut Run, line: &str) {
    let words = Words::of(line);
    let rest = words.0[1..].join(" ");
    let wake = match words.0[0] {
        "deliver" => return deliver(run, &words),
        "certified" => return run.session.certified(words.0.get(1).copied()),
        "seconds" => {
            run.now = Now(run.now.0 + words.0[1].parse::<u64>().unwrap() * 1_000_000);
            if run.session.deadline().is_some_and(|deadline| deadline <= run.now) {
                run.session.expire(run.now, &mut run.out);
            }
            return run.collect();
        }
        "cancelled" => Wake::Cancelled { subscription: words.number("sub") },
        "blocked" => Wake::Blocked(rest),
        "unblocked" => Wake::Unblocked,
        "close" => Wake::Close(rest),
        "drained" => Wake::Drained,
        other => panic!("nothing of the name {other} happens"),
    };
    run.session.wake(run.now, wake, &mut run.out);
    run.collect();
}

/// Records at `positions`, all alike, in one batch.
fn deliver(run: &mut Run, words: &Words<'_>) {
    let record = record(words);
    let positions = words.numbers("positions");
    let items = positions.iter().map(|position| delivery(words, *position, 0, record.len())).collect();
    let (subscription, queue) = (words.number("sub"), QueueId(words.number("queue")));
    let batch = Deliveries { subscription, queue, blocks: vec![record], items };
    run.session.deliver(run.now, &batch, &mut run.out);
    run.collect();
}

fn delivery(words: &Words<'_>, position: u32, at: u32, len: usize) -> Delivery {
    let position =
        if words.get("position").is_some() { words.number("position") } else { u64::from(position) };
    Delivery {
        block: 0,
        at,
        len: u32::try_from(len).unwrap(),
        position: Position(position),
        redelivered: words.has("redelivered"),
        failures: u32::try_from(words.number("failures")).unwrap(),
    }
}

/// A record with `exchange`, `key`, `body`, `expiration`; with `died=reason,…` it has died in queue `dead` of each.
fn record(words: &Words<'_>) -> Bytes {
    let mut properties = Properties::default();
    properties.set(Property::Expiration, words.get("expiration").map(str::as_bytes));
    let mut list = BytesMut::new();
    properties.write(&mut list);
    let body = match words.get("repeat") {
        Some(count) => "x".repeat(count.parse().unwrap()),
        None => words.text("body").to_owned(),
    };
    let mut bytes = BytesMut::new();
    let draft = Draft {
        origin: Origin::Amqp091,
        persistent: false,
        priority: 0,
        ttl_ms: words.get("expiration").map(|text| text.parse().unwrap()),
        time: 0,
        exchange: words.text("exchange").as_bytes(),
        key: words.text("key").as_bytes(),
        properties: &list,
        history: b"",
    };
    draft.write(body.as_bytes(), &mut bytes);
    for reason in words.text("died").split(',').filter(|reason| !reason.is_empty()) {
        let reason = match reason {
            "rejected" => Reason::Rejected,
            "expired" => Reason::Expired,
            other => panic!("nobody dies of {other}"),
        };
        let mut next = BytesMut::new();
        let dying = Dying { queue: b"dead", reason, time_s: 99 };
        with_death(&View::parse(&bytes).unwrap(), dying, b"dlx", None, &mut next).unwrap();
        bytes = next;
    }
    bytes.freeze()
}
