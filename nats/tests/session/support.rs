//! A server that is too simple to be wrong: connections side by side, a list of subscriptions, everything at once.

use bytes::Bytes;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use stele_model::id::{Now, PrincipalId};
use stele_model::live::{
    Interest, Live, LiveBatch, LiveHit, LiveSubscribe, LiveView, SubjectFilter, SubjectGrant, SubjectGrants,
};
use stele_model::op::Op;
use stele_model::outcome::{Done, Outcome, Wake};
use stele_model::roll::{ClientLine, Clients, RollCall};
use stele_model::session::{ClientView, Outbox, Principal, Rejected, Session, Traffic};
use stele_nats::subject::is_subset;
use stele_nats::{Arrival, Connection, Profile};

#[derive(Default)]
struct Server {
    now: Now,
    byte_by_byte: bool,
    clients: BTreeMap<String, Client>,
    /// Whose turn it is in a queue group.
    turn: usize,
}

struct Client {
    session: Connection,
    out: Outbox,
    tail: Vec<u8>,
    subscriptions: BTreeMap<u32, (LiveSubscribe, u64, u64)>,
    closed: bool,
    restricted: bool,
    unknown: bool,
}

/// Plays a transcript in one piece per line, and byte by byte.
pub(crate) fn check(transcript: &str) {
    for byte_by_byte in [false, true] {
        Server::of(byte_by_byte).play(transcript);
    }
}

/// The JSON that a line is answered with: in one piece, and byte by byte.
pub(crate) fn answers(line: &str) -> [Vec<Value>; 2] {
    [false, true].map(|byte_by_byte| {
        let mut server = Server::of(byte_by_byte);
        server.step(line);
        let told = server.told().join("|");
        let answers = told.split('|').filter(|part| part.starts_with('{'));
        answers.map(|answer| serde_json::from_str(answer).expect("an answer is JSON")).collect()
    })
}

