//! The subjects of JetStream's API: which request a message is.

use super::consumer_check::Named;

/// What all requests' subjects begin with.
pub const PREFIX: &str = "$JS.API.";

/// A request, as its subject says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api<'a> {
    /// What the account uses and may use.
    Info,
    /// Make a stream.
    StreamCreate(&'a str),
    /// Change a stream.
    StreamUpdate(&'a str),
    /// Names of streams.
    StreamNames,
    /// Streams.
    StreamList,
    /// A stream.
    StreamInfo(&'a str),
    /// Remove a stream.
    StreamDelete(&'a str),
    /// Remove messages of a stream.
    StreamPurge(&'a str),
    /// Copy a stream out.
    StreamSnapshot(&'a str),
    /// Copy a stream in.
    StreamRestore(&'a str),
    /// A message of a stream, as JSON.
    MessageGet(&'a str),
    /// Remove a message.
    MessageDelete(&'a str),
    /// A message of a stream, as it is.
    DirectGet {
        /// The stream.
        stream: &'a str,
        /// The last one of this subject.
        subject: Option<&'a str>,
    },
    /// Make or change a consumer.
    ConsumerCreate(Named<'a>),
    /// Names of a stream's consumers.
    ConsumerNames(&'a str),
    /// A stream's consumers.
    ConsumerList(&'a str),
    /// A consumer.
    ConsumerInfo(Consumer<'a>),
    /// Remove a consumer.
    ConsumerDelete(Consumer<'a>),
    /// Deliver nothing for a while, or go on.
    ConsumerPause(Consumer<'a>),
    /// Begin at another place.
    ConsumerReset(Consumer<'a>),
    /// Let another client have a priority group.
    ConsumerUnpin(Consumer<'a>),
    /// The next messages of a consumer.
    Next(Consumer<'a>),
    /// Something that only servers in a cluster do; the type of the answer.
    Cluster(&'static str),
    /// Nothing that is known.
    Unknown,
}

/// A consumer by its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consumer<'a> {
    /// Of the stream.
    pub stream: &'a str,
    /// Of the consumer.
    pub name: &'a str,
}

impl<'a> Api<'a> {
    /// The request; `None` if the subject is not one of the API's.
    #[must_use]
    pub fn parse(subject: &'a str) -> Option<Self> {
        let tail = subject.strip_prefix(PREFIX)?;
        let (group, rest) = tail.split_once('.').unwrap_or((tail, ""));
        Some(match group {
            "INFO" if rest.is_empty() => Self::Info,
            "STREAM" => Self::stream(rest),
            "CONSUMER" => Self::consumer(rest),
            "DIRECT" => Self::direct(rest),
            "META" | "SERVER" | "ACCOUNT" => Self::Cluster("meta_leader_stepdown_response"),
            _ => Self::Unknown,
        })
    }

    fn stream(tail: &'a str) -> Self {
        let (verb, name) = tail.split_once('.').unwrap_or((tail, ""));
        let one = is_token(name);
        match verb {
            "NAMES" if name.is_empty() => Self::StreamNames,
            "LIST" if name.is_empty() => Self::StreamList,
            "CREATE" if one => Self::StreamCreate(name),
            "UPDATE" if one => Self::StreamUpdate(name),
            "INFO" if one => Self::StreamInfo(name),
            "DELETE" if one => Self::StreamDelete(name),
            "PURGE" if one => Self::StreamPurge(name),
            "SNAPSHOT" if one => Self::StreamSnapshot(name),
            "RESTORE" if one => Self::StreamRestore(name),
            "MSG" => match name.split_once('.') {
                Some(("GET", name)) if is_token(name) => Self::MessageGet(name),
                Some(("DELETE", name)) if is_token(name) => Self::MessageDelete(name),
                _ => Self::Unknown,
            },
            "LEADER" => Self::Cluster("stream_leader_stepdown_response"),
            "PEER" => Self::Cluster("stream_remove_peer_response"),
            "CANCEL_MOVE" => Self::Cluster("stream_cancel_move_response"),
            _ => Self::Unknown,
        }
    }

    fn consumer(tail: &'a str) -> Self {
        let (verb, names) = tail.split_once('.').unwrap_or((tail, ""));
        let both = || match names.split_once('.') {
            Some((stream, name)) if is_token(name) => Some(Consumer { stream, name }),
            _ => None,
        };
        let of = |request: fn(Consumer<'a>) -> Self| both().map_or(Self::Unknown, request);
        match verb {
            "CREATE" => Self::create(names),
            "DURABLE" => match names.strip_prefix("CREATE.").and_then(|names| names.split_once('.')) {
                Some((stream, name)) if is_token(name) => {
                    Self::ConsumerCreate(Named { stream, consumer: Some(name), filter: None, durable: true })
                }
                _ => Self::Unknown,
            },
            "NAMES" if is_token(names) => Self::ConsumerNames(names),
            "LIST" if is_token(names) => Self::ConsumerList(names),
            "INFO" => of(Self::ConsumerInfo),
            "DELETE" => of(Self::ConsumerDelete),
            "PAUSE" => of(Self::ConsumerPause),
            "RESET" => of(Self::ConsumerReset),
            "UNPIN" => of(Self::ConsumerUnpin),
            "MSG" => match names.strip_prefix("NEXT.").and_then(|names| names.split_once('.')) {
                Some((stream, name)) if is_token(name) => Self::Next(Consumer { stream, name }),
                _ => Self::Unknown,
            },
            "LEADER" => Self::Cluster("consumer_leader_stepdown_response"),
            "PEER" => Self::Cluster("consumer_remove_peer_response"),
            _ => Self::Unknown,
        }
    }

    /// `<stream>[.<consumer>[.<filter>]]`
    fn create(names: &'a str) -> Self {
        let (stream, rest) = names.split_once('.').unwrap_or((names, ""));
        let (consumer, filter) = rest.split_once('.').unwrap_or((rest, ""));
        if stream.is_empty() {
            return Self::Unknown;
        }
        let some = |text: &'a str| (!text.is_empty()).then_some(text);
        Self::ConsumerCreate(Named { stream, consumer: some(consumer), filter: some(filter), durable: false })
    }

    /// `GET.<stream>[.<subject>]`
    fn direct(tail: &'a str) -> Self {
        match tail
            .strip_prefix("GET.")
            .map(|tail| tail.split_once('.').map_or((tail, None), |(a, b)| (a, Some(b))))
        {
            Some((stream, subject)) if !stream.is_empty() => Self::DirectGet { stream, subject },
            _ => Self::Unknown,
        }
    }

    /// The type of its answers, behind `io.nats.jetstream.api.v1.`; empty for those that are not JSON.
    #[must_use]
    pub fn answer_type(&self) -> &'static str {
        match self {
            Self::Info => "account_info_response",
            Self::StreamCreate(_) => "stream_create_response",
            Self::StreamUpdate(_) => "stream_update_response",
            Self::StreamNames => "stream_names_response",
            Self::StreamList => "stream_list_response",
            Self::StreamInfo(_) => "stream_info_response",
            Self::StreamDelete(_) => "stream_delete_response",
            Self::StreamPurge(_) => "stream_purge_response",
            Self::StreamSnapshot(_) => "stream_snapshot_response",
            Self::StreamRestore(_) => "stream_restore_response",
            Self::MessageGet(_) => "stream_msg_get_response",
            Self::MessageDelete(_) => "stream_msg_delete_response",
            Self::ConsumerCreate(_) => "consumer_create_response",
            Self::ConsumerNames(_) => "consumer_names_response",
            Self::ConsumerList(_) => "consumer_list_response",
            Self::ConsumerInfo(_) => "consumer_info_response",
            Self::ConsumerDelete(_) => "consumer_delete_response",
            Self::ConsumerPause(_) => "consumer_pause_response",
            Self::ConsumerReset(_) => "consumer_reset_response",
            Self::ConsumerUnpin(_) => "consumer_unpin_response",
            Self::Cluster(name) => name,
            Self::Unknown => "system_response",
            Self::DirectGet { .. } | Self::Next(_) => "",
        }
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && !text.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn subjects_name_requests() {
        let named =
            |consumer, filter, durable| Api::ConsumerCreate(Named { stream: "s", consumer, filter, durable });
        let both = Consumer { stream: "s", name: "c" };
        let cases = [
            ("INFO", Api::Info),
            ("STREAM.CREATE.s", Api::StreamCreate("s")),
            ("STREAM.NAMES", Api::StreamNames),
            ("STREAM.MSG.GET.s", Api::MessageGet("s")),
            ("DIRECT.GET.s", Api::DirectGet { stream: "s", subject: None }),
            ("DIRECT.GET.s.$KV.b.k", Api::DirectGet { stream: "s", subject: Some("$KV.b.k") }),
            ("CONSUMER.CREATE.s", named(None, None, false)),
            ("CONSUMER.CREATE.s.c", named(Some("c"), None, false)),
            ("CONSUMER.CREATE.s.c.a.>", named(Some("c"), Some("a.>"), false)),
            ("CONSUMER.DURABLE.CREATE.s.c", named(Some("c"), None, true)),
            ("CONSUMER.MSG.NEXT.s.c", Api::Next(both)),
            ("CONSUMER.INFO.s.c", Api::ConsumerInfo(both)),
            ("STREAM.LEADER.STEPDOWN.s", Api::Cluster("stream_leader_stepdown_response")),
            ("STREAM.CREATE.s.t", Api::Unknown),
            ("STREAM", Api::Unknown),
            ("CONSUMER.INFO.s", Api::Unknown),
            ("CONSUMER.CREATE", Api::Unknown),
            ("DIRECT.GET", Api::Unknown),
        ];
        for (tail, api) in cases {
            assert_eq!(Api::parse(&format!("{PREFIX}{tail}")), Some(api), "{tail}");
        }
        assert_eq!(Api::parse("$JS.ACK.s.c"), None);
    }

    proptest! {
        #[test]
        fn no_subject_makes_it_panic(tail in "[A-Z.a-z*>]{0,40}") {
            let subject = format!("{PREFIX}{tail}");
            if let Some(api) = Api::parse(&subject) {
                let _ = api.answer_type();
            }
        }
    }
}
