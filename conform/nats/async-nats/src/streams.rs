//! Streams and consumers.

use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::HeaderMap;
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::{Config, StorageType};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::rig::{Case, PATIENCE, Rig, code, consumer, counted, fetched, text, texts, until};

pub(crate) const CASES: &[Case] = &[
    Case { name: "stream_made_and_shown", run: |rig| Box::pin(made_and_shown(rig)) },
    Case { name: "stream_errors", run: |rig| Box::pin(errors(rig)) },
    Case { name: "stream_emptied", run: |rig| Box::pin(emptied(rig)) },
    Case { name: "message_looked_up", run: |rig| Box::pin(looked_up(rig)) },
    Case { name: "publish_is_acknowledged", run: |rig| Box::pin(acknowledged(rig)) },
    Case { name: "publish_many_at_once", run: |rig| Box::pin(many_at_once(rig)) },
    Case { name: "fetch_and_ack", run: |rig| Box::pin(fetch_and_ack(rig)) },
    Case { name: "fetch_much", run: |rig| Box::pin(fetch_much(rig)) },
    Case { name: "consume_much", run: |rig| Box::pin(consume_much(rig)) },
    Case { name: "nak_for_later", run: |rig| Box::pin(nak_for_later(rig)) },
    Case { name: "redelivered_when_the_lease_ends", run: |rig| Box::pin(lease_ends(rig)) },
    Case { name: "consumer_filters_many", run: |rig| Box::pin(filters(rig)) },
    Case { name: "ordered_reading", run: |rig| Box::pin(ordered(rig)) },
];

async fn made_and_shown(rig: Rig) -> Result<Value> {
    let stream = rig.stream(|config| {
        config.max_messages = 10;
        config.description = Some("mine".into());
    });
    let stream = stream.await?;
    rig.fill(3, &["a"]).await?;
    let info = stream.get_info().await?;
    let (config, state) = (info.config, info.state);
    Ok(json!({
        "name": config.name == rig.stem, "subjects": config.subjects == [rig.subject(">")], "max_msgs": config.max_messages,
        "description": config.description, "messages": state.messages, "first": state.first_sequence, "last": state.last_sequence,
    }))
}

async fn errors(rig: Rig) -> Result<Value> {
    rig.stream(|_| ()).await?;
    let config =
        |name: String, subject: String| Config { name, subjects: vec![subject], ..Config::default() };
    let taken = rig.js.create_stream(config(rig.stem.clone(), "other".into())).await;
    let overlap = rig.js.create_stream(config(format!("{}-2", rig.stem), rig.subject("a"))).await;
    Ok(
        json!({ "unknown": code(rig.js.get_stream("no-such").await), "taken": code(taken), "overlap": code(overlap) }),
    )
}

async fn emptied(rig: Rig) -> Result<Value> {
    let stream = rig.stream(|_| ()).await?;
    rig.fill(6, &["a", "b"]).await?;
    stream.purge().filter(rig.subject("a")).await?;
    let filtered = stream.get_info().await?.state.messages;
    stream.purge().await?;
    let state = stream.get_info().await?.state;
    Ok(json!([filtered, state.messages, state.first_sequence, state.last_sequence]))
}

async fn looked_up(rig: Rig) -> Result<Value> {
    let stream = rig.stream(|config| config.allow_direct = true).await?;
    rig.fill(4, &["a", "b"]).await?;
    let by_place = stream.get_raw_message(2).await?;
    let last = stream.get_last_raw_message_by_subject(&rig.subject("a")).await?;
    let direct = stream.direct_get(3).await?;
    stream.delete_message(2).await?;
    // The library's own word for what the server calls 10037.
    let none = |found: bool| if found { "there".into() } else { json!(10037) };
    let gone = stream.get_raw_message(2).await.is_ok();
    let beyond = stream.get_raw_message(99).await.is_ok();
    Ok(json!([
        text(&by_place.payload),
        by_place.sequence,
        text(&last.payload),
        last.sequence,
        text(&direct.payload),
        none(gone),
        none(beyond)
    ]))
}

async fn acknowledged(rig: Rig) -> Result<Value> {
    rig.stream(|_| ()).await?;
    let mut found = Vec::new();
    for id in ["1", "2", "1"] {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        let ack = rig.js.publish_with_headers(rig.subject("a"), headers, "x".into()).await?.await?;
        found.push(json!([ack.stream == rig.stem, ack.sequence, ack.duplicate]));
    }
    Ok(json!(found))
}

