//! What the kernel says about a process. Linux only, as far as it reads `/proc`.

use anyhow::{Context, Result};

/// Memory of the process that is in RAM, in KiB.
///
/// # Errors
/// The process is gone or the kernel does not tell.
pub fn resident_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("read the status of process {pid}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("find VmRSS")?;
    line.trim().trim_end_matches(" kB").parse().context("read VmRSS as a number")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_can_read_its_own_size() {
        assert!(super::resident_kib(std::process::id()).unwrap() > 100);
    }
}
