//! Transcripts: conversations as text, run against a session.
//!
//! | line | meaning |
//! |---|---|
//! | `> method channel field=value flag …` | the client sends; `>` lines that follow one another come in one read |
//! | `= …` | the driver or the hub answers ([`answer`]) |
//! | `@ …` | time passes, or something happens ([`happens`]) |
//! | `! …` | expected: what the session asks for |
//! | `< …` | expected: what the client gets |
//!
//! Every transcript is run twice: as it stands, and with the client's octets coming one at a time. What is expected is the
//! same: publishes are shown one by one whatever their batches, settles as runs whatever their submits. Fields of methods have
//! the names of `codec::method`. `# …` is a title.

mod answer;
mod client;
mod show;

use std::sync::Arc;
use stele_amqp091::{Connection, Profile};
use stele_model::id::{Now, Ticket};
use stele_model::op::{Op, Submit};
use stele_model::publish::Publishes;
use stele_model::session::{Authenticate, Outbox, Session};

/// A session under test, and what its driver knows.
pub(crate) struct Run {
    pub(crate) session: Connection,
    pub(crate) now: Now,
    /// Octets of the client that the session has not taken.
    input: Vec<u8>,
    one_by_one: bool,
    out: Outbox,
    /// Batches that wait for their answer.
    batches: Vec<(Ticket, Arc<Publishes>)>,
    /// The last other request.
    asked: Option<Ticket>,
    /// What the session asked for since the last check.
    ops: Vec<String>,
}

const HANDSHAKE: &str = "
> header
< connection.start 0 version_major: 0, version_minor: 9, server_properties, mechanisms: \"PLAIN AMQPLAIN\", locales: \"en_US\"
> connection.start-ok 0 mechanism=PLAIN response=|guest|guest blocked cancel_notify failure_close
! authenticate guest guest
= authenticated
< connection.tune 0 channel_max: 2047, frame_max: 131072, heartbeat: 60
> connection.tune-ok 0 channel_max=2047 frame_max=131072 heartbeat=0
> connection.open 0 virtual_host=/
! open / lane=0
= opened
< connection.open-ok 0 reserved_1: \"\"
";

const CHANNEL: &str = "
> channel.open 1
< channel.open-ok 1 reserved_1: \"\"
";

/// Runs a transcript from the first octet on.
#[track_caller]
pub(crate) fn check_from_start(transcript: &str) {
    for one_by_one in [false, true] {
        Run::new(one_by_one).play(transcript);
    }
}

/// Runs a transcript on a connection that is open and has channel 1 open.
#[track_caller]
pub(crate) fn check(transcript: &str) {
    check_from_start(&[HANDSHAKE, CHANNEL, transcript].concat());
}

impl Run {
    pub(crate) fn new(one_by_one: bool) -> Self {
        let now = Now(1_000_000_000_000_000);
        let profile = Profile { message_bytes_max: 1000, ..Profile::default() };
        Self {
            session: Connection::new(Arc::new(profile), 7, now),
            now,
            input: Vec::new(),
            one_by_one,
            out: Outbox::default(),
            batches: Vec::new(),
            asked: None,
            ops: Vec::new(),
        }
    }

    #[track_caller]
    pub(crate) fn play(&mut self, transcript: &str) {
        let lines: Vec<&str> = transcript.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let mut rest = &lines[..];
        while let Some((first, after)) = rest.split_first() {
            if first.starts_with('#') {
                rest = after;
                continue;
            }
            let sends = first.starts_with('>');
            let count = if sends { rest.iter().take_while(|line| line.starts_with('>')).count() } else { 1 };
            let (acts, after) = rest.split_at(count);
            self.act(acts);
            let expected = after.iter().take_while(|line| line.starts_with(['!', '<'])).count();
            let (expected, after) = after.split_at(expected);
            let context = if self.one_by_one { "one octet at a time" } else { "as it stands" };
            assert_eq!(self.seen().join("\n"), expected.join("\n"), "after {acts:?}, {context}");
            rest = after;
        }
    }

