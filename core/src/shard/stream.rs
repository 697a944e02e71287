//! Streams: not taken yet; whatever is asked of them is refused.

use super::effect::Turn;
use stele_model::refusal::Refusal;
use stele_model::shard::{ShardEffect, ShardOp};

pub(super) fn refuse(op: ShardOp, turn: &mut Turn<'_>) {
    let refusal = Refusal::NotImplemented { what: "streams".to_owned() };
    let (hub, call) = match op {
        ShardOp::Append(append) => (append.hub, append.call),
        ShardOp::Read(read) => (read.session.hub, read.call),
        ShardOp::Seek { hub, call, .. }
        | ShardOp::Trim { hub, call, .. }
        | ShardOp::NewProducer { hub, call } => (hub, call),
        _ => return,
    };
    turn.say_present(ShardEffect::Answer { hub, call, answer: Err(refusal) });
}
