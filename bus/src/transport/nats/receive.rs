//! Receiving: a pump that asks for as many messages as there is credit, marks of progress for what is in hand, and replies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::Consumer;
use async_nats::jetstream::consumer::pull::Config as PullConfig;
use async_nats::jetstream::message::{AckKind, Acker};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{Semaphore, mpsc, watch};

use super::link::{Link, unavailable};
use super::send::ALSO;
use super::{ACK_WAIT, convert};
use crate::time::Timestamp;
use crate::transport::{
    BoxFuture, Incoming, Replies, Settle, Settler, Stop, Subscription, TransportError, Verdict,
};

/// A question for messages stands so long at the server before it is asked again.
const STANDS: Duration = Duration::from_secs(30);
/// How often the server is told that work goes on.
const PROGRESS: Duration = Duration::from_secs(10);
const _: () = assert!(PROGRESS.as_secs() * 2 < ACK_WAIT.as_secs(), "one lost mark does no harm");
/// Replies that may lie here unread.
const REPLIES_MAX: usize = 256;

/// What one subscription has in hand.
struct Hand {
    credit: Semaphore,
    ackers: Mutex<BTreeMap<u64, Arc<Acker>>>,
    stop: watch::Sender<bool>,
}

pub(super) async fn subscribe(
    link: Arc<Link>,
    queue: &str,
    credit: u16,
) -> Result<Subscription, TransportError> {
    link.queue(queue, [].into()).await?;
    let consumer = link.find(queue).await?;
    let credit = usize::from(credit.max(1));
    let (sender, incoming) = mpsc::channel(credit);
    let hand = Arc::new(Hand {
        credit: Semaphore::new(credit),
        ackers: Mutex::default(),
        stop: watch::Sender::new(false),
    });
    tokio::spawn(mark_progress(Arc::downgrade(&hand)));
    tokio::spawn(pump(link, consumer, hand.clone(), sender));
    Ok(Subscription { incoming, stop: hand })
}

/// Forward messages until somebody stops it, nobody listens any more, or the connection is lost.
async fn pump(
    link: Arc<Link>,
    consumer: Consumer<PullConfig>,
    hand: Arc<Hand>,
    sender: mpsc::Sender<Incoming>,
) {
    let filters: BTreeSet<String> = {
        let config = &consumer.cached_info().config;
        config.filter_subjects.iter().chain(Some(&config.filter_subject)).cloned().collect()
    };
    let mut stopped = hand.stop.subscribe();
    let mut epoch = link.epoch.clone();
    epoch.mark_unchanged();
    let mut tag = 0;
    loop {
        // At least one; then all that is free, so that a question is for as many as can be handled.
        let Ok(first) = hand.credit.acquire().await else { return };
        first.forget();
        let mut free = 1;
        while let Ok(permit) = hand.credit.try_acquire() {
            permit.forget();
            free += 1;
        }
        let batch = consumer.batch().max_messages(free).expires(STANDS).messages().await;
        let Ok(mut batch) = batch.inspect_err(|error| tracing::debug!(%error, "could not ask for messages"))
        else {
            return;
        };
        let over = loop {
            let next = tokio::select! {
                biased;
                _ = stopped.changed() => break true,
                _ = epoch.changed() => break true,
                () = sender.closed() => break true,
                next = batch.next() => next,
            };
            let message = match next {
                Some(Ok(message)) => message,
                Some(Err(error)) => {
                    tracing::debug!(%error, "the server ended a question for messages");
                    break true;
                }
                None => break false,
            };
            if is_needless(&message, &filters) {
                let _ = message.ack().await; // else it comes again, and is needless again
                continue;
            }
            tag += 1;
            free -= 1;
            let Some(incoming) = hand.take(tag, message) else { continue };
            if sender.send(incoming).await.is_err() {
                break true;
            }
        };
        hand.credit.add_permits(free);
        if over {
            // What arrived and is in nobody's hands goes back at once.
            while let Some(Some(Ok(message))) = batch.next().now_or_never() {
                let _ = message.ack_with(AckKind::Nak(None)).await; // a lost connection releases it as well
            }
            return;
        }
    }
}

