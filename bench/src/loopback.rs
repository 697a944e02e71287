//! What loopback alone can do: round trips a second between two threads of this process that are always awake, of which one answers each small
//! message with a large one. A consumer with prefetch 1 gets no more from any broker.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

const TIME: Duration = Duration::from_millis(400);

/// Round trips per second of `there` bytes, answered by `back` bytes.
pub(crate) fn round_trips(there: usize, back: usize) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    let mut peer = listener.accept()?.0;
    for end in [&stream, &peer] {
        end.set_nodelay(true)?;
        end.set_nonblocking(true)?;
    }
    let answers = thread::spawn(move || -> Result<()> {
        let (mut asked, answer) = (vec![0; there], vec![0; back]);
        while receive(&mut peer, &mut asked)? {
            peer.write_all(&answer)?;
        }
        Ok(())
    });
    let (ask, mut answer) = (vec![0; there], vec![0; back]);
    let (start, mut count) = (Instant::now(), 0u64);
    while start.elapsed() < TIME {
        stream.write_all(&ask)?;
        ensure!(receive(&mut stream, &mut answer)?, "the other end is gone");
        count += 1;
    }
    let elapsed = start.elapsed();
    drop(stream);
    answers.join().ok().context("the other end panicked")??;
    Ok(count as f64 / elapsed.as_secs_f64())
}

/// Fills `into`, awake; `false`: the other end has closed.
fn receive(stream: &mut TcpStream, into: &mut [u8]) -> Result<bool> {
    let mut at = 0;
    while at < into.len() {
        match stream.read(&mut into[at..]) {
            Ok(0) => return Ok(false),
            Ok(bytes) => at += bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_answer_until_one_goes() {
        assert!(round_trips(20, 4_000).unwrap() > 0.0);
    }
}
