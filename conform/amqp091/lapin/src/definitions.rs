//! Connections, exchanges, queues: what is declared and what is refused.

use std::time::Instant;

use anyhow::{Context, Result};
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ExchangeBindOptions, ExchangeDeclareOptions,
    ExchangeDeleteOptions, ExchangeUnbindOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
    QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::{Map, Value, json};

use crate::rig::{
    Case, PATIENCE, Reader, Rig, TRANSIENT, bind, body, case, confirming, drain, late, look, outcome,
    publish, publish_all, ready, table, text,
};

pub(crate) const CASES: &[Case] = &[
    case!(wrong_password),
    case!(unknown_vhost),
    case!(channel_after_error),
    case!(exchange_types),
    case!(unknown_exchange_404),
    case!(unknown_exchange_type),
    case!(direct_and_fanout),
    case!(topic_wildcards),
    case!(e2e_binding),
    case!(declare_counts),
    case!(server_named_queue),
    case!(passive_404),
    case!(inequivalent_arg_406),
    case!(exclusive_405),
    case!(queue_delete),
];

/// A fresh channel, since a refusal closes it.
async fn fresh(connection: &Connection) -> Result<Channel> {
    Ok(connection.create_channel().await?)
}

async fn wrong_password(rig: Rig) -> Result<Value> {
    let url = rig.url.replacen("guest:guest", "guest:wrong", 1) + "%2f";
    let mut answer = outcome(Connection::connect(&url, ConnectionProperties::default()).await);
    answer[0] = json!("connection"); // lapin judges by the code, and 403 is a channel's; but no channel is open yet
    Ok(answer)
}

async fn unknown_vhost(rig: Rig) -> Result<Value> {
    let url = format!("{}no-such-vhost", rig.url);
    Ok(outcome(Connection::connect(&url, ConnectionProperties::default()).await))
}

async fn channel_after_error(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let closed = outcome(look(&fresh(&connection).await?, "channel_after_error.missing").await);
    let again = fresh(&connection).await?;
    Ok(
        json!({ "closed": closed, "reopened": again.status().connected(), "connection": connection.status().connected() }),
    )
}

async fn exchange_types(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let channel = fresh(&connection).await?;
    let mut answers = Map::new();
    let kinds = [
        ("direct", ExchangeKind::Direct),
        ("topic", ExchangeKind::Topic),
        ("fanout", ExchangeKind::Fanout),
        ("headers", ExchangeKind::Headers),
    ];
    for (word, kind) in kinds {
        let name = rig.exchange(&channel, kind.clone(), &format!(".{word}")).await?;
        let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
        answers.insert(
            word.to_owned(),
            outcome(
                channel.exchange_declare(name.as_str().into(), kind, passive, FieldTable::default()).await,
            ),
        );
    }
    Ok(Value::Object(answers))
}

async fn unknown_exchange_404(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let missing = "no.such.exchange";
    let none = FieldTable::default;
    let queue = rig.queue(&fresh(&connection).await?, "", TRANSIENT, none()).await?;
    let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
    let declared = fresh(&connection)
        .await?
        .exchange_declare(missing.into(), ExchangeKind::Direct, passive, none())
        .await;
    let channel = confirming(&connection).await?;
    let published = match channel
        .basic_publish(
            missing.into(),
            "key".into(),
            BasicPublishOptions::default(),
            b"lost",
            BasicProperties::default(),
        )
        .await
    {
        Ok(confirm) => outcome(confirm.await),
        Err(error) => outcome::<()>(Err(error)),
    };
    let channel = fresh(&connection).await?;
    let bound = channel
        .queue_bind(queue.as_str().into(), missing.into(), "key".into(), QueueBindOptions::default(), none())
        .await;
    let channel = fresh(&connection).await?;
    let exchange_bound = channel
        .exchange_bind(
            missing.into(),
            "amq.direct".into(),
            "key".into(),
            ExchangeBindOptions::default(),
            none(),
        )
        .await;
    let deleted =
        fresh(&connection).await?.exchange_delete(missing.into(), ExchangeDeleteOptions::default()).await;
    Ok(json!({
        "passive": outcome(declared), "publish": published, "bind": outcome(bound),
        "exchange_bind": outcome(exchange_bound), "delete": outcome(deleted),
    }))
}

