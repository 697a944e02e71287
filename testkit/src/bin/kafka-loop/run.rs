//! What all clients of a run share, and the reading of everything at its end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use stele_testkit::kafka::{self, Wire};

use crate::history::{History, Partition, Record};
use crate::member;
use crate::writer;

pub(crate) const TOPIC: &str = "kafka-loop";
pub(crate) const GROUP: &str = "kafka-loop-members";
pub(crate) const PARTITIONS: u32 = 4;
/// Two in each partition.
pub(crate) const WRITERS: u32 = 8;
pub(crate) const MEMBERS: u32 = 3;

const PATIENCE: Duration = Duration::from_secs(60);

/// Shared by all threads.
pub(crate) struct Shared {
    pub address: SocketAddr,
    history: Mutex<History>,
    stop: AtomicBool,
}

impl Shared {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, history: Mutex::default(), stop: AtomicBool::new(false) }
    }

    /// Also after a thread that held it has panicked: the panic is reported by its own thread.
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn violation(&self, text: String) {
        self.history().violation(text);
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }
}

/// Whether an error is only the end of a connection.
pub(crate) fn is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some()
}

/// Errors by which a broker that starts says that it will know soon: no leader, coordinator not there, loading or not here.
pub(crate) fn not_ready(code: i16) -> bool {
    matches!(code, 3 | 5 | 6 | 7 | 14..=16)
}

/// Make the topic.
pub(crate) fn create(address: SocketAddr) -> Result<()> {
    let code = kafka::create(&mut Wire::connect(address)?, TOPIC, PARTITIONS as i32, &[])?;
    ensure!(code == 0, "the topic cannot be made: error {code} (give the broker fresh data)");
    Ok(())
}

/// All partitions from the beginning, until nothing more comes and at least what was acknowledged is there.
pub(crate) fn everything(shared: &Shared) -> Result<BTreeMap<Partition, Vec<Record>>> {
    let mut wire = Wire::connect(shared.address)?;
    let mut next: BTreeMap<Partition, u64> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    let mut found: BTreeMap<Partition, Vec<Record>> = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let some = member::fetched(&mut wire, &next)?;
        let count: usize = found.values().map(Vec::len).sum();
        if some.is_empty() && (count >= shared.history().acknowledgements() || Instant::now() > deadline) {
            return Ok(found);
        }
        for (partition, offset, value) in some {
            found.entry(partition).or_default().push(writer::record(&value)?);
            next.insert(partition, offset + 1);
        }
    }
}
