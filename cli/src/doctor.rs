//! `stele doctor`: what this machine offers a broker, one line each. Exit code 1 if something would keep it from running.

use crate::args::Doctor;
use crate::config::other_offset;
use crate::say;
use rustix::process::{Resource, getrlimit};
use std::fmt;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use stele_log::probe::{Effort, probe};
use stele_server::config::{Config, Sources, load};
use stele_server::ports;

/// Handles below which a busy broker would run out.
const FILES_FEW: u64 = 4096;

/// Free space below which a warning is in place: the default log budget.
const FREE_BYTES_FEW: u64 = 8 << 30;

/// A synced write that takes longer is worth a warning.
const SYNC_SLOW: Duration = Duration::from_millis(10);

/// Enough for a p99, and little enough for a slow disk.
const PROBE: Effort = Effort { file_bytes: 32 << 20, syncs: 500, blocks: 64, block_bytes: 1 << 20 };

pub(crate) fn run(args: &Doctor) -> anyhow::Result<ExitCode> {
    let mut findings = ports_free(args.port_offset)?;
    findings.push(handles());
    findings.extend(directory(&args.data_dir));
    say(&findings.iter().map(|finding| format!("{finding}\n")).collect::<String>())?;
    let bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    /// It will run; something could be better.
    Warning,
    /// It will not run.
    Bad,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    verdict: Verdict,
    what: &'static str,
    text: String,
}

impl Finding {
    fn new(verdict: Verdict, what: &'static str, text: impl Into<String>) -> Self {
        Self { verdict, what, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Good => "ok",
            Verdict::Warning => "warn",
            Verdict::Bad => "BAD",
        };
        write!(f, "{verdict:<5} {:<12} {}", self.what, self.text)
    }
}

fn ports_free(port_offset: u16) -> anyhow::Result<Vec<Finding>> {
    let dev = Config::dev(port_offset)
        .ok_or_else(|| anyhow::anyhow!("--port-offset {port_offset}: a port would be above 65535"))?;
    let listen = load(&Sources { dev, ..Sources::default() })?.config.listen;
    let all = [
        ("AMQP", listen.amqp),
        ("Kafka", listen.kafka),
        ("NATS", listen.nats),
        ("NATS monitoring", listen.nats_monitor),
        ("HTTP", listen.http),
        ("metrics", listen.metrics),
    ];
    let used = all.into_iter().filter_map(|(what, address)| Some((what, address?)));
    Ok(used
        .map(|(what, address)| match TcpListener::bind(address) {
            Ok(_) => Finding::new(Verdict::Good, "port", format!("{address} is free for {what}")),
            Err(error) => {
                let why = match ports::holder(address) {
                    Some(holder) => {
                        format!("{holder} listens there; try --port-offset {}", other_offset(port_offset))
                    }
                    None => error.to_string(),
                };
                Finding::new(Verdict::Bad, "port", format!("{address} is not free for {what}: {why}"))
            }
        })
        .collect())
}

fn handles() -> Finding {
    match getrlimit(Resource::Nofile).current {
        Some(files) if files < FILES_FEW => {
            let text = format!("{files} open files; connections need one each: raise `ulimit -n`");
            Finding::new(Verdict::Warning, "handles", text)
        }
        Some(files) => Finding::new(Verdict::Good, "handles", format!("{files} open files")),
        None => Finding::new(Verdict::Good, "handles", "open files without limit"),
    }
}

fn directory(data_dir: &Path) -> Vec<Finding> {
    // What is not there yet will be made in the nearest directory that is.
    let there = data_dir
        .ancestors()
        .find(|dir| dir.is_dir())
        .map_or(Path::new("."), |dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
    let dir = fs::canonicalize(there).unwrap_or_else(|_| there.to_owned());
    let mut findings = vec![writable(&dir), space(&dir)];
    if findings.iter().all(|finding| finding.verdict != Verdict::Bad) {
        findings.push(sync_cost(&dir));
    }
    findings.extend(fs::read_to_string("/proc/self/mountinfo").ok().and_then(|table| mount(&table, &dir)));
    findings
}

/// Writes a block past the page cache into a file of its own, which the log prefers to do.
fn writable(dir: &Path) -> Finding {
    let what = "data";
    let file = match tempfile::Builder::new().prefix(".stele-doctor-").tempfile_in(dir) {
        Ok(file) => file,
        Err(error) => {
            return Finding::new(Verdict::Bad, what, format!("cannot write to {}: {error}", dir.display()));
        }
    };
    let direct = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).unwrap_or(0);
    match fs::OpenOptions::new().write(true).custom_flags(direct).open(file.path()) {
        Ok(_) => Finding::new(Verdict::Good, what, format!("{} takes O_DIRECT", dir.display())),
        Err(_) => {
            let text = format!("{} refuses O_DIRECT: commits go through the page cache", dir.display());
            Finding::new(Verdict::Warning, what, text)
        }
    }
}

