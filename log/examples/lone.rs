//! What the background costs a lone publisher on a new log: `cargo run --release -p stele-log --example lone -- DIR [SECONDS]`.
//!
//! Appends blocks of 1 KB, one after the other, each durable before the next, from the moment the log is made, while its
//! keeper fills the pool; prints what each second was like.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stele_log::disk::real::RealDisk;
use stele_log::{Embedded, Options, Volume};
use stele_model::id::{Lsn, Now};
use stele_model::log::{Block, LogStore};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("which directory?")?;
    let seconds: u64 = args.next().map_or(Ok(10), |text| text.parse())?;
    let root = Path::new(&dir).join("lone");
    // As a node has them: a second shard that nobody uses, on the same disk.
    let volume = Arc::new(Volume::default());
    let open = |name: &str| {
        let disk = Arc::new(RealDisk::open(&root.join(name))?);
        let options = Options { volume: Arc::clone(&volume), ..Options::default() };
        Ok::<_, Box<dyn std::error::Error>>(Embedded::threaded(disk, options, Box::new(|| {}))?.0)
    };
    let (mut log, idle) = (open("busy")?, open("idle")?);
    let body = bytes::Bytes::from(vec![b'x'; 1000]);
    let mut lsn = 0;
    for second in 1..=seconds {
        let begun = Instant::now();
        let mut times = Vec::new();
        while begun.elapsed() < Duration::from_secs(1) {
            lsn += 1;
            let since = Instant::now();
            log.append(Block { lsn: Lsn(lsn), time: Now(lsn), entries: 1, body: body.clone() }, true)
                .map_err(|error| format!("{error:?}"))?;
            while log.tail() != Ok(Lsn(lsn)) {
                std::thread::yield_now();
            }
            times.push(since.elapsed());
        }
        times.sort_unstable();
        let at = |share: f64| times[(times.len() as f64 * share) as usize].as_micros();
        println!(
            "{second:>3} s: {:>6} commits, p50 {:>4} p99 {:>5} p99.9 {:>6} us; on disk {} MB",
            times.len(),
            at(0.5),
            at(0.99),
            at(0.999),
            (log.disk_bytes() + idle.disk_bytes()) >> 20
        );
    }
    let begun = Instant::now();
    drop((log, idle));
    println!("closed in {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
    std::fs::remove_dir_all(root)?;
    Ok(())
}
