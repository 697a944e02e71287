//! Publishing, consuming, limits: what happens to messages.

use anyhow::{Context, Result, bail};
use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
    BasicPublishOptions, BasicQosOptions, BasicRecoverOptions, BasicRejectOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation, ExchangeKind};
use serde_json::{Map, Value, json};

use crate::rig::{
    Case, PATIENCE, Reader, Rig, TRANSIENT, body, case, confirming, dead_letters, drain, headers, late, look,
    outcome, publish, publish_all, ready, table, take, text,
};

pub(crate) const CASES: &[Case] = &[
    case!(publish_confirm),
    case!(mandatory_return_before_confirm),
    case!(unroutable_is_confirmed),
    case!(reject_publish),
    case!(large_body),
    case!(basic_get),
    case!(consume_and_ack),
    case!(nack_multiple),
    case!(requeue_keeps_place),
    case!(recover),
    case!(qos_per_consumer),
    case!(qos_global),
    case!(exclusive_consumer_403),
    case!(consumer_priority),
    case!(single_active_consumer),
    case!(cancel_notify),
    case!(ttl_queue),
    case!(expiration_per_message),
    case!(maxlen_drop_head),
    case!(dead_letter_rejected_x_death),
    case!(priority_queue),
    case!(delivery_limit_quorum),
];

const MULTIPLE: BasicAckOptions = BasicAckOptions { multiple: true };

async fn publish_confirm(rig: Rig) -> Result<Value> {
    let channel = confirming(&rig.connect().await?).await?;
    let durable = QueueDeclareOptions { durable: true, ..TRANSIENT };
    let queue = rig.queue(&channel, "", durable, FieldTable::default()).await?;
    let mut open = Vec::new();
    for number in 0..200_u32 {
        let mode = if number % 2 == 0 { 2 } else { 1 };
        let properties = BasicProperties::default().with_delivery_mode(mode);
        let body = number.to_string();
        open.push(
            channel
                .basic_publish(
                    "".into(),
                    queue.as_str().into(),
                    BasicPublishOptions::default(),
                    body.as_bytes(),
                    properties,
                )
                .await?,
        );
    }
    let (mut confirmed, mut refused) = (0, 0);
    for confirm in open {
        match confirm.await? {
            Confirmation::Ack(_) => confirmed += 1,
            _ => refused += 1,
        }
    }
    let wanted: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    Ok(
        json!({ "confirmed": confirmed, "refused": refused, "in_order": drain(&channel, &queue).await? == wanted }),
    )
}

async fn mandatory_return_before_confirm(rig: Rig) -> Result<Value> {
    let channel = confirming(&rig.connect().await?).await?;
    let mandatory = BasicPublishOptions { mandatory: true, ..Default::default() };
    let properties = BasicProperties::default()
        .with_message_id("m1".into())
        .with_headers(table([("a", AMQPValue::LongInt(1))]));
    let confirm = channel
        .basic_publish("amq.direct".into(), "nowhere".into(), mandatory, b"back to sender", properties)
        .await?;
    // lapin hands over the returned message with the confirm, so it can only have come before it.
    let Confirmation::Ack(Some(back)) = confirm.await? else {
        bail!("no message came back with the confirm")
    };
    let message_id = back.properties.message_id().as_ref().map(ToString::to_string);
    Ok(json!({
        "return": [back.reply_code, back.reply_text.as_str(), back.exchange.as_str(), back.routing_key.as_str()],
        "properties": [message_id, headers(&back)],
        "body": body(&back),
        "then": ["Basic.Ack", 1],
    }))
}

async fn unroutable_is_confirmed(rig: Rig) -> Result<Value> {
    let channel = confirming(&rig.connect().await?).await?;
    Ok(match publish(&channel, "amq.direct", "nowhere", b"x", BasicProperties::default()).await? {
        Confirmation::Ack(None) => json!("Basic.Ack"),
        other => json!(format!("{other:?}")),
    })
}