async fn unknown_exchange_type(rig: Rig) -> Result<Value> {
    let channel = fresh(&rig.connect().await?).await?;
    let kind = ExchangeKind::Custom("no-such-type".to_owned());
    let declared = channel.exchange_declare(
        "unknown_exchange_type".into(),
        kind,
        ExchangeDeclareOptions::default(),
        FieldTable::default(),
    );
    Ok(outcome(declared.await))
}

async fn direct_and_fanout(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let channel = confirming(&connection).await?;
    let direct = rig.exchange(&channel, ExchangeKind::Direct, ".direct").await?;
    let fanout = rig.exchange(&channel, ExchangeKind::Fanout, ".fanout").await?;
    let one = rig.bound(&channel, &direct, ".one", "a").await?;
    bind(&channel, &one, &direct, "b").await?;
    bind(&channel, &one, &fanout, "ignored").await?;
    let two = rig.bound(&channel, &direct, ".two", "a").await?;
    for key in ["a", "b", "c"] {
        publish(&channel, &direct, key, format!("direct {key}").as_bytes(), BasicProperties::default())
            .await?;
    }
    publish(&channel, &fanout, "whatever", b"fanout", BasicProperties::default()).await?;
    Ok(json!({ "one": drain(&channel, &one).await?, "two": drain(&channel, &two).await? }))
}

async fn topic_wildcards(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let channel = confirming(&connection).await?;
    let exchange = rig.exchange(&channel, ExchangeKind::Topic, "").await?;
    let patterns = [
        "#", "*", "a", "a.b", "a.*", "*.b", "a.#", "#.b", "a.#.c", "*.*", "#.#", "a.*.#", "*.#.*", "", ".",
        "a..b", "a.*.b",
    ];
    let keys = ["", "a", "b", "a.b", "a.b.c", "a.x.y.c", "b.b", "a.", ".", "..", "a..b", "a.c"];
    let mut queues = Vec::new();
    for (number, pattern) in patterns.iter().enumerate() {
        queues.push(rig.bound(&channel, &exchange, &format!(".{number}"), pattern).await?);
    }
    for key in keys {
        let body = if key.is_empty() { "<empty>" } else { key };
        publish(&channel, &exchange, key, body.as_bytes(), BasicProperties::default()).await?;
    }
    let mut answers = Map::new();
    for (pattern, queue) in patterns.iter().zip(&queues) {
        answers.insert((*pattern).to_owned(), json!(drain(&channel, queue).await?));
    }
    Ok(Value::Object(answers))
}

async fn e2e_binding(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let channel = confirming(&connection).await?;
    let first = rig.exchange(&channel, ExchangeKind::Topic, ".first").await?;
    let second = rig.exchange(&channel, ExchangeKind::Direct, ".second").await?;
    let queue = rig.bound(&channel, &second, ".queue", "a.b").await?;
    let plain = ExchangeBindOptions::default;
    channel
        .exchange_bind(
            second.as_str().into(),
            first.as_str().into(),
            "a.#".into(),
            plain(),
            FieldTable::default(),
        )
        .await?;
    channel
        .exchange_bind(
            first.as_str().into(),
            second.as_str().into(),
            "a.b".into(),
            plain(),
            FieldTable::default(),
        )
        .await?; // a cycle
    publish(&channel, &first, "a.b", b"through two", BasicProperties::default()).await?;
    publish(&channel, &first, "a.c", b"matches only the first", BasicProperties::default()).await?;
    let through = drain(&channel, &queue).await?;
    let unbind = |key: &'static str| {
        channel.exchange_unbind(
            second.as_str().into(),
            first.as_str().into(),
            key.into(),
            ExchangeUnbindOptions::default(),
            FieldTable::default(),
        )
    };
    unbind("a.#").await?;
    publish(&channel, &first, "a.b", b"unbound", BasicProperties::default()).await?;
    let unbound = drain(&channel, &queue).await?;
    Ok(json!({ "through": through, "unbound": unbound, "unknown_binding": outcome(unbind("never").await) }))
}

