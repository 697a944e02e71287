//! Topics and their configurations, as an administrator sees them.

use anyhow::{Context, Result, anyhow};
use rdkafka::admin::{AdminOptions, ConfigSource, ResourceSpecifier};
use serde_json::{Map, Value, json};

use crate::rig::{Case, Rig, numbers, texts, until, values};

pub(crate) const CASES: &[Case] = &[
    Case { name: "create_topic", run: create_topic },
    Case { name: "create_bad_configs", run: create_bad_configs },
    Case { name: "delete_topic", run: delete_topic },
    Case { name: "create_partitions", run: create_partitions },
    Case { name: "created_with_configs", run: created_with_configs },
    Case { name: "delete_records", run: delete_records },
];

fn create_topic(rig: &mut Rig<'_>) -> Result<Value> {
    let topic = rig.topic(3, &[])?;
    Ok(json!({
        "partitions": rig.partitions(&topic)?,
        "listed": rig.listed(&topic)?,
        "again": rig.create(&topic, 1, &[])?,
    }))
}

fn create_bad_configs(rig: &mut Rig<'_>) -> Result<Value> {
    let refused = |name: &str, value: &str| rig.create(&rig.name(), 1, &[(name, value)]);
    Ok(json!({
        "unknown": refused("no.such.thing", "1")?,
        "word": refused("retention.ms", "soon")?,
        "policy": refused("cleanup.policy", "shred")?,
        "negative": refused("max.message.bytes", "-1")?,
    }))
}

fn delete_topic(rig: &mut Rig<'_>) -> Result<Value> {
    let topic = rig.topic(1, &[])?;
    let code = rig.delete(&topic)?;
    until(|| Ok((!rig.listed(&topic)?).then_some(())))?;
    let never = format!("{topic}.never");
    Ok(json!({ "code": code, "again": rig.delete(&topic)?, "never_there": rig.delete(&never)? }))
}

fn create_partitions(rig: &mut Rig<'_>) -> Result<Value> {
    let topic = rig.topic(2, &[])?;
    rig.produce((&topic, 0), &texts(&["kept"]), &[])?;
    let more = rig.grow(&topic, 4)?;
    until(|| Ok((rig.partitions(&topic)? == 4).then_some(())))?;
    let never = format!("{topic}.never");
    Ok(json!({
        "more": more,
        "same": rig.grow(&topic, 4)?,
        "fewer": rig.grow(&topic, 1)?,
        "unknown": rig.grow(&never, 2)?,
        "in_new": rig.produce((&topic, 3), &texts(&["in the new one"]), &[])?,
        "kept": values(&rig.read(&topic, 1, rdkafka::Offset::Offset(0))?),
    }))
}

fn created_with_configs(rig: &mut Rig<'_>) -> Result<Value> {
    let configs =
        [("retention.ms", "60000"), ("cleanup.policy", "compact,delete"), ("max.message.bytes", "2000")];
    let topic = rig.topic(1, &configs)?;
    let resource = ResourceSpecifier::Topic(&topic);
    let asked = rig.admin.describe_configs([&resource], &AdminOptions::new());
    let found = rig.wait(asked)?.into_iter().next().context("one topic was asked for")?;
    let found = found.map_err(|code| anyhow!("configurations are refused: {code}"))?;
    let mut answer = Map::new();
    for name in ["retention.ms", "cleanup.policy", "max.message.bytes", "segment.bytes"] {
        let entry = found.get(name).with_context(|| format!("{name} is told"))?;
        answer.insert(name.to_owned(), json!([entry.value, entry.source != ConfigSource::DynamicTopic]));
    }
    Ok(Value::Object(answer))
}

fn delete_records(rig: &mut Rig<'_>) -> Result<Value> {
    use rdkafka::{Offset, TopicPartitionList};
    let topic = rig.topic(1, &[])?;
    rig.produce((&topic, 0), &numbers(10), &[])?;
    let cut = |before: Offset| -> Result<Value> {
        let mut place = TopicPartitionList::new();
        place.add_partition_offset(&topic, 0, before)?;
        let found = rig.wait(rig.admin.delete_records(&place, &AdminOptions::new()))?;
        let found = found.elements();
        let found = found.first().context("the partition is answered")?;
        Ok(match found.error() {
            Ok(()) => json!(found.offset().to_raw()),
            Err(error) => json!({ "code": crate::rig::code_of(&error)? }),
        })
    };
    let low = cut(Offset::Offset(4))?;
    let earliest = rig.ends(&topic)?.0;
    let read = rig.read(&topic, 2, Offset::Offset(4))?;
    let (beyond, back, everything) = (cut(Offset::Offset(50))?, cut(Offset::Offset(1))?, cut(Offset::End)?);
    Ok(json!({
        "low": low,
        "earliest": earliest,
        "read": values(&read),
        "gone": gone(rig, &topic)?,
        "beyond": beyond,
        "back": back,
        "everything": everything,
        "ends": rig.ends(&topic)?,
        "goes_on": rig.produce((&topic, 0), &texts(&["next"]), &[])?,
    }))
}

/// With what a read of a record that was deleted is refused.
fn gone(rig: &Rig<'_>, topic: &str) -> Result<i32> {
    match rig.read(topic, 1, rdkafka::Offset::Offset(2)) {
        Ok(_) => Ok(0),
        // librdkafka was told to refuse where the broker has nothing; it gives that a number of its own.
        Err(error) if format!("{error:#}").contains("AutoOffsetReset") => Ok(1),
        Err(error) => Err(error),
    }
}
