//! A message whose frames do not come all in one read, or not as one body frame: it is put together here, per channel.
//!
//! What must hold: a body is believed only up to the size its header names, which is bounded before anything is kept.

use super::publish::Traits;
use super::{Connection, unexpected};
use crate::codec::content::{self, CLASS_BASIC, Header};
use crate::codec::frame::Frame;
use crate::codec::hot::Publish;
use crate::profile::ASSEMBLY_BYTES_MAX;
use crate::refuse::{Code, Exception};
use bytes::BytesMut;
use stele_model::id::Now;
use stele_model::session::Outbox;

/// What a channel has of a message.
#[derive(Debug, Default)]
pub(super) enum Content {
    /// Nothing.
    #[default]
    Idle,
    /// The method; the header has to come.
    Method(Box<Addressed>),
    /// The header; pieces of the body have to come.
    Body {
        /// Octets that have not come.
        missing: usize,
        /// The record as far as it is there.
        record: BytesMut,
        /// What stands beside it.
        traits: Box<Traits>,
    },
}

/// The arguments of `basic.publish`, kept until the header comes.
#[derive(Debug)]
pub(super) struct Addressed {
    exchange: Box<[u8]>,
    routing_key: Box<[u8]>,
    mandatory: bool,
}

impl Content {
    /// Octets that are kept of it.
    pub(super) fn bytes_len(&self) -> usize {
        match self {
            Self::Body { record, .. } => record.len(),
            Self::Idle | Self::Method(_) => 0,
        }
    }
}

impl Addressed {
    pub(super) fn of(publish: &Publish<'_>) -> Self {
        Self {
            exchange: publish.exchange.into(),
            routing_key: publish.routing_key.into(),
            mandatory: publish.mandatory,
        }
    }

    fn publish(&self) -> Publish<'_> {
        Publish {
            exchange: &self.exchange,
            routing_key: &self.routing_key,
            mandatory: self.mandatory,
            immediate: false,
        }
    }
}

/// The header of a message of class `basic`.
pub(super) fn basic_header<'a>(frame: &Frame<'a>) -> Result<Header<'a>, Exception> {
    let header = content::header(frame.payload).map_err(super::violation)?;
    if header.class == CLASS_BASIC {
        return Ok(header);
    }
    let text = format!(
        "expected content header for class {CLASS_BASIC}, got one for class {} instead",
        header.class
    );
    Err(Exception::new(Code::UnexpectedFrame, text))
}

impl Connection {
    pub(super) fn content_header(
        &mut self,
        now: Now,
        frame: &Frame<'_>,
        out: &mut Outbox,
    ) -> Result<(), Exception> {
        let number = frame.channel;
        let Some(channel) = self.channels.slot(number) else { return Err(unexpected(frame)) };
        if channel.is_closing() {
            return Ok(());
        }
        let Content::Method(addressed) = std::mem::take(&mut channel.content) else {
            return Err(unexpected(frame));
        };
        let header = basic_header(frame)?;
        let publish = addressed.publish();
        let stored = self.admit(number, &publish, &header).and_then(|(admitted, traits)| {
            let mut record = BytesMut::new();
            let missing = usize::try_from(header.body_bytes).expect("admitted bodies are bounded");
            admitted.draft(&publish, now).open(missing, &mut record);
            if missing == 0 {
                return self.store(number, record, traits, out);
            }
            self.assembly_bytes += record.len();
            if let Some(channel) = self.channels.live(number) {
                channel.content = Content::Body { missing, record, traits: Box::new(traits) };
            }
            Ok(())
        });
        stored.or_else(|exception| self.fail(number, exception.by((60, 40)), out))
    }

    pub(super) fn content_body(&mut self, frame: &Frame<'_>, out: &mut Outbox) -> Result<(), Exception> {
        let number = frame.channel;
        let Some(channel) = self.channels.slot(number) else { return Err(unexpected(frame)) };
        if channel.is_closing() {
            return Ok(());
        }
        let Content::Body { missing, record, .. } = &mut channel.content else {
            return Err(unexpected(frame));
        };
        let Some(left) = missing.checked_sub(frame.payload.len()) else {
            return Err(Exception::new(
                Code::FrameError,
                "content body frame exceeds remaining content size",
            ));
        };
        *missing = left;
        record.extend_from_slice(frame.payload);
        self.assembly_bytes += frame.payload.len();
        if self.assembly_bytes > ASSEMBLY_BYTES_MAX {
            let text = format!("more than {ASSEMBLY_BYTES_MAX} octets of unfinished messages");
            return Err(Exception::new(Code::ResourceError, text));
        }
        if left > 0 {
            return Ok(());
        }
        let Content::Body { record, traits, .. } = std::mem::take(&mut channel.content) else {
            return Ok(());
        };
        self.assembly_bytes -= record.len();
        let stored = self.store(number, record, *traits, out);
        stored.or_else(|exception| self.fail(number, exception.by((60, 40)), out))
    }
}
