//! Logins and encryption.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Map, Value, json};

use crate::rig::{Case, Heard, Rig, offsets, settings, texts, until, values};

pub(crate) const CASES: &[Case] = &[
    Case { name: "sasl_plain", run: |rig| login(rig, "PLAIN") },
    Case { name: "sasl_scram_sha_256", run: |rig| login(rig, "SCRAM-SHA-256") },
    Case { name: "sasl_scram_sha_512", run: |rig| login(rig, "SCRAM-SHA-512") },
    Case { name: "tls_roundtrip", run: tls_roundtrip },
    Case { name: "tls_unknown_authority", run: tls_unknown_authority },
    Case { name: "tls_logins", run: tls_logins },
];

/// What becomes of a login: 0, or the number of the refusal, which librdkafka tells beside what was asked.
fn verdict(settings: &ClientConfig, mechanism: &str, (user, password): (&str, &str)) -> Result<i32> {
    let mut settings = settings.clone();
    settings.set("sasl.mechanism", mechanism).set("sasl.username", user).set("sasl.password", password);
    let heard = Heard::default();
    let client: BaseConsumer<Heard> = settings.create_with_context(heard.clone())?;
    until(|| {
        let found = client.fetch_metadata(None, Duration::from_millis(500));
        client.poll(Duration::ZERO);
        let refused = heard.login.load(Ordering::Relaxed).then_some(58);
        Ok(if found.is_ok() { Some(0) } else { refused })
    })
}

fn login(rig: &mut Rig<'_>, mechanism: &str) -> Result<Value> {
    let address = rig.arguments.sasl.as_deref().context("where logins are wanted")?;
    let settings = settings(address, &[("security.protocol", "SASL_PLAINTEXT"), ("group.id", "unused")]);
    Ok(json!({
        "right": verdict(&settings, mechanism, ("alice", "alice-secret"))?,
        "wrong": verdict(&settings, mechanism, ("alice", "guess"))?,
        "unknown": verdict(&settings, mechanism, ("nobody", "alice-secret"))?,
    }))
}

fn tls_roundtrip(rig: &mut Rig<'_>) -> Result<Value> {
    let topic = rig.topic(1, &[])?;
    let address = rig.arguments.tls.as_deref().context("where TLS is spoken")?;
    let authority = rig.arguments.ca.as_deref().context("the authority")?;
    rig.settings = settings(address, &[("security.protocol", "SSL"), ("ssl.ca.location", authority)]);
    let placed = rig.produce((&topic, 0), &texts(&["a", "b", "c"]), &[])?;
    let read = rig.read(&topic, 3, Offset::Beginning)?;
    Ok(json!({ "placed": placed, "read": values(&read), "offsets": offsets(&read) }))
}

fn tls_unknown_authority(rig: &mut Rig<'_>) -> Result<Value> {
    let address = rig.arguments.tls.as_deref().context("where TLS is spoken")?;
    let heard = Heard::default();
    let client: BaseConsumer<Heard> =
        settings(address, &[("security.protocol", "SSL"), ("group.id", "unused")])
            .create_with_context(heard.clone())?;
    until(|| {
        let found = client.fetch_metadata(None, Duration::from_millis(200));
        client.poll(Duration::ZERO);
        let refused = heard.tls.load(Ordering::Relaxed).then(|| json!("refused"));
        Ok(if found.is_ok() { Some(json!("connected")) } else { refused })
    })
}

fn tls_logins(rig: &mut Rig<'_>) -> Result<Value> {
    let address = rig.arguments.sasl_tls.as_deref().context("where logins are wanted over TLS")?;
    let authority = rig.arguments.ca.as_deref().context("the authority")?;
    let more = [("security.protocol", "SASL_SSL"), ("ssl.ca.location", authority), ("group.id", "unused")];
    let settings = settings(address, &more);
    let mut found = Map::new();
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let right = verdict(&settings, mechanism, ("alice", "alice-secret"))?;
        let wrong = verdict(&settings, mechanism, ("alice", "guess"))?;
        found.insert(mechanism.to_owned(), json!([right, wrong]));
    }
    Ok(Value::Object(found))
}
