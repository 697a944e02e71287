//! Records, as they are sent and read.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rdkafka::consumer::Consumer as _;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Map, Value, json};

use crate::rig::{Case, PATIENCE, Rig, Sent, numbers, offsets, texts, values};

pub(crate) const CASES: &[Case] = &[
    Case { name: "codec_none", run: |rig| codec(rig, "none") },
    Case { name: "codec_gzip", run: |rig| codec(rig, "gzip") },
    Case { name: "codec_snappy", run: |rig| codec(rig, "snappy") },
    Case { name: "codec_lz4", run: |rig| codec(rig, "lz4") },
    Case { name: "codec_zstd", run: |rig| codec(rig, "zstd") },
    Case { name: "order_and_offsets", run: order_and_offsets },
    Case { name: "idempotent_producer", run: idempotent_producer },
    Case { name: "record_too_large", run: record_too_large },
    Case { name: "compacted_needs_keys", run: compacted_needs_keys },
    Case { name: "read_from_offset", run: read_from_offset },
    Case { name: "read_from_inside_a_batch", run: read_from_inside_a_batch },
    Case { name: "list_offsets", run: list_offsets },
];

fn counted(found: &[Value], count: usize) -> bool {
    found.len() == count && found.iter().enumerate().all(|(index, one)| *one == json!(index))
}

fn codec(rig: &mut Rig<'_>, codec: &str) -> Result<Value> {
    let topic = rig.topic(1, &[])?;
    let record = |number: usize| Sent {
        key: Some(format!("key {number}")),
        value: format!("value {number} ").repeat(20),
        time_ms: None,
    };
    let sent: Vec<Sent> = (0..50).map(record).collect();
    let placed = rig.produce((&topic, 0), &sent, &[("compression.type", codec)])?;
    let read = rig.read(&topic, 50, Offset::Offset(0))?;
    let in_order = counted(&placed, 50) && offsets(&read) == (0..50).collect::<Vec<i64>>();
    let same = read.iter().zip(&sent).all(|(read, sent)| read.key == sent.key && read.value == sent.value);
    Ok(json!({ "in_order": in_order, "same": same }))
}

fn order_and_offsets(rig: &mut Rig<'_>) -> Result<Value> {
    let topic = rig.topic(1, &[])?;
    let placed = rig.produce((&topic, 0), &numbers(2000), &[])?;
    let read = rig.read(&topic, 2000, Offset::Offset(0))?;
    let in_order = read.iter().enumerate().all(|(index, one)| one.value == index.to_string());
    let offsets: Vec<Value> = offsets(&read).into_iter().map(Value::from).collect();
    Ok(json!({ "placed": counted(&placed, 2000), "read": in_order, "offsets": offsets == placed }))
}

fn idempotent_producer(rig: &mut Rig<'_>) -> Result<Value> {
    let topic = rig.topic(1, &[])?;
    let mut placed = Vec::new();
    for _ in 0..2 {
        placed.extend(rig.produce((&topic, 0), &numbers(500), &[("enable.idempotence", "true")])?);
    }
    Ok(json!({ "placed": counted(&placed, 1000), "end": rig.ends(&topic)?.1 }))
}

fn record_too_large(rig: &mut Rig<'_>) -> Result<Value> {
    let topic = rig.topic(1, &[("max.message.bytes", "1000")])?;
    let mut placed = Vec::new();
    for size in [100, 2000, 100] {
        placed.extend(rig.produce((&topic, 0), &texts(&[&"x".repeat(size)]), &[])?);
    }
    Ok(json!(placed))
}

fn compacted_needs_keys(rig: &mut Rig<'_>) -> Result<Value> {
    let topic = rig.topic(1, &[("cleanup.policy", "compact")])?;
    let keyed = Sent { key: Some("k".to_owned()), value: "v".to_owned(), time_ms: None };
    let mut placed = rig.produce((&topic, 0), &[keyed], &[])?;
    placed.extend(rig.produce((&topic, 0), &texts(&["no key"]), &[])?);
    Ok(json!(placed))
}

fn read_from_offset(rig: &mut Rig<'_>) -> Result<Value> {
    let topic = rig.topic(1, &[])?;
    rig.produce((&topic, 0), &numbers(10), &[])?;
    let mut answer = Map::new();
    for start in [0, 3, 7] {
        answer.insert(start.to_string(), json!(values(&rig.read(&topic, 2, Offset::Offset(start))?)));
    }
    answer.insert("earliest".to_owned(), json!(values(&rig.read(&topic, 2, Offset::Beginning)?)));
    Ok(Value::Object(answer))
}

fn read_from_inside_a_batch(rig: &mut Rig<'_>) -> Result<Value> {
    let topic = rig.topic(1, &[])?;
    rig.produce((&topic, 0), &numbers(20), &[("compression.type", "gzip")])?;
    let read = rig.read(&topic, 3, Offset::Offset(13))?;
    let read = &read[..3];
    Ok(json!({ "values": values(read), "offsets": offsets(read) }))
}

fn list_offsets(rig: &mut Rig<'_>) -> Result<Value> {
    let topic = rig.topic(1, &[])?;
    let empty = rig.ends(&topic)?;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let base = now - 100_000;
    for step in 0..4 {
        let record = Sent { value: "x".to_owned(), time_ms: Some(base + step * 1000), key: None };
        rig.produce((&topic, 0), &[record], &[])?;
    }
    let consumer = rig.consumer(&[])?;
    let at = |millis: i64| -> Result<i64> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset(&topic, 0, Offset::Offset(millis))?;
        let found = consumer.offsets_for_times(asked, PATIENCE)?;
        let found = found.elements();
        Ok(match found.first().context("the partition is answered")?.offset() {
            Offset::Offset(offset) => offset,
            _ => -1, // librdkafka puts the end where there is none
        })
    };
    Ok(json!({
        "empty": empty,
        "ends": rig.ends(&topic)?,
        "exact": at(base + 1000)?,
        "between": at(base + 1500)?,
        "before": at(1000)?,
        "after": at(base + 50_000)?,
    }))
}