/// What a commit will cost: confirms wait for it.
fn sync_cost(dir: &Path) -> Finding {
    // A directory of its own: the probe must not meet files of a broker.
    let probed = tempfile::Builder::new()
        .prefix(".stele-doctor-")
        .tempdir_in(dir)
        .and_then(|own| probe(own.path(), PROBE));
    match probed {
        Ok(probe) if probe.sync_p99 > SYNC_SLOW => {
            Finding::new(Verdict::Warning, "sync", format!("{probe}; confirms wait for this"))
        }
        Ok(probe) => Finding::new(Verdict::Good, "sync", probe.to_string()),
        Err(error) => {
            Finding::new(Verdict::Bad, "sync", format!("cannot write to {}: {error}", dir.display()))
        }
    }
}

fn space(dir: &Path) -> Finding {
    match rustix::fs::statvfs(dir) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let verdict = if free < FREE_BYTES_FEW { Verdict::Warning } else { Verdict::Good };
            Finding::new(verdict, "space", format!("{:.1} GiB free", free as f64 / f64::from(1 << 30)))
        }
        Err(error) => Finding::new(Verdict::Warning, "space", format!("cannot be told: {error}")),
    }
}

/// File system and options of the mount that holds `dir`, by the table of `/proc/self/mountinfo`: the fifth field is the mount point, the
/// sixth its options; after a lone dash stand type, source and the file system's own options.
fn mount(table: &str, dir: &Path) -> Option<Finding> {
    let mounts = table.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let before: Vec<&str> = before.split(' ').collect();
        let after: Vec<&str> = after.split(' ').collect();
        let point = PathBuf::from(before.get(4)?.replace("\\040", " "));
        let options = format!("{},{}", before.get(5)?, after.get(2)?);
        dir.starts_with(&point)
            .then(|| (point.as_os_str().len(), after.first().copied().unwrap_or(""), options))
    });
    // Of two mounts on the same point the later one is seen.
    let (_, kind, options) = mounts.max_by_key(|(len, ..)| *len)?;
    Some(if kind == "tmpfs" || kind == "ramfs" {
        Finding::new(Verdict::Warning, "mount", format!("{kind} is memory: nothing outlives the machine"))
    } else if options.split(',').any(|option| option == "discard") {
        let text = format!("{kind} is mounted with `discard`, which slows commits; use fstrim instead");
        Finding::new(Verdict::Warning, "mount", text)
    } else {
        Finding::new(Verdict::Good, "mount", format!("{kind} without discard"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                         30 22 8:2 / /data rw,noatime shared:2 - ext4 /dev/sdb1 rw,discard\n\
                         31 22 0:25 / /with\\040space rw - tmpfs tmpfs rw\n\
                         broken line\n";

    #[test]
    fn the_mount_of_a_directory_is_the_nearest_above_it() {
        for (dir, verdict, part) in [
            ("/var/lib", Verdict::Good, "ext4 without discard"),
            ("/data/stele", Verdict::Warning, "`discard`"),
            ("/database", Verdict::Good, "ext4"),
            ("/with space/x", Verdict::Warning, "memory"),
        ] {
            let finding = mount(TABLE, Path::new(dir)).unwrap();
            assert!(finding.verdict == verdict && finding.text.contains(part), "{dir}: {finding:?}");
        }
        assert_eq!(mount("", Path::new("/")), None);
    }

    #[test]
    fn a_directory_that_is_not_there_is_judged_by_the_one_it_will_be_in() {
        let dir = tempfile::tempdir().unwrap();
        let findings = directory(&dir.path().join("a/b"));
        assert!(findings.iter().all(|finding| finding.verdict != Verdict::Bad), "{findings:?}");
        assert!(findings[0].text.contains(&*fs::canonicalize(dir.path()).unwrap().to_string_lossy()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    }
}
