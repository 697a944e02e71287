//! The one list of keys. A row says what a key is called, what it means, how its value is read into [`Config`] and how it is shown.

use super::input::{Input, size_shown};
use super::nats;
use super::objects::{self, NamespaceSetting, PolicySetting};
use super::{Config, LogFormat, LoginFrom, TlsFiles, UserSetting};
use crate::{passwords, scram};
use std::net::SocketAddr;
use std::path::Path;
use stele_amqp091::profile;

/// A key that can be set. `NAME` in it stands for any name.
pub struct Setting {
    /// The key, sections separated by dots.
    pub key: &'static str,
    /// What it means, for the documentation and `config show`.
    pub about: &'static str,
    /// Reads a value; the second argument is what stands for `NAME`.
    pub(super) read: fn(&mut Config, &str, &Input) -> Result<(), String>,
    /// The value as TOML; `None`: not set, or nothing that may be shown.
    pub(super) show: fn(&Config, &str) -> Option<String>,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Setting").field(&self.key).finish()
    }
}

// The ranges below promise what the dialect can keep.
const _: () = assert!(profile::FRAME_BYTES_MIN == 8 << 10 && profile::FRAME_BYTES_MAX == 128 << 10);
const _: () = assert!(profile::CHANNEL_MAX == 2047);
const _: () = assert!(profile::MESSAGE_BYTES_MAX >= 15 << 20);

