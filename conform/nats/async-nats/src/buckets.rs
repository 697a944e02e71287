//! Key-value buckets and object stores.

use anyhow::{Context as _, Result};
use async_nats::jetstream::kv::{self, Operation, Store};
use async_nats::jetstream::object_store;
use async_nats::jetstream::stream::StorageType;
use futures_util::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::rig::{Case, PATIENCE, Rig, text};

pub(crate) const CASES: &[Case] = &[
    Case { name: "kv_values", run: |rig| Box::pin(values(rig)) },
    Case { name: "kv_history", run: |rig| Box::pin(history(rig)) },
    Case { name: "kv_keys", run: |rig| Box::pin(keys(rig)) },
    Case { name: "kv_watched", run: |rig| Box::pin(watched(rig)) },
    Case { name: "object_stored", run: |rig| Box::pin(stored(rig)) },
];

async fn bucket(rig: &Rig, change: impl FnOnce(&mut kv::Config)) -> Result<Store> {
    let bucket = rig.stem.replace('-', "_");
    rig.expect(format!("KV_{bucket}"));
    let mut config = kv::Config { bucket, storage: StorageType::Memory, ..kv::Config::default() };
    change(&mut config);
    Ok(rig.js.create_key_value(config).await?)
}

async fn value(store: &Store, key: &str) -> Result<Value> {
    Ok(match store.entry(key).await? {
        Some(entry) if entry.operation == Operation::Put => json!([text(&entry.value), entry.revision]),
        Some(_) => "deleted".into(),
        None => "unknown".into(),
    })
}

async fn values(rig: Rig) -> Result<Value> {
    let store = bucket(&rig, |_| ()).await?;
    let mut revisions = Vec::new();
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
        revisions.push(store.put(key, value.into()).await?);
    }
    Ok(json!([revisions, value(&store, "a").await?, value(&store, "b").await?, value(&store, "z").await?]))
}

async fn history(rig: Rig) -> Result<Value> {
    let store = bucket(&rig, |config| config.history = 3).await?;
    for value in ["1", "2", "3", "4"] {
        store.put("a", value.into()).await?;
    }
    let entries: Vec<_> = store.history("a").await?.try_collect().await?;
    Ok(json!(entries.iter().map(|entry| json!([text(&entry.value), entry.revision])).collect::<Vec<_>>()))
}

async fn keys(rig: Rig) -> Result<Value> {
    let store = bucket(&rig, |_| ()).await?;
    let sorted = async || -> Result<Vec<String>> {
        let mut keys: Vec<String> = store.keys().await?.try_collect().await?;
        keys.sort();
        Ok(keys)
    };
    let none = sorted().await?;
    for key in ["b", "a", "c.d"] {
        store.put(key, "".into()).await?;
    }
    store.delete("b").await?;
    Ok(json!([none, sorted().await?]))
}

async fn watched(rig: Rig) -> Result<Value> {
    let store = bucket(&rig, |_| ()).await?;
    store.put("a", "1".into()).await?;
    let mut watch = store.watch_with_history(">").await?;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let entry = tokio::time::timeout(PATIENCE, watch.next()).await?.context("the watch ended")??;
        let operation = match entry.operation {
            Operation::Put => "PUT",
            Operation::Delete => "DEL",
            Operation::Purge => "PURGE",
        };
        seen.push(json!([entry.key, text(&entry.value), operation]));
        if seen.len() == 1 {
            store.put("b", "2".into()).await?;
            store.delete("a").await?;
        }
    }
    Ok(json!([seen, true]))
}

async fn stored(rig: Rig) -> Result<Value> {
    let bucket = rig.stem.replace('-', "_");
    rig.expect(format!("OBJ_{bucket}"));
    let config =
        object_store::Config { bucket, storage: StorageType::Memory, ..object_store::Config::default() };
    let objects = rig.js.create_object_store(config).await?;
    let body: Vec<u8> = (0..=255).cycle().take(256 * 2000).collect();
    let info = objects.put("thing", &mut &body[..]).await?;
    let mut found = Vec::new();
    objects.get("thing").await?.read_to_end(&mut found).await?;
    Ok(json!({ "same": found == body, "size": info.size, "chunks": info.chunks, "digest": info.digest }))
}