async fn reject_publish(rig: Rig) -> Result<Value> {
    let channel = confirming(&rig.connect().await?).await?;
    let limits = table([("x-max-length", AMQPValue::LongInt(2)), ("x-overflow", text("reject-publish"))]);
    let queue = rig.queue(&channel, "", TRANSIENT, limits).await?;
    let mut refused = Vec::new();
    for body in ["1", "2", "3"] {
        if let Confirmation::Nack(_) =
            publish(&channel, "", &queue, body.as_bytes(), BasicProperties::default()).await?
        {
            refused.push(body);
        }
    }
    let kept = drain(&channel, &queue).await?;
    publish_all(&channel, &queue, &["4"]).await?;
    Ok(json!({ "refused": refused.join(","), "kept": kept, "room_again": drain(&channel, &queue).await? }))
}

async fn large_body(rig: Rig) -> Result<Value> {
    let channel = confirming(&rig.connect().await?).await?;
    let queue = rig.queue(&channel, "", TRANSIENT, FieldTable::default()).await?;
    let large: Vec<u8> = (0..=255).cycle().take(8 << 20).collect();
    publish(&channel, "", &queue, &large, BasicProperties::default()).await?;
    publish(&channel, "", &queue, b"", BasicProperties::default()).await?;
    let (first, second) = (take(&channel, &queue).await?, take(&channel, &queue).await?);
    Ok(json!({ "bytes": first.data.len(), "intact": first.data == large, "empty": second.data.len() }))
}

async fn basic_get(rig: Rig) -> Result<Value> {
    let channel = confirming(&rig.connect().await?).await?;
    let queue = rig.queue(&channel, "", TRANSIENT, FieldTable::default()).await?;
    let get = |no_ack| channel.basic_get(queue.as_str().into(), BasicGetOptions { no_ack });
    let empty = get(false).await?.is_none();
    publish_all(&channel, &queue, &["1", "2", "3"]).await?;
    let first = get(false).await?.context("a first")?;
    let second = get(true).await?.context("a second")?;
    channel.basic_reject(first.delivery_tag, BasicRejectOptions { requeue: true }).await?;
    let again = get(false).await?.context("the first again")?;
    Ok(json!({
        "empty": empty,
        "first": [first.delivery_tag, first.redelivered, first.message_count, body(&first)],
        "second": [second.delivery_tag, second.redelivered, second.message_count],
        "again": [again.delivery_tag, again.redelivered, again.message_count, body(&again)],
    }))
}

async fn consume_and_ack(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let channel = confirming(&connection).await?;
    let queue = rig.queue(&channel, "", TRANSIENT, FieldTable::default()).await?;
    publish_all(&channel, &queue, &["1", "2", "3", "4", "5"]).await?;
    let mut reader = Reader::start(&connection, &queue, 0, FieldTable::default()).await?;
    reader.wait(5).await?;
    reader.channel.basic_ack(reader.tags()[1], MULTIPLE).await?;
    reader.channel.basic_ack(reader.tags()[3], BasicAckOptions::default()).await?;
    reader.channel.close(200, "done".into()).await?;
    ready(&channel, &queue, 2).await?;
    Ok(json!({ "bodies": reader.bodies(), "tags": reader.tags(), "left": drain(&channel, &queue).await? }))
}

async fn nack_multiple(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let channel = confirming(&connection).await?;
    let queue = rig.queue(&channel, "", TRANSIENT, FieldTable::default()).await?;
    publish_all(&channel, &queue, &["1", "2", "3", "4"]).await?;
    let mut reader = Reader::start(&connection, &queue, 0, FieldTable::default()).await?;
    reader.wait(4).await?;
    reader.channel.basic_nack(reader.tags()[1], BasicNackOptions { multiple: true, requeue: true }).await?;
    reader.wait(6).await?;
    reader.channel.basic_nack(0, BasicNackOptions { multiple: true, requeue: false }).await?;
    reader.channel.basic_qos(0, BasicQosOptions::default()).await?; // a round trip
    let left = look(&channel, &queue).await?.message_count();
    Ok(json!({ "bodies": reader.bodies(), "redelivered": reader.redelivered(), "left": left }))
}

async fn requeue_keeps_place(rig: Rig) -> Result<Value> {
    let channel = confirming(&rig.connect().await?).await?;
    let queue = rig.queue(&channel, "", TRANSIENT, FieldTable::default()).await?;
    publish_all(&channel, &queue, &["1", "2", "3", "4", "5"]).await?;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(
            channel
                .basic_get(queue.as_str().into(), BasicGetOptions::default())
                .await?
                .context("a message")?
                .delivery_tag,
        );
    }
    for at in [2, 0, 3, 1] {
        channel.basic_nack(held[at], BasicNackOptions { multiple: false, requeue: true }).await?;
    }
    let mut answer = Vec::new();
    for _ in 0..5 {
        let got = take(&channel, &queue).await?;
        answer.push(json!([body(&got), got.redelivered]));
    }
    Ok(Value::Array(answer))
}