/// A message that has expired, or of which this queue has another copy by a more derived type.
fn is_needless(message: &Message, filters: &BTreeSet<String>) -> bool {
    let lines = message.headers.as_ref();
    if convert::is_expired(lines, Timestamp::now()) {
        return true;
    }
    let also = lines.and_then(|lines| lines.get(ALSO)).map(|subjects| subjects.as_str());
    let kept = also.and_then(|subjects| subjects.split(' ').find(|subject| filters.contains(*subject)));
    kept.is_some_and(|kept| kept != message.subject.as_str())
}

impl Hand {
    /// Into somebody's hands.
    fn take(self: &Arc<Self>, tag: u64, message: Message) -> Option<Incoming> {
        let redelivered = message.info().is_ok_and(|info| info.delivered > 1);
        let (message, acker) = message.split();
        self.ackers.lock().unwrap_or_else(PoisonError::into_inner).insert(tag, Arc::new(acker));
        Some(Incoming {
            properties: convert::properties(message.headers.as_ref()),
            body: message.payload,
            redelivered,
            exchange: message.subject.to_string(),
            settle: Settle::new(self.clone(), tag),
        })
    }
}

impl Settler for Hand {
    fn settle(&self, tag: u64, verdict: Verdict) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            let acker = self.ackers.lock().unwrap_or_else(PoisonError::into_inner).remove(&tag);
            let Some(acker) = acker else { return Ok(()) };
            self.credit.add_permits(1);
            let kind = match verdict {
                Verdict::Accept => AckKind::Ack,
                Verdict::Release => AckKind::Nak(None),
            };
            acker.ack_with(kind).await.map_err(unavailable)
        })
    }
}

impl Stop for Hand {
    fn stop(&self) -> BoxFuture<'_, ()> {
        self.stop.send_replace(true);
        Box::pin(std::future::ready(()))
    }
}

/// As long as the subscription, or something of it, lives.
async fn mark_progress(hand: Weak<Hand>) {
    loop {
        tokio::time::sleep(PROGRESS).await;
        let Some(hand) = hand.upgrade() else { return };
        let ackers: Vec<Arc<Acker>> =
            hand.ackers.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for acker in ackers {
            let _ = acker.ack_with(AckKind::Progress).await; // without, it comes again
        }
    }
}

/// An inbox of this connection's own.
pub(super) async fn replies(link: &Link, base: &str) -> Result<Replies, TransportError> {
    let inbox = link.client.new_inbox();
    let mut subscriber = link.client.subscribe(inbox.clone()).await.map_err(unavailable)?;
    // An answer to any question: the server knows the inbox before a request leaves by the other connection.
    link.jetstream.query_account().await.map_err(unavailable)?;
    let (sender, incoming) = mpsc::channel(REPLIES_MAX);
    let stop = Arc::new(Line(watch::Sender::new(false)));
    let (mut stopped, settler) = (stop.0.subscribe(), stop.clone());
    let mut epoch = link.epoch.clone();
    epoch.mark_unchanged();
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                _ = stopped.changed() => return,
                _ = epoch.changed() => return,
                () = sender.closed() => return,
                message = subscriber.next() => message,
            };
            let Some(message) = message else { return };
            let incoming = Incoming {
                properties: convert::properties(message.headers.as_ref()),
                body: message.payload,
                redelivered: false,
                exchange: message.subject.to_string(),
                settle: Settle::new(settler.clone(), 0),
            };
            if sender.send(incoming).await.is_err() {
                return;
            }
        }
    });
    let address = format!("{base}{inbox}?temporary=true");
    Ok(Replies { address, reply_to: None, subscription: Subscription { incoming, stop } })
}

/// Replies are heard once; there is nothing to settle.
struct Line(watch::Sender<bool>);

impl Stop for Line {
    fn stop(&self) -> BoxFuture<'_, ()> {
        self.0.send_replace(true);
        Box::pin(std::future::ready(()))
    }
}

impl Settler for Line {
    fn settle(&self, _tag: u64, _verdict: Verdict) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
