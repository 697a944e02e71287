//! Publishing in order, with confirms; again, under the same ids, what was not confirmed.

use std::future::IntoFuture;
use std::time::Duration;

use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use tokio::time::Instant;

use super::link::{Link, unavailable};
use super::{Nats, TransportError, convert, delay};
use crate::outgoing::{Destination, Outgoing};
use crate::time::Timestamp;

type Answer = Result<(), TransportError>;

/// Waits between attempts: doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Messages of a batch whose confirms are awaited together.
const WINDOW: usize = 1_000;

/// Subjects under which a message was stored as well, the most derived first: a queue that takes several keeps the first.
pub(super) const ALSO: &str = "Stele-Subjects";

impl Nats {
    /// One answer per message. A message without a broker's word is sent again until `patience` is over: its copies share one id.
    pub(super) async fn send_until_confirmed(&self, batch: Vec<Outgoing>) -> Vec<Answer> {
        let deadline = Instant::now() + self.0.patience;
        let mut answers: Vec<Option<Answer>> = batch.iter().map(|_| None).collect();
        let mut backoff = BACKOFF.0;
        loop {
            let outcome = self.send_over_one_link(&batch, &mut answers).await;
            let Err(error) = outcome else { break };
            if Instant::now() + backoff > deadline {
                let unanswered = answers.iter_mut().filter(|answer| answer.is_none());
                unanswered.for_each(|answer| *answer = Some(Err(error.clone())));
                break;
            }
            tracing::debug!(%error, "sending again");
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
        answers.into_iter().map(|answer| answer.unwrap_or(Ok(()))).collect()
    }

    async fn send_over_one_link(
        &self,
        batch: &[Outgoing],
        answers: &mut [Option<Answer>],
    ) -> Result<(), TransportError> {
        if batch.iter().any(|message| message.not_before.is_some()) {
            let link = self.link().await?;
            link.streams().await?;
            delay::move_on(&link);
        }
        let link = self.sending().await?;
        let outcome = send_once(&link, batch, answers).await;
        if outcome.is_err() {
            self.give_up(&link).await;
        }
        outcome
    }
}

/// Publish what has no answer yet and wait for the confirms. An error: some have none still.
async fn send_once(
    link: &Link,
    batch: &[Outgoing],
    answers: &mut [Option<Answer>],
) -> Result<(), TransportError> {
    for (batch, answers) in batch.chunks(WINDOW).zip(answers.chunks_mut(WINDOW)) {
        let mut confirms = Vec::new();
        for (at, message) in batch.iter().enumerate() {
            if answers[at].is_some() {
                continue;
            }
            match publish(link, message).await {
                Ok(of_message) => confirms.push((at, of_message)),
                Err(error @ TransportError::Unavailable(_)) => return Err(error),
                Err(error) => answers[at] = Some(Err(error)),
            }
        }
        let mut lost = None;
        for (at, of_message) in confirms {
            let mut answer = Ok(());
            for confirm in of_message {
                answer = answer.and(confirmed(link, confirm).await);
            }
            match answer {
                Err(error @ TransportError::Unavailable(_)) => lost = Some(error),
                said => answers[at] = Some(said),
            }
        }
        lost.map_or(Ok(()), Err)?;
    }
    Ok(())
}

/// The confirms that are to come: none for what is heard now or never.
async fn publish(link: &Link, message: &Outgoing) -> Result<Vec<PublishAckFuture>, TransportError> {
    let now = Timestamp::now();
    let subjects = link.names.of(&message.destination);
    if !link.names.is_kept(&subjects[0]) {
        let lines = convert::lines(&message.properties, now)?;
        let sent = link.client.publish_with_headers(subjects[0].clone(), lines, message.body.clone()).await;
        sent.map_err(unavailable)?;
        link.client.flush().await.map_err(unavailable)?;
        return Ok(Vec::new());
    }
    link.streams().await?;
    match &message.destination {
        Destination::Queue(name) | Destination::Exchange(name)
            if link.names.queue_in(&subjects[0]).is_some() =>
        {
            link.queue(name, [].into()).await?;
        }
        _ => {}
    }
    if message.not_before.is_some_and(|at| at > now) {
        let confirm = delay::put(link, message, &subjects, now).await?;
        return Ok(vec![confirm]);
    }
    let mut confirms = Vec::with_capacity(subjects.len());
    for subject in &subjects {
        // What is moved or redelivered keeps its id, and is no copy of what stood in the stream before.
        let id = message.kind.as_ref().map(|_| format!("{}@{subject}", message.id));
        let mut lines = convert::lines(&message.properties, now)?;
        if let Some(id) = &id {
            convert::put(&mut lines, convert::DEDUPE_ID, id)?;
        }
        if subjects.len() > 1 {
            convert::put(&mut lines, ALSO, &subjects.join(" "))?;
        }
        confirms.push(store(link, subject, lines, message).await?);
    }
    Ok(confirms)
}

/// Hand a message to the stream of its subject.
pub(super) async fn store(
    link: &Link,
    subject: &str,
    lines: async_nats::HeaderMap,
    message: &Outgoing,
) -> Result<PublishAckFuture, TransportError> {
    let publish = PublishMessage::build().headers(lines).payload(message.body.clone());
    link.jetstream.send_publish(subject.to_owned(), publish).await.map_err(refusal)
}

async fn confirmed(link: &Link, confirm: PublishAckFuture) -> Answer {
    match confirm.into_future().await {
        Ok(_) => Ok(()),
        Err(error) => {
            if error.kind() == PublishErrorKind::StreamNotFound {
                link.forget();
            }
            Err(refusal(error))
        }
    }
}

fn refusal(error: PublishError) -> TransportError {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded | PublishErrorKind::Other => {
            TransportError::Refused(error.to_string())
        }
        _ => unavailable(error),
    }
}
