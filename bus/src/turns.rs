//! Copies of one message that are in hand at once take turns, so that the second finds what the first has done.
//!
//! Used by the pipeline for endpoints with an inbox. Between processes the store decides; inside one this is cheaper, and keeps a copy
//! from sending again what its twin is just sending.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use uuid::Uuid;

/// Ids in hand.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    ids: Mutex<BTreeSet<Uuid>>,
    left: Notify,
}

/// The right to handle one id; given back when dropped.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    id: Uuid,
}

impl Turns {
    /// Wait until nobody else has this id in hand.
    pub(crate) async fn take(&self, id: Uuid) -> Turn<'_> {
        loop {
            let left = self.left.notified(); // before looking, or a departure in between would be missed
            if self.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
                return Turn { turns: self, id };
            }
            left.await;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.ids.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
        self.turns.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_of_two_copies_waits_for_the_first() {
        let turns = Turns::default();
        let first = turns.take(Uuid::nil()).await;
        let _other = turns.take(Uuid::max()).await;
        let mut second = std::pin::pin!(turns.take(Uuid::nil()));
        assert!(
            std::future::poll_fn(|cx| std::task::Poll::Ready(second.as_mut().poll(cx).is_pending())).await
        );
        drop(first);
        second.await;
    }
}
