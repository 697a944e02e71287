//! The reader pool: reads of records that memory no longer holds, away from the threads that must not wait for a disk.

use crate::node::inbox::Inbox;
use crate::node::shard::ShardMessage;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use stele_core::runner::dispatch::Fetch;
use stele_model::id::ShardId;
use stele_model::log::RecordReader;

/// Reads under way at once: enough to keep a disk busy, few enough to leave commits their share.
const THREADS: usize = 2;

/// Where fetches go. Dropping it ends the pool.
#[derive(Clone)]
pub(crate) struct Readers {
    jobs: Sender<(ShardId, Fetch)>,
}

impl Readers {
    /// Starts the pool for these shards: the reader of each log, and where its answers go.
    ///
    /// # Errors
    /// When a thread could not be started.
    pub(crate) fn start(shards: Vec<(Arc<dyn RecordReader>, Inbox<ShardMessage>)>) -> std::io::Result<Self> {
        let (jobs, queue) = channel::<(ShardId, Fetch)>();
        let queue = Arc::new(Mutex::new(queue));
        let shards = Arc::new(shards);
        for n in 0..THREADS {
            let (queue, shards) = (Arc::clone(&queue), Arc::clone(&shards));
            thread::Builder::new().name(format!("reader-{n}")).spawn(move || read(&queue, &shards))?;
        }
        Ok(Self { jobs })
    }

    /// Asks for records; the answer arrives in the shard's inbox.
    pub(crate) fn fetch(&self, shard: ShardId, fetch: Fetch) {
        // The pool only ends when every sender is gone, so this cannot fail while anybody could still wait for the answer.
        let _ = self.jobs.send((shard, fetch));
    }
}

fn read(queue: &Mutex<Receiver<(ShardId, Fetch)>>, shards: &[(Arc<dyn RecordReader>, Inbox<ShardMessage>)]) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((shard, fetch)) = job else { return };
        let Some((reader, inbox)) = shards.get(usize::from(shard.0)) else { continue };
        let records = reader.records(&fetch.records);
        inbox.send(ShardMessage::Fetched { number: fetch.number, records }, 0);
    }
}