async fn declare_counts(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let channel = confirming(&connection).await?;
    let durable = QueueDeclareOptions { durable: true, ..TRANSIENT };
    let queue = rig.queue(&channel, "", durable, FieldTable::default()).await?;
    publish_all(&channel, &queue, &["1", "2", "3"]).await?;
    let first = channel.queue_declare(queue.as_str().into(), durable, FieldTable::default()).await?;
    Reader::start(&connection, &queue, 1, FieldTable::default()).await?.wait(1).await?;
    let second = channel.queue_declare(queue.as_str().into(), durable, FieldTable::default()).await?;
    Ok([first, second]
        .iter()
        .map(|queue| json!([queue.name().as_str(), queue.message_count(), queue.consumer_count()]))
        .collect())
}

async fn server_named_queue(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let channel = confirming(&connection).await?;
    let own = QueueDeclareOptions { exclusive: true, ..TRANSIENT };
    let name = channel.queue_declare("".into(), own, FieldTable::default()).await?.name().to_string();
    bind(&channel, "", "amq.fanout", "").await?; // the last queue declared on this channel
    publish(&channel, "amq.fanout", "", b"to the last", BasicProperties::default()).await?;
    let got =
        channel.basic_get("".into(), BasicGetOptions { no_ack: true }).await?.context("nothing came")?;
    let other = channel.queue_declare("".into(), own, FieldTable::default()).await?.name().to_string();
    let none_declared = outcome(look(&fresh(&connection).await?, "").await);
    let purged = fresh(&connection).await?.queue_purge("".into(), QueuePurgeOptions::default()).await;
    Ok(json!({
        "name": if name.starts_with("amq.gen-") { "amq.gen-*" } else { name.as_str() },
        "fresh": name != other, "got": body(&got), "none_declared": none_declared, "purge_none": outcome(purged),
    }))
}

/// Every verb on a queue; only what is asked for differs between the cases.
async fn verbs(connection: &Connection, queue: &str) -> Result<Map<String, Value>> {
    let none = FieldTable::default;
    let mut answers = Map::new();
    let mut note = |verb: &str, answer| answers.insert(verb.to_owned(), answer);
    note("passive", outcome(look(&fresh(connection).await?, queue).await));
    let consumed = fresh(connection)
        .await?
        .basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), none())
        .await;
    note("consume", outcome(consumed));
    note("get", outcome(fresh(connection).await?.basic_get(queue.into(), BasicGetOptions::default()).await));
    note(
        "purge",
        outcome(fresh(connection).await?.queue_purge(queue.into(), QueuePurgeOptions::default()).await),
    );
    let options = QueueBindOptions::default();
    note(
        "bind",
        outcome(
            fresh(connection)
                .await?
                .queue_bind(queue.into(), "amq.direct".into(), "x".into(), options, none())
                .await,
        ),
    );
    note(
        "delete",
        outcome(fresh(connection).await?.queue_delete(queue.into(), QueueDeleteOptions::default()).await),
    );
    Ok(answers)
}

async fn passive_404(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let missing = "passive_404.missing";
    let mut answers = verbs(&connection, missing).await?;
    let declared = answers.remove("passive").context("it was asked")?;
    answers.insert("declare".to_owned(), declared);
    let unbound = fresh(&connection)
        .await?
        .queue_unbind(missing.into(), "amq.direct".into(), "x".into(), FieldTable::default())
        .await;
    answers.insert("unbind".to_owned(), outcome(unbound));
    Ok(Value::Object(answers))
}

