//! What nats-server tells of its clients: the page `/connz`, and the answers to `$SYS.REQ.ACCOUNT.PING.CONNZ` and `STATZ`.
//!
//! Called by the monitoring port with a query, and by a session with the JSON of a request about its own account; [`Wanted`] is what both come
//! to. What must hold: what is wrong with a request is told in nats-server's words; a page ends where it would become too long, and then says
//! how many clients it has. What is not known here is left out, not made up.

use crate::front::query::Query;
use crate::jet::subject::collide;
use crate::jet::time::Time;
use serde::Deserialize;
use serde_json::{Value, json};
use std::cmp::Reverse;
use stele_model::id::Now;
use stele_model::roll::{ClientLine, Clients};
use stele_model::session::ListenView;

/// Clients of a page when nobody says.
const LIMIT: usize = 1024;
/// Subscriptions that a page lists, about: whole clients only, and at least one.
const LISTED_MAX: usize = 100_000;
/// Clients that a page lists at most, whoever asks.
const LIMIT_MAX: usize = 16_384;
/// The account that is not named where it goes without saying.
const GLOBAL: &str = "$G";

/// Which clients to tell of, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// In the order of this; a word of nats-server's.
    sort: String,
    /// With users and accounts.
    auth: bool,
    /// With what they listen to.
    subs: Subs,
    offset: usize,
    limit: usize,
    cid: Option<u64>,
    is_open: bool,
    is_closed: bool,
    user: Option<String>,
    /// Where; `None`: everywhere.
    account: Option<String>,
    /// Only those who listen to something that this pattern meets.
    subject: Option<String>,
}

/// What to tell of subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subs {
    Count,
    Subjects,
    All,
}

/// A request's JSON, as nats-server reads it: what it does not know is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Request {
    sort: String,
    auth: bool,
    subscriptions: bool,
    subscriptions_detail: bool,
    offset: i64,
    limit: i64,
    cid: u64,
    state: i64,
    user: String,
    filter_subject: String,
}

/// Whom a request to all servers is for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Addressed {
    server_name: String,
    cluster: String,
    host: String,
    exact_match: bool,
    tags: Vec<String>,
    domain: String,
}

impl Addressed {
    /// Whether a server of this name and host is one of them: it has neither cluster, tags nor domain.
    #[must_use]
    pub fn is(&self, name: &str, host: &str) -> bool {
        let fits = |wanted: &str, has: &str| {
            wanted.is_empty() || if self.exact_match { wanted == has } else { has.contains(wanted) }
        };
        fits(&self.server_name, name)
            && fits(&self.host, host)
            && fits(&self.cluster, "")
            && self.tags.is_empty()
            && self.domain.is_empty()
    }
}

