//! What clients of a stream by subject and of its shared group did and saw.

use super::Step;
use stele_model::id::Position;

/// A published message, by the order of publishing. Its body says it, so that it can be recognized wherever it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageId(pub u64);

/// Something that a client did or saw.
#[derive(Clone, Debug)]
pub enum SharedEvent {
    /// A message was handed to the session, for the first time.
    Published {
        /// Which.
        message: MessageId,
        /// It has an id, and is sent again with it until it is answered.
        identified: bool,
        /// It is to be stored here, or not at all.
        expected: Option<Position>,
    },
    /// A message was handed to the session that is to wait for its time, for the first time.
    Delayed {
        /// Which.
        message: MessageId,
        /// It is to be published again and again.
        repeats: bool,
    },
    /// It is kept until then, says the answer.
    Kept {
        /// Which.
        message: MessageId,
    },
    /// The final look at what has waited.
    Later {
        /// Each, in order; `None`: bytes that nobody published. Where it has come to where it was to be published, with what it says of its
        /// next time.
        messages: Vec<(Option<MessageId>, Option<String>)>,
    },
    /// The first messages of a bundle are about to be handed to the session.
    Bundled {
        /// All of the bundle, in order.
        messages: Vec<MessageId>,
    },
    /// The bundle is stored, says the answer.
    Whole {
        /// All of it.
        messages: Vec<MessageId>,
        /// Where its last message stands; `None`: it has been stored before.
        last: Option<Position>,
    },
    /// The final look at the stream of bundles: all that it holds, in order.
    LookedForBundles {
        /// Each with its place; `None`: bytes that nobody published.
        messages: Vec<(Position, Option<MessageId>)>,
    },
    /// It is stored, says the answer.
    Stored {
        /// Which.
        message: MessageId,
        /// Where.
        position: Position,
    },
    /// It is refused, says the answer.
    Refused {
        /// Which.
        message: MessageId,
        /// Why.
        why: String,
    },
    /// A taker was given it.
    Shown {
        /// When it asked for records.
        asked: Step,
        /// Where it stands.
        position: Position,
        /// What it is; `None`: bytes that nobody published.
        message: Option<MessageId>,
    },
    /// A taker never wants these again.
    EndAsked {
        /// Number of the question, if an answer is awaited.
        number: Option<u64>,
        /// Which.
        positions: Vec<Position>,
        /// They are terminated, and so go to the dead letters.
        terminates: bool,
    },
    /// They are ended, says the answer.
    Ended {
        /// Number of the question.
        number: u64,
    },
    /// Somebody was told how far the group is.
    Told {
        /// When it asked.
        asked: Step,
        /// Below is everything settled.
        floor: Position,
        /// Deliveries that have not ended.
        unsettled: u64,
    },
    /// The final look at the dead letters: all of them, in order.
    Buried {
        /// Each; `None`: bytes that nobody published.
        messages: Vec<Option<MessageId>>,
    },
    /// The final look into the stream: all that it holds, in order.
    Looked {
        /// Each with its place.
        messages: Vec<(Position, Option<MessageId>)>,
    },
}