async fn inequivalent_arg_406(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let durable = QueueDeclareOptions { durable: true, ..TRANSIENT };
    let ttl = |value| ("x-message-ttl", AMQPValue::LongInt(value));
    let length = ("x-max-length", AMQPValue::LongInt(10));
    let target = ("x-dead-letter-exchange", text("amq.direct"));
    let given = || table([ttl(60_000), length.clone(), target.clone()]);
    let name = rig.queue(&fresh(&connection).await?, "", durable, given()).await?;
    let with = |name: &'static str, value| {
        let mut table = given();
        table.insert(name.into(), value);
        table
    };
    let tried = [
        ("same", durable, given()),
        ("number_of_another_width", durable, with("x-max-length", AMQPValue::LongLongInt(10))),
        ("durable", TRANSIENT, given()),
        ("auto_delete", QueueDeclareOptions { auto_delete: true, ..durable }, given()),
        ("exclusive", QueueDeclareOptions { exclusive: true, ..durable }, given()),
        ("other_value", durable, with("x-message-ttl", AMQPValue::LongInt(60_001))),
        ("missing", durable, table([ttl(60_000), length.clone()])),
        ("one_more", durable, with("x-expires", AMQPValue::LongInt(60_000))),
        ("unknown_argument", durable, with("x-unheard-of", AMQPValue::LongInt(1))),
        ("passive_ignores_all", QueueDeclareOptions { passive: true, ..TRANSIENT }, FieldTable::default()),
    ];
    let mut answers = Map::new();
    for (what, options, arguments) in tried {
        let declared =
            fresh(&connection).await?.queue_declare(name.as_str().into(), options, arguments).await;
        answers.insert(what.to_owned(), outcome(declared));
    }
    Ok(Value::Object(answers))
}

async fn exclusive_405(rig: Rig) -> Result<Value> {
    let (owner, other) = (rig.connect().await?, rig.connect().await?);
    let own = QueueDeclareOptions { exclusive: true, ..TRANSIENT };
    let owning = fresh(&owner).await?;
    owning.queue_declare(rig.name.into(), own, FieldTable::default()).await?;
    let mut refused = verbs(&other, rig.name).await?;
    let declared = fresh(&other).await?.queue_declare(rig.name.into(), own, FieldTable::default()).await;
    refused.insert("declare".to_owned(), outcome(declared));
    publish_all(&confirming(&other).await?, rig.name, &["anyone may publish"]).await?;
    let owner_got = drain(&owning, rig.name).await?;
    owner.close(200, "done".into()).await?;
    let deadline = Instant::now() + PATIENCE;
    let after_close = loop {
        let answer = outcome(look(&fresh(&other).await?, rig.name).await);
        if answer[1] == 404 {
            break answer;
        }
        late(deadline).await?;
    };
    Ok(json!({ "refused": refused, "owner_got": owner_got, "after_close": after_close }))
}

async fn queue_delete(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let channel = confirming(&connection).await?;
    let queue = rig.queue(&channel, "", TRANSIENT, FieldTable::default()).await?;
    publish_all(&channel, &queue, &["1", "2"]).await?;
    let if_empty = QueueDeleteOptions { if_empty: true, ..Default::default() };
    let not_empty = outcome(fresh(&connection).await?.queue_delete(queue.as_str().into(), if_empty).await);
    let mut reader = Reader::start(&connection, &queue, 0, FieldTable::default()).await?;
    let if_unused = QueueDeleteOptions { if_unused: true, ..Default::default() };
    let used = outcome(fresh(&connection).await?.queue_delete(queue.as_str().into(), if_unused).await);
    reader.wait(2).await?;
    reader.channel.close(200, "done".into()).await?;
    ready(&channel, &queue, 2).await?;
    let deleted = channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
    let again = channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
    Ok(json!({ "not_empty": not_empty, "used": used, "deleted": deleted, "again": again }))
}