const THREADS_MAX: u64 = 1024;
/// A day, in milliseconds.
const SESSION_MS_MAX: u64 = 86_400_000;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Every key, in the order of the documentation.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "data_dir",
        about: "directory of everything durable",
        read: |c, _, v| v.text().map(|path| c.data_dir = path.into()),
        show: |c, _| Some(quoted_path(&c.data_dir)),
    },
    Setting {
        key: "threads.io",
        about: "threads that serve sockets, 1 – 1024; \"auto\": from the number of cores",
        read: |c, _, v| v.number_or_auto(1..=THREADS_MAX).map(|n| c.threads.io = n),
        show: |c, _| Some(number_or_auto(c.threads.io)),
    },
    Setting {
        key: "threads.shards",
        about: "shards, each with a thread and a log, 1 – 1024; \"auto\": from the number of cores",
        read: |c, _, v| v.number_or_auto(1..=THREADS_MAX).map(|n| c.threads.shards = n),
        show: |c, _| Some(number_or_auto(c.threads.shards)),
    },
    Setting {
        key: "listen.amqp",
        about: "AMQP; with [tls] set, TLS is told from plain by the first byte",
        read: |c, _, v| v.address().map(|address| c.listen.amqp = address),
        show: |c, _| Some(address(c.listen.amqp)),
    },
    Setting {
        key: "listen.amqps",
        about: "AMQP over TLS only; needs [tls]",
        read: |c, _, v| v.address().map(|address| c.listen.amqps = address),
        show: |c, _| Some(address(c.listen.amqps)),
    },
    Setting {
        key: "listen.kafka",
        about: "Kafka; with [tls] set, TLS is told from plain by the first byte",
        read: |c, _, v| v.address().map(|address| c.listen.kafka = address),
        show: |c, _| Some(address(c.listen.kafka)),
    },
    Setting {
        key: "listen.nats",
        about: "NATS; with [tls] set, TLS begins as nats.tls says",
        read: |c, _, v| v.address().map(|address| c.listen.nats = address),
        show: |c, _| Some(address(c.listen.nats)),
    },
    Setting {
        key: "listen.nats_monitor",
        about: "nats-server's monitoring endpoints (`/varz`, `/connz`, `/jsz` …), without login, or \"off\"",
        read: |c, _, v| v.address().map(|address| c.listen.nats_monitor = address),
        show: |c, _| Some(address(c.listen.nats_monitor)),
    },
    Setting {
        key: "listen.http",
        about: "HTTP API and health",
        read: |c, _, v| v.address().map(|address| c.listen.http = address),
        show: |c, _| Some(address(c.listen.http)),
    },
    Setting {
        key: "listen.metrics",
        about: "Prometheus metrics, without login",
        read: |c, _, v| v.address().map(|address| c.listen.metrics = address),
        show: |c, _| Some(address(c.listen.metrics)),
    },
    Setting {
        key: "tls.cert",
        about: "PEM file: certificate chain, leaf first",
        read: |c, _, v| v.text().map(|path| tls(c).cert = path.into()),
        show: |c, _| c.tls.as_ref().map(|tls| quoted_path(&tls.cert)),
    },
    Setting {
        key: "tls.key",
        about: "PEM file: private key of the certificate",
        read: |c, _, v| v.text().map(|path| tls(c).key = path.into()),
        show: |c, _| c.tls.as_ref().map(|tls| quoted_path(&tls.key)),
    },
    Setting {
        key: "tls.client_ca",
        about: "PEM file: authorities of clients' certificates",
        read: |c, _, v| v.text().map(|path| tls(c).client_ca = Some(path.into())),
        show: |c, _| c.tls.as_ref()?.client_ca.as_deref().map(quoted_path),
    },
    Setting {
        key: "tls.client_certificates",
        about: "\"required\", or \"accepted\" where clients may come without; with `tls.client_ca`",
        read: |c, _, v| v.client_certificates().map(|may_lack| tls(c).client_may_lack = may_lack),
        show: |c, _| {
            c.tls.as_ref().map(|tls| quoted(if tls.client_may_lack { "accepted" } else { "required" }))
        },
    },
    Setting {
        key: "tls.login_from",
        about: "what of a client's certificate names the user it is in AMQP by SASL EXTERNAL: \"distinguished_name\", \"common_name\", \"subject_alternative_name\", or \"off\"",
        read: |c, _, v| v.login_from().map(|from| tls(c).login_from = from),
        show: |c, _| c.tls.as_ref().map(|tls| quoted(tls.login_from.map_or("off", LoginFrom::word))),
    },
    Setting {
        key: "auth.remove_tagged",
        about: "users with this tag that are not in this configuration are removed at every start",
        read: |c, _, v| v.text().map(|tag| c.users_removed_by_tag = Some(tag)),
        show: |c, _| c.users_removed_by_tag.as_deref().map(quoted),
    },
    Setting {
        key: "auth.users.NAME.password",
        about: "password in plain text; kept in memory as its hash and as what SCRAM needs only",
        read: |c, name, v| {
            let (password, user) = (v.text()?, user(c, name));
            user.password_hash = passwords::hash(&password);
            user.scram = scram::secrets(&password);
            Ok(())
        },
        show: |_, _| None,
    },
    Setting {
        key: "auth.users.NAME.password_hash",
        about: "password as RabbitMQ's salted SHA-256, base64, or as bcrypt's hash (`$2a$…`, cost up to 16); in place of `password`; no SCRAM then",
        read: |c, name, v| {
            let hash = v.text()?;
            if passwords::is_slow(&hash) {
                passwords::bcrypt_cost(&hash)?;
            } else if !passwords::is_hash(&hash) {
                return Err(
                    "expected base64 of 4 bytes of salt and 32 bytes of SHA-256, or a bcrypt hash".into()
                );
            }
            user(c, name).password_hash = hash;
            user(c, name).scram = Vec::new();
            Ok(())
        },
        show: |_, _| None,
    },
    Setting {
        key: "auth.users.NAME.tags",
        about: "tags such as \"administrator\" or \"monitoring\": who may use the HTTP API",
        read: |c, name, v| v.words().map(|tags| user(c, name).tags = tags),
        show: |c, name| {
            let tags = c.users.get(name)?.tags.iter().map(|tag| quoted(tag));
            Some(format!("[{}]", tags.collect::<Vec<_>>().join(", ")))
        },
    },
    Setting {
        key: "auth.users.NAME.nats_token",
        about: "a token by which NATS clients log in as this user, or its bcrypt hash",
        read: |c, name, v| {
            let token = v.text()?;
            if passwords::is_slow(&token) {
                passwords::bcrypt_cost(&token)?;
            }
            user(c, name).nats.token = Some(token);
            Ok(())
        },
        show: |_, _| None,
    },
    Setting {
        key: "auth.users.NAME.nats_nkey",
        about: "a public key (U…) whose holder logs in by NATS as this user",
        read: |c, name, v| {
            let key = v.text()?;
            if !crate::nkey::is_user(&key) {
                return Err("expected the public key of a user, as `nk -gen user -pubout` prints it".into());
            }
            user(c, name).nats.nkey = Some(key);
            Ok(())
        },
        show: |c, name| c.users.get(name)?.nats.nkey.as_deref().map(quoted),
    },
    Setting {
        key: "auth.users.NAME.nats_publish_allow",
        about: "subjects it may publish to by NATS; unset: all that are not denied",
        read: |c, name, v| nats::subjects(v.words()?).map(|all| user(c, name).nats.publish_allow = Some(all)),
        show: |c, name| c.users.get(name)?.nats.publish_allow.as_deref().map(list),
    },
    Setting {
        key: "auth.users.NAME.nats_publish_deny",
        about: "subjects it may not publish to by NATS",
        read: |c, name, v| nats::subjects(v.words()?).map(|all| user(c, name).nats.publish_deny = all),
        show: |c, name| c.users.get(name).map(|user| list(&user.nats.publish_deny)),
    },
    Setting {
        key: "auth.users.NAME.nats_subscribe_allow",
        about: "subjects it may subscribe to by NATS, as in \"a.*\", or \"a.* group\"; unset: all that are not denied",
        read: |c, name, v| {
            nats::subjects(v.words()?).map(|all| user(c, name).nats.subscribe_allow = Some(all))
        },
        show: |c, name| c.users.get(name)?.nats.subscribe_allow.as_deref().map(list),
    },
    Setting {
        key: "auth.users.NAME.nats_subscribe_deny",
        about: "subjects it may not subscribe to by NATS",
        read: |c, name, v| nats::subjects(v.words()?).map(|all| user(c, name).nats.subscribe_deny = all),
        show: |c, name| c.users.get(name).map(|user| list(&user.nats.subscribe_deny)),
    },
    Setting {
        key: "auth.users.NAME.nats_answers_max",
        about: "answers it may give to each request it hears by NATS, whatever else is denied; 1 – 1000000",
        read: |c, name, v| v.number(1..=1_000_000).map(|n| user(c, name).nats.answers_max = Some(n)),
        show: |c, name| c.users.get(name)?.nats.answers_max.map(|n| n.to_string()),
    },
    Setting {
        key: "auth.users.NAME.nats_answers_ms",
        about: "for how long after the request, 1 – 86400000; unset: always",
        read: |c, name, v| v.number(1..=86_400_000).map(|n| user(c, name).nats.answers_ms = Some(n)),
        show: |c, name| c.users.get(name)?.nats.answers_ms.map(|n| n.to_string()),
    },
    Setting {
        key: "auth.users.NAME.namespace",
        about: "namespace (AMQP: vhost) of the three grants",
        read: |c, name, v| v.text().map(|namespace| user(c, name).namespace = namespace),
        show: |c, name| c.users.get(name).map(|user| quoted(&user.namespace)),
    },
    Setting {
        key: "auth.users.NAME.configure",
        about: "regular expression of the objects it may configure",
        read: |c, name, v| v.any_text().map(|pattern| user(c, name).configure = pattern),
        show: |c, name| c.users.get(name).map(|user| quoted(&user.configure)),
    },
    Setting {
        key: "auth.users.NAME.write",
        about: "regular expression of the objects it may write to",
        read: |c, name, v| v.any_text().map(|pattern| user(c, name).write = pattern),
        show: |c, name| c.users.get(name).map(|user| quoted(&user.write)),
    },
    Setting {
        key: "auth.users.NAME.read",
        about: "regular expression of the objects it may read from",
        read: |c, name, v| v.any_text().map(|pattern| user(c, name).read = pattern),
        show: |c, name| c.users.get(name).map(|user| quoted(&user.read)),
    },
    Setting {
        key: "auth.users.NAME.topics",
        about: "keys it may publish with and bind with, by topic exchange, as in '{\"amq.topic\": {\"write\": \"^a\", \"read\": \".*\"}}'",
        read: |c, name, v| objects::topics(&v.text()?).map(|topics| user(c, name).topics = topics),
        show: |c, name| c.users.get(name).map(|user| quoted(&objects::topics_json(&user.topics))),
    },
    Setting {
        key: "namespaces.NAME.queues_max",
        about: "a namespace (AMQP: vhost), and how many queues it may have",
        read: |c, name, v| v.number(0..=u64::MAX).map(|n| namespace(c, name).queues_max = Some(n)),
        show: |c, name| Some(c.namespaces.get(name)?.queues_max?.to_string()),
    },
    Setting {
        key: "namespaces.NAME.connections_max",
        about: "how many connections it may have",
        read: |c, name, v| v.number(0..=u64::MAX).map(|n| namespace(c, name).connections_max = Some(n)),
        show: |c, name| Some(c.namespaces.get(name)?.connections_max?.to_string()),
    },
    Setting {
        key: "namespaces.NAME.jetstream",
        about: "whether NATS clients there have JetStream: \"yes\" or \"no\"",
        read: |c, name, v| v.yes_no().map(|on| namespace(c, name).jetstream.is_enabled = on),
        show: |c, name| Some(quoted(if c.namespaces.get(name)?.jetstream.is_enabled { "yes" } else { "no" })),
    },
    Setting {
        key: "namespaces.NAME.jetstream_streams_max",
        about: "how many streams of JetStream it may have",
        read: |c, name, v| v.number(0..=1 << 31).map(|n| namespace(c, name).jetstream.streams_max = Some(n)),
        show: |c, name| Some(c.namespaces.get(name)?.jetstream.streams_max?.to_string()),
    },
    Setting {
        key: "namespaces.NAME.jetstream_consumers_max",
        about: "how many consumers each of these streams may have",
        read: |c, name, v| {
            v.number(0..=1 << 31).map(|n| namespace(c, name).jetstream.consumers_max = Some(n))
        },
        show: |c, name| Some(c.namespaces.get(name)?.jetstream.consumers_max?.to_string()),
    },
    Setting {
        key: "namespaces.NAME.jetstream_memory_bytes_max",
        about: "bytes that these streams may reserve in memory by their `max_bytes`, together",
        read: |c, name, v| {
            v.size(0..=1 << 50).map(|n| namespace(c, name).jetstream.memory_bytes_max = Some(n))
        },
        show: |c, name| Some(c.namespaces.get(name)?.jetstream.memory_bytes_max?.to_string()),
    },
    Setting {
        key: "namespaces.NAME.jetstream_storage_bytes_max",
        about: "bytes that these streams may reserve on disk by their `max_bytes`, together",
        read: |c, name, v| {
            v.size(0..=1 << 50).map(|n| namespace(c, name).jetstream.storage_bytes_max = Some(n))
        },
        show: |c, name| Some(c.namespaces.get(name)?.jetstream.storage_bytes_max?.to_string()),
    },
    Setting {
        key: "policies.NAME.namespace",
        about: "namespace of the policy",
        read: |c, name, v| v.text().map(|namespace| policy(c, name).namespace = namespace),
        show: |c, name| Some(quoted(&c.policies.get(name)?.namespace)),
    },
    Setting {
        key: "policies.NAME.pattern",
        about: "regular expression of the queues and exchanges it is for",
        read: |c, name, v| v.any_text().map(|pattern| policy(c, name).pattern = pattern),
        show: |c, name| Some(quoted(&c.policies.get(name)?.pattern)),
    },
    Setting {
        key: "policies.NAME.applies_to",
        about: "\"all\", \"queues\", \"classic_queues\", \"quorum_queues\" or \"exchanges\"",
        read: |c, name, v| objects::applies_to(&v.text()?).map(|to| policy(c, name).applies_to = to),
        show: |c, name| Some(quoted(objects::applies_to_word(c.policies.get(name)?.applies_to))),
    },
    Setting {
        key: "policies.NAME.priority",
        about: "of several policies that match, the highest holds; 0 – 1000000",
        read: |c, name, v| v.number(0..=1_000_000).map(|n| policy(c, name).priority = n),
        show: |c, name| Some(c.policies.get(name)?.priority.to_string()),
    },
    Setting {
        key: "policies.NAME.kind",
        about: "\"user\", or \"operator\": merged with a user's policy, the stricter limit wins",
        read: |c, name, v| {
            policy(c, name).operator = match v.text()?.as_str() {
                "user" => false,
                "operator" => true,
                other => return Err(format!("expected \"user\" or \"operator\", found \"{other}\"")),
            };
            Ok(())
        },
        show: |c, name| Some(quoted(if c.policies.get(name)?.operator { "operator" } else { "user" })),
    },
    Setting {
        key: "policies.NAME.definition",
        about: "a JSON object of RabbitMQ's policy keys, as in '{\"max-length\": 10}'",
        read: |c, name, v| objects::definition(&v.text()?).map(|keys| policy(c, name).definition = keys),
        show: |c, name| Some(quoted(&objects::definition_json(&c.policies.get(name)?.definition))),
    },
    Setting {
        key: "kafka.advertised_host",
        about: "host that Kafka's clients are told to connect to; unset: the address that each came to",
        read: |c, _, v| v.text().map(|host| c.kafka.advertised_host = Some(host)),
        show: |c, _| c.kafka.advertised_host.as_deref().map(quoted),
    },
    Setting {
        key: "kafka.advertised_port",
        about: "port that Kafka's clients are told to connect to, 1 – 65535; unset: the one that each came to",
        read: |c, _, v| v.number(1..=65_535).map(|port| c.kafka.advertised_port = Some(port)),
        show: |c, _| c.kafka.advertised_port.map(|port| port.to_string()),
    },
    Setting {
        key: "kafka.anonymous",
        about: "user that Kafka's clients are who do not log in; unset: they must",
        read: |c, _, v| v.text().map(|user| c.kafka.anonymous = Some(user)),
        show: |c, _| c.kafka.anonymous.as_deref().map(quoted),
    },
    Setting {
        key: "kafka.auto_create",
        about: "\"yes\": topics that are not there are made when a client asks for them; or \"no\"",
        read: |c, _, v| v.yes_no().map(|yes| c.kafka.auto_create = yes),
        show: |c, _| Some(quoted(if c.kafka.auto_create { "yes" } else { "no" })),
    },
    Setting {
        key: "kafka.partitions",
        about: "partitions of a topic when nobody says, 1 – 4096",
        read: |c, _, v| v.number(1..=4096).map(|n| c.kafka.partitions = n),
        show: |c, _| Some(c.kafka.partitions.to_string()),
    },
    Setting {
        key: "kafka.request_bytes_max",
        about: "largest request of a Kafka client, 1 MiB – 100 MiB",
        read: |c, _, v| v.size(MIB..=100 * MIB).map(|n| c.kafka.request_bytes_max = n),
        show: |c, _| Some(size(c.kafka.request_bytes_max.into())),
    },
    Setting {
        key: "kafka.group_initial_delay_ms",
        about: "how long the first member of an empty group waits for others, 0 – 60000 milliseconds",
        read: |c, _, v| v.number(0..=60_000).map(|ms| c.kafka.group_initial_delay_ms = ms),
        show: |c, _| Some(c.kafka.group_initial_delay_ms.to_string()),
    },
    Setting {
        key: "kafka.group_session_ms_min",
        about: "shortest session time that a group of Kafka clients accepts, 1 – 86400000 milliseconds",
        read: |c, _, v| v.number(1..=SESSION_MS_MAX).map(|ms| c.kafka.group_session_ms_min = ms),
        show: |c, _| Some(c.kafka.group_session_ms_min.to_string()),
    },
    Setting {
        key: "kafka.group_session_ms_max",
        about: "longest such session time, 1 – 86400000 milliseconds, at least the shortest",
        read: |c, _, v| v.number(1..=SESSION_MS_MAX).map(|ms| c.kafka.group_session_ms_max = ms),
        show: |c, _| Some(c.kafka.group_session_ms_max.to_string()),
    },
    Setting {
        key: "kafka.offsets_retention_minutes",
        about: "how long positions stay that nobody uses: of a group without members, or of topics that no member reads, 1 – 5256000 minutes",
        read: |c, _, v| v.number(1..=5_256_000).map(|n| c.kafka.offsets_retention_minutes = n),
        show: |c, _| Some(c.kafka.offsets_retention_minutes.to_string()),
    },
    Setting {
        key: "nats.server_name",
        about: "what the server calls itself to NATS clients",
        read: |c, _, v| v.text().map(|name| c.nats.server_name = name),
        show: |c, _| Some(quoted(&c.nats.server_name)),
    },
    Setting {
        key: "nats.anonymous",
        about: "user that NATS clients are who do not say who they are; unset: they must",
        read: |c, _, v| v.text().map(|user| c.nats.anonymous = Some(user)),
        show: |c, _| c.nats.anonymous.as_deref().map(quoted),
    },
    Setting {
        key: "nats.checks_credentials",
        about: "\"no\": all NATS clients are `nats.anonymous`, whatever they say of themselves",
        read: |c, _, v| v.yes_no().map(|yes| c.nats.checks_credentials = yes),
        show: |c, _| Some(quoted(if c.nats.checks_credentials { "yes" } else { "no" })),
    },
    Setting {
        key: "nats.jetstream",
        about: "\"yes\": JetStream is there; or \"no\": its requests are messages that nobody hears",
        read: |c, _, v| v.yes_no().map(|yes| c.nats.jetstream = yes),
        show: |c, _| Some(quoted(if c.nats.jetstream { "yes" } else { "no" })),
    },
    Setting {
        key: "nats.tls",
        about: "with [tls] set: \"optional\" or \"required\", after INFO; \"first\": before anything is said",
        read: |c, _, v| nats::nats_tls(&v.text()?).map(|tls| c.nats.tls = tls),
        show: |c, _| Some(quoted(nats::nats_tls_word(c.nats.tls))),
    },
    Setting {
        key: "nats.tls_wait_ms",
        about: "longest wait until TLS is agreed on where it must be, 10 – 600000",
        read: |c, _, v| v.number(10..=600_000).map(|n| c.nats.tls_wait_ms = n),
        show: |c, _| Some(c.nats.tls_wait_ms.to_string()),
    },
    Setting {
        key: "nats.tls_first_ms",
        about: "with \"first\": who has not begun after so long is told INFO and begins then, 1 – 5000; 0: is not",
        read: |c, _, v| v.number(0..=5_000).map(|n| c.nats.tls_first_ms = n),
        show: |c, _| Some(c.nats.tls_first_ms.to_string()),
    },
    Setting {
        key: "nats.payload_bytes_max",
        about: "longest headers and payload of a NATS message, 1 B – 14 MiB",
        read: |c, _, v| v.size(1..=14 * MIB).map(|n| c.nats.payload_bytes_max = n),
        show: |c, _| Some(size(c.nats.payload_bytes_max.into())),
    },
    Setting {
        key: "nats.control_line_bytes_max",
        about: "longest arguments of a NATS control line, 512 B – 16 KiB",
        read: |c, _, v| v.size(KIB / 2..=16 * KIB).map(|n| c.nats.control_line_bytes_max = n),
        show: |c, _| Some(size(c.nats.control_line_bytes_max.into())),
    },
    Setting {
        key: "nats.subscriptions_max",
        about: "subscriptions of one NATS connection, 1 – 1048576",
        read: |c, _, v| v.number(1..=1 << 20).map(|n| c.nats.subscriptions_max = n),
        show: |c, _| Some(c.nats.subscriptions_max.to_string()),
    },
    Setting {
        key: "nats.pending_bytes_max",
        about: "what may wait for a NATS client, 64 KiB – 1 GiB; one that leaves more is cut",
        read: |c, _, v| v.size(64 * KIB..=GIB).map(|n| c.nats.pending_bytes_max = n),
        show: |c, _| Some(size(c.nats.pending_bytes_max)),
    },
    Setting {
        key: "nats.write_deadline_ms",
        about: "a NATS client that takes nothing for so long, although something waits, is cut; 10 – 600000",
        read: |c, _, v| v.number(10..=600_000).map(|n| c.nats.write_deadline_ms = n),
        show: |c, _| Some(c.nats.write_deadline_ms.to_string()),
    },
    Setting {
        key: "nats.ping_interval_ms",
        about: "a silent NATS client is asked after so long whether it is there, 10 – 86400000",
        read: |c, _, v| v.number(10..=86_400_000).map(|n| c.nats.ping_interval_ms = n),
        show: |c, _| Some(c.nats.ping_interval_ms.to_string()),
    },
    Setting {
        key: "nats.pings_out_max",
        about: "how often it may leave that without an answer, 1 – 1000",
        read: |c, _, v| v.number(1..=1000).map(|n| c.nats.pings_out_max = n),
        show: |c, _| Some(c.nats.pings_out_max.to_string()),
    },
    Setting {
        key: "nats.auth_timeout_ms",
        about: "longest wait for a NATS client to say who it is, 10 – 600000",
        read: |c, _, v| v.number(10..=600_000).map(|n| c.nats.auth_timeout_ms = n),
        show: |c, _| Some(c.nats.auth_timeout_ms.to_string()),
    },
    Setting {
        key: "limits.frame_bytes_max",
        about: "largest AMQP frame, 8 KiB – 128 KiB",
        read: |c, _, v| v.size(8 * KIB..=128 * KIB).map(|n| c.limits.frame_bytes_max = n),
        show: |c, _| Some(size(c.limits.frame_bytes_max.into())),
    },
    Setting {
        key: "limits.connections_max",
        about: "connections at a time, 1 – 1000000; fewer if the process has too few file handles",
        read: |c, _, v| v.number(1..=1_000_000).map(|n| c.limits.connections_max = n),
        show: |c, _| Some(c.limits.connections_max.to_string()),
    },
    Setting {
        key: "limits.channels_max",
        about: "channels of one connection, 1 – 2047",
        read: |c, _, v| v.number(1..=2047).map(|n| c.limits.channels_max = n),
        show: |c, _| Some(c.limits.channels_max.to_string()),
    },
    Setting {
        key: "limits.heartbeat_s",
        about: "heartbeat offered to clients, 0 – 3600 seconds; 0: none",
        read: |c, _, v| v.number(0..=3600).map(|n| c.limits.heartbeat_s = n),
        show: |c, _| Some(c.limits.heartbeat_s.to_string()),
    },
    Setting {
        key: "limits.message_bytes_max",
        about: "largest message, 1 KiB – 15 MiB",
        read: |c, _, v| v.size(KIB..=15 * MIB).map(|n| c.limits.message_bytes_max = n),
        show: |c, _| Some(size(c.limits.message_bytes_max.into())),
    },
    Setting {
        key: "limits.unfinished_bytes_max",
        about: "bytes of messages and requests that have not come whole, over all connections, 64 MiB – 1024 GiB; above it, who has gone longest without finishing one is disconnected",
        read: |c, _, v| v.size(64 * MIB..=1024 * GIB).map(|n| c.limits.unfinished_bytes_max = n),
        show: |c, _| Some(size(c.limits.unfinished_bytes_max)),
    },
    Setting {
        key: "limits.unread_bytes_max",
        about: "bytes of records that Kafka clients have asked for and not taken, over all connections, 64 MiB – 1024 GiB; where little is left answers are smaller, and above it, who has taken nothing for longest is disconnected",
        read: |c, _, v| v.size(64 * MIB..=1024 * GIB).map(|n| c.limits.unread_bytes_max = n),
        show: |c, _| Some(size(c.limits.unread_bytes_max)),
    },
    Setting {
        key: "log.segment_bytes",
        about: "size of a log segment, 1 MiB – 1 GiB, a multiple of 4 KiB",
        read: |c, _, v| {
            let bytes: u64 = v.size(MIB..=GIB)?;
            if !bytes.is_multiple_of(4 * KIB) {
                return Err(format!("{bytes} is not a multiple of 4096"));
            }
            c.log.segment_bytes = bytes;
            Ok(())
        },
        show: |c, _| Some(size(c.log.segment_bytes)),
    },
    Setting {
        key: "log.budget_bytes",
        about: "log kept before survivors are moved out of it, over all shards; at least four segments",
        read: |c, _, v| v.size(4 * MIB..=1024 * 1024 * GIB).map(|n| c.log.budget_bytes = n),
        show: |c, _| Some(size(c.log.budget_bytes)),
    },
    Setting {
        key: "log.memory_bytes",
        about: "recent blocks kept in memory, over all shards",
        read: |c, _, v| v.size(MIB..=1024 * GIB).map(|n| c.log.memory_bytes = n),
        show: |c, _| Some(size(c.log.memory_bytes)),
    },
    Setting {
        key: "logging.filter",
        about: "what to log: levels by target, as in \"info,stele_server=debug\"",
        read: |c, _, v| {
            let filter = v.text()?;
            crate::logging::check_filter(&filter)?;
            c.logging.filter = filter;
            Ok(())
        },
        show: |c, _| Some(quoted(&c.logging.filter)),
    },
    Setting {
        key: "logging.format",
        about: "\"text\", \"json\", or \"auto\": text on a terminal, JSON elsewhere",
        read: |c, _, v| v.log_format().map(|format| c.logging.format = format),
        show: |c, _| {
            Some(quoted(match c.logging.format {
                LogFormat::Auto => "auto",
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            }))
        },
    },
];

