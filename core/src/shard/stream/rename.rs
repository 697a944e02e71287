//! Storing records under other subjects: a stream that renames gets records of its own, under the keys that its settings make of theirs.
//!
//! Called once for a submit, before anything of it is decided: so all that follows sees the subjects under which records are stored, and the
//! log has the result of a renaming and never needs to do it again. What must hold: a partition gets its records in the order of the batch;
//! the answer speaks of the items that came. Not here: what a renaming is.

use super::Shard;
use crate::stream::Partition;
use bytes::BytesMut;
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use stele_model::id::QueueId;
use stele_model::publish::{Publish, Publishes, Route, RoutedRun, ShardPublish};
use stele_model::refusal::Refusal;
use stele_model::stream::StreamRefusal;
use stele_model::stream::records::{RecordRefusal, ShardStored};
use stele_model::subject::renaming::{Renaming, SUBJECT_BYTES_MAX};
use stele_record::{Draft, View};

/// Of which items of a submit the others are copies that were added to it.
#[derive(Debug, Default)]
pub(in crate::shard) struct Renamed {
    /// Items from here on are copies.
    first: u32,
    /// Of which item each is.
    of: Vec<u32>,
    /// Items that some partition got by itself.
    parted: BTreeSet<u32>,
    /// Items whose subject would have become too long.
    refused: Vec<(u32, Refusal)>,
}

/// A submit that is being written anew.
struct Rewriting<'a> {
    batch: &'a Publishes,
    bytes: BytesMut,
    items: Vec<Publish>,
    runs: Vec<RoutedRun>,
    routes: Vec<Route>,
    renamed: Renamed,
}

impl Shard {
    /// The submit with what goes to partitions that rename as records of their own.
    pub(in crate::shard) fn rename(&self, publish: ShardPublish) -> (ShardPublish, Renamed) {
        let renames = |id: &QueueId| self.streams.partitions.get(id).and_then(|of| renaming(of)).is_some();
        if !publish.routes.iter().flatten().any(renames) {
            return (publish, Renamed::default());
        }
        let ShardPublish { batch, runs, routes, .. } = &publish;
        let mut to = Rewriting::new(batch, routes);
        for run in runs {
            let route = routes.get(run.route as usize).map_or(&[][..], |route| route.as_slice());
            let (own, rest): (Route, Route) = route.iter().copied().partition(renames);
            if own.is_empty() {
                to.runs.push(run.clone());
                continue;
            }
            if !rest.is_empty() {
                let route = to.route(rest);
                to.runs.push(RoutedRun { route, ..run.clone() });
            }
            for id in own {
                let Some(partition) = self.streams.partitions.get(&id) else { continue };
                let Some(renaming) = renaming(partition) else { continue };
                to.rewrite(partition, renaming, run);
            }
        }
        let Rewriting { bytes, items, runs, routes, renamed, .. } = to;
        let mut terms = batch.terms.clone();
        for (n, of) in (renamed.first..).zip(&renamed.of) {
            terms.extend(batch.terms(*of).map(|of| (n, of.clone())));
        }
        let batch =
            Publishes { bytes: bytes.freeze(), items, terms, extra_keys: publish.batch.extra_keys.clone() };
        (ShardPublish { batch: Arc::new(batch), runs, routes, ..publish }, renamed)
    }
}

impl<'a> Rewriting<'a> {
    fn new(batch: &'a Publishes, routes: &[Route]) -> Self {
        let first = u32::try_from(batch.items.len()).expect("a batch has fewer than 4 Gi items");
        Self {
            batch,
            bytes: BytesMut::from(&batch.bytes[..]),
            items: batch.items.clone(),
            runs: Vec::new(),
            routes: routes.to_vec(),
            renamed: Renamed { first, ..Renamed::default() },
        }
    }

    fn route(&mut self, route: Route) -> u32 {
        let at = self.routes.iter().position(|there| *there == route).unwrap_or_else(|| {
            self.routes.push(route);
            self.routes.len() - 1
        });
        u32::try_from(at).expect("a batch has fewer than 4 Gi routes")
    }

    /// A run for one partition, as far as it is renamed by copies.
    fn rewrite(&mut self, partition: &Partition, renaming: &Renaming, run: &RoutedRun) {
        let (id, stream, draw) = (partition.spec.id, &partition.spec.stream, partition.next.0);
        let route = self.route(SmallVec::from_slice(&[id]));
        for n in run.items.clone() {
            self.renamed.parted.insert(n);
            let Ok(view) = View::parse(self.batch.record(n)) else { continue };
            match renaming.apply(view.key(), draw.wrapping_add(u64::from(n))) {
                Ok(None) => self.run(n, route, run.volatile),
                Ok(Some(key)) => {
                    let copy = self.copy(n, &view, &key);
                    self.run(copy, route, run.volatile);
                }
                Err(_) => {
                    let why = RecordRefusal::TooLarge { max: SUBJECT_BYTES_MAX as u32 };
                    let why = StreamRefusal::Record { stream: stream.to_owned(), why };
                    self.renamed.refused.push((n, Refusal::Stream(why)));
                }
            }
        }
    }

    fn run(&mut self, n: u32, route: u32, volatile: bool) {
        match self.runs.last_mut() {
            Some(last) if last.route == route && last.items.end == n => last.items.end += 1,
            _ => self.runs.push(RoutedRun { items: n..n + 1, route, volatile }),
        }
    }

    /// Adds the record of item `n` under another key.
    fn copy(&mut self, n: u32, view: &View<'_>, key: &[u8]) -> u32 {
        let item = &self.batch.items[n as usize];
        let start = self.bytes.len();
        let draft = Draft { key, ..Draft::of(view) };
        draft.write(view.body(), &mut self.bytes);
        let range = |from: usize, len: usize| -> Range<u32> {
            let at = |at: usize| u32::try_from(at).expect("a batch is shorter than 4 GiB");
            at(from)..at(from + len)
        };
        let exchange = range(start + stele_record::HEAD_BYTES, view.exchange().len());
        let key = range(exchange.end as usize, key.len());
        let record = range(start, self.bytes.len() - start);
        self.items.push(Publish { record, exchange, key, ..item.clone() });
        self.renamed.of.push(n);
        self.renamed.first + self.renamed.of.len() as u32 - 1
    }
}

impl Renamed {
    /// Makes what is said of copies said of the items that came.
    pub(in crate::shard) fn put_right(
        mut self,
        refused: &mut Vec<(u32, Refusal)>,
        gone: &mut Vec<u32>,
        stored: &mut [ShardStored],
    ) {
        if self.parted.is_empty() {
            return;
        }
        let of = |item: u32| match item.checked_sub(self.first) {
            Some(copy) => self.of.get(copy as usize).copied().unwrap_or(item),
            None => item,
        };
        stored.iter_mut().for_each(|stored| stored.item = of(stored.item));
        refused.iter_mut().for_each(|(item, _)| *item = of(*item));
        refused.append(&mut self.refused);
        refused.sort_by_key(|(item, _)| *item);
        refused.dedup_by_key(|(item, _)| *item);
        // A partition got it, whatever became of queues beside it.
        gone.retain(|item| !self.parted.contains(item));
    }
}

fn renaming(of: &Partition) -> Option<&Renaming> {
    of.by_record()?.rename.as_ref()
}
