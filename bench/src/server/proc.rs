//! What Linux knows about processes: who listens on a port, who descends from whom, CPU, disk and memory used.
//!
//! Parsing is apart from reading, so that it is tested on texts. Processes come and go while `/proc` is read: one that has gone
//! counts as nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Sums over a set of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// User and system time, to a clock tick (10 ms).
    pub cpu_us: u64,
    /// Bytes sent to the block layer; with buffered writes counted when a page is made dirty.
    pub written_bytes: u64,
    pub resident_bytes: u64,
}

impl Usage {
    /// Sums up the processes in `pids` that still run.
    pub(crate) fn of(pids: &[u32]) -> Result<Self> {
        let tick_us = 1_000_000 / rustix::param::clock_ticks_per_second();
        let mut sum = Self::default();
        for pid in pids {
            let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
            let (Ok(stat), Ok(status)) = (read("stat"), read("status")) else { continue };
            let io = read("io").with_context(|| format!("read /proc/{pid}/io (another user's process?)"))?;
            sum.cpu_us += Stat::parse(&stat).map_or(0, |stat| stat.cpu_ticks * tick_us);
            sum.written_bytes += field(&io, "write_bytes:").unwrap_or(0);
            sum.resident_bytes += field(&status, "VmRSS:").unwrap_or(0) * 1024;
        }
        Ok(sum)
    }
}

/// Threads that ran or waited for a core or a disk, on average over the last minute.
pub(crate) fn load_average() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    text.split(' ').next().and_then(|first| first.parse().ok()).context("read /proc/loadavg")
}

/// Processes that listen on a TCP port, over IPv4 or IPv6.
pub(crate) fn listeners(port: u16) -> Result<Vec<u32>> {
    let mut sockets = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        if let Ok(text) = fs::read_to_string(table) {
            sockets.extend(text.lines().filter_map(|line| listening_inode(line, port)));
        }
    }
    let names: BTreeSet<_> = sockets.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let holds = |pid: &u32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok())
            .any(|to| to.to_str().is_some_and(|to| names.contains(to)))
    };
    Ok(if names.is_empty() { Vec::new() } else { pids()?.into_iter().filter(holds).collect() })
}

/// `roots` and all that descend from them.
pub(crate) fn with_children(roots: &[u32]) -> Result<Vec<u32>> {
    let parents = pids()?.into_iter().filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, Stat::parse(&stat)?.parent))
    });
    Ok(descendants(roots, &parents.collect()))
}

fn descendants(roots: &[u32], parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let mut found: BTreeSet<u32> = roots.iter().copied().collect();
    loop {
        let more: Vec<_> =
            parents.iter().filter(|(pid, parent)| found.contains(parent) && !found.contains(pid)).collect();
        if more.is_empty() {
            return found.into_iter().collect();
        }
        found.extend(more.into_iter().map(|(pid, _)| pid));
    }
}

fn pids() -> Result<Vec<u32>> {
    let names = fs::read_dir(Path::new("/proc"))?.flatten().map(|entry| entry.file_name());
    Ok(names.filter_map(|name| name.to_str()?.parse().ok()).collect())
}

/// What matters of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    cpu_ticks: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is the command in parentheses and may itself hold spaces and parentheses.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_ascii_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self { parent: fields.get(1)?.parse().ok()?, cpu_ticks: ticks(11)? + ticks(12)? })
    }
}

/// The number after `name` in a text of "name: number" lines.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The socket's inode when a line of `/proc/net/tcp` is a listener on `port`.
fn listening_inode(line: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
    let matches = *fields.get(3)? == LISTEN && u16::from_str_radix(local_port, 16) == Ok(port);
    matches.then(|| fields.get(9)?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_parentheses_does_not_shift_the_fields() {
        let text = "17 (a) b (c)) S 4 17 17 0 -1 4194304 1 2 3 4 250 31 9 9 20 0 1 0 5";
        assert_eq!(Stat::parse(text), Some(Stat { parent: 4, cpu_ticks: 281 }));
        assert_eq!(Stat::parse("17 (cut"), None);
    }

    #[test]
    fn a_listener_is_found_by_its_port() {
        let line = "   0: 0100007F:168C 00000000:0000 0A 00000000:00000000 00:00000000 00000000   105        0 4711 1 0 100 0";
        assert_eq!(listening_inode(line, 5772), Some(4711));
        assert_eq!(listening_inode(line, 5773), None);
        assert_eq!(listening_inode(&line.replace(" 0A ", " 01 "), 5772), None);
        let heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert_eq!(listening_inode(heading, 5772), None);
    }

    #[test]
    fn children_of_children_belong_to_the_tree() {
        let parents = BTreeMap::from([(2, 1), (3, 2), (4, 3), (5, 1), (6, 5)]);
        assert_eq!(descendants(&[2, 6], &parents), [2, 3, 4, 6]);
    }

    #[test]
    fn numbers_are_read_after_their_names() {
        let io = "rchar: 1\nwchar: 2\nread_bytes: 3\nwrite_bytes: 4096\ncancelled_write_bytes: 5\n";
        assert_eq!(field(io, "write_bytes:"), Some(4096));
        assert_eq!(field("VmRSS:\t   17 kB\n", "VmRSS:"), Some(17));
        assert_eq!(field(io, "absent:"), None);
    }

    #[test]
    fn this_process_has_a_size_and_listens_where_it_says() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(listeners(port).unwrap(), [std::process::id()]);
        assert!(Usage::of(&[std::process::id()]).unwrap().resident_bytes > 0);
    }
}
