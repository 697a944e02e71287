//! Requests that are not answered yet, in their order, and answers that wait for an earlier one.

use super::produce::Producing;
use crate::codec::api::ApiKey;
use crate::profile;
use bytes::Bytes;
use std::collections::VecDeque;
use stele_model::outcome::Outcome;
use stele_model::session::Output;

/// Answers from this size up are handed on without copying when they leave, octets.
const SHARE_BYTES_MIN: usize = 4 << 10;

/// One request.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) api: ApiKey,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
    /// The octets of the request behind its header, until it is answered.
    pub(super) body: Bytes,
    pub(super) state: State,
    weight: usize,
}

/// How far a request is.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing was done for it yet, or it is kept in books of its own (fetch, login).
    Held,
    /// Its batches are being appended.
    Producing(Box<Producing>),
    /// The hub was asked.
    Asking(Asking),
    /// The octets of the answer; empty: none is sent.
    Ready(Vec<Bytes>),
}

/// What was asked of the hub, and its answers.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// Answers to earlier questions of this request, one list for each time it asked.
    pub(super) stages: Vec<Vec<Outcome>>,
    /// Answers to what is asked now.
    pub(super) parts: Vec<Option<Outcome>>,
    /// How many are missing.
    pub(super) missing: usize,
}

impl Slot {
    pub(super) fn new(api: ApiKey, version: i16, correlation_id: i32, body: Bytes) -> Self {
        let weight = body.len();
        Self { api, version, correlation_id, body, state: State::Held, weight }
    }
}

/// All requests of a connection that are not answered.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Number of the first one.
    first: u64,
    slots: VecDeque<Slot>,
    request_bytes: usize,
    answer_bytes: usize,
}

impl Slots {
    /// Takes a request up; returns its number.
    pub(super) fn push(&mut self, slot: Slot) -> u64 {
        self.request_bytes += slot.weight;
        self.slots.push_back(slot);
        self.first + self.slots.len() as u64 - 1
    }

    pub(super) fn get(&self, number: u64) -> Option<&Slot> {
        self.slots.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Numbers of requests of an API that are still held, in order.
    pub(super) fn held(&self, api: ApiKey) -> Vec<u64> {
        let numbered = (self.first..).zip(&self.slots);
        let held = numbered.filter(|(_, slot)| slot.api == api && matches!(slot.state, State::Held));
        held.map(|(number, _)| number).collect()
    }

    /// The answer is there; it leaves when those before it have left.
    pub(super) fn ready(&mut self, number: u64, mut answer: Output) {
        let mut pieces = Vec::new();
        answer.take(|piece| pieces.push(piece));
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        if let Some(slot) = self.get_mut(number) {
            slot.body = Bytes::new();
            slot.state = State::Ready(pieces);
            self.answer_bytes += bytes;
        }
    }

    /// Writes the answers that are due.
    pub(super) fn write_ready(&mut self, out: &mut Output) {
        while let Some(Slot { state: State::Ready(pieces), weight, .. }) = self.slots.front_mut() {
            self.request_bytes -= *weight;
            for piece in std::mem::take(pieces) {
                self.answer_bytes -= piece.len();
                if piece.len() < SHARE_BYTES_MIN {
                    out.buffer().extend_from_slice(&piece);
                } else {
                    out.share(piece);
                }
            }
            self.slots.pop_front();
            self.first += 1;
        }
    }

    /// No further request is looked at.
    pub(super) fn is_full(&self) -> bool {
        self.slots.len() >= profile::IN_FLIGHT_MAX || self.is_heavy(false)
    }

    /// Whether so much is open that the socket is not to be read; `was`: it was so before.
    pub(super) fn is_heavy(&self, was: bool) -> bool {
        let bound = if was { profile::IN_FLIGHT_BYTES_RESUME } else { profile::IN_FLIGHT_BYTES_MAX };
        let many = if was { profile::IN_FLIGHT_MAX / 2 } else { profile::IN_FLIGHT_MAX };
        self.request_bytes > bound
            || self.answer_bytes > profile::ANSWERED_BYTES_MAX
            || self.slots.len() >= many
    }
}
