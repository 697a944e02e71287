//! From what a session does to lines of a transcript.

use stele_amqp091::codec::content::header;
use stele_amqp091::codec::frame::{Kind, frame};
use stele_amqp091::codec::method::Method;
use stele_model::op::Op;
use stele_model::settle::Settle;
use stele_record::View;
use stele_record::properties::{Properties, Property};

/// Frames to the client. A content is one line: its properties and its body.
pub(crate) fn frames(mut octets: &[u8], lines: &mut Vec<String>) {
    if octets.starts_with(b"AMQP") {
        lines.push(format!("< header {:?}", &octets[4..8]));
        octets = &octets[8..];
    }
    while let Some((frame, used)) = frame(octets, 200_000).expect("the session writes frames") {
        octets = &octets[used..];
        match frame.kind {
            Kind::Method => lines.push(method(frame.channel, frame.payload)),
            Kind::Header => {
                let header = header(frame.payload).unwrap();
                lines.push(format!(
                    "< content {}{} body={}:",
                    frame.channel,
                    properties(header.properties),
                    header.body_bytes
                ));
            }
            Kind::Body => {
                let text = String::from_utf8_lossy(frame.payload);
                lines.last_mut().expect("a header stands before a body").push_str(&text);
            }
            Kind::Heartbeat => lines.push("< heartbeat".to_owned()),
        }
    }
    assert!(octets.is_empty(), "the session writes whole frames");
}

fn method(channel: u16, payload: &[u8]) -> String {
    let method = Method::decode(payload).expect("the session writes methods");
    let debug = match method {
        Method::ConnectionStart { mechanisms, locales, .. } => {
            format!(
                "S {{ version_major: 0, version_minor: 9, server_properties, mechanisms: {mechanisms:?}, locales: {locales:?} }}"
            )
        }
        _ => format!("{method:?}"),
    };
    let fields = debug.split_once(" { ").map_or("", |(_, fields)| fields.trim_end_matches(" }"));
    format!("< {} {channel} {fields}", method.name()).trim_end().to_owned()
}

fn properties(list: &[u8]) -> String {
    let properties = Properties::parse(list).expect("the session writes properties");
    let mut text = String::new();
    if let Some(headers) = properties.headers() {
        text.push_str(&format!(" headers={headers:?}"));
    }
    if properties.delivery_mode() == Some(2) {
        text.push_str(" persistent");
    }
    for (name, property) in
        [("expiration", Property::Expiration), ("reply_to", Property::ReplyTo), ("user_id", Property::UserId)]
    {
        if let Some(field) = properties.field(property) {
            text.push_str(&format!(" {name}={}", String::from_utf8_lossy(field)));
        }
    }
    text
}

/// Requests. Publishes one by one; settles joined with the line before if they go on from it.
pub(crate) fn op(lane: u16, op: &Op, lines: &mut Vec<String>) {
    match op {
        Op::Open { namespace } => lines.push(format!("! open {namespace} lane={lane}")),
        Op::CloseLane => lines.push(format!("! close-lane lane={lane}")),
        Op::Publish(batch) => {
            for (item, n) in batch.items.iter().zip(0..) {
                let view = View::parse(batch.record(n)).expect("a record");
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                assert_eq!(batch.slice(&item.exchange), view.exchange());
                assert_eq!(batch.slice(&item.key), view.key());
                let keys =
                    &batch.extra_keys[usize::from(item.extra_keys.start)..usize::from(item.extra_keys.end)];
                let mut line = format!(
                    "! publish lane={} exchange={} key={}",
                    item.lane,
                    text(view.exchange()),
                    text(view.key())
                );
                keys.iter().for_each(|key| line.push_str(&format!("+{}", text(key))));
                for (set, name) in [
                    (item.mandatory, "mandatory"),
                    (item.awaited, "awaited"),
                    (item.persistent, "persistent"),
                ] {
                    line.push_str(if set { " " } else { "" });
                    line.push_str(if set { name } else { "" });
                }
                if let Some(ttl_ms) = view.ttl_ms() {
                    line.push_str(&format!(" ttl_ms={ttl_ms}"));
                }
                let shown = properties(view.properties_bytes());
                lines.push(format!("{line}{} body={}", shown.replace(" persistent", ""), text(view.body())));
            }
        }
        Op::Settle(settles) => settles.iter().for_each(|one| settle(one, lines)),
        Op::Credit(credits) => {
            credits.iter().for_each(|credit| {
                let most = credit.messages_max.map_or_else(String::new, |most| format!(" messages={most}"));
                lines.push(format!("! credit sub={} bytes={}{most}", credit.subscription, credit.bytes))
            });
        }
        Op::Subscribe(subscribe) => {
            lines.push(format!("! {subscribe:?} lane={lane}").replace(", start: None", ""));
        }
        Op::Unsubscribe { subscription } => {
            lines.push(format!("! unsubscribe sub={subscription} lane={lane}"))
        }
        Op::Get(get) => lines.push(format!("! {get:?} lane={lane}")),
        Op::Purge { queue } => lines.push(format!("! purge {queue} lane={lane}")),
        Op::Define(define) => lines.push(format!("! {define:?} lane={lane}")),
        other => unreachable!("AMQP 0-9-1 has no word for {other:?}"),
    }
}

fn settle(settle: &Settle, lines: &mut Vec<String>) {
    let start = format!("! {:?} sub={} queue={} positions=", settle.how, settle.subscription, settle.queue);
    for run in &settle.runs {
        let (mut first, last) = (run.first.0, run.first.0 + u64::from(run.count) - 1);
        let before = lines.last().and_then(|line| line.strip_prefix(&start)?.split_once("..="));
        if let Some((before, end)) = before
            && end.parse::<u64>().unwrap() + 1 == first
        {
            first = before.parse().unwrap();
            lines.pop();
        }
        lines.push(format!("{start}{first}..={last}"));
    }
}
