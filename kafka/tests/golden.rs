//! Requests of unmodified clients (`golden/README.md`) are read and written back the same.

use bytes::BytesMut;
use std::path::{Path, PathBuf};
use stele_kafka::codec::api::ApiKey;
use stele_kafka::codec::frame::Request;
use stele_kafka::fuzz;

/// The one recording with an octet too many at its end.
const OVER: &str = "librdkafka/alter_user_scram_credentials-v0.bin";

/// All recordings below `folder`.
fn recordings(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder of recordings") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(recordings(&path));
        } else if path.extension().is_some_and(|extension| extension == "bin") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn what_clients_send_is_read_and_written_back() {
    let recordings = recordings(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")));
    let (mut same, mut skipped) = (0, 0);
    for path in &recordings {
        let octets = std::fs::read(path).expect("a recording");
        let request = Request::parse(&octets).expect("a header");
        // Other keys, and the versions above ours that clients begin with.
        let Some(api) = ApiKey::of(request.key).filter(|api| api.has(request.version)) else {
            skipped += 1;
            continue;
        };
        let (_, body) = request.open(api).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        let mut again = BytesMut::new();
        let read = fuzz::rewrite(api, request.version, body, &mut again);
        read.unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        let over = if path.ends_with(OVER) { 1 } else { 0 };
        assert_eq!(again[..], body[..body.len() - over], "{}", path.display());
        same += 1;
    }
    assert!(same > 200 && skipped < recordings.len() / 4, "{same} read, {skipped} skipped");
}