async fn recover(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let channel = confirming(&connection).await?;
    let queue = rig.queue(&channel, "", TRANSIENT, FieldTable::default()).await?;
    publish_all(&channel, &queue, &["1", "2", "3"]).await?;
    let mut reader = Reader::start(&connection, &queue, 0, FieldTable::default()).await?;
    reader.wait(3).await?;
    reader.channel.basic_ack(reader.tags()[1], BasicAckOptions::default()).await?;
    reader.channel.basic_recover(BasicRecoverOptions { requeue: true }).await?;
    reader.wait(5).await?;
    let other = rig.connect().await?.create_channel().await?;
    let in_place = outcome(other.basic_recover(BasicRecoverOptions { requeue: false }).await);
    Ok(
        json!({ "bodies": reader.bodies(), "redelivered": reader.redelivered(), "tags": reader.tags(), "without_requeue": in_place }),
    )
}

async fn qos_per_consumer(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let channel = confirming(&connection).await?;
    let queue = rig.queue(&channel, "", TRANSIENT, FieldTable::default()).await?;
    publish_all(&channel, &queue, &["1", "2", "3", "4", "5", "6", "7", "8", "9"]).await?;
    let mut two = Reader::start(&connection, &queue, 2, FieldTable::default()).await?;
    two.wait(2).await?;
    // For consumers that start from now on.
    let options = BasicConsumeOptions::default();
    let mut three = Reader::on(two.channel.clone(), &queue, 3, options, FieldTable::default()).await?;
    three.wait(3).await?;
    let ready = look(&channel, &queue).await?.message_count();
    let first = [two.bodies(), three.bodies()];
    two.channel.basic_ack(two.tags()[0], BasicAckOptions::default()).await?;
    two.wait(3).await?;
    Ok(json!({ "first": first, "ready": ready, "after_an_ack": two.bodies() }))
}

async fn qos_global(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let channel = confirming(&connection).await?;
    let queue = rig.queue(&channel, "", TRANSIENT, FieldTable::default()).await?;
    publish_all(&channel, &queue, &["1", "2", "3", "4", "5", "6"]).await?;
    let shared = connection.create_channel().await?;
    shared.basic_qos(3, BasicQosOptions { global: true }).await?;
    let consume = || {
        shared.basic_consume(
            queue.as_str().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
    };
    let mut both = consume().await?.or(consume().await?);
    let mut bodies = Vec::new();
    let mut in_flight_and_ready = Value::Null;
    while bodies.len() < 6 {
        let delivery =
            tokio::time::timeout(PATIENCE, both.next()).await.context("late")?.context("cancelled")??;
        bodies.push(body(&delivery));
        if bodies.len() == 3 {
            in_flight_and_ready = json!([3, look(&channel, &queue).await?.message_count()]);
            shared.basic_ack(0, MULTIPLE).await?;
        }
    }
    bodies.sort();
    Ok(json!({ "in_flight_and_ready": in_flight_and_ready, "all": bodies }))
}

async fn exclusive_consumer_403(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let queue = rig.queue(&connection.create_channel().await?, "", TRANSIENT, FieldTable::default()).await?;
    let exclusive = BasicConsumeOptions { exclusive: true, ..Default::default() };
    let first =
        Reader::on(connection.create_channel().await?, &queue, 0, exclusive, FieldTable::default()).await?;
    let consume = async |options| -> Result<Value> {
        let channel = connection.create_channel().await?;
        Ok(outcome(
            channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default()).await,
        ))
    };
    let second = consume(BasicConsumeOptions::default()).await?;
    first.channel.basic_cancel(first.consumer.tag(), BasicCancelOptions::default()).await?;
    let normal = Reader::start(&connection, &queue, 0, FieldTable::default()).await?;
    let late = consume(exclusive).await?;
    Ok(
        json!({ "second": second, "exclusive_beside_another": late, "normal": !normal.consumer.tag().as_str().is_empty() }),
    )
}

