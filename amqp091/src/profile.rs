//! Limits and defaults of the dialect, with units. RabbitMQ 4.3's where clients can see them.

use crate::codec::frame::OVERHEAD_BYTES;

/// Largest frame we offer in `connection.tune`, octets.
pub const FRAME_BYTES_MAX: u32 = 131_072;
/// Smallest `frame_max` a client may ask for, octets (RabbitMQ since 4.1; specification: 4096).
pub const FRAME_BYTES_MIN: u32 = 8192;
/// Largest frame before `connection.tune-ok`, octets: a stranger gets little memory.
pub const FRAME_BYTES_HANDSHAKE: u32 = 8192;
/// Highest channel number.
pub const CHANNEL_MAX: u16 = 2047;
/// Heartbeat interval we propose, seconds; the client's answer counts.
pub const HEARTBEAT_S: u16 = 60;
/// From the first byte to `connection.open`, ms.
pub const HANDSHAKE_MS: u64 = 10_000;
/// How long a `connection.close` of ours waits for its `close-ok`, ms.
pub const CLOSING_MS: u64 = 30_000;
/// The same when the client's frames cannot be found any more, ms.
pub const LOST_MS: u64 = 1_000;
/// Largest body of a message, octets; a driver may set less (RabbitMQ: `max_message_size`).
pub const MESSAGE_BYTES_MAX: u32 = 16 << 20;
/// Messages of a connection that have not come whole, octets; beyond, the connection is ended.
pub const ASSEMBLY_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX as usize;
/// Publishes of one open transaction, octets.
pub const TX_BYTES_MAX: usize = 32 << 20;
/// Further keys (CC, BCC) in a batch that is held; beyond, the socket is not read.
pub const BLOCKED_KEYS_MAX: usize = u16::MAX as usize / 2;
/// Records of one read are handed on when they have reached this size, octets.
pub const BATCH_BYTES: usize = 1 << 20;
/// Unanswered publishes of a connection, octets: beyond, its socket is not read.
pub const IN_FLIGHT_BYTES_MAX: u64 = 32 << 20;
/// Unanswered publishes of a connection below which its socket is read again, octets.
pub const IN_FLIGHT_BYTES_RESUME: u64 = IN_FLIGHT_BYTES_MAX / 2;
/// Publishes held while the server blocks publishers, octets; beyond, the socket is not read (S30).
pub const BLOCKED_BYTES_MAX: usize = 4 << 20;
/// Records under way to one consumer that have not left for the client, octets (S18).
pub const CONSUMER_BYTES_MAX: u64 = 2 << 20;
/// Consumers of one channel.
pub const CONSUMERS_PER_CHANNEL_MAX: usize = 8192;
/// Bodies from this size up are handed on without copying, octets. Below it a copy is as good (durable-path measurement of
/// 2026-11: gathering pays from about 4 KB).
pub const SHARE_BYTES_MIN: usize = 8 << 10;
/// A channel's list of unacknowledged deliveries is packed when fewer than one entry in this many is live.
pub const UNACKED_SPARSE: usize = 4;
/// Length of a reply text, octets: it is a short string.
pub const TEXT_BYTES_MAX: usize = 255;

const _: () = assert!(FRAME_BYTES_MIN <= FRAME_BYTES_HANDSHAKE && FRAME_BYTES_HANDSHAKE <= FRAME_BYTES_MAX);
const _: () = assert!(OVERHEAD_BYTES < FRAME_BYTES_MIN, "a body frame carries something");
const _: () =
    assert!((MESSAGE_BYTES_MAX as u64) < IN_FLIGHT_BYTES_MAX, "the largest message can be under way");
const _: () = assert!(
    (MESSAGE_BYTES_MAX as u64) + (BATCH_BYTES as u64) + 2 * (FRAME_BYTES_MAX as u64) < u32::MAX as u64
);
const _: () = assert!(IN_FLIGHT_BYTES_RESUME < IN_FLIGHT_BYTES_MAX);
/// Fewest octets of a key in an array: type and length.
const KEY_BYTES_MIN: usize = 5;
const _: () = assert!(
    BLOCKED_KEYS_MAX + (FRAME_BYTES_MAX as usize + OVERHEAD_BYTES as usize) / KEY_BYTES_MIN
        < u16::MAX as usize,
    "the keys of one more message fit"
);
const _: () = assert!(TX_BYTES_MAX < u32::MAX as usize / 2, "a transaction fits in batches");
const _: () = assert!(LOST_MS <= CLOSING_MS);

/// The product that clients are told they speak to. They choose by it what they do: kombu decides by product and version whether Celery changes its
/// prefetch with `global`.
pub const PRODUCT: &str = "RabbitMQ";

/// The version of [`PRODUCT`] whose answers ours are compared with (`conform/amqp091`). NServiceBus does not start below 3.10.0.
pub const PRODUCT_VERSION: &str = "4.3.6";

/// What a driver may set for its connections.
#[derive(Clone, Debug)]
pub struct Profile {
    /// `product` in the server properties: whose rules hold here, for clients that ask ([`PRODUCT`]).
    pub product: String,
    /// `version` in the server properties ([`PRODUCT_VERSION`]).
    pub version: String,
    /// `platform` in the server properties.
    pub platform: String,
    /// `cluster_name` in the server properties.
    pub cluster_name: String,
    /// At most [`FRAME_BYTES_MAX`].
    pub frame_bytes_max: u32,
    /// At most [`CHANNEL_MAX`].
    pub channel_max: u16,
    /// 0 switches heartbeats off unless the client asks for them.
    pub heartbeat_s: u16,
    /// At most [`MESSAGE_BYTES_MAX`].
    pub message_bytes_max: u32,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            product: PRODUCT.to_owned(),
            version: PRODUCT_VERSION.to_owned(),
            platform: concat!("Stele ", env!("CARGO_PKG_VERSION")).to_owned(),
            cluster_name: "stele".to_owned(),
            frame_bytes_max: FRAME_BYTES_MAX,
            channel_max: CHANNEL_MAX,
            heartbeat_s: HEARTBEAT_S,
            message_bytes_max: MESSAGE_BYTES_MAX,
        }
    }
}

impl Profile {
    /// Whether the numbers are within their bounds.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        (FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&self.frame_bytes_max)
            && (1..=CHANNEL_MAX).contains(&self.channel_max)
            && self.message_bytes_max <= MESSAGE_BYTES_MAX
    }
}
