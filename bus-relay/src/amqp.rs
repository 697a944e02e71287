//! Publishing over AMQP 0-9-1, to RabbitMQ and Stele alike: one connection and one channel with confirms per worker.
//!
//! Messages of a batch are sent one behind the other and confirmed together. What AMQP cannot carry is refused before anything is sent,
//! and exchanges are declared on a channel of their own, so that a declaration that fails does not take the confirms along.

use crate::publish::{Address, Exchange, Fault, Message, Outcome, Publisher, Refusal, Target};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::tcp::OwnedTLSConfig;
use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for a connection, and for the declaration of an exchange.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for the confirms of a batch. A broker that is out of memory or disk takes longer; then the batch is sent again.
const CONFIRM: Duration = Duration::from_secs(60);
/// Exchanges remembered as made; when there are more the memory starts anew.
const KNOWN_MAX: usize = 10_000;
const PERSISTENT: u8 = 2;
/// `connection-forced`: the broker is going away, and no message is to blame.
const FORCED: u16 = 320;

/// A broker that speaks AMQP 0-9-1.
#[derive(Clone)]
pub struct Amqp {
    uri: AMQPUri,
    name: String,
    /// Certificates of authorities beside the machine's, as PEM.
    authority: Option<String>,
}

/// Without user and password.
impl std::fmt::Debug for Amqp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Amqp").field(&self.place()).finish()
    }
}

impl Amqp {
    /// Reads a URL; `name` is what the broker shows of the connection.
    ///
    /// # Errors
    /// It is no URL that can be connected to. The text does not repeat the URL.
    pub fn new(url: &str, name: &str) -> Result<Self, String> {
        let mut uri: AMQPUri =
            url.parse().map_err(|_| "expected amqp://user:password@host:port/vhost".to_owned())?;
        if uri.scheme == AMQPScheme::AMQPS && !cfg!(feature = "amqp-tls") {
            return Err("amqps is not built in: the feature amqp-tls".into());
        }
        // By the letter `…:5672/` names a virtual host without a name; whoever writes it means the default one.
        if uri.vhost.is_empty() {
            uri.vhost = "/".into();
        }
        Ok(Self { uri, name: name.to_owned(), authority: None })
    }

    /// Certificates, as PEM, of authorities that the broker's is checked by, beside the machine's.
    #[must_use]
    pub fn authority(mut self, pem: String) -> Self {
        self.authority = Some(pem);
        self
    }

    /// Host, port and virtual host, for people.
    #[must_use]
    pub fn place(&self) -> String {
        let (scheme, at) = (&self.uri.scheme, &self.uri.authority);
        format!("{scheme}://{}:{}/{}", at.host, at.port, self.uri.vhost.trim_start_matches('/'))
    }
}

impl Target for Amqp {
    type Publisher = AmqpPublisher;

    async fn open(&self) -> Result<AmqpPublisher, Fault> {
        let place = self.place();
        let properties = ConnectionProperties::default().with_connection_name(self.name.as_str().into());
        let tls = OwnedTLSConfig { identity: None, cert_chain: self.authority.clone() };
        let runtime = lapin::runtime::default_runtime().map_err(cut)?;
        let connect = async {
            let made = Connection::connect_uri_with_config(self.uri.clone(), properties, tls, runtime);
            let connection = made.await?;
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok(AmqpPublisher { connection, channel, setup: None, known: HashSet::new() })
        };
        timeout(CONNECT, connect)
            .await
            .map_err(|_| Fault::Connection(format!("could not connect to {place} within {CONNECT:?}")))?
            .map_err(|error: lapin::Error| {
                Fault::Connection(format!("could not connect to {place}: {error}"))
            })
    }
}

/// A connection.
pub struct AmqpPublisher {
    connection: Connection,
    channel: Channel,
    /// Where exchanges are declared.
    setup: Option<Channel>,
    /// Exchanges that are there.
    known: HashSet<(String, Exchange)>,
}

