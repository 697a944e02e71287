//! Who holds a port: so that "address in use" can name the process. Linux tells it under `/proc`; elsewhere, or without the right
//! to look, nobody is named.
//!
//! Called by the command line when a listener cannot be bound, and by `doctor`.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A process that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Its command.
    pub command: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.command, self.pid)
    }
}

/// The process that listens where `address` would; `None`: nobody, or not to be seen by us.
#[must_use]
pub fn holder(address: SocketAddr) -> Option<Holder> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|path| {
        let table = fs::read_to_string(path).ok()?;
        table.lines().skip(1).find_map(|line| listening_inode(line, address))
    })?;
    let link = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find_map(|pid| owner(pid, &link))
}

fn owner(pid: u32, link: &str) -> Option<Holder> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let holds =
        files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == link));
    holds.then(|| Holder { pid, command: command(pid) })
}

/// The short name; its arguments may hold secrets.
fn command(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "a process".into() } else { name.into() }
}

/// A line of `/proc/net/tcp`: slot, local address, remote address, state, …; the tenth field is the inode. State `0A` listens.
fn listening_inode(line: &str, wanted: SocketAddr) -> Option<u64> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (&local, &state, &inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    let local = local_address(local)?;
    let same = local.ip() == wanted.ip() || local.ip().is_unspecified() || wanted.ip().is_unspecified();
    (state == "0A" && local.port() == wanted.port() && same).then(|| inode.parse().ok())?
}

/// Hexadecimal words of the address in the byte order of the machine, a colon, the port.
fn local_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for at in (0..address.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let ip = match <[u8; 4]>::try_from(&bytes[..]) {
        Ok(v4) => IpAddr::V4(Ipv4Addr::from(v4)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn our_own_listener_is_found_with_our_name() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let found = holder(listener.local_addr().unwrap()).unwrap();
        assert_eq!(found.pid, std::process::id());
        assert!(!found.command.is_empty());
    }

    #[test]
    fn a_free_port_has_no_holder() {
        assert_eq!(holder("127.0.0.1:0".parse().unwrap()), None, "nobody can listen on port 0");
    }

    #[test]
    fn a_line_counts_only_when_it_listens_on_the_wanted_port() {
        let any6: Vec<_> = std::iter::repeat_n("00000000", 4).collect();
        let lines = [
            (format!(" 0: {}:1628 {}:0000 0A 0:0 0:0 0 0 0 77 1", any6.concat(), any6.concat()), Some(77)),
            ("0: 00000000:1628 00000000:0000 01 0:0 0:0 0 0 0 77 1".into(), None),
            ("0: 00000000:1629 00000000:0000 0A 0:0 0:0 0 0 0 77 1".into(), None),
            ("0: xyz:1628".into(), None),
            (String::new(), None),
        ];
        for (line, expected) in lines {
            assert_eq!(listening_inode(&line, "127.0.0.1:5672".parse().unwrap()), expected, "{line}");
        }
    }
}
