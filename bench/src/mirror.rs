//! A broker that keeps nothing: what is published to a queue goes straight to the queue's consumer, and every read is confirmed.
//!
//! Two uses: the `generator` command measures how much load the generator itself can make, and tests see every check of
//! [`crate::load`] fire, because the mirror can be told to do one thing wrong. It answers only what the generator sends, trusts
//! it, and lives as long as the process. No part of it is Stele's.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result};

use crate::client::Url;
use crate::wire::{self, Frame, Method, PROTOCOL_HEADER, Reader, Writer, method};

/// Reads under way between a publisher and its consumer.
const BATCHES_MAX: usize = 64;
/// The message to which a [`Fault`] happens, counted from 1.
const FAULTY: u64 = 1_000;

/// What the mirror does wrong, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "faults are for tests"))]
pub(crate) enum Fault {
    None,
    Lose,
    Double,
    Mangle,
    Refuse,
    HangUp,
}

/// A queue: where batches of delivery frames go in, and come out until a consumer has taken that end.
type Queues = Arc<Mutex<BTreeMap<Vec<u8>, (SyncSender<Vec<u8>>, Option<Receiver<Vec<u8>>>)>>>;

/// Starts a mirror on a free port of loopback.
pub(crate) fn start(fault: Fault) -> Result<Url> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let queues = Queues::default();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let queues = Arc::clone(&queues);
            // The end of a connection is the generator's business, which sees it too.
            thread::spawn(move || Session::new(stream, queues, fault).and_then(Session::serve));
        }
    });
    Ok(format!("amqp://guest:guest@127.0.0.1:{port}/").parse().expect("an address of ours"))
}

/// One connection.
struct Session {
    stream: TcpStream,
    queues: Queues,
    fault: Fault,
    /// Answers to the last read.
    out: Vec<u8>,
    /// Deliveries made of the last read, and where they go.
    batch: Vec<u8>,
    route: Option<(Vec<u8>, SyncSender<Vec<u8>>)>,
    published: u64,
    confirmed: Option<u64>,
}

impl Session {
    fn new(stream: TcpStream, queues: Queues, fault: Fault) -> Result<Self> {
        stream.set_nodelay(true)?;
        let (out, batch) = (Vec::new(), Vec::new());
        Ok(Self { stream, queues, fault, out, batch, route: None, published: 0, confirmed: None })
    }

    fn serve(mut self) -> Result<()> {
        let mut header = PROTOCOL_HEADER;
        self.stream.read_exact(&mut header)?;
        self.answer(method::CONNECTION_START, |w| {
            w.u8(0).u8(9).table(&[]).long_string(b"PLAIN").long_string(b"en_US");
        });
        let mut bytes = vec![0; 2 * wire::FRAME_BYTES_MAX];
        let mut end = 0;
        loop {
            self.turn()?;
            let read = self.stream.read(&mut bytes[end..])?;
            if read == 0 {
                return Ok(());
            }
            end += read;
            let mut start = 0;
            while let Some((frame, used)) = wire::frame(&bytes[start..end]).ok().context("not AMQP")? {
                self.take(frame)?;
                start += used;
            }
            bytes.copy_within(start..end, 0);
            end -= start;
        }
    }