impl Server {
    /// One with two clients.
    fn of(byte_by_byte: bool) -> Self {
        let mut server = Self { byte_by_byte, now: Now(1_000_000), ..Self::default() };
        server.connect(
            "a",
            r#"{"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1}"#,
        );
        server.connect("b", r#"{"verbose":false,"pedantic":false,"protocol":1}"#);
        server
    }

    fn play(&mut self, transcript: &str) {
        let lines: Vec<&str> = transcript.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let mut at = 0;
        while at < lines.len() {
            let line = lines[at];
            self.step(line);
            let expected: Vec<String> = lines[at + 1..]
                .iter()
                .take_while(|line| line[1..].starts_with('<'))
                .map(|line| (*line).to_owned())
                .collect();
            assert_eq!(self.told(), expected, "after `{:.100}`, byte by byte: {}", line, self.byte_by_byte);
            at += 1 + expected.len();
        }
    }

    fn step(&mut self, line: &str) {
        if let Some(ms) = line.strip_prefix("@ ") {
            self.pass(ms.parse().unwrap());
        } else if let Some(what) = line.strip_prefix("! ") {
            self.arrange(what);
        } else {
            let (name, text) = line.split_once("> ").unwrap();
            self.send(name, (text.replace('|', "\r\n") + "\r\n").as_bytes());
        }
    }

    fn arrange(&mut self, what: &str) {
        let quiet = r#""verbose":false,"pedantic":false"#;
        match what {
            "stop" => {
                for client in self.clients.values_mut() {
                    client.session.wake(self.now, Wake::Close("stop".to_owned()), &mut client.out);
                }
            }
            "c without headers" => self.connect("c", &format!("{{{quiet}}}")),
            "d without echo" => self.connect("d", &format!(r#"{{{quiet},"echo":false}}"#)),
            "j with jetstream" => {
                self.open("j", Profile { jetstream: true, ..Profile::default() });
                self.log_in("j", &format!(r#"{{{quiet},"headers":true,"protocol":1}}"#));
            }
            "v verbose" => {
                self.connect("v", r#"{"verbose":true,"pedantic":false}"#);
            }
            "p pedantic" => self.connect("p", r#"{"verbose":false,"pedantic":true}"#),
            "subscriptions 2" => {
                let profile = Profile { subscriptions_max: 2, ..Profile::default() };
                self.open("e", profile);
                self.log_in("e", &format!("{{{quiet}}}"));
            }
            "r restricted" => {
                self.open("r", Profile::default());
                self.clients.get_mut("r").unwrap().restricted = true;
                self.log_in("r", &format!("{{{quiet}}}"));
            }
            "x unknown" => {
                self.open("x", Profile::default());
                self.clients.get_mut("x").unwrap().unknown = true;
                let client = self.clients.get_mut("x").unwrap();
                client.out.write.take(|_| {});
                self.send("x", b"CONNECT {}\r\n");
            }
            other => panic!("the server cannot {other}"),
        }
    }

    fn connect(&mut self, name: &str, options: &str) {
        self.open(name, Profile::default());
        self.log_in(name, options);
    }

    fn open(&mut self, name: &str, profile: Profile) {
        let arrival = Arrival { client_id: 1, ip: "127.0.0.1".to_owned(), nonce: String::new() };
        let session = Connection::new(Arc::new(profile), arrival, self.now);
        let mut client = Client {
            session,
            out: Outbox::default(),
            tail: Vec::new(),
            subscriptions: BTreeMap::new(),
            closed: false,
            restricted: false,
            unknown: false,
        };
        client.session.greet(self.now, &mut client.out);
        self.clients.insert(name.to_owned(), client);
    }

    fn log_in(&mut self, name: &str, options: &str) {
        self.send(name, format!("CONNECT {options}\r\n").as_bytes());
        // INFO, and the +OK of a verbose client.
        self.clients.get_mut(name).unwrap().out.write.take(|_| {});
    }

    fn send(&mut self, name: &str, bytes: &[u8]) {
        let pieces = if self.byte_by_byte { 1 } else { bytes.len() };
        // A long message byte by byte would only take long.
        let pieces = if bytes.len() > 10_000 { pieces.max(1000) } else { pieces };
        for piece in bytes.chunks(pieces) {
            let client = self.clients.get_mut(name).unwrap();
            client.tail.extend_from_slice(piece);
            self.feed(name);
        }
    }

    fn feed(&mut self, name: &str) {
        loop {
            let client = self.clients.get_mut(name).unwrap();
            if client.closed || client.out.close.is_some() {
                return;
            }
            let input = std::mem::take(&mut client.tail);
            let used = client.session.receive(self.now, &input, &mut client.out);
            let live = std::mem::take(&mut client.out.live);
            let again = std::mem::take(&mut client.out.again);
            client.tail = input[used..].to_vec();
            self.live(name, &live, &input);
            let asked = self.serve(name);
            if !again && !asked {
                return;
            }
        }
    }

    /// What a session wants of the driver and the hub; whether it was given something to go on with.
    fn serve(&mut self, name: &str) -> bool {
        let client = self.clients.get_mut(name).unwrap();
        let mut asked = false;
        while client.out.authenticate.take().is_some() {
            asked = true;
            if client.restricted {
                client.session.admitted("/", Some(Arc::new(restricted())));
            }
            let principal = Principal { id: PrincipalId(1), name: "u".to_owned() };
            let result = if client.unknown { Err(Rejected) } else { Ok(principal) };
            client.session.authenticated(self.now, result, &mut client.out);
        }
        while let Some(call) = self.clients.get_mut(name).unwrap().out.roll_call.take() {
            let clients = self.roll(&call);
            let client = self.clients.get_mut(name).unwrap();
            client.session.rolled(self.now, &clients, &mut client.out);
        }
        let client = self.clients.get_mut(name).unwrap();
        let mut batches = Vec::new();
        for submit in std::mem::take(&mut client.out.submits) {
            match submit.op {
                Op::Open { .. } => {
                    asked = true;
                    let outcome = Outcome::Done(Done::Opened);
                    client.session.complete(self.now, submit.ticket, outcome, &mut client.out);
                }
                Op::Live(batch) => batches.push(batch),
                // Nobody keeps streams here, and so nobody answers.
                Op::Streams(_) | Op::Pull(_) => {}
                other => panic!("not asked for here: {other:?}"),
            }
        }
        for batch in batches {
            self.publish(name, batch.view(), 0..batch.items.len(), false);
        }
        asked
    }

    /// Everybody who is in an account; one has gone.
    fn roll(&self, call: &RollCall) -> Clients {
        let views = self.clients.values().filter_map(|client| client.session.view(call.listens));
        let line = |view: ClientView| ClientLine {
            peer: "127.0.0.1:1".parse().unwrap(),
            open_us: 0,
            silent_us: 0,
            pending_bytes: 0,
            gone: None,
            view,
        };
        let lines = views.filter(|view| view.account == call.account).map(line).collect();
        Clients { lines, gone: Traffic { messages_in: 7, ..Traffic::default() } }
    }

    fn live(&mut self, name: &str, live: &Live, input: &[u8]) {
        let view = live.view(input);
        // What is published is kept apart from the session that may be told of it.
        let bytes = Bytes::copy_from_slice(view.bytes);
        let batch =
            LiveBatch { bytes, items: live.items.clone(), frames: live.frames, ..LiveBatch::default() };
        let mut from = 0;
        for (until, change) in &live.interest {
            self.publish(name, batch.view(), from..*until as usize, live.mute);
            from = *until as usize;
            let subscriptions = &mut self.clients.get_mut(name).unwrap().subscriptions;
            match change {
                Interest::Subscribe(subscribe) => {
                    let before =
                        subscriptions.insert(subscribe.subscription, (subscribe.clone(), 0, u64::MAX));
                    assert!(before.is_none(), "numbers are not used twice");
                }
                Interest::Unsubscribe { subscription, hits_max } => {
                    let had = subscriptions.get(subscription).map(|(_, had, _)| *had);
                    match (hits_max, subscriptions.get_mut(subscription)) {
                        (Some(max), Some(entry)) if *max > had.unwrap() => entry.2 = *max,
                        _ => drop(subscriptions.remove(subscription)),
                    }
                }
                Interest::Watch { .. } => {}
                other @ Interest::Unwatch { .. } => panic!("not asked for here: {other:?}"),
            }
        }
        self.publish(name, batch.view(), from..batch.items.len(), live.mute);
    }

    fn publish(&mut self, by: &str, view: LiveView<'_>, items: std::ops::Range<usize>, mute: bool) {
        for n in items {
            let item = view.items[n];
            let n = u32::try_from(n).unwrap();
            let subject = view.slice(item.subject());
            let mut plain = Vec::new();
            let mut groups: BTreeMap<Bytes, Vec<(String, u32)>> = BTreeMap::new();
            for (name, client) in
                self.clients.iter().filter(|(name, client)| !(client.closed || mute && *name == by))
            {
                for (number, (subscribe, ..)) in &client.subscriptions {
                    if is_subset(subject, &subscribe.filter) {
                        match &subscribe.group {
                            None => plain.push((name.clone(), *number)),
                            Some(group) => {
                                groups.entry(group.clone()).or_default().push((name.clone(), *number))
                            }
                        }
                    }
                }
            }
            for (_, members) in groups {
                plain.push(members[self.turn % members.len()].clone());
                self.turn += 1;
            }
            let is_heard = !plain.is_empty();
            for (name, number) in plain {
                let client = self.clients.get_mut(&name).unwrap();
                let (_, had, max) = client.subscriptions.get_mut(&number).unwrap();
                *had += 1;
                let is_last = had == max;
                if is_last {
                    client.subscriptions.remove(&number);
                }
                let hit = LiveHit::new(number, n, is_last);
                client.session.live(self.now, view, &[hit], &mut client.out);
            }
            if item.tell_unheard && !is_heard {
                let reply = view.slice(item.reply());
                let client = self.clients.get_mut(by).unwrap();
                let own = client.subscriptions.iter().find(|(_, (own, ..))| is_subset(reply, &own.filter));
                let hits: Vec<_> =
                    own.map(|(number, _)| LiveHit::new(*number, n, false)).into_iter().collect();
                client.session.unheard(self.now, view, &hits, &mut client.out);
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        let until = self.now.plus_ms(ms);
        while let Some(due) = self
            .clients
            .values()
            .filter(|client| !client.closed && client.out.close.is_none())
            .filter_map(|client| client.session.deadline())
            .filter(|due| *due <= until)
            .min()
        {
            self.now = self.now.max(due);
            for client in self.clients.values_mut().filter(|client| !client.closed) {
                client.session.expire(self.now, &mut client.out);
            }
        }
        self.now = until;
    }

    /// What every client was sent since the last time.
    fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for (name, client) in self.clients.iter_mut().filter(|(_, client)| !client.closed) {
            let mut bytes = Vec::new();
            client.out.write.take(|piece| bytes.extend_from_slice(&piece));
            let lines = String::from_utf8(bytes).unwrap();
            let shown =
                |line: &str| if line.starts_with("INFO ") { "INFO\r\n".to_owned() } else { line.to_owned() };
            let mut text: String = lines.split_inclusive("\r\n").map(shown).collect();
            if client.out.close.is_some() {
                client.closed = true;
                text += "closed\r\n";
            }
            if let Some(text) = text.strip_suffix("\r\n") {
                told.push(format!("{name}< {}", text.replace("\r\n", "|")));
            }
        }
        told
    }
}

fn restricted() -> SubjectGrants {
    let filters = |texts: &[&str]| {
        texts.iter().map(|text| SubjectFilter { filter: (*text).into(), group: None }).collect::<Vec<_>>()
    };
    let grant =
        |allow: &[&str], deny: &[&str]| SubjectGrant { allow: Some(filters(allow)), deny: filters(deny) };
    SubjectGrants {
        publish: grant(&["open.>"], &[]),
        listen: grant(&["open.>"], &["open.closed"]),
        answers: None,
    }
}
