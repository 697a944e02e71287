//! Frames and methods: bytes to borrowed values and back (AMQP 0-9-1, section 4.2).
//!
//! Called by the session and by nobody else outside tests. What must hold: nothing panics or reads past the input, no length
//! is believed before it is checked, decoding allocates nothing. Not here: whether a frame is allowed now (session).

pub mod content;
pub mod field;
pub mod frame;
pub mod hot;
pub mod method;

use std::fmt;

/// What a peer can do wrong in the bytes themselves. All of these end the connection: the two sides no longer agree where the
/// next frame starts, or what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A frame is announced to be longer than was agreed.
    FrameTooLarge {
        /// Announced payload.
        payload_bytes: u32,
        /// Agreed payload.
        payload_bytes_max: u32,
    },
    /// The octet after the payload is not 0xCE.
    FrameEnd(u8),
    /// No such frame type.
    FrameKind(u8),
    /// A method or header ends early, or has bytes left over; the part that is wrong.
    Syntax(&'static str),
    /// No such method.
    UnknownMethod {
        /// Its class.
        class: u16,
        /// Its number in the class.
        method: u16,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FrameTooLarge { payload_bytes, payload_bytes_max } => {
                write!(f, "frame of {payload_bytes} octets is larger than the agreed {payload_bytes_max}")
            }
            Self::FrameEnd(octet) => write!(f, "invalid frame end marker {octet}"),
            Self::FrameKind(kind) => write!(f, "unknown frame type {kind}"),
            Self::Syntax(part) => write!(f, "cannot decode {part}"),
            Self::UnknownMethod { class, method } => write!(f, "unknown method {method} of class {class}"),
        }
    }
}
