//! What the kernel says about a process. Linux only, as far as it reads `/proc`.

use anyhow::{Context, Result};

/// Memory of the process that is in RAM, in KiB.
///
/// # Errors
/// The process is gone or the kernel does not tell.
pub fn resident_kib(pid: u32) -> Result<u64> {
    status_kib(pid, "VmRSS:")
}

/// The most memory that the process ever had in RAM, in KiB.
///
/// # Errors
/// The process is gone or the kernel does not tell.
pub fn peak_kib(pid: u32) -> Result<u64> {
    status_kib(pid, "VmHWM:")
}

fn status_kib(pid: u32, name: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("read the status of process {pid}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("find {name} of process {pid}"))?;
    line.trim().trim_end_matches(" kB").parse().with_context(|| format!("read {name} as a number"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_can_read_its_own_size() {
        let us = std::process::id();
        assert!(super::resident_kib(us).unwrap() > 100);
        assert!(super::peak_kib(us).unwrap() > 100);
    }
}