impl Wanted {
    /// Of a page. Parameters: `sort`, `subs` (1 or `detail`), `auth`, `state`, `cid`, `user`, `acc`, `filter_subject`, `offset`, `limit`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn of_query(query: &Query) -> Result<Self, String> {
        let subs = match query.text("subs") {
            Some("detail") => Subs::All,
            _ if query.truth("subs")? => Subs::Subjects,
            _ => Subs::Count,
        };
        let (is_open, is_closed) = match query.text("state").unwrap_or("open") {
            "open" => (true, false),
            "closed" => (false, true),
            "any" | "all" => (true, true),
            other => return Err(format!("error decoding state for {other}")),
        };
        let cid =
            query.text("cid").map(|text| text.parse::<u64>().map_err(|_| format!("{text:?} is no cid")));
        let text = |name| query.text(name).map(str::to_owned);
        let wanted = Self {
            sort: text("sort").unwrap_or_default(),
            auth: query.truth("auth")?,
            subs,
            offset: query.number("offset", 0)?,
            limit: query.number("limit", LIMIT)?,
            cid: cid.transpose()?,
            is_open,
            is_closed,
            user: text("user"),
            account: text("acc"),
            subject: text("filter_subject"),
        };
        wanted.checked()
    }

    /// Of a request about an account.
    ///
    /// # Errors
    /// What is wrong with it, and whether that is the JSON.
    pub fn of_request(body: &[u8], account: &str) -> Result<Self, (u16, String)> {
        let wrong = |why: serde_json::Error| (400, why.to_string());
        let request: Request = read(body).map_err(wrong)?;
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        let number = |number: i64| usize::try_from(number).unwrap_or(0);
        let subs = match (request.subscriptions_detail, request.subscriptions) {
            (true, _) => Subs::All,
            (false, true) => Subs::Subjects,
            (false, false) => Subs::Count,
        };
        let wanted = Self {
            sort: request.sort,
            auth: request.auth,
            subs,
            offset: number(request.offset),
            limit: number(request.limit),
            cid: Some(request.cid).filter(|cid| *cid > 0),
            is_open: matches!(request.state, 0 | 2),
            is_closed: matches!(request.state, 1 | 2),
            user: text(request.user),
            account: Some(account.to_owned()),
            subject: text(request.filter_subject),
        };
        wanted.checked().map_err(|why| (500, why))
    }

    fn checked(mut self) -> Result<Self, String> {
        if self.sort.is_empty() {
            self.sort = "cid".to_owned();
        }
        // With no lines it only tells whether there is such an order.
        sort(&mut [], &self.sort)?;
        let only_closed = self.is_closed && !self.is_open;
        if matches!(self.sort.as_str(), "stop" | "reason") && !only_closed {
            return Err(format!("sort by {} only valid on closed connections", self.sort));
        }
        self.subject = self.subject.filter(|subject| subject != ">");
        if self.subject.is_some() && self.account.is_none() {
            return Err("filter by subject only valid with account filtering".to_owned());
        }
        self.limit = match (self.cid, self.limit) {
            (Some(_), _) => 1,
            (None, 0) => LIMIT,
            (None, limit) => limit.min(LIMIT_MAX),
        };
        Ok(self)
    }

    /// Whether what clients listen to is needed.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.subs != Subs::Count || self.subject.is_some()
    }

    /// The page, as of now; `server` is who tells.
    #[must_use]
    pub fn connz(&self, now: Now, server: &str, clients: &Clients) -> Value {
        let is_of = |line: &&ClientLine| {
            (if line.gone.is_some() { self.is_closed } else { self.is_open })
                && self.account.as_ref().is_none_or(|account| *account == line.view.account)
        };
        let mut lines: Vec<&ClientLine> = clients.lines.iter().filter(is_of).collect();
        let total = lines.len();
        lines.retain(|line| self.is_about(line));
        // It was checked that there is such an order.
        let _ = sort(&mut lines, &self.sort);
        let mut listed = 0;
        let has_room = |line: &&&ClientLine| {
            let had = listed;
            listed += line.view.listens.len();
            had == 0 || listed <= LISTED_MAX
        };
        let page = lines.iter().skip(self.offset).take(self.limit).take_while(has_room);
        let page: Vec<Value> = page.map(|line| self.shown(now, line)).collect();
        json!({
            "server_id": server,
            "now": Time::from(now),
            "num_connections": page.len(),
            "total": total,
            "offset": self.offset,
            "limit": self.limit,
            "connections": page,
        })
    }

    fn is_about(&self, line: &ClientLine) -> bool {
        let meets = |subject: &String| line.view.listens.iter().any(|of| collide(subject, &of.subject));
        self.cid.is_none_or(|cid| cid == line.view.number)
            && self.user.as_ref().is_none_or(|user| *user == line.view.user)
            && self.subject.as_ref().is_none_or(meets)
    }

    fn shown(&self, now: Now, line: &ClientLine) -> Value {
        let view = &line.view;
        let ago = |us: u64| json!(Time::from(Now(now.0.saturating_sub(us))));
        let gone_us = line.gone.as_ref().map_or(0, |(_, since)| *since);
        let mut shown = json!({
            "cid": view.number,
            "kind": "Client",
            "type": "nats",
            "ip": line.peer.ip().to_canonical().to_string(),
            "port": line.peer.port(),
            "start": ago(line.open_us),
            "last_activity": ago(line.silent_us),
            "rtt": format!("{}µs", view.answered_in_us.unwrap_or(0)),
            "uptime": lasting(line.open_us.saturating_sub(gone_us)),
            "idle": lasting(line.silent_us),
            "pending_bytes": line.pending_bytes,
            "in_msgs": view.traffic.messages_in,
            "out_msgs": view.traffic.messages_out,
            "in_bytes": view.traffic.bytes_in,
            "out_bytes": view.traffic.bytes_out,
            "subscriptions": view.listens_count,
        });
        for (name, text) in [("name", &view.name), ("lang", &view.language), ("version", &view.version)] {
            if !text.is_empty() {
                shown[name] = json!(text);
            }
        }
        if self.auth {
            shown["authorized_user"] = json!(view.user);
            if view.account != GLOBAL {
                shown["account"] = json!(view.account);
            }
            shown["name_tag"] = json!(view.account);
        }
        if let Some((why, since_us)) = &line.gone {
            shown["stop"] = ago(*since_us);
            shown["reason"] = json!(why);
        }
        if view.listens.is_empty() {
            return shown;
        }
        match self.subs {
            Subs::Count => {}
            Subs::Subjects => {
                let subjects: Vec<&str> = view.listens.iter().map(|listen| listen.subject.as_str()).collect();
                shown["subscriptions_list"] = json!(subjects);
            }
            Subs::All => {
                let all: Vec<Value> = view.listens.iter().map(|of| listen(of, line)).collect();
                shown["subscriptions_list_detail"] = json!(all);
            }
        }
        shown
    }
}