async fn consumer_priority(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let channel = confirming(&connection).await?;
    let queue = rig.queue(&channel, "", TRANSIENT, FieldTable::default()).await?;
    let priority = |value| table([("x-priority", AMQPValue::LongInt(value))]);
    let mut readers = [
        ("low", 1, Reader::start(&connection, &queue, 2, priority(-1)).await?),
        ("default", 2, Reader::start(&connection, &queue, 2, FieldTable::default()).await?),
        ("high", 2, Reader::start(&connection, &queue, 2, priority(5)).await?),
    ];
    publish_all(&channel, &queue, &["1", "2", "3", "4", "5"]).await?;
    let mut got = Map::new();
    for (name, count, reader) in readers.iter_mut().rev() {
        reader.wait(*count).await?;
        got.insert((*name).to_owned(), json!(reader.bodies()));
    }
    let other = connection.create_channel().await?;
    let arguments = table([("x-priority", text("high"))]);
    let bad = outcome(
        other
            .basic_consume(queue.as_str().into(), "".into(), BasicConsumeOptions::default(), arguments)
            .await,
    );
    Ok(json!({ "got": got, "bad": bad }))
}

async fn single_active_consumer(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let channel = confirming(&connection).await?;
    let single = table([("x-single-active-consumer", AMQPValue::Boolean(true))]);
    let queue = rig.queue(&channel, "", TRANSIENT, single).await?;
    let mut first = Reader::start(&connection, &queue, 0, FieldTable::default()).await?;
    let mut second = Reader::start(&connection, &queue, 0, FieldTable::default()).await?;
    let mut third = Reader::start(&connection, &queue, 0, FieldTable::default()).await?;
    publish_all(&channel, &queue, &["1", "2", "3"]).await?;
    first.wait(3).await?;
    first.channel.basic_ack(0, MULTIPLE).await?;
    first.channel.basic_cancel(first.consumer.tag(), BasicCancelOptions::default()).await?;
    publish_all(&channel, &queue, &["4", "5"]).await?;
    second.wait(2).await?;
    second.channel.close(200, "done".into()).await?; // unacknowledged: the next in line gets them
    third.wait(2).await?;
    let other = connection.create_channel().await?;
    let exclusive = BasicConsumeOptions { exclusive: true, ..Default::default() };
    let refused = outcome(
        other.basic_consume(queue.as_str().into(), "".into(), exclusive, FieldTable::default()).await,
    );
    let got = [first.bodies(), second.bodies(), third.bodies()];
    Ok(json!({ "got": got, "redelivered": third.redelivered(), "exclusive": refused }))
}

async fn cancel_notify(rig: Rig) -> Result<Value> {
    let connection = rig.connect().await?;
    let channel = confirming(&connection).await?;
    let queue = rig.queue(&channel, "", TRANSIENT, FieldTable::default()).await?;
    let mut reader = Reader::start(&connection, &queue, 0, FieldTable::default()).await?;
    channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
    let end = tokio::time::timeout(PATIENCE, reader.consumer.next()).await.context("late")?;
    Ok(json!({ "cancelled": end.is_none(), "channel": reader.channel.status().connected() }))
}

async fn ttl_queue(rig: Rig) -> Result<Value> {
    let channel = confirming(&rig.connect().await?).await?;
    let target = rig.queue(&channel, ".target", TRANSIENT, FieldTable::default()).await?;
    let mut arguments = table(dead_letters(&target));
    arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(100));
    let queue = rig.queue(&channel, "", TRANSIENT, arguments).await?;
    publish_all(&channel, &queue, &["1", "2"]).await?;
    let (first, second) = (take(&channel, &target).await?, take(&channel, &target).await?);
    let expiration = first.properties.expiration().as_ref().map(ToString::to_string);
    let left = look(&channel, &queue).await?.message_count();
    Ok(
        json!({ "bodies": [body(&first), body(&second)], "headers": headers(&first), "expiration": expiration, "left": left }),
    )
}

