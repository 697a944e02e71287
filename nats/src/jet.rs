//! JetStream's words: its JSON requests and answers, what may be asked for, error codes, acknowledgements and statuses. Pure translation.
//!
//! Called by the session, which turns what was understood here into operations of `model` and their outcomes into answers. What must
//! hold: whatever a client sends is answered or refused in nats-server's own words (2.15; the golden file in `tests/golden` has its
//! answers), never half understood. A field that is known but not served is refused by name.
//!
//! Not here: state of any kind, and who may do what.

pub mod ack;
pub mod advisory;
pub mod api;
pub mod audit;
pub mod consumer;
pub mod consumer_check;
pub mod error;
pub mod fuzz;
pub mod inquiry;
pub mod json;
pub mod limits;
pub mod mapping;
mod outgoing;
pub mod publish;
pub mod pull;
pub mod push;
pub mod refuse;
pub mod reply;
mod republish;
pub mod request;
pub mod schedule;
pub mod serve;
pub mod settings;
pub mod stored;
pub mod stream;
pub mod stream_check;
pub mod subject;
pub mod time;
pub mod versions;
