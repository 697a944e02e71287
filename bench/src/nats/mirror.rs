//! A server that keeps nothing and acknowledges each publish at once, or once something was written and synced: how many requests the generator gets
//! answered at all, over loopback, on these cores and with this disk.
//!
//! It runs beside the scenarios of many clients with one publish under way each. It understands what the generator says, trusts it, and lives as long as
//! its connections. No part of it is Stele's.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags};

use super::ask;
use super::stream::acknowledged;
use super::wire;
use crate::disk::Disk;
use crate::wait;

/// Threads among which connections are divided, as a server's would be on four cores.
const CREWS: usize = 2;
const WARM_UP: Duration = Duration::from_millis(200);
const TIME: Duration = Duration::from_millis(800);
const PATIENCE: Duration = Duration::from_millis(20);
const READ_BYTES: usize = 16 << 10;
const INFO: &[u8] =
    b"INFO {\"server_id\":\"mirror\",\"version\":\"2.15.0\",\"headers\":true,\"max_payload\":1048576}\r\n";
const ANSWER: &str = "{\"stream\":\"mirror\",\"seq\":1000000}";

/// A file to sync for each thread. They are large: made and removed once, not beside each measurement.
pub(crate) type Disks = Arc<[Disk; CREWS]>;

/// Prepares the files in this directory.
pub(crate) fn open_disks(directory: &Path) -> Result<Disks> {
    Ok(Arc::new([Disk::open(directory)?, Disk::open(directory)?]))
}

/// Publishes of so many bytes per second that are acknowledged at most, with so many connections that have one under way each. With disks
/// nothing is acknowledged before 4 KB have been synced: one sync for all that each thread has read, and each thread has a file of its own.
pub(crate) fn ceiling(connections: usize, body_bytes: usize, disks: Option<Disks>) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    // It ends with its connections. Their end is the generator's business, which sees it too.
    let mirror = thread::spawn(move || -> Result<()> {
        let mut crews: [Vec<Peer>; CREWS] = Default::default();
        for n in 0..connections {
            let (stream, _) = listener.accept()?;
            crews[n % CREWS].push(Peer::greet(stream)?);
        }
        let serve = |(n, crew): (usize, _)| {
            let disks = disks.clone();
            thread::spawn(move || serve(crew, disks.as_ref().map(|disks| &disks[n])))
        };
        let crews: Vec<_> = crews.into_iter().enumerate().map(serve).collect();
        crews.into_iter().try_for_each(|crew| crew.join().ok().context("a thread of the mirror panicked")?)
    });
    let body = vec![b'x'; body_bytes];
    let request = |out: &mut Vec<u8>, _: u64, reply: &[u8]| wire::publish(out, b"mirror", reply, &body);
    let plan = ask::Plan::one_by_one(address, connections, (WARM_UP, TIME), &request, &acknowledged);
    let outcome = ask::run(&plan, || Ok(()))?;
    mirror.join().ok().context("the mirror panicked")??;
    Ok(outcome.records as f64 / outcome.elapsed.as_secs_f64())
}

/// One connection.
struct Peer {
    stream: TcpStream,
    input: Vec<u8>,
    out: Vec<u8>,
}

/// Serves its connections until the last of them has ended.
fn serve(mut peers: Vec<Peer>, disk: Option<&Disk>) -> Result<()> {
    let (mut buffer, mut syncs) = (vec![0; READ_BYTES], 0);
    while !peers.is_empty() {
        let mut sockets: Vec<_> = peers.iter().map(|peer| PollFd::new(&peer.stream, PollFlags::IN)).collect();
        wait::poll(&mut sockets, PATIENCE, false)?;
        let ready: Vec<bool> = sockets.iter().map(|socket| !socket.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        peers.retain_mut(|peer| !ready.next().unwrap_or(false) || peer.read(&mut buffer).unwrap_or(false));
        if let Some(disk) = disk
            && peers.iter().any(|peer| !peer.out.is_empty())
        {
            disk.sync(syncs)?;
            syncs += 1;
        }
        peers.retain_mut(|peer| peer.out.is_empty() || peer.flush().is_ok());
    }
    Ok(())
}

impl Peer {
    /// Takes the handshake: before all are there, nobody publishes.
    fn greet(mut stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.write_all(INFO)?;
        let mut peer = Self { stream, input: Vec::new(), out: Vec::new() };
        let mut buffer = vec![0; READ_BYTES];
        // One ping is behind CONNECT, one behind SUB.
        for _ in 0..2 {
            while peer.out.is_empty() {
                let bytes = peer.stream.read(&mut buffer)?;
                anyhow::ensure!(bytes > 0, "a client that does not say who it is");
                peer.input.extend(&buffer[..bytes]);
                peer.answer()?;
            }
            peer.flush()?;
        }
        peer.stream.set_nonblocking(true)?;
        Ok(peer)
    }

    /// Reads once and makes the answers; `false`: the connection has ended.
    fn read(&mut self, buffer: &mut [u8]) -> Result<bool> {
        match self.stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(bytes) => self.input.extend(&buffer[..bytes]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        self.answer()?;
        Ok(true)
    }

    fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Answers what has come whole.
    fn answer(&mut self) -> Result<()> {
        let mut used = 0;
        while let Some(end) = self.input[used..].windows(2).position(|bytes| bytes == b"\r\n") {
            let line = &self.input[used..used + end];
            let (mut next, words) = (used + end + 2, line.split(|byte| *byte == b' ').collect::<Vec<_>>());
            match words[..] {
                [b"PUB", _, reply, bytes] => {
                    next += std::str::from_utf8(bytes)?.parse::<usize>()? + 2;
                    if next > self.input.len() {
                        break;
                    }
                    write!(
                        self.out,
                        "MSG {} 1 {}\r\n{ANSWER}\r\n",
                        String::from_utf8_lossy(reply),
                        ANSWER.len()
                    )?;
                }
                [b"PING"] => self.out.extend(b"PONG\r\n"),
                // CONNECT, SUB, PONG.
                _ => {}
            }
            used = next;
        }
        self.input.drain(..used);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_publish_is_acknowledged() {
        let directory = tempfile::tempdir().unwrap();
        assert!(ceiling(3, 128, None).unwrap() > 0.0);
        assert!(ceiling(3, 128, Some(open_disks(directory.path()).unwrap())).unwrap() > 0.0);
    }
}