    /// After each read: deliver, confirm, answer.
    fn turn(&mut self) -> Result<()> {
        if let (false, Some((_, queue))) = (self.batch.is_empty(), &self.route) {
            queue.send(std::mem::take(&mut self.batch)).context("the consumer is gone")?;
        }
        if let Some(confirmed) = self.confirmed.filter(|&confirmed| confirmed < self.published) {
            match self.fault {
                Fault::Refuse if confirmed < FAULTY && self.published >= FAULTY => {
                    wire::put_method(&mut self.out, 1, method::BASIC_NACK, |w| {
                        w.u64(FAULTY).u8(0);
                    });
                }
                _ => wire::put_ack(&mut self.out, self.published, true),
            }
            self.confirmed = Some(self.published);
        }
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    fn answer(&mut self, id: Method, args: impl FnOnce(&mut Writer<'_>)) {
        wire::put_method(&mut self.out, u16::from(id.0 != 10), id, args);
    }

    fn take(&mut self, frame: Frame<'_>) -> Result<()> {
        match frame {
            Frame::Method(id, args) => self.method(id, &mut Reader(args)).ok().context("short arguments")?,
            Frame::Body(body) => self.body(body)?,
            Frame::Header { .. } | Frame::Heartbeat => {}
        }
        Ok(())
    }

    fn method(&mut self, id: Method, args: &mut Reader<'_>) -> Result<(), wire::Violation> {
        match id {
            method::BASIC_PUBLISH => {
                let (_reserved, _exchange, key) = (args.u16()?, args.short_string()?, args.short_string()?);
                if self.route.as_ref().is_none_or(|(queue, _)| queue != key) {
                    let queues = self.queues.lock().expect("nobody panics with the lock");
                    self.route = queues.get(key).map(|(sender, _)| (key.to_vec(), sender.clone()));
                }
            }
            method::CONNECTION_START_OK => self.answer(method::CONNECTION_TUNE, |w| {
                w.u16(0).u32(wire::FRAME_BYTES_MAX as u32).u16(0);
            }),
            method::CONNECTION_OPEN => self.answer(method::CONNECTION_OPEN_OK, |w| {
                w.u8(0);
            }),
            method::CHANNEL_OPEN => self.answer(method::CHANNEL_OPEN_OK, |w| {
                w.u32(0);
            }),
            method::QUEUE_DECLARE => {
                let (_reserved, name) = (args.u16()?, args.short_string()?);
                let mut queues = self.queues.lock().expect("nobody panics with the lock");
                queues.entry(name.to_vec()).or_insert_with(|| {
                    let (sender, receiver) = sync_channel(BATCHES_MAX);
                    (sender, Some(receiver))
                });
                drop(queues);
                self.answer(method::QUEUE_DECLARE_OK, |w| {
                    w.u8(0).u32(0).u32(0);
                });
            }
            method::QUEUE_DELETE => {
                let (_reserved, name) = (args.u16()?, args.short_string()?);
                self.queues.lock().expect("nobody panics with the lock").remove(name);
                self.answer(method::QUEUE_DELETE_OK, |w| {
                    w.u32(0);
                });
            }
            method::CONFIRM_SELECT => {
                self.confirmed = Some(0);
                self.answer(method::CONFIRM_SELECT_OK, |_| {});
            }
            method::BASIC_QOS => self.answer(method::BASIC_QOS_OK, |_| {}),
            method::BASIC_CONSUME => {
                let (_reserved, name) = (args.u16()?, args.short_string()?);
                self.consume(name);
            }
            method::CHANNEL_CLOSE => self.answer(method::CHANNEL_CLOSE_OK, |_| {}),
            // Acks and the rest of the handshake need no answer.
            _ => {}
        }
        Ok(())
    }

    /// From now on deliveries are written by a thread of their own. It is idle when the consumer closes its channel, since that
    /// comes after the last message, so the two writers do not meet.
    fn consume(&mut self, queue: &[u8]) {
        self.answer(method::BASIC_CONSUME_OK, |w| {
            w.short_string("c");
        });
        let mut queues = self.queues.lock().expect("nobody panics with the lock");
        let receiver = queues.get_mut(queue).and_then(|(_, receiver)| receiver.take());
        drop(queues);
        if let (Some(receiver), Ok(mut stream)) = (receiver, self.stream.try_clone()) {
            let hello = std::mem::take(&mut self.out);
            thread::spawn(move || {
                let mut written = stream.write_all(&hello);
                for batch in receiver {
                    written = written.and_then(|()| stream.write_all(&batch));
                }
            });
        }
    }

    fn body(&mut self, body: &[u8]) -> Result<()> {
        self.published += 1;
        if self.published == FAULTY {
            match self.fault {
                Fault::Lose => return Ok(()),
                Fault::Double => self.deliver(body),
                Fault::Mangle => {
                    let mut body = body.to_vec();
                    body[0] ^= 1;
                    self.deliver(&body);
                    return Ok(());
                }
                Fault::HangUp => anyhow::bail!("told to hang up"),
                Fault::None | Fault::Refuse => {}
            }
        }
        self.deliver(body);
        Ok(())
    }

    fn deliver(&mut self, body: &[u8]) {
        let tag = self.published;
        wire::put_method(&mut self.batch, 1, method::BASIC_DELIVER, |w| {
            w.short_string("c").u64(tag).u8(0).short_string("").short_string("");
        });
        wire::put_content(&mut self.batch, 1, body);
    }
}
