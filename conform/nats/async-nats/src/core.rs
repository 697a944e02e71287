//! Messages, requests and services.

use anyhow::{Context as _, Result};
use async_nats::service::ServiceExt;
use async_nats::{HeaderMap, RequestErrorKind};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::rig::{Case, PATIENCE, Rig, take, text};

pub(crate) const CASES: &[Case] = &[
    Case { name: "publish_and_subscribe", run: |rig| Box::pin(publish_and_subscribe(rig)) },
    Case { name: "subscribe_by_wildcards", run: |rig| Box::pin(subscribe_by_wildcards(rig)) },
    Case { name: "headers_of_several_values", run: |rig| Box::pin(headers_of_several_values(rig)) },
    Case { name: "unsubscribe_after", run: |rig| Box::pin(unsubscribe_after(rig)) },
    Case { name: "request_is_answered", run: |rig| Box::pin(request_is_answered(rig)) },
    Case { name: "request_to_nobody", run: |rig| Box::pin(request_to_nobody(rig)) },
    Case { name: "no_echo", run: |rig| Box::pin(no_echo(rig)) },
    Case { name: "service_requests", run: |rig| Box::pin(service_requests(rig)) },
];

async fn publish_and_subscribe(rig: Rig) -> Result<Value> {
    let mut subscriber = rig.client.subscribe(rig.stem.clone()).await?;
    rig.client.publish(rig.stem.clone(), "one".into()).await?;
    rig.client.publish(rig.stem.clone(), "".into()).await?;
    Ok(json!(take(&mut subscriber, 2).await?))
}

async fn subscribe_by_wildcards(rig: Rig) -> Result<Value> {
    let mut answers = Vec::new();
    let mut subscribers = Vec::new();
    for (pattern, count) in [("*", 1), (">", 3), ("a.*", 1)] {
        subscribers.push((rig.client.subscribe(rig.subject(pattern)).await?, count));
    }
    for subject in ["x", "a.b", "a.b.c"] {
        rig.client.publish(rig.subject(subject), subject.into()).await?;
    }
    for (mut subscriber, count) in subscribers {
        answers.push(take(&mut subscriber, count).await?);
    }
    Ok(json!(answers))
}

async fn headers_of_several_values(rig: Rig) -> Result<Value> {
    let mut subscriber = rig.client.subscribe(rig.stem.clone()).await?;
    let mut headers = HeaderMap::new();
    for value in ["1", "2", ""] {
        headers.append("A", value);
    }
    rig.client.publish_with_headers(rig.stem.clone(), headers, "".into()).await?;
    let message =
        tokio::time::timeout(PATIENCE, subscriber.next()).await?.context("the subscription ended")?;
    let headers = message.headers.context("no headers")?;
    Ok(json!(headers.get_all("A").map(|value| value.as_str()).collect::<Vec<_>>()))
}

async fn unsubscribe_after(rig: Rig) -> Result<Value> {
    let mut subscriber = rig.client.subscribe(rig.stem.clone()).await?;
    subscriber.unsubscribe_after(2).await?;
    for number in 0..4 {
        rig.client.publish(rig.stem.clone(), number.to_string().into()).await?;
    }
    let mut found = Vec::new();
    while let Some(message) = tokio::time::timeout(PATIENCE, subscriber.next()).await? {
        found.push(text(&message.payload));
    }
    Ok(json!(found))
}

async fn request_is_answered(rig: Rig) -> Result<Value> {
    let mut asked = rig.client.subscribe(rig.stem.clone()).await?;
    rig.client.flush().await?;
    let responder = rig.client.clone();
    tokio::spawn(async move {
        while let Some(message) = asked.next().await {
            let answer = [b"got ", &message.payload[..]].concat();
            // Without an answer the request runs out of time, which the case tells.
            let _ = responder.publish(message.reply.unwrap_or_else(|| "nobody".into()), answer.into()).await;
        }
    });
    let answer = rig.connect().await?.request(rig.stem, "this".into()).await?;
    Ok(json!(text(&answer.payload)))
}

async fn request_to_nobody(rig: Rig) -> Result<Value> {
    Ok(match rig.client.request(rig.stem, "".into()).await {
        Err(error) if error.kind() == RequestErrorKind::NoResponders => json!("no responders"),
        other => json!(format!("{other:?}")),
    })
}

async fn no_echo(rig: Rig) -> Result<Value> {
    // The server knows of it when its own echo has come.
    let mut witness = rig.client.subscribe(rig.stem.clone()).await?;
    rig.client.publish(rig.stem.clone(), "ready".into()).await?;
    take(&mut witness, 1).await?;
    let quiet = async_nats::ConnectOptions::new().no_echo().connect(&rig.url).await?;
    let mut subscriber = quiet.subscribe(rig.stem.clone()).await?;
    quiet.publish(rig.stem.clone(), "own".into()).await?;
    // A flush waits for the socket only: what was sent behind the subscription tells that the server has it.
    take(&mut witness, 1).await?;
    rig.client.publish(rig.stem, "other".into()).await?;
    Ok(json!(take(&mut subscriber, 1).await?))
}

async fn service_requests(rig: Rig) -> Result<Value> {
    let service = rig.client.service_builder().description("adds").start("adder", "1.2.3").await;
    let service = service.map_err(anyhow::Error::from_boxed)?;
    let mut endpoint = service.endpoint(rig.stem.clone()).await.map_err(anyhow::Error::from_boxed)?;
    rig.client.flush().await?;
    tokio::spawn(async move {
        while let Some(request) = endpoint.next().await {
            let words = text(&request.message.payload);
            let sum: Option<u64> = words.split(' ').map(|word| word.parse::<u64>().ok()).sum();
            let answer = sum.map(|sum| sum.to_string().into());
            let answer = answer
                .ok_or_else(|| async_nats::service::error::Error { status: "cannot add".into(), code: 400 });
            // Without an answer the request runs out of time, which the case tells.
            let _ = request.respond(answer).await;
        }
    });
    let asker = rig.connect().await?;
    let good = asker.request(rig.stem.clone(), "1 2 3".into()).await?;
    let bad = asker.request(rig.stem, "bad".into()).await?.headers.context("an error without headers")?;
    let header = |name: &str| bad.get(name).map(|value| value.to_string());
    Ok(json!([text(&good.payload), header("Nats-Service-Error-Code"), header("Nats-Service-Error")]))
}