async fn many_at_once(rig: Rig) -> Result<Value> {
    let stream = rig.stream(|config| config.storage = StorageType::File).await?;
    let mut places = rig.publish_many(500).await?;
    places.sort_unstable();
    Ok(json!([places == (1..=500).collect::<Vec<_>>(), stream.get_info().await?.state.messages]))
}

async fn fetch_and_ack(rig: Rig) -> Result<Value> {
    let stream = rig.stream(|_| ()).await?;
    rig.fill(5, &["a"]).await?;
    let consumer = consumer(&stream, |_| ()).await?;
    let found = fetched(&consumer, 3).await?;
    for message in &found {
        message.double_ack().await.map_err(anyhow::Error::from_boxed)?;
    }
    let info = consumer.get_info().await?;
    let meta = found[1].info().map_err(anyhow::Error::from_boxed)?;
    Ok(json!({
        "bodies": texts(&found),
        "meta": [meta.stream_sequence, meta.consumer_sequence, meta.delivered, meta.pending, meta.stream == rig.stem, meta.consumer],
        "floor": [info.ack_floor.stream_sequence, info.num_ack_pending, info.num_pending],
    }))
}

async fn fetch_much(rig: Rig) -> Result<Value> {
    let stream = rig.stream(|_| ()).await?;
    rig.publish_many(1000).await?;
    let consumer = consumer(&stream, |_| ()).await?;
    let found = fetched(&consumer, 1000).await?;
    for message in &found {
        message.ack().await.map_err(anyhow::Error::from_boxed)?;
    }
    until(async || {
        let info = consumer.get_info().await?;
        Ok(info.num_ack_pending == 0 && info.ack_floor.stream_sequence == 1000)
    })
    .await?;
    Ok(json!([texts(&found) == counted(1000), true]))
}

async fn consume_much(rig: Rig) -> Result<Value> {
    let stream = rig.stream(|_| ()).await?;
    rig.publish_many(2000).await?;
    let consumer = consumer(&stream, |_| ()).await?;
    let mut messages = consumer.stream().max_messages_per_batch(100).messages().await?;
    let mut found = Vec::new();
    while found.len() < 2000 {
        let message =
            tokio::time::timeout(PATIENCE, messages.next()).await?.context("the consumer ended")??;
        message.ack().await.map_err(anyhow::Error::from_boxed)?;
        found.push(text(&message.payload));
    }
    until(async || Ok(consumer.get_info().await?.num_ack_pending == 0)).await?;
    Ok(json!(found == counted(2000)))
}

async fn nak_for_later(rig: Rig) -> Result<Value> {
    let stream = rig.stream(|_| ()).await?;
    rig.fill(2, &["a"]).await?;
    let consumer = consumer(&stream, |_| ()).await?;
    let later = AckKind::Nak(Some(Duration::from_millis(300)));
    fetched(&consumer, 1).await?[0].ack_with(later).await.map_err(anyhow::Error::from_boxed)?;
    let mut order = Vec::new();
    while order.len() < 2 {
        let found = fetched(&consumer, 1).await?;
        found[0].ack().await.map_err(anyhow::Error::from_boxed)?;
        order.extend(texts(&found));
    }
    Ok(json!(order))
}

async fn lease_ends(rig: Rig) -> Result<Value> {
    let stream = rig.stream(|_| ()).await?;
    rig.fill(1, &["a"]).await?;
    let consumer = consumer(&stream, |config| {
        config.ack_wait = Duration::from_millis(300);
        config.max_deliver = 3;
    });
    let consumer = consumer.await?;
    let mut counts = Vec::new();
    while counts.len() < 3 {
        let found = fetched(&consumer, 1).await?;
        counts.push(found[0].info().map_err(anyhow::Error::from_boxed)?.delivered);
    }
    Ok(json!(counts))
}

async fn filters(rig: Rig) -> Result<Value> {
    let stream = rig.stream(|_| ()).await?;
    rig.fill(9, &["a", "b", "c"]).await?;
    let subjects = vec![rig.subject("a"), rig.subject("c")];
    let consumer = consumer(&stream, |config| config.filter_subjects = subjects).await?;
    Ok(json!(texts(&fetched(&consumer, 6).await?)))
}

async fn ordered(rig: Rig) -> Result<Value> {
    let stream = rig.stream(|_| ()).await?;
    rig.publish_many(500).await?;
    let consumer = stream.create_consumer(pull::OrderedConfig::default()).await?;
    let mut messages = consumer.messages().await?;
    let mut found = Vec::new();
    while found.len() < 500 {
        let message =
            tokio::time::timeout(PATIENCE, messages.next()).await?.context("the consumer ended")??;
        found.push(text(&message.payload));
    }
    Ok(json!(found == counted(500)))
}