    fn act(&mut self, lines: &[&str]) {
        let (kind, _) = lines[0].split_at(1);
        match kind {
            ">" => {
                let octets: Vec<u8> =
                    lines.iter().flat_map(|line| client::octets(line[1..].trim())).collect();
                self.send(&octets);
            }
            "=" => answer::answer(self, lines[0][1..].trim()),
            "@" => answer::happens(self, lines[0][1..].trim()),
            other => panic!("a line that starts with {other:?}: {lines:?}"),
        }
        self.offer();
    }

    /// A connection that is open, without channels.
    pub(crate) fn opened(one_by_one: bool) -> Self {
        let mut run = Self::new(one_by_one);
        run.play(HANDSHAKE);
        run
    }

    /// Plays lines without expecting anything; subscribes and their ends are agreed to. Returns what was seen.
    pub(crate) fn steps(&mut self, lines: &str) -> Vec<String> {
        let lines: Vec<&str> = lines.lines().collect();
        self.act(&lines);
        let mut seen = self.seen();
        for (asked, answer) in [("! Subscribe", "= subscribed queue=7"), ("! unsubscribe", "= unsubscribed")]
        {
            if seen.iter().any(|line| line.starts_with(asked)) {
                self.act(&[answer]);
                seen.extend(self.seen());
            }
        }
        seen
    }

    /// The client's octets come.
    pub(crate) fn send(&mut self, octets: &[u8]) {
        if !self.one_by_one {
            self.input.extend_from_slice(octets);
            return self.offer();
        }
        for octet in octets {
            self.input.push(*octet);
            self.offer();
        }
    }

    /// Offers what is there, as a driver does after every call.
    fn offer(&mut self) {
        let used = self.session.receive(self.now, &self.input, &mut self.out);
        self.input.drain(..used);
        self.collect();
    }

    /// Takes what the session asks for.
    fn collect(&mut self) {
        if let Some(ask) = self.out.authenticate.take() {
            self.ops.push(match ask {
                Authenticate::Password { user, password } => format!("! authenticate {user} {password}"),
                Authenticate::Proven { user } => format!("! authenticate {user} by certificate"),
                Authenticate::Nobody => "! authenticate nobody".to_owned(),
                other => panic!("not of AMQP 0-9-1: {other:?}"),
            });
        }
        for Submit { ticket, lane, op } in std::mem::take(&mut self.out.submits) {
            show::op(lane, &op, &mut self.ops);
            match op {
                Op::Publish(batch) => self.batches.push((ticket, batch)),
                Op::Settle(_) | Op::Credit(_) | Op::CloseLane => {
                    assert_eq!(ticket, Ticket(0), "no answer comes")
                }
                _ => self.asked = Some(ticket),
            }
        }
    }

    /// What the session has asked for and written since the last call.
    fn seen(&mut self) -> Vec<String> {
        let mut lines = std::mem::take(&mut self.ops);
        let mut octets = Vec::new();
        self.out.write.take(|piece| octets.extend_from_slice(&piece));
        show::frames(&octets, &mut lines);
        if let Some(pause) = self.out.pause.take() {
            lines.push(format!("! pause {pause}"));
        }
        if let Some(reason) = self.out.close.take() {
            lines.push(format!("! end {reason}"));
        }
        lines
    }
}

/// `name` or `name=value` words of a line.
pub(crate) struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    pub(crate) fn of(line: &'a str) -> Self {
        Self(line.split_whitespace().collect())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains(&name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    pub(crate) fn text(&self, name: &str) -> &'a str {
        self.get(name).unwrap_or_default()
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.get(name).map_or(0, |text| text.parse().expect("a number"))
    }

    pub(crate) fn numbers(&self, name: &str) -> Vec<u32> {
        let list = self.text(name).split(',').filter(|text| !text.is_empty());
        list.map(|text| text.parse().expect("a list of numbers")).collect()
    }
}
