//! Publishing in order, with confirms; again on a new connection for what was not confirmed.

use std::time::Duration;

use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, PublisherConfirm};
use tokio::time::Instant;

use super::link::{Link, error, short, within};
use super::{Amqp, DIRECT_REPLY, TransportError, convert, delay, topology};
use crate::outgoing::{Destination, Outgoing};
use crate::time::Timestamp;

type Answer = Result<(), TransportError>;

/// Waits between attempts: doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Where on the broker a message is published.
struct Route {
    exchange: ShortString,
    key: ShortString,
}

impl Amqp {
    /// One answer per message. A message without a broker's word is sent again until `patience` is over: its copies share one id.
    pub(super) async fn send_until_confirmed(&self, batch: Vec<Outgoing>) -> Vec<Answer> {
        let deadline = Instant::now() + self.0.patience;
        let mut answers: Vec<Option<Answer>> = batch.iter().map(|_| None).collect();
        let mut backoff = BACKOFF.0;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let attempt = async { self.send_once(&*self.link().await?, &batch, &mut answers).await };
            let Err(error) = within(left, attempt).await else { break };
            let fatal = matches!(error, TransportError::Refused(_));
            if fatal || Instant::now() + backoff > deadline {
                answers
                    .iter_mut()
                    .filter(|answer| answer.is_none())
                    .for_each(|answer| *answer = Some(Err(error.clone())));
                break;
            }
            tracing::debug!(%error, "sending again");
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
        answers.into_iter().map(|answer| answer.unwrap_or(Ok(()))).collect()
    }

    /// Publish what has no answer yet and wait for the confirms. An error: some have none still.
    async fn send_once(
        &self,
        link: &Link,
        batch: &[Outgoing],
        answers: &mut [Option<Answer>],
    ) -> Result<(), TransportError> {
        let mut confirms = Vec::new();
        let mut lost = None;
        for (at, message) in batch.iter().enumerate() {
            if answers[at].is_some() {
                continue;
            }
            let published = match self.route(link, message).await {
                Ok(Some(route)) => {
                    let channel = link.publishing().await?;
                    publish(&channel, &route, message).await
                }
                Ok(None) => {
                    answers[at] = Some(answer(link, message).await);
                    continue;
                }
                Err(error) => Err(error),
            };
            match published {
                Ok(confirm) => confirms.push((at, confirm)),
                Err(error @ TransportError::Unavailable(_)) => {
                    lost = Some(error);
                    break;
                }
                Err(error) => answers[at] = Some(Err(error)),
            }
        }
        for (at, confirm) in confirms {
            match confirmed(confirm).await {
                Err(error @ TransportError::Unavailable(_)) => lost = Some(error),
                said => answers[at] = Some(said),
            }
        }
        lost.map_or(Ok(()), Err)
    }

    /// Where a message is published, after that is there; `None` for an address, for which nothing is made.
    async fn route(&self, link: &Link, message: &Outgoing) -> Result<Option<Route>, TransportError> {
        if let Some(at) = message.not_before {
            let ms = u64::try_from(at.since(Timestamp::now()).as_millis()).unwrap_or(u64::MAX);
            if ms > 0 {
                return self.delayed(link, message, ms).await.map(Some);
            }
        }
        let exchange = delay::exchange_of(&message.destination);
        match &message.destination {
            Destination::Address { address, reply_to }
                if address.split('?').next().is_some_and(|a| a.ends_with(DIRECT_REPLY)) =>
            {
                let Some(reply_to) = reply_to else {
                    return Err(TransportError::Refused(
                        "a direct reply needs the request's reply-to property".into(),
                    ));
                };
                return Ok(Some(Route { exchange: ShortString::default(), key: short(reply_to)? }));
            }
            Destination::Address { .. } => return Ok(None),
            Destination::Type { name, supertypes } => {
                self.once(link, "type", &exchange, async |channel| {
                    topology::message(channel, name, supertypes).await
                })
                .await?;
            }
            Destination::Queue(name) => {
                self.once(link, "queue", name, async |channel| topology::queue(channel, name).await).await?;
            }
            Destination::Exchange(name) => {
                // An exchange of another type that is there already is as good.
                let made = self
                    .once(link, "exchange", name, async |channel| topology::fanout(channel, name).await)
                    .await;
                if !matches!(made, Err(TransportError::Refused(_))) {
                    made?;
                }
            }
        }
        Ok(Some(Route { exchange: short(&exchange)?, key: ShortString::default() }))
    }

    /// Declare something unless this connection has done so before.
    async fn once(
        &self,
        link: &Link,
        kind: &str,
        name: &str,
        declare: impl AsyncFnOnce(&Channel) -> Result<(), TransportError>,
    ) -> Result<(), TransportError> {
        let what = format!("{kind} {name}");
        if !link.is_declared(&what) {
            link.declaring(declare).await?;
            link.remember(what);
        }
        Ok(())
    }

    /// The queue in which a message waits. Declared each time: that restarts the time after which it goes away.
    async fn delayed(&self, link: &Link, message: &Outgoing, ms: u64) -> Result<Route, TransportError> {
        let Some(wait) = delay::wait(&message.destination, ms, message.token) else {
            return Err(TransportError::Unsupported(format!(
                "a delay of {ms} ms: at most {} ms",
                delay::WAIT_MS_MAX
            )));
        };
        let due = Outgoing { not_before: None, ..message.clone() };
        if let Destination::Address { .. } = due.destination {
            return Err(TransportError::Unsupported("a delayed answer".into()));
        }
        Box::pin(self.route(link, &due)).await?;
        link.declaring(async |channel| {
            topology::delay_queue(channel, &wait.queue, &wait.exchange, wait.wait_ms, wait.linger_ms).await
        })
        .await?;
        Ok(Route { exchange: ShortString::default(), key: short(&wait.queue)? })
    }
}

async fn publish(
    channel: &Channel,
    route: &Route,
    message: &Outgoing,
) -> Result<PublisherConfirm, TransportError> {
    let properties = convert::basic_properties(&message.properties, message.not_before.is_some())?;
    let options = BasicPublishOptions::default();
    channel
        .basic_publish(route.exchange.clone(), route.key.clone(), options, &message.body, properties)
        .await
        .map_err(error)
}

async fn confirmed(confirm: PublisherConfirm) -> Answer {
    match confirm.await.map_err(error)? {
        Confirmation::Ack(_) => Ok(()),
        Confirmation::Nack(_) => Err(TransportError::Refused("the broker did not take the message".into())),
        Confirmation::NotRequested => {
            Err(TransportError::Unavailable("the channel gives no confirms".into()))
        }
    }
}

/// An answer to an exchange that may be gone. One at a time: a missing exchange closes the channel.
async fn answer(link: &Link, message: &Outgoing) -> Answer {
    let channel = link.answering().await?;
    let exchange = short(&delay::exchange_of(&message.destination))?;
    confirmed(publish(&channel, &Route { exchange, key: ShortString::default() }, message).await?).await
}