impl Publisher for AmqpPublisher {
    async fn admit(&mut self, message: &Message) -> Result<Outcome, Fault> {
        if let Err(refusal) = frame(message) {
            return Ok(Outcome::Refused(refusal));
        }
        let declared = timeout(CONNECT, self.declare(&message.address)).await;
        declared.map_err(|_| Fault::Connection(format!("the broker did not answer within {CONNECT:?}")))?
    }

    async fn publish(&mut self, batch: &[Message]) -> Result<Vec<Outcome>, Fault> {
        let sent = timeout(CONFIRM, self.send(batch)).await;
        sent.map_err(|_| Fault::Connection(format!("the broker did not confirm within {CONFIRM:?}")))?
    }
}

impl AmqpPublisher {
    async fn send(&self, batch: &[Message]) -> Result<Vec<Outcome>, Fault> {
        let mut confirms = Vec::with_capacity(batch.len());
        for message in batch {
            let Frame { exchange, routing_key, properties } =
                frame(message).expect("only what was admitted is published");
            let options = BasicPublishOptions {
                mandatory: message.address.must_route,
                ..BasicPublishOptions::default()
            };
            let publish =
                self.channel.basic_publish(exchange, routing_key, options, &message.payload, properties);
            confirms.push(publish.await.map_err(|error| self.ended(&error))?);
        }
        let mut outcomes = Vec::with_capacity(batch.len());
        for confirm in confirms {
            outcomes.push(outcome(confirm.await.map_err(|error| self.ended(&error))?));
        }
        Ok(outcomes)
    }

    /// Makes the exchange, once per connection.
    async fn declare(&mut self, address: &Address) -> Result<Outcome, Fault> {
        let known = (address.exchange.clone(), address.declare);
        if address.exchange.is_empty() || self.known.contains(&known) {
            return Ok(Outcome::Confirmed);
        }
        let channel = match self.setup.take().filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => self.connection.create_channel().await.map_err(cut)?,
        };
        let (kind, passive) = match address.declare {
            Exchange::Topic => (ExchangeKind::Topic, false),
            Exchange::Fanout => (ExchangeKind::Fanout, false),
            Exchange::Existing => (ExchangeKind::Direct, true), // a passive declaration does not look at the kind
        };
        let options = ExchangeDeclareOptions { durable: true, passive, ..ExchangeDeclareOptions::default() };
        let name = short("exchange", &address.exchange).expect("looked at before");
        match channel.exchange_declare(name, kind, options, FieldTable::default()).await {
            Ok(()) => {
                if self.known.len() == KNOWN_MAX {
                    self.known.clear();
                }
                self.known.insert(known);
                self.setup = Some(channel);
                Ok(Outcome::Confirmed)
            }
            Err(error) if error.is_amqp_soft_error() => {
                Ok(Outcome::Refused(Refusal::lasting(format!("exchange {:?}: {error}", address.exchange))))
            }
            Err(error) => Err(cut(error)),
        }
    }

    /// Who is to blame: a channel that the broker closed while the connection lives was closed over a message.
    fn ended(&self, error: &lapin::Error) -> Fault {
        let forced =
            matches!(error.kind(), lapin::ErrorKind::ProtocolError(error) if error.get_id() == FORCED);
        let by_broker = error.is_amqp_soft_error() || (error.is_amqp_hard_error() && !forced);
        match by_broker || (self.connection.status().connected() && !self.channel.status().connected()) {
            true => Fault::Message(error.to_string()),
            false => Fault::Connection(error.to_string()),
        }
    }
}

fn cut(error: lapin::Error) -> Fault {
    Fault::Connection(error.to_string())
}

fn outcome(confirmation: Confirmation) -> Outcome {
    match confirmation {
        Confirmation::Ack(None) | Confirmation::NotRequested => Outcome::Confirmed,
        Confirmation::Ack(Some(returned)) => {
            Outcome::Refused(Refusal::passing(format!("it reaches no queue: {}", returned.reply_text)))
        }
        Confirmation::Nack(_) => Outcome::Refused(Refusal::passing("the broker refused it")),
    }
}

