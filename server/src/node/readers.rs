//! The reader pool: reads of records that memory no longer holds, away from the threads that must not wait for a disk.
//!
//! A fetch of many records is divided among the threads, in the order in which the records stand in the log: one reads while another one
//! checks what it has read. Whoever is the last puts the answer together, and reads on in the log until somebody wants something: the
//! client that was answered will, as a rule, want what follows.

use crate::node::inbox::Inbox;
use crate::node::shard::ShardMessage;
use bytes::Bytes;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use stele_core::runner::dispatch::Fetch;
use stele_log::Reader;
use stele_model::id::{Place, ShardId};
use stele_model::log::{ReadError, RecordReader};

/// Reads under way at once: enough to keep a disk busy, few enough to leave commits their share.
const THREADS: usize = 2;
/// From so many bytes on a fetch is divided.
const DIVIDED_BYTES_MIN: u64 = 2 << 20;

/// Where fetches go. Dropping it ends the pool.
#[derive(Clone)]
pub(crate) struct Readers {
    jobs: Sender<Job>,
}

/// A part of a fetch.
struct Job {
    shard: ShardId,
    whole: Arc<Whole>,
    /// Which of the fetch's records.
    numbers: Vec<usize>,
    records: Vec<(Place, u32)>,
}

/// A fetch under way.
struct Whole {
    number: u64,
    /// All that was asked for.
    records: Vec<(Place, u32)>,
    answer: Mutex<Answer>,
}

struct Answer {
    records: Result<Vec<Bytes>, ReadError>,
    parts_left: usize,
}

impl Readers {
    /// Starts the pool for these shards: the reader of each log, and where its answers go.
    ///
    /// # Errors
    /// When a thread could not be started.
    pub(crate) fn start(shards: Vec<(Reader, Inbox<ShardMessage>)>) -> std::io::Result<Self> {
        let (jobs, queue) = channel::<Job>();
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
        for job in divide(shard, fetch) {
            // The pool only ends when every sender is gone, so this cannot fail while anybody could still wait for the answer.
            let _ = self.jobs.send(job);
        }
    }
}

/// The parts of a fetch, at least one.
fn divide(shard: ShardId, fetch: Fetch) -> Vec<Job> {
    let bytes: u64 = fetch.records.iter().map(|(_, len)| u64::from(*len)).sum();
    let mut numbers: Vec<usize> = (0..fetch.records.len()).collect();
    let mut parts = vec![Vec::new()];
    if bytes >= DIVIDED_BYTES_MIN {
        numbers.sort_by_key(|&number| fetch.records[number].0);
        let share = bytes.div_ceil(THREADS as u64);
        let mut taken = 0;
        for number in numbers {
            if taken >= share * parts.len() as u64 {
                parts.push(Vec::new());
            }
            taken += u64::from(fetch.records[number].1);
            parts.last_mut().expect("there is one").push(number);
        }
    } else {
        parts[0] = numbers;
    }
    let records = Ok(vec![Bytes::new(); fetch.records.len()]);
    let answer = Mutex::new(Answer { records, parts_left: parts.len() });
    let whole = Arc::new(Whole { number: fetch.number, records: fetch.records, answer });
    let job = |numbers: Vec<usize>| {
        let records = numbers.iter().map(|&number| whole.records[number]).collect();
        Job { shard, whole: Arc::clone(&whole), numbers, records }
    };
    parts.into_iter().map(job).collect()
}

impl Whole {
    fn answer(&self) -> MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a part's records; the answer, with the last part. The first error is the answer's.
    fn add(
        &self,
        numbers: &[usize],
        read: Result<Vec<Bytes>, ReadError>,
    ) -> Option<Result<Vec<Bytes>, ReadError>> {
        let mut answer = self.answer();
        match (&mut answer.records, read) {
            (Ok(records), Ok(read)) => {
                numbers.iter().zip(read).for_each(|(&number, bytes)| records[number] = bytes);
            }
            (Ok(_), Err(error)) => answer.records = Err(error),
            (Err(_), _) => {}
        }
        answer.parts_left -= 1;
        (answer.parts_left == 0).then(|| std::mem::replace(&mut answer.records, Ok(Vec::new())))
    }
}

fn read(queue: &Mutex<Receiver<Job>>, shards: &[(Reader, Inbox<ShardMessage>)]) {
    // A fetch that was answered, and the reader that goes on from there.
    let mut walk: Option<(&Reader, Arc<Whole>)> = None;
    loop {
        let job = match walk.take() {
            Some((reader, whole)) => match next(queue) {
                Some(job) => job,
                None => {
                    walk = reader.read_on(&whole.records).then_some((reader, whole));
                    continue;
                }
            },
            None => match queue.lock().unwrap_or_else(PoisonError::into_inner).recv() {
                Ok(job) => job,
                Err(_) => return,
            },
        };
        let Job { shard, whole, numbers, records } = job;
        let Some((reader, inbox)) = shards.get(usize::from(shard.0)) else { continue };
        if let Some(records) = whole.add(&numbers, reader.records(&records)) {
            inbox.send(ShardMessage::Fetched { number: whole.number, records }, 0);
            walk = Some((reader, whole));
        }
    }
}

/// A job, if one waits.
fn next(queue: &Mutex<Receiver<Job>>) -> Option<Job> {
    match queue.try_lock() {
        Ok(queue) => queue.try_recv().ok(),
        Err(TryLockError::Poisoned(queue)) => queue.into_inner().try_recv().ok(),
        // Another thread waits there for jobs.
        Err(TryLockError::WouldBlock) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stele_model::id::Lsn;

    /// Records of 300 KB of twelve blocks, asked for backwards.
    fn fetch(count: u64) -> Fetch {
        let records = (0..count).rev().map(|n| (Place { lsn: Lsn(n), at: 0 }, 300_000)).collect();
        Fetch { number: 7, records }
    }

    fn read(job: &Job) -> Result<Vec<Bytes>, ReadError> {
        Ok(job.records.iter().map(|(place, _)| Bytes::from(place.lsn.0.to_string())).collect())
    }

    #[test]
    fn a_large_fetch_is_divided_by_place_and_answered_in_the_order_asked_for() {
        let jobs = divide(ShardId(0), fetch(12));
        assert_eq!(jobs.len(), THREADS);
        assert!(jobs[0].records.iter().all(|(place, _)| *place < jobs[1].records[0].0));
        assert!(jobs[1].whole.add(&jobs[1].numbers, read(&jobs[1])).is_none());
        let answer = jobs[0].whole.add(&jobs[0].numbers, read(&jobs[0])).expect("it is whole").unwrap();
        let asked: Vec<_> = (0..12).rev().map(|n| n.to_string()).collect();
        assert_eq!(answer, asked);
        assert_eq!(divide(ShardId(0), fetch(2)).len(), 1);
    }

    #[test]
    fn an_error_of_one_part_is_the_answer_once_all_have_ended() {
        let jobs = divide(ShardId(0), fetch(12));
        let error = || Err(ReadError::Unavailable("gone".to_owned()));
        assert!(jobs[0].whole.add(&jobs[0].numbers, error()).is_none());
        let answer = jobs[1].whole.add(&jobs[1].numbers, read(&jobs[1])).expect("it is whole");
        assert!(matches!(answer, Err(ReadError::Unavailable(_))), "{answer:?}");
    }
}