async fn expiration_per_message(rig: Rig) -> Result<Value> {
    let channel = confirming(&rig.connect().await?).await?;
    let target = rig.queue(&channel, ".target", TRANSIENT, FieldTable::default()).await?;
    let queue = rig.queue(&channel, "", TRANSIENT, table(dead_letters(&target))).await?;
    publish(&channel, "", &queue, b"x", BasicProperties::default().with_expiration("50".into())).await?;
    let got = take(&channel, &target).await?;
    let expiration = got.properties.expiration().as_ref().map(ToString::to_string);
    Ok(json!({ "body": body(&got), "headers": headers(&got), "expiration": expiration }))
}

async fn maxlen_drop_head(rig: Rig) -> Result<Value> {
    let channel = confirming(&rig.connect().await?).await?;
    let queue = rig.queue(&channel, "", TRANSIENT, table([("x-max-length", AMQPValue::LongInt(2))])).await?;
    publish_all(&channel, &queue, &["1", "2", "3", "4", "5"]).await?;
    ready(&channel, &queue, 2).await?;
    Ok(json!(drain(&channel, &queue).await?))
}

async fn dead_letter_rejected_x_death(rig: Rig) -> Result<Value> {
    let channel = confirming(&rig.connect().await?).await?;
    let exchange = rig.exchange(&channel, ExchangeKind::Topic, ".dlx").await?;
    let target = rig.bound(&channel, &exchange, ".target", "#").await?;
    let arguments = table([("x-dead-letter-exchange", AMQPValue::LongString(exchange.as_str().into()))]);
    let queue = rig.queue(&channel, "", TRANSIENT, arguments).await?;
    let properties = BasicProperties::default()
        .with_headers(table([("mine", AMQPValue::LongInt(1))]))
        .with_message_id("m1".into())
        .with_delivery_mode(2);
    publish(&channel, "", &queue, b"bad", properties).await?;
    let held =
        channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await?.context("a message")?;
    channel.basic_reject(held.delivery_tag, BasicRejectOptions { requeue: false }).await?;
    let got = take(&channel, &target).await?;
    Ok(json!({
        "key": got.routing_key.as_str(),
        "exchange": got.exchange.as_str(),
        "redelivered": got.redelivered,
        "headers": headers(&got),
        "message_id": got.properties.message_id().as_ref().map(ToString::to_string),
        "mode": got.properties.delivery_mode(),
        "body": body(&got),
    }))
}

async fn priority_queue(rig: Rig) -> Result<Value> {
    let channel = confirming(&rig.connect().await?).await?;
    let queue =
        rig.queue(&channel, "", TRANSIENT, table([("x-max-priority", AMQPValue::LongInt(5))])).await?;
    let sent = [
        ("none", None),
        ("one", Some(1)),
        ("five", Some(5)),
        ("nine", Some(9)),
        ("zero", Some(0)),
        ("five again", Some(5)),
        ("three", Some(3)),
    ];
    for (body, priority) in sent {
        let properties = priority.map_or_else(BasicProperties::default, |priority| {
            BasicProperties::default().with_priority(priority)
        });
        publish(&channel, "", &queue, body.as_bytes(), properties).await?;
    }
    Ok(json!(drain(&channel, &queue).await?))
}

async fn delivery_limit_quorum(rig: Rig) -> Result<Value> {
    let channel = confirming(&rig.connect().await?).await?;
    let durable = QueueDeclareOptions { durable: true, ..TRANSIENT };
    let target = rig.queue(&channel, ".target", durable, FieldTable::default()).await?;
    let mut arguments = table(dead_letters(&target));
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(2));
    let queue = rig.queue(&channel, "", durable, arguments).await?;
    publish_all(&channel, &queue, &["x"]).await?;
    let mut seen = Vec::new();
    let deadline = std::time::Instant::now() + PATIENCE;
    while look(&channel, &target).await?.message_count() == 0 {
        let Some(got) = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await? else {
            late(deadline).await?;
            continue;
        };
        let counters = headers(&got);
        seen.push(json!([got.redelivered, counters["x-delivery-count"], counters["x-acquired-count"]]));
        channel.basic_reject(got.delivery_tag, BasicRejectOptions { requeue: true }).await?;
    }
    let dead = headers(&take(&channel, &target).await?.delivery);
    Ok(json!({
        "seen": seen, "x-death": dead["x-death"], "reason": dead["x-first-death-reason"], "x-delivery-count": dead["x-delivery-count"],
    }))
}