/// A message in AMQP's own types.
struct Frame {
    exchange: ShortString,
    routing_key: ShortString,
    properties: BasicProperties,
}

/// Refuses what AMQP cannot carry: names of more than 255 bytes.
fn frame(message: &Message) -> Result<Frame, Refusal> {
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_message_id(short("id", &message.id)?)
        .with_type(short("type", &message.kind)?)
        .with_headers(table(&message.headers)?);
    if let Some(text) = &message.content_type {
        properties = properties.with_content_type(short("content type", text)?);
    }
    if let Some(text) = &message.properties.correlation_id {
        properties = properties.with_correlation_id(short("correlation_id", text)?);
    }
    if let Some(text) = &message.properties.reply_to {
        properties = properties.with_reply_to(short("reply_to", text)?);
    }
    if let Some(ms) = message.properties.expiration_ms {
        properties = properties.with_expiration(ms.to_string().into());
    }
    Ok(Frame {
        exchange: short("exchange", &message.address.exchange)?,
        routing_key: short("routing key", &message.address.routing_key)?,
        properties,
    })
}

fn short(what: &str, text: &str) -> Result<ShortString, Refusal> {
    ShortString::try_new(text)
        .map_err(|_| Refusal::lasting(format!("{what} has {} bytes, AMQP carries 255", text.len())))
}

fn table(object: &Map<String, Value>) -> Result<FieldTable, Refusal> {
    let mut table = FieldTable::default();
    for (key, value) in object {
        table.insert(short("header", key)?, field(value)?);
    }
    Ok(table)
}

fn field(value: &Value) -> Result<AMQPValue, Refusal> {
    Ok(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(value) => AMQPValue::Boolean(*value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => AMQPValue::LongLongInt(number),
            None => AMQPValue::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => AMQPValue::LongString(text.as_bytes().into()),
        Value::Array(values) => {
            AMQPValue::FieldArray(FieldArray::from(values.iter().map(field).collect::<Result<Vec<_>, _>>()?))
        }
        Value::Object(object) => AMQPValue::FieldTable(table(object)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Route;
    use crate::testing::row;

    fn message() -> Message {
        Route::default().message(row(7, "a-1")).unwrap()
    }

    #[test]
    fn a_message_carries_its_id_type_and_headers() {
        let frame = frame(&message()).unwrap();
        assert_eq!(frame.exchange.as_str(), "outbox.event");
        assert_eq!(frame.properties.message_id().as_ref().unwrap().as_str(), "id-7");
        assert_eq!(frame.properties.kind().as_ref().unwrap().as_str(), "OrderPlaced");
        assert_eq!(frame.properties.delivery_mode(), &Some(PERSISTENT));
        assert_eq!(frame.properties.headers().as_ref().unwrap().inner().len(), 2);
    }

    #[test]
    fn what_amqp_cannot_carry_is_refused_with_its_name() {
        let mut message = message();
        message.kind = "x".repeat(256);
        let refusal = frame(&message).err().unwrap();
        assert!(refusal.lasting && refusal.reason.contains("type has 256 bytes"), "{refusal:?}");
    }

    #[test]
    fn a_url_that_ends_in_a_slash_means_the_default_virtual_host() {
        for url in ["amqp://localhost", "amqp://localhost/", "amqp://localhost/%2f"] {
            assert_eq!(Amqp::new(url, "relay").unwrap().uri.vhost, "/", "{url}");
        }
    }

    #[test]
    fn no_text_holds_a_password() {
        let amqp = Amqp::new("amqp://ann:hunter2@example.org:5673/shop", "relay").unwrap();
        assert_eq!(amqp.place(), "amqp://example.org:5673/shop");
        assert!(!format!("{amqp:?}").contains("hunter2"));
        let error = Amqp::new("ann:hunter2@example.org", "relay").unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
