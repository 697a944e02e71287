//! Messages that wait: one subject each in the stream of delays, moved on when they are due by any bus that runs.
//!
//! The mover takes every waiting message once and gives it back until its time, so the server keeps the time and one mover of many is
//! enough. A crash of the server or the mover brings a message early, and it is given back again. What was moved and not yet taken off the
//! list is moved once more under the same id, which the stream knows.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull::Config as PullConfig;
use async_nats::jetstream::consumer::{AckPolicy, Consumer};
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::{AckKind, PublishMessage};
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use async_nats::jetstream::{Context, Message};
use futures_util::StreamExt;
use tokio::sync::watch;

use super::link::{Link, unavailable};
use super::names::Names;
use super::send::{ALSO, store};
use super::{TransportError, convert};
use crate::ids::Ids;
use crate::outgoing::{Outgoing, ScheduleToken};
use crate::time::Timestamp;

/// When a message is due, in ms since 1970.
const DUE: &str = "Stele-Due";
/// Where it goes then: subjects.
const TARGET: &str = "Stele-Target";
/// The durable consumer that all movers share.
const MOVER: &str = "mover";
/// Messages that are looked at together.
const BATCH: usize = 256;
/// A question for messages stands so long at the server before it is asked again.
const STANDS: Duration = Duration::from_secs(30);
/// What a mover that died had in hand is taken again after this time.
const STEP: Duration = Duration::from_secs(10);
/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Let a message wait.
pub(super) async fn put(
    link: &Link,
    message: &Outgoing,
    subjects: &[String],
    now: Timestamp,
) -> Result<PublishAckFuture, TransportError> {
    let token = message.token.unwrap_or_else(|| ScheduleToken(Ids::random().next(now)));
    let due = message.not_before.unwrap_or(now);
    let mut lines = convert::lines(&message.properties, due)?;
    convert::put(&mut lines, DUE, &due.0.to_string())?;
    convert::put(&mut lines, TARGET, &subjects.join(" "))?;
    let subject = link.names.of_delay(token);
    if message.token.is_some() {
        convert::put(&mut lines, convert::DEDUPE_ID, &format!("{}@{subject}", message.id))?;
    }
    store(link, &subject, lines, message).await
}

/// Take a waiting message back. One that is due is on its way, whether it has left the list or not.
///
/// A purge of its subject would do the same in one step, and make the server forget for a while which other messages it was to give again
/// (seen with nats-server 2.15).
pub(super) async fn cancel(link: &Link, token: ScheduleToken) -> Result<bool, TransportError> {
    link.streams().await?;
    let stream = link.jetstream.get_stream_no_info(link.names.delays()).await.map_err(unavailable)?;
    let waiting = match stream.get_last_raw_message_by_subject(&link.names.of_delay(token)).await {
        Ok(waiting) => waiting,
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => return Ok(false),
        Err(error) => return Err(unavailable(error)),
    };
    if due(&waiting.headers) <= Timestamp::now() {
        return Ok(false);
    }
    stream.delete_message(waiting.sequence).await.map_err(unavailable)
}

/// When a message is due; at once if it does not say.
fn due(lines: &HeaderMap) -> Timestamp {
    let due = lines.get(DUE).and_then(|ms| ms.as_str().parse().ok());
    due.map_or(Timestamp(0), Timestamp)
}

/// From now on this connection moves due messages on, until its link ends. The streams must be there.
pub(super) fn move_on(link: &Link) {
    link.mover.get_or_init(|| {
        let mover =
            Mover { jetstream: link.jetstream.clone(), names: link.names.clone(), epoch: link.epoch.clone() };
        let work = async move {
            loop {
                if let Err(error) = mover.session().await {
                    tracing::debug!(%error, "delayed messages are not moved");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        tokio::spawn(work).abort_handle()
    });
}

/// Moves due messages on.
struct Mover {
    jetstream: Context,
    names: Names,
    epoch: watch::Receiver<u64>,
}

impl Mover {
    /// Until a failure.
    async fn session(&self) -> Result<(), TransportError> {
        let mut epoch = self.epoch.clone();
        epoch.mark_unchanged();
        let consumer = self.consumer().await?;
        loop {
            let batch = consumer.batch().max_messages(BATCH).expires(STANDS).messages().await;
            let mut batch = batch.map_err(unavailable)?;
            loop {
                let next = tokio::select! {
                    next = batch.next() => next,
                    _ = epoch.changed() => return Err(unavailable("the connection was lost")),
                };
                match next {
                    Some(message) => self.step(message.map_err(unavailable)?).await?,
                    None => break,
                }
            }
        }
    }

    async fn consumer(&self) -> Result<Consumer<PullConfig>, TransportError> {
        let config = PullConfig {
            durable_name: Some(MOVER.into()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: STEP,
            max_deliver: -1,
            max_ack_pending: -1, // every waiting message counts as one that is in hand
            ..PullConfig::default()
        };
        self.jetstream.create_consumer_on_stream(config, self.names.delays()).await.map_err(unavailable)
    }

    /// Give a message back until it is due, or move it on.
    async fn step(&self, message: Message) -> Result<(), TransportError> {
        let lines = message.headers.clone().unwrap_or_default();
        let wait = due(&lines).since(Timestamp::now());
        if !wait.is_zero() {
            return message.ack_with(AckKind::Nak(Some(wait))).await.map_err(unavailable);
        }
        let target = lines.get(TARGET).map(|subjects| subjects.as_str()).unwrap_or_default();
        let subjects: Vec<String> = target.split_whitespace().map(str::to_owned).collect();
        let place = message.info().map_err(unavailable)?.stream_sequence;
        for subject in &subjects {
            let mut moved = HeaderMap::new();
            for (name, values) in lines.iter() {
                let name: &str = name.as_ref();
                if let (false, Some(value)) =
                    ([DUE, TARGET, convert::DEDUPE_ID].contains(&name), values.last())
                {
                    convert::put(&mut moved, name, value.as_str())?;
                }
            }
            if subjects.len() > 1 {
                convert::put(&mut moved, ALSO, &subjects.join(" "))?;
            }
            convert::put(
                &mut moved,
                convert::DEDUPE_ID,
                &format!("{}/{place}@{subject}", self.names.delays()),
            )?;
            let publish = PublishMessage::build().headers(moved).payload(message.payload.clone());
            let confirm = self.jetstream.send_publish(subject.clone(), publish).await.map_err(unavailable)?;
            confirm.await.map_err(unavailable)?;
        }
        message.double_ack().await.map_err(unavailable)
    }
}
