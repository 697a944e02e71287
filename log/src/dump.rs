//! Prints what a log's files hold, block by block; called by `stele dump-log DIR`. Changes nothing.

use crate::disk::Disk;
use crate::disk::real::RealDisk;
use crate::embedded::recover::OpenError;
use crate::embedded::{lock, snapshot};
use crate::format::page::PAGE_BYTES;
use crate::verify::{Met, Report, inspect};
use std::io::Write;
use std::path::Path;

/// Prints the log in the directory `dir`, which no process may have open, and checks it on the way.
///
/// # Errors
/// As [`crate::verify`]; also those of `out`.
pub fn dump(dir: &Path, out: &mut dyn Write) -> Result<Report, OpenError> {
    dump_disk(&RealDisk::open_existing(dir)?, out)
}

/// As [`dump`], for any disk.
///
/// # Errors
/// As [`dump`].
pub fn dump_disk(disk: &dyn Disk, out: &mut dyn Write) -> Result<Report, OpenError> {
    let report = inspect(disk, &mut |met, page| {
        let offset = page * PAGE_BYTES as u64;
        match met {
            Met::Segment(segment) => {
                let state = lock(&segment.state);
                writeln!(
                    out,
                    "{}: blocks {}..{}, salt {:016x}",
                    segment.name(),
                    state.first,
                    state.last,
                    segment.salt
                )
            }
            Met::Block(head) if head.is_marker() => {
                writeln!(out, "  {offset:>12} marker behind {}", head.lsn)
            }
            Met::Block(head) => writeln!(
                out,
                "  {offset:>12} block {} epoch {} time {} us: {} entries, {} bytes, crc {:08x}",
                head.lsn, head.epoch, head.time, head.entries, head.body_bytes, head.crc
            ),
        }
    })?;
    if let Some(lsn) = report.snapshot
        && let Ok(chunks) = snapshot::load(disk, report.identity, lsn)?
    {
        let bytes: usize = chunks.iter().map(bytes::Bytes::len).sum();
        writeln!(out, "{}: {} chunks, {bytes} bytes", snapshot::name(lsn), chunks.len())?;
    }
    for file in &report.spare {
        writeln!(out, "{}: spare, {} bytes", file.name, file.bytes)?;
    }
    writeln!(out, "{report}")?;
    Ok(report)
}
