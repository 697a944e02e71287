//! The roll of an IO thread's clients: who is here, and who was here of late.
//!
//! Asked for from outside ([`Io::roll`]), or by a session about its own account: then each IO thread adds what it knows, and the last one sends
//! all of it to the thread that has the session. What must hold: of those who are gone, as many are remembered as [`GONE_MAX`] says; a session
//! that has gone meanwhile is not told. Nobody waits: a thread answers in its own turn.

use super::Io;
use super::connection::Connection;
use super::find;
use super::message::IoMessage;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use stele_model::id::{HubId, Now, SessionId};
use stele_model::roll::{ClientLine, Clients, RollCall};
use stele_model::session::{ClientView, Traffic};

/// Clients that are remembered after they have gone.
const GONE_MAX: usize = 1024;
/// Accounts whose traffic is remembered after their clients have gone; beyond, that of the first by name is forgotten.
const ACCOUNTS_MAX: usize = 4096;

/// Those who are gone.
#[derive(Default)]
pub(super) struct Gone {
    last: VecDeque<(ClientLine, Now)>,
    traffic: Traffic,
    of_accounts: BTreeMap<String, Traffic>,
}

/// A session has asked for the roll of its account.
pub(crate) struct Calling {
    asker: SessionId,
    call: RollCall,
    /// What was told so far, and how many threads have not.
    told: Mutex<(Clients, usize)>,
}

impl Gone {
    /// A client has gone, and why.
    pub(super) fn note(&mut self, now: Now, connection: &Connection, why: &str) {
        let Some(line) = line(now, connection, false) else { return };
        self.traffic.add(&line.view.traffic);
        if is_in(&line.view, &line.view.account) {
            self.of_accounts.entry(line.view.account.clone()).or_default().add(&line.view.traffic);
        }
        if self.of_accounts.len() > ACCOUNTS_MAX {
            self.of_accounts.pop_first();
        }
        if self.last.len() >= GONE_MAX {
            self.last.pop_front();
        }
        let why = connection.outbox.close.as_deref().unwrap_or(why).to_owned();
        self.last.push_back((ClientLine { gone: Some((why, 0)), ..line }, now));
    }

    /// Those of one account, or all, as of now.
    fn lines(&self, now: Now, account: Option<&str>) -> impl Iterator<Item = ClientLine> {
        let of = move |line: &ClientLine| account.is_none_or(|account| is_in(&line.view, account));
        self.last.iter().filter(move |(line, _)| of(line)).map(move |(line, at)| {
            let since_us = now.0.saturating_sub(at.0);
            let gone = line.gone.as_ref().map(|(why, _)| (why.clone(), since_us));
            let (open_us, silent_us) = (line.open_us + since_us, line.silent_us + since_us);
            ClientLine { gone, open_us, silent_us, ..line.clone() }
        })
    }
}

impl Io {
    /// Everybody, as of now.
    pub(super) fn roll(&self, now: Now, listens: bool) -> Clients {
        let here = self.connections.iter().filter_map(|(_, connection)| line(now, connection, listens));
        Clients { lines: here.chain(self.gone.lines(now, None)).collect(), gone: self.gone.traffic }
    }

    /// Asks all threads, this one included, if a session wants to know who is here.
    pub(super) fn call_roll(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let Some(call) = connection.outbox.roll_call.take() else { return };
        let told = Mutex::new((Clients::default(), self.wiring.hubs.len()));
        let calling = Arc::new(Calling { asker: connection.id, call, told });
        for (hub, _) in (0..).map(HubId).zip(&self.wiring.hubs) {
            self.round.leave(&self.wiring.hubs, hub, IoMessage::Roll(Arc::clone(&calling)), 0);
        }
    }

    /// Adds those of the account who are here.
    pub(super) fn answer_roll(&mut self, now: Now, calling: Arc<Calling>) {
        let RollCall { account, listens } = &calling.call;
        let connections = self.connections.iter();
        let here = connections.filter_map(|(_, connection)| line_of(now, connection, account, *listens));
        let lines = here.chain(self.gone.lines(now, Some(account))).collect();
        let gone = self.gone.of_accounts.get(account).copied().unwrap_or_default();
        let is_last = {
            let mut told = calling.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.0.add(Clients { lines, gone });
            told.1 -= 1;
            told.1 == 0
        };
        if is_last {
            let home = calling.asker.hub;
            self.round.leave(&self.wiring.hubs, home, IoMessage::Rolled(calling), 0);
        }
    }

    /// The session hears what all have told.
    pub(super) fn tell_rolled(&mut self, now: Now, calling: &Calling) {
        let Some((slot, connection)) = find(&mut self.connections, calling.asker) else { return };
        let told = calling.told.lock().unwrap_or_else(PoisonError::into_inner);
        connection.session.rolled(now, &told.0, &mut connection.outbox);
        self.touched.push(slot);
    }
}

/// A client of one account; what those of others listen to is not looked at.
fn line_of(now: Now, connection: &Connection, account: &str, listens: bool) -> Option<ClientLine> {
    let one = line(now, connection, false).filter(|line| is_in(&line.view, account))?;
    if listens { line(now, connection, true) } else { Some(one) }
}

/// Whether a client is, or was, somebody in an account.
fn is_in(view: &ClientView, account: &str) -> bool {
    view.account == account && !view.user.is_empty()
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