fn tls(config: &mut Config) -> &mut TlsFiles {
    config.tls.get_or_insert_default()
}

fn user<'a>(config: &'a mut Config, name: &str) -> &'a mut UserSetting {
    config.users.entry(name.to_owned()).or_default()
}

fn namespace<'a>(config: &'a mut Config, name: &str) -> &'a mut NamespaceSetting {
    config.namespaces.entry(name.to_owned()).or_default()
}

fn policy<'a>(config: &'a mut Config, name: &str) -> &'a mut PolicySetting {
    config.policies.entry(name.to_owned()).or_default()
}

/// The names that stand for `NAME` in a key, as far as the configuration has them.
pub(super) fn names<'a>(config: &'a Config, key: &str) -> Vec<&'a str> {
    fn keys<T>(map: &std::collections::BTreeMap<String, T>) -> Vec<&str> {
        map.keys().map(String::as_str).collect()
    }
    match key.split('.').next() {
        Some("namespaces") => keys(&config.namespaces),
        Some("policies") => keys(&config.policies),
        _ => keys(&config.users),
    }
}

fn list(words: &[String]) -> String {
    format!("[{}]", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", "))
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

fn size(bytes: u64) -> String {
    quoted(&size_shown(bytes))
}

fn number_or_auto(number: Option<u16>) -> String {
    number.map_or_else(|| quoted("auto"), |n| n.to_string())
}

fn address(address: Option<SocketAddr>) -> String {
    quoted(&address.map_or_else(|| "off".into(), |address| address.to_string()))
}