/// What a client listens to, as nats-server shows it.
#[must_use]
pub fn listen(of: &ListenView, line: &ClientLine) -> Value {
    let mut shown = json!({
        "account": line.view.account, "subject": of.subject, "sid": of.name, "cid": line.view.number,
    });
    if let Some(group) = &of.group {
        shown["qgroup"] = json!(group);
    }
    shown
}

/// What went through an account, as of now; `clients` are its own, and `server` is who tells.
#[must_use]
pub fn statz(now: Now, server: &str, account: &str, clients: &Clients) -> Value {
    let mut sum = clients.gone;
    let here = || clients.lines.iter().filter(|line| line.gone.is_none());
    here().for_each(|line| sum.add(&line.view.traffic));
    let count = here().count();
    let subscriptions: u64 = here().map(|line| u64::from(line.view.listens_count)).sum();
    let nothing = || json!({ "msgs": 0, "bytes": 0 });
    let through = |msgs: u64, bytes: u64| {
        json!({
            "msgs": msgs, "bytes": bytes, "gateways": nothing(), "routes": nothing(), "leafs": nothing(),
        })
    };
    json!({
        "server_id": server,
        "now": Time::from(now),
        "account_statz": [{
            "acc": account,
            "name": account,
            "conns": count,
            "leafnodes": 0,
            "total_conns": count,
            "num_subscriptions": subscriptions,
            "sent": through(sum.messages_out, sum.bytes_out),
            "received": through(sum.messages_in, sum.bytes_in),
            "slow_consumers": 0,
        }],
    })
}

/// Reads a request as Go does; nothing and `null` stand for one with nothing in it.
///
/// # Errors
/// What is wrong with it.
pub fn read<T: for<'de> Deserialize<'de> + Default>(body: &[u8]) -> Result<T, serde_json::Error> {
    match body.trim_ascii() {
        b"" if body.is_empty() => Ok(T::default()),
        b"null" => Ok(T::default()),
        _ => crate::jet::json::read_value(body),
    }
}

/// In the order of one of nats-server's words.
fn sort(lines: &mut [&ClientLine], by: &str) -> Result<(), String> {
    match by {
        "cid" | "start" => lines.sort_by_key(|line| line.view.number),
        "subs" => lines.sort_by_key(|line| Reverse(line.view.listens_count)),
        "pending" => lines.sort_by_key(|line| Reverse(line.pending_bytes)),
        "msgs_to" => lines.sort_by_key(|line| Reverse(line.view.traffic.messages_out)),
        "msgs_from" => lines.sort_by_key(|line| Reverse(line.view.traffic.messages_in)),
        "bytes_to" => lines.sort_by_key(|line| Reverse(line.view.traffic.bytes_out)),
        "bytes_from" => lines.sort_by_key(|line| Reverse(line.view.traffic.bytes_in)),
        "last" => lines.sort_by_key(|line| line.silent_us),
        "idle" => lines.sort_by_key(|line| Reverse(line.silent_us)),
        "uptime" => lines.sort_by_key(|line| Reverse(line.open_us)),
        "rtt" => lines.sort_by_key(|line| Reverse(line.view.answered_in_us)),
        "stop" => lines.sort_by_key(|line| line.gone.as_ref().map(|(_, since)| *since)),
        "reason" => lines.sort_by(|a, b| a.gone.cmp(&b.gone)),
        other => return Err(format!("invalid sorting option: {other}")),
    }
    Ok(())
}

