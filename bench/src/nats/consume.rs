//! One reader of a stream: by pull with an acknowledgement for each message, or by push in order, as the official clients do it.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::json;

use super::client::Client;
use super::wire;

/// Asked for at once, and how many must be left when more is asked for: the defaults of nats.go's `Consume`.
const BATCH: u64 = 500;
const BATCH_LOW: u64 = 250;
/// Acknowledgements that may wait while more messages are at hand.
const ACKS_BYTES_MAX: usize = 32 << 10;

/// How long it took, and how long the consumer's creation took.
pub(crate) struct Read {
    pub creation: Duration,
    pub elapsed: Duration,
}

/// Reads `count` messages that match `filter` through a durable pull consumer and acknowledges each.
pub(crate) fn pull(address: SocketAddr, stream: &str, filter: &str, count: u64) -> Result<Read> {
    let mut client = Client::connect(address)?;
    let start = Instant::now();
    let config = json!({"durable_name": "bench", "ack_policy": "explicit", "filter_subject": filter, "max_ack_pending": 20_000});
    client.ask(
        &format!("$JS.API.CONSUMER.CREATE.{stream}.bench.{filter}"),
        &json!({"stream_name": stream, "config": config}),
    )?;
    let creation = start.elapsed();
    let inbox = format!("_INBOX.pull.{}", client.stream.local_addr()?.port());
    client.subscribe(&inbox, 1)?;
    let next = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.bench");
    let start = Instant::now();
    let (mut read, mut asked, mut out) = (0, 0, Vec::new());
    while read < count {
        if asked - read <= BATCH_LOW && asked < count {
            let batch = BATCH.min(count - asked);
            let request = json!({"batch": batch, "expires": 30_000_000_000u64}).to_string();
            wire::publish(&mut out, next.as_bytes(), inbox.as_bytes(), request.as_bytes());
            asked += batch;
        }
        if !out.is_empty() && (out.len() > ACKS_BYTES_MAX || !client.has_more()?) {
            client.stream.write_all(&out)?;
            out.clear();
        }
        client.message(|message| {
            match message.status() {
                None => {
                    wire::publish(&mut out, message.reply, b"", b"+ACK");
                    read += 1;
                }
                Some(408 | 409) => bail!("a pull ended: {}", String::from_utf8_lossy(message.head)),
                Some(_) => {}
            }
            Ok(())
        })?;
    }
    client.stream.write_all(&out)?;
    // The work is done when the server has taken the last acknowledgement.
    loop {
        let info = client.ask(&format!("$JS.API.CONSUMER.INFO.{stream}.bench"), &json!(null))?;
        if info["num_ack_pending"] == 0 {
            break;
        }
        ensure!(start.elapsed() < Duration::from_secs(600), "acknowledgements are not taken: {info}");
    }
    let elapsed = start.elapsed();
    client.ask(&format!("$JS.API.CONSUMER.DELETE.{stream}.bench"), &json!(null))?;
    Ok(Read { creation, elapsed })
}

/// Reads `count` messages in order: an ephemeral push consumer with flow control. `policy` is where it starts, such as "all".
pub(crate) fn ordered(
    address: SocketAddr,
    stream: &str,
    policy: &str,
    filter: &str,
    count: u64,
) -> Result<Read> {
    let mut client = Client::connect(address)?;
    let inbox = format!("_INBOX.push.{}", client.stream.local_addr()?.port());
    client.subscribe(&inbox, 1)?;
    client.fence()?;
    // Deliveries may come before the answer of who makes the consumer.
    let mut maker = Client::connect(address)?;
    let start = Instant::now();
    let config = json!({
        "deliver_subject": inbox, "deliver_policy": policy, "filter_subject": filter, "ack_policy": "none", "max_deliver": 1,
        "mem_storage": true, "flow_control": true, "idle_heartbeat": 5_000_000_000u64, "num_replicas": 1,
    });
    let made = maker
        .ask(&format!("$JS.API.CONSUMER.CREATE.{stream}"), &json!({"stream_name": stream, "config": config}));
    let name = made?["name"].as_str().unwrap_or_default().to_owned();
    let creation = start.elapsed();
    let (mut read, mut last) = (0, 0);
    while read < count {
        let go_on = client.message(|message| {
            if message.status().is_some() {
                return Ok(Some(message.reply.to_vec()).filter(|reply| !reply.is_empty()));
            }
            let place = place(message.reply)?;
            ensure!(place == last + 1, "delivery {place} after {last}");
            (read, last) = (read + 1, place);
            Ok(None)
        })?;
        if let Some(reply) = go_on {
            let mut out = Vec::new();
            wire::publish(&mut out, &reply, b"", b"");
            client.stream.write_all(&out)?;
        }
    }
    let elapsed = start.elapsed();
    maker.ask(&format!("$JS.API.CONSUMER.DELETE.{stream}.{name}"), &json!(null))?;
    Ok(Read { creation, elapsed })
}

/// The number of a delivery: the seventh word of its reply subject, or the ninth of the longer form.
fn place(reply: &[u8]) -> Result<u64> {
    let words: Vec<&[u8]> = reply.split(|byte| *byte == b'.').collect();
    let word = match words.len() {
        9 => words[6],
        11.. => words[8],
        count => bail!("a reply subject of {count} words"),
    };
    Ok(std::str::from_utf8(word)?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_numbered_in_both_forms_of_its_reply() {
        assert_eq!(place(b"$JS.ACK.S.c.1.70.42.1700000000.9").unwrap(), 42);
        assert_eq!(place(b"$JS.ACK._.hash.S.c.1.70.42.1700000000.9").unwrap(), 42);
        assert!(place(b"$JS.ACK.S").is_err());
    }
}
