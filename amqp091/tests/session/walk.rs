//! Random walks through a session, judged by a client that is too simple to be wrong.
//!
//! The client knows nothing of the session but what stands in its frames: it counts what it published and what was delivered.
//! It says: each publish in confirm mode is confirmed once; delivery tags of a channel are 1, 2, 3 …; a delivered position is
//! settled once, and only after it was delivered. At the end everything under way is answered and everything held given back.

use crate::support::Run;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What the client knows of one opening of a channel.
#[derive(Default)]
struct Client {
    published: u64,
    unconfirmed: BTreeSet<u64>,
    tags: u64,
}

/// Everything that is watched.
#[derive(Default)]
struct Judge {
    channels: BTreeMap<u16, Client>,
    /// Positions that were handed to the session and did not come back.
    out: BTreeSet<u64>,
    /// Subscriptions by channel.
    consumers: BTreeMap<u16, u64>,
    /// Channels that an error has closed.
    failed: Vec<u16>,
}

impl Judge {
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let value = |name: &str| words.iter().position(|word| *word == name).map(|at| words[at + 1]);
        match words[..] {
            ["<", method @ ("basic.ack" | "basic.nack"), channel, ..] => {
                let client = self
                    .channels
                    .get_mut(&channel.parse().unwrap())
                    .expect("only open channels are confirmed");
                let tag: u64 = value("delivery_tag:").unwrap().parse().unwrap();
                assert!(client.unconfirmed.remove(&tag), "{method} of {tag}: it is under way");
                if value("multiple:") == Some("true") {
                    client.unconfirmed = client.unconfirmed.split_off(&tag);
                }
            }
            ["<", "basic.deliver", channel, ..] => {
                let client = self
                    .channels
                    .get_mut(&channel.parse().unwrap())
                    .expect("only open channels are delivered to");
                client.tags += 1;
                assert_eq!(value("delivery_tag:").unwrap().parse(), Ok(client.tags), "tags count up");
            }
            ["<", "channel.open-ok", channel, ..] => {
                self.channels.insert(channel.parse().unwrap(), Client::default());
            }
            ["<", method @ ("channel.close" | "channel.close-ok"), channel, ..] => {
                let channel = channel.parse().unwrap();
                self.channels.remove(&channel);
                self.consumers.remove(&channel);
                if method == "channel.close" {
                    self.failed.push(channel);
                }
            }
            ["!", "Subscribe", ..] => {
                let channel = line.split_once("lane=").unwrap().1.parse().unwrap();
                self.consumers.insert(channel, value("subscription:").unwrap().parse().unwrap());
            }
            ["!", "Accept" | "Reject" | "Release", ..] => {
                let (_, runs) = line.split_once("positions=").unwrap();
                let (first, last) = runs.split_once("..=").unwrap();
                for position in first.parse::<u64>().unwrap()..=last.parse().unwrap() {
                    assert!(self.out.remove(&position), "{position} is settled once: {line}");
                }
            }
            _ => {}
        }
    }
}

/// One step: what is done, and two numbers for it.
fn steps() -> impl Strategy<Value = Vec<(u8, u16, u8)>> {
    prop::collection::vec((0..12_u8, 1..4_u16, any::<u8>()), 0..60)
}

/// The run and its judge.
struct Walk {
    run: Run,
    judge: Judge,
    /// The last position given.
    positions: u64,
}

impl Walk {
    fn play(&mut self, lines: &str) {
        self.run.steps(lines).iter().for_each(|line| self.judge.line(line));
        for channel in std::mem::take(&mut self.judge.failed) {
            self.run.steps(&format!("> channel.close-ok {channel}"));
        }
    }

    /// The lines of a step, if it makes sense now.
    fn step(&mut self, what: u8, channel: u16, number: u8) -> Option<String> {
        let subscription = self.judge.consumers.get(&channel).copied();
        let Some(client) = self.judge.channels.get_mut(&channel) else {
            return (what == 0).then(|| format!("> channel.open {channel}\n> confirm.select {channel}"));
        };
        let line = match (what, subscription) {
            (1..=3, _) => {
                // More than one in a read is one batch.
                let count = u64::from(number % 3) + 1;
                client.unconfirmed.extend(client.published + 1..=client.published + count);
                client.published += count;
                vec![format!("> basic.publish {channel} exchange=e body=b"); usize::from(number % 3) + 1]
                    .join("\n")
            }
            (4, None) => format!("> basic.consume {channel} queue=q consumer_tag=c"),
            (5 | 6, Some(subscription)) => {
                self.positions += 1;
                self.judge.out.insert(self.positions);
                format!("@ deliver sub={subscription} queue=7 positions={} exchange=e key=k", self.positions)
            }
            (7, _) => format!("> basic.ack {channel} tag={}", number % 8),
            (8, _) => format!("> basic.nack {channel} tag={} multiple requeue", number % 8),
            (9, _) => format!("> basic.qos {channel} count={} global", number % 4),
            (10, _) if number < 80 => format!("> channel.close {channel}"),
            (11, _) if number < 128 => "= published newest-first".to_owned(),
            (11, _) => format!("= published refused={}", number % 3),
            _ => return None,
        };
        Some(line)
    }
}

fn walk(steps: &[(u8, u16, u8)], one_by_one: bool) {
    let mut walk = Walk { run: Run::opened(one_by_one), judge: Judge::default(), positions: 0 };
    for (what, channel, number) in steps {
        let Some(line) = walk.step(*what, *channel, *number) else { continue };
        if matches!(what, 9 | 10) {
            // These wait for the channel's publishes; a client that sends on meanwhile is another story.
            walk.play("= published");
        }
        walk.play(&line);
    }
    walk.play("= published");
    for (channel, client) in &walk.judge.channels {
        assert!(client.unconfirmed.is_empty(), "channel {channel} waits for {:?}", client.unconfirmed);
    }
    let open: Vec<u16> = walk.judge.channels.keys().copied().collect();
    open.iter().for_each(|channel| walk.play(&format!("> channel.close {channel}")));
    assert!(walk.judge.out.is_empty(), "positions {:?} were never settled", walk.judge.out);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn confirms_deliveries_and_settles_add_up(steps in steps(), one_by_one: bool) {
        walk(&steps, one_by_one);
    }
}