/// How long, as nats-server says it: `1y2d3h4m5s` without the largest that are nought.
#[must_use]
pub fn lasting(us: u64) -> String {
    let seconds = us / 1_000_000;
    let parts = [
        (seconds / 31_536_000, "y"),
        (seconds / 86_400 % 365, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(parts.len() - 1);
    parts[first..].iter().map(|(count, unit)| format!("{count}{unit}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u64, subjects: &[&str]) -> ClientLine {
        let peer = "127.0.0.1:1".parse().unwrap();
        let view = Default::default();
        let mut line = ClientLine { peer, open_us: 10, silent_us: 5, pending_bytes: 0, gone: None, view };
        let listen =
            |subject: &&str| ListenView { name: "1".to_owned(), subject: (*subject).to_owned(), group: None };
        line.view.number = number;
        line.view.account = "A".to_owned();
        line.view.user = format!("u{number}");
        line.view.listens = subjects.iter().map(listen).collect();
        line.view.listens_count = subjects.len() as u32;
        line
    }

    fn clients() -> Clients {
        let mut lines =
            vec![line(2, &["a"]), line(1, &["b", "c.>"]), line(3, &["a", "b", "x"]), line(4, &[])];
        lines[3].gone = Some(("it left".to_owned(), 1));
        lines.push(line(9, &[]));
        lines[4].view.account = "B".to_owned();
        Clients { lines, ..Clients::default() }
    }

    /// Numbers of the clients, and the total; or what is wrong.
    fn asked(body: &str) -> Result<(Vec<u64>, u64), (u16, String)> {
        let page = Wanted::of_request(body.as_bytes(), "A")?.connz(Now(100), "N", &clients());
        let numbers = page["connections"].as_array().unwrap().iter().map(|of| of["cid"].as_u64().unwrap());
        Ok((numbers.collect(), page["total"].as_u64().unwrap()))
    }

    #[test]
    fn an_account_is_told_of_its_own_clients_in_the_order_it_asks_for() {
        for (body, expected) in [
            ("", vec![1, 2, 3]),
            ("null", vec![1, 2, 3]),
            (r#"{"acc":"B"}"#, vec![1, 2, 3]),
            (r#"{"sort":"subs"}"#, vec![3, 1, 2]),
            (r#"{"offset":1,"limit":1}"#, vec![2]),
            (r#"{"offset":-1,"limit":-1}"#, vec![1, 2, 3]),
            (r#"{"cid":3}"#, vec![3]),
            (r#"{"cid":9}"#, vec![]),
            (r#"{"user":"u2"}"#, vec![2]),
            (r#"{"filter_subject":"c.*"}"#, vec![1]),
        ] {
            assert_eq!(asked(body), Ok((expected, 3)), "{body}");
        }
        assert_eq!(asked(r#"{"state":1}"#), Ok((vec![4], 1)));
        assert_eq!(asked(r#"{"state":2}"#), Ok((vec![1, 2, 3, 4], 4)));
        assert_eq!(asked(r#"{"state":7}"#), Ok((vec![], 0)));
    }

    #[test]
    fn what_is_wrong_with_a_request_is_told() {
        assert_eq!(asked(r#"{"sort":"x"}"#), Err((500, "invalid sorting option: x".to_owned())));
        let only = "sort by stop only valid on closed connections";
        assert_eq!(asked(r#"{"sort":"stop"}"#), Err((500, only.to_owned())));
        assert_eq!(asked(r#"{"sort":"stop","state":1}"#), Ok((vec![4], 1)));
        for body in ["x", "[]", r#"{"sort":5}"#, r#"{"limit":1.5}"#, r#"{"state":"open"}"#, " "] {
            assert!(matches!(asked(body), Err((400, _))), "{body}");
        }
    }

    #[test]
    fn subscriptions_are_listed_as_asked() {
        let page = |body: &str| {
            let wanted = Wanted::of_request(body.as_bytes(), "A").unwrap();
            let page = wanted.connz(Now(100), "N", &clients());
            (wanted.listens(), page["connections"][0].clone())
        };
        let (listens, one) = page("{}");
        assert!(!listens && one.get("subscriptions_list").is_none() && one.get("name_tag").is_none());
        let (listens, one) = page(r#"{"subscriptions":true,"auth":true}"#);
        assert!(listens);
        assert_eq!(one["subscriptions_list"], json!(["b", "c.>"]));
        assert_eq!([&one["account"], &one["authorized_user"]], [&json!("A"), &json!("u1")]);
        let (_, one) = page(r#"{"subscriptions_detail":true}"#);
        assert_eq!(one["subscriptions_list_detail"][1]["subject"], "c.>");
    }

    #[test]
    fn an_account_s_sums_have_those_who_are_gone() {
        let mut clients = clients();
        clients.gone.messages_in = 5;
        clients.lines[0].view.traffic.messages_in = 2;
        clients.lines[3].view.traffic.messages_in = 5;
        let sums = &statz(Now(0), "N", "A", &clients)["account_statz"][0];
        assert_eq!([&sums["received"]["msgs"], &sums["num_subscriptions"]], [&json!(7), &json!(6)]);
    }

    #[test]
    fn a_request_may_be_for_other_servers() {
        let is = |body: &str| read::<Addressed>(body.as_bytes()).unwrap().is("stele-1", "127.0.0.1");
        assert!(is("") && is("{}") && is(r#"{"server_name":"ele"}"#) && is(r#"{"host":"127"}"#));
        assert!(!is(r#"{"server_name":"ele","exact_match":true}"#) && !is(r#"{"tags":["a"]}"#));
        assert!(!is(r#"{"cluster":"c"}"#) && !is(r#"{"domain":"d"}"#));
    }

    #[test]
    fn a_time_is_written_from_its_largest_unit_on() {
        assert_eq!(lasting(0), "0s");
        assert_eq!(lasting(59_999_999), "59s");
        assert_eq!(lasting(3_600_000_000), "1h0m0s");
        assert_eq!(lasting(400 * 86_400_000_000), "1y35d0h0m0s");
    }
}
