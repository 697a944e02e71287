//! The roll of an IO thread's clients: who is here, and who was here of late.
//!
//! What must hold: of those who are gone, as many are remembered as [`GONE_MAX`] says.

use super::Io;
use super::connection::Connection;
use crate::inspect::{ClientLine, Clients};
use std::collections::VecDeque;
use stele_model::id::Now;
use stele_model::session::{ClientView, Traffic};

/// Clients that are remembered after they have gone.
const GONE_MAX: usize = 1024;

/// Those who are gone.
#[derive(Default)]
pub(super) struct Gone {
    last: VecDeque<(ClientLine, Now)>,
    traffic: Traffic,
}

impl Gone {
    /// A client has gone, and why.
    pub(super) fn note(&mut self, now: Now, connection: &Connection, why: &str) {
        let Some(line) = line(now, connection, false) else { return };
        self.traffic.add(&line.view.traffic);
        if self.last.len() >= GONE_MAX {
            self.last.pop_front();
        }
        let why = connection.outbox.close.as_deref().unwrap_or(why).to_owned();
        self.last.push_back((ClientLine { gone: Some((why, 0)), ..line }, now));
    }
}

impl Io {
    /// Everybody, as of now.
    pub(super) fn roll(&self, now: Now, listens: bool) -> Clients {
        let here = self.connections.iter().filter_map(|(_, connection)| line(now, connection, listens));
        let gone = self.gone.last.iter().map(|(line, at)| {
            let since_us = now.0.saturating_sub(at.0);
            let gone = line.gone.as_ref().map(|(why, _)| (why.clone(), since_us));
            let (open_us, silent_us) = (line.open_us + since_us, line.silent_us + since_us);
            ClientLine { gone, open_us, silent_us, ..line.clone() }
        });
        Clients { lines: here.chain(gone).collect(), gone: self.gone.traffic }
    }
}

/// A connection as listings show it; `None`: it is the server's own, or of a dialect that keeps no account.
fn line(now: Now, connection: &Connection, listens: bool) -> Option<ClientLine> {
    let (peer, since) = connection.peer?;
    let view: ClientView = connection.session.view(listens)?;
    Some(ClientLine {
        peer,
        open_us: now.0.saturating_sub(since.0),
        silent_us: now.0.saturating_sub(view.heard.0),
        pending_bytes: connection.unwritten() as u64,
        gone: None,
        view,
    })
}
