//! One connection: a channel to publish on, one to declare on, one for answers, and what is known to be declared.
//!
//! A channel that the broker closed is replaced; a lost connection is not: the transport makes a new link.

use std::collections::BTreeSet;
use std::sync::{Mutex as StdMutex, PoisonError};
use std::time::Duration;

use lapin::options::ConfirmSelectOptions;
use lapin::protocol::AMQPErrorKind;
use lapin::types::ShortString;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use tokio::sync::{Mutex, MutexGuard};

use super::TransportError;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// The reply code of an end that nothing is wrong with.
pub(super) const OK: u16 = 200;
/// Destinations remembered as declared; when there are more, all are forgotten and declared again.
const DECLARED_MAX: usize = 50_000;

/// Does `work` with the broker, for at most `patience`. The client library may never say what became of it: commands that reach it while
/// its connection ends are dropped without an answer (lapin 4.12), and a broker may be stopped while its connections stay.
pub(super) async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, TransportError>>,
) -> Result<T, TransportError> {
    let silent = |_| TransportError::Unavailable(format!("no answer of the broker within {patience:?}"));
    tokio::time::timeout(patience, work).await.map_err(silent)?
}

pub(super) struct Link {
    connection: Connection,
    publishing: Mutex<Channel>,
    declaring: Mutex<Channel>,
    answering: Mutex<Channel>,
    declared: StdMutex<BTreeSet<String>>,
}

impl Link {
    pub(super) async fn open(uri: &AMQPUri) -> Result<Self, TransportError> {
        let properties = ConnectionProperties::default().with_connection_name("stele-bus".into());
        let connecting = Connection::connect_uri(uri.clone(), properties);
        let connection = tokio::time::timeout(CONNECT, connecting)
            .await
            .map_err(|_| TransportError::Unavailable(format!("no connection within {CONNECT:?}")))?
            .map_err(unavailable)?;
        let publishing = Mutex::new(confirming(&connection).await?);
        let answering = Mutex::new(confirming(&connection).await?);
        let declaring = Mutex::new(connection.create_channel().await.map_err(error)?);
        Ok(Self { connection, publishing, declaring, answering, declared: StdMutex::default() })
    }

    pub(super) fn is_alive(&self) -> bool {
        self.connection.status().connected()
    }

    pub(super) async fn channel(&self) -> Result<Channel, TransportError> {
        self.connection.create_channel().await.map_err(error)
    }

    /// The channel to publish on. Held while frames are written, so that batches keep their order.
    pub(super) async fn publishing(&self) -> Result<MutexGuard<'_, Channel>, TransportError> {
        self.revived(&self.publishing).await
    }

    /// The channel for answers to addresses that may be gone: their absence closes it, and nobody else's.
    pub(super) async fn answering(&self) -> Result<MutexGuard<'_, Channel>, TransportError> {
        self.revived(&self.answering).await
    }

    async fn revived<'a>(
        &'a self,
        slot: &'a Mutex<Channel>,
    ) -> Result<MutexGuard<'a, Channel>, TransportError> {
        let mut channel = slot.lock().await;
        if !channel.status().connected() {
            *channel = confirming(&self.connection).await?;
            self.forget(); // something that was believed to be there is not
        }
        Ok(channel)
    }

    /// Do something on the declaring channel, which is replaced if that closed it.
    pub(super) async fn declaring<T>(
        &self,
        work: impl AsyncFnOnce(&Channel) -> Result<T, TransportError>,
    ) -> Result<T, TransportError> {
        let mut channel = self.declaring.lock().await;
        if !channel.status().connected() {
            *channel = self.channel().await?;
        }
        work(&channel).await
    }

    pub(super) fn is_declared(&self, what: &str) -> bool {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner).contains(what)
    }

    pub(super) fn remember(&self, what: String) {
        let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        if declared.len() >= DECLARED_MAX {
            declared.clear();
        }
        declared.insert(what);
    }

    fn forget(&self) {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) async fn close(&self) -> Result<(), TransportError> {
        self.connection.close(OK, "bye".into()).await.map_err(error)
    }
}

async fn confirming(connection: &Connection) -> Result<Channel, TransportError> {
    let channel = connection.create_channel().await.map_err(error)?;
    channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(error)?;
    Ok(channel)
}

/// A name as AMQP carries it: at most 255 bytes.
pub(super) fn short(name: &str) -> Result<ShortString, TransportError> {
    ShortString::try_new(name).map_err(|why| TransportError::Refused(format!("name {name:.40}…: {why}")))
}

/// The broker's word about a channel is final; everything else may pass.
pub(super) fn error(error: lapin::Error) -> TransportError {
    match error.kind() {
        ErrorKind::ProtocolError(said) if matches!(said.kind(), AMQPErrorKind::Soft(_)) => {
            TransportError::Refused(error.to_string())
        }
        _ => unavailable(error),
    }
}

fn unavailable(error: lapin::Error) -> TransportError {
    TransportError::Unavailable(error.to_string())
}
