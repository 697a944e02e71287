//! Tables of what operators write, and what they are told.

use super::*;
use std::collections::BTreeMap;
use std::fs;

/// Loads a file with this text, these variables and these flags.
fn try_load(text: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Loaded, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("stele.toml");
    fs::write(&file, text).unwrap();
    let sources = Sources {
        dev: Vec::new(),
        file: Some(file),
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        flags: flags
            .iter()
            .map(|(key, value)| Flag { flag: "--set".into(), key: (*key).into(), value: (*value).into() })
            .collect(),
    };
    let folder = format!("{}/", dir.path().display());
    load(&sources).map_err(|errors| errors.to_string().replace(&folder, ""))
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let table = [
        ("[listen]\nampq = \":1\"", "stele.toml:2:1: unknown key `listen.ampq`; did you mean `listen.amqp`?"),
        ("heartbeat_s = 1", "stele.toml:1:1: unknown key `heartbeat_s`; did you mean `limits.heartbeat_s`?"),
        ("[limts]\nheartbeat_s = 1", "stele.toml:1:2: unknown key `limts`; did you mean `limits`?"),
        (
            "[limits]\nheartbeat = 1",
            "2:1: unknown key `limits.heartbeat`; did you mean `limits.heartbeat_s`?",
        ),
        ("[auth.usrs.ann]\ntags = []", "unknown key `auth.usrs`; did you mean `auth.users`?"),
        ("colour = 1", "stele.toml:1:1: unknown key `colour`"),
        ("data_dir = 7", "stele.toml:1:1: `data_dir`: expected a string, found an integer"),
        ("limits.heartbeat_s = \"soon\"", "1:8: `limits.heartbeat_s`: expected an integer, found \"soon\""),
        ("limits.heartbeat_s = 3601", "1:8: `limits.heartbeat_s`: 3601 is not in 0 – 3600"),
        ("limits.heartbeat_s = 1.5", "1:8: `limits.heartbeat_s`: expected an integer, found a float"),
        ("limits.channels_max = 0", "`limits.channels_max`: 0 is not in 1 – 2047"),
        ("limits.frame_bytes_max = 1", "`limits.frame_bytes_max`: 1 is not in 8 KiB – 128 KiB"),
        ("log.segment_bytes = 1048577", "`log.segment_bytes`: 1048577 is not a multiple of 4096"),
        ("log.budget_bytes = \"4 MiB\"", "`log.budget_bytes` is less than four times `log.segment_bytes`"),
        ("kafka.group_session_ms_min = 1800001", "is more than `kafka.group_session_ms_max`"),
        ("listen.amqp = \"5672\"", "`listen.amqp`: expected \"address:port\", \":port\" for all addresses"),
        ("listen.amqp = { port = 1 }", "`listen.amqp`: expected a string, found a table"),
        ("listen = \":1\"", "stele.toml:1:1: `listen` is a section, not a value"),
        ("listen.amqps = \":5671\"", "`listen.amqps` needs `tls.cert` and `tls.key`"),
        ("tls.cert = \"a.pem\"", "`[tls]` needs both certificate and key; `tls.key` is missing"),
        ("listen.http = \":5672\"", "`listen.amqp` and `listen.http` are both 0.0.0.0:5672"),
        (
            "auth.users.ann.pasword = \"x\"",
            "`auth.users.ann.pasword`; did you mean `auth.users.ann.password`?",
        ),
        (
            "auth.users.ann.password_hash = \"x\"",
            "`auth.users.ann.password_hash`: expected base64 of 4 bytes",
        ),
        ("logging.filter = \"stele=loud\"", "`logging.filter`: \"stele=loud\" is no log filter"),
        ("a = \n", "stele.toml:1:"),
    ];
    for (text, expected) in table {
        let error = try_load(text, &[], &[]).unwrap_err();
        assert!(error.contains(expected), "{text}\n  expected {expected}\n  found    {error}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let error = try_load("b = 1\na = 2", &[("STELE__C", "3")], &[("d", "4")]).unwrap_err();
    assert_eq!(
        error,
        "stele.toml:1:1: unknown key `b`\nstele.toml:2:1: unknown key `a`\n\
         environment STELE__C: unknown key `c`\nflag --set: unknown key `d`"
    );
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let file = "[limits]\nheartbeat_s = 1\nchannels_max = 1\nmessage_bytes_max = 2048";
    let env = [("STELE__LIMITS__HEARTBEAT_S", "2"), ("STELE__LIMITS__CHANNELS_MAX", "2"), ("HOME", "/")];
    let loaded = try_load(file, &env, &[("limits.heartbeat_s", "3")]).unwrap();
    let limits = loaded.config.limits;
    assert_eq!((limits.heartbeat_s, limits.channels_max, limits.message_bytes_max), (3, 2, 2048));
    assert_eq!(limits.frame_bytes_max, Config::default().limits.frame_bytes_max);
    assert_eq!(loaded.origin("limits.heartbeat_s").to_string(), "flag --set");
    assert_eq!(loaded.origin("limits.channels_max").to_string(), "environment STELE__LIMITS__CHANNELS_MAX");
    assert!(loaded.origin("limits.message_bytes_max").to_string().ends_with("stele.toml:4:1"));
    assert_eq!(loaded.origin("limits.frame_bytes_max"), Origin::Default);
}

#[test]
fn a_shown_configuration_loads_to_the_same_settings() {
    let file = "data_dir = 'a \"b\"'\nthreads.io = 3\nlisten.http = 'off'\nlog.segment_bytes = '64 MiB'\n\
                tls.cert = 'c'\ntls.key = 'k'\n[auth.users.'a.b']\ntags = ['x', 'y']\nread = ''\n";
    let loaded = try_load(file, &[], &[]).unwrap();
    for origin in [false, true] {
        let again = try_load(&loaded.show(origin), &[], &[]).unwrap();
        assert_eq!(again.config, loaded.config);
    }
}

#[test]
fn secrets_are_neither_shown_nor_printed() {
    let loaded = try_load("auth.users.ann.password = 'hunter2'", &[], &[]).unwrap();
    let hash = &loaded.config.users["ann"].password_hash;
    assert!(crate::passwords::verify("hunter2", hash));
    for text in [loaded.show(true), format!("{loaded:?}"), format!("{:?}", loaded.config)] {
        assert!(!text.contains("hunter2") && !text.contains(hash.as_str()), "{text}");
    }
    assert!(loaded.show(false).contains("# auth.users.ann.password is set, not shown"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let sources = Sources { file: Some("/nowhere/stele.toml".into()), ..Sources::default() };
    let error = load(&sources).unwrap_err().to_string();
    assert!(error.contains("/nowhere/stele.toml") && error.contains("No such file"), "{error}");
}

#[test]
fn dev_moves_every_port_and_stays_on_loopback() {
    let sources = Sources { dev: Config::dev(1000).unwrap(), ..Sources::default() };
    let loaded = load(&sources).unwrap();
    let listen = loaded.config.listen;
    let ports = [listen.amqp, listen.kafka, listen.nats, listen.http, listen.metrics].map(Option::unwrap);
    assert_eq!(ports.map(|address| address.port()), [6672, 10092, 5222, 16672, 16692]);
    assert!(ports.iter().all(|address| address.ip().is_loopback()));
    assert_eq!(loaded.config.users["guest"].tags, ["administrator"]);
    assert_eq!(Config::dev(u16::MAX), None);
}

#[test]
fn every_key_has_a_row_in_the_documentation() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let page = fs::read_to_string(path).unwrap();
    for setting in SETTINGS {
        let row = format!("| `{}` | {} |", setting.key, setting.about);
        assert!(page.contains(&row), "docs/configuration.md lacks this row: {row}");
    }
}

#[test]
fn namespaces_and_policies_are_read_and_shown_as_they_were_written() {
    let file = "[namespaces.shop]\nqueues_max = 10\n[policies.short]\nnamespace = 'shop'\npattern = '^a'\n\
                applies_to = 'classic_queues'\npriority = 3\nkind = 'operator'\n\
                definition = '{\"max-length\": 10, \"overflow\": \"reject-publish\"}'\n";
    let loaded = try_load(file, &[], &[]).unwrap();
    let policy = &loaded.config.policies["short"];
    assert_eq!(policy.definition["max-length"], stele_model::value::Value::Int(10));
    assert!(policy.operator);
    assert_eq!(loaded.config.namespaces["shop"].queues_max, Some(10));
    let again = try_load(&loaded.show(false), &[], &[]).unwrap();
    assert_eq!(again.config.policies, loaded.config.policies);
    for (wrong, why) in [
        ("policies.p.definition = '[1]'", "expected a JSON object"),
        ("policies.p.definition = '{\"a\": 1.5}'", "\"a\" is 1.5, not a whole number"),
        ("policies.p.applies_to = 'streams'", "expected one of \"all\""),
    ] {
        let error = try_load(wrong, &[], &[]).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn bounds_on_keys_are_read_and_shown_as_they_were_written() {
    let file = "[auth.users.ann]\ntopics = '{\"amq.topic\": {\"write\": \"^a\", \"read\": \"\"}}'\n";
    let loaded = try_load(file, &[], &[]).unwrap();
    let bound = ("^a".to_owned(), String::new());
    assert_eq!(loaded.config.users["ann"].topics, BTreeMap::from([("amq.topic".to_owned(), bound)]));
    let again = try_load(&loaded.show(false), &[], &[]).unwrap();
    assert_eq!(again.config.users["ann"].topics, loaded.config.users["ann"].topics);
    for wrong in
        ["[]", "{\"x\": {\"write\": \"\"}}", "{\"x\": {\"write\": \"\", \"read\": \"\", \"other\": \"\"}}"]
    {
        let file = format!("auth.users.ann.topics = '{wrong}'");
        let error = try_load(&file, &[], &[]).unwrap_err().to_string();
        assert!(error.contains("expected a JSON object such as"), "{error}");
    }
}
