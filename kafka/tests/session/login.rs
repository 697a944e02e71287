//! Who may come in, and how.

use crate::support::Run;
use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use std::num::NonZeroU32;
use stele_kafka::Profile;
use stele_kafka::codec::api::ApiKey;
use stele_kafka::codec::generated::api_versions::ApiVersionsRequest;
use stele_kafka::codec::generated::metadata::{MetadataRequest, MetadataRequestTopic};
use stele_kafka::codec::generated::sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use stele_kafka::codec::generated::sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};
use stele_model::registry::{ScramHash, ScramSecret};

fn strict() -> Run {
    let mut run = Run::new();
    run.takes_nobody = false;
    let secrets = vec![kept("pencil")];
    run.user = Some(("alice".to_owned(), "pencil".to_owned(), secrets));
    run.send(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default());
    run.answer(ApiKey::ApiVersions, 0).unwrap();
    run
}

fn handshake(run: &mut Run, version: i16, mechanism: &'static str) -> i16 {
    let body =
        run.call(ApiKey::SaslHandshake, version, &SaslHandshakeRequest { mechanism: mechanism.into() });
    let answer: SaslHandshakeResponse<'_> = ApiKey::SaslHandshake.read(version, &body).unwrap();
    assert_eq!(answer.mechanisms, ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]);
    answer.error_code
}

fn token(run: &mut Run, token: &[u8]) -> (i16, Vec<u8>) {
    let body = run.call(ApiKey::SaslAuthenticate, 2, &SaslAuthenticateRequest { auth_bytes: token });
    let answer: SaslAuthenticateResponse<'_> = ApiKey::SaslAuthenticate.read(2, &body).unwrap();
    (answer.error_code, answer.auth_bytes.to_vec())
}

#[test]
fn who_says_nothing_comes_in_only_where_that_is_allowed() {
    let mut run = Run::new();
    run.call(ApiKey::Metadata, 13, &MetadataRequest::default());
    let mut run = strict();
    run.send(ApiKey::Metadata, 13, &MetadataRequest::default());
    assert!(run.is_silent());
    assert_eq!(run.closed.as_deref(), Some("login refused"));
    let mut run = Run::with(Profile { login: true, ..Profile::default() });
    run.send(ApiKey::Metadata, 13, &MetadataRequest::default());
    assert_eq!(run.closed.as_deref(), Some("a request without a login"));
}

#[test]
fn a_password_lets_in_and_a_wrong_one_does_not() {
    let mut run = strict();
    assert_eq!(handshake(&mut run, 1, "PLAIN"), 0);
    assert_eq!(token(&mut run, b"\0alice\0pencil"), (0, Vec::new()));
    run.call(ApiKey::Metadata, 13, &MetadataRequest::default());
    assert_eq!(token(&mut run, b"\0alice\0pencil").0, 34, "the login is over");
    for wrong in [&b"\0alice\0wrong"[..], b"\0bob\0pencil", b"alice", b"bob\0alice\0pencil", b"\0\0"] {
        let mut run = strict();
        handshake(&mut run, 1, "PLAIN");
        assert_eq!(token(&mut run, wrong).0, 58);
        assert_eq!(run.closed.as_deref(), Some("login refused"));
    }
}

#[test]
fn a_mechanism_that_is_not_spoken_is_refused_with_those_that_are() {
    let mut run = strict();
    assert_eq!(handshake(&mut run, 1, "GSSAPI"), 33);
    assert!(run.closed.is_some());
    let mut run = strict();
    assert_eq!(token(&mut run, b"\0alice\0pencil").0, 34, "no handshake");
}

#[test]
fn the_old_handshake_is_followed_by_bare_tokens() {
    let mut run = strict();
    assert_eq!(handshake(&mut run, 0, "PLAIN"), 0);
    run.octets(b"\0\0\0\x0d\0alice\0pencil");
    assert_eq!(run.raw(), b"\0\0\0\0");
    run.call(ApiKey::Metadata, 1, &MetadataRequest::default());
}

const ROUNDS: u32 = 4096;

fn salted(password: &str) -> Vec<u8> {
    let mut salted = vec![0; 64];
    let rounds = NonZeroU32::new(ROUNDS).unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, rounds, b"salt", password.as_bytes(), &mut salted);
    salted
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, key), message).as_ref().to_vec()
}

fn kept(password: &str) -> ScramSecret {
    let salted = salted(password);
    let stored_key = digest::digest(&digest::SHA512, &mac(&salted, b"Client Key")).as_ref().to_vec();
    let server_key = mac(&salted, b"Server Key");
    ScramSecret {
        hash: ScramHash::Sha512,
        salt: b"salt".to_vec(),
        iterations: ROUNDS,
        stored_key,
        server_key,
    }
}

/// A client's side of SCRAM-SHA-512.
fn scram(run: &mut Run, user: &str, password: &str) -> (i16, bool) {
    handshake(run, 1, "SCRAM-SHA-512");
    let bare = format!("n={user},r=clientnonce");
    let (code, challenge) = token(run, format!("n,,{bare}").as_bytes());
    if code != 0 {
        return (code, false);
    }
    let challenge = String::from_utf8(challenge).unwrap();
    let nonce = challenge.split(',').next().unwrap().strip_prefix("r=").unwrap();
    assert!(nonce.starts_with("clientnonce") && nonce.len() > 40);
    let last = format!("c=biws,r={nonce}");
    let signed = format!("{bare},{challenge},{last}");
    let key = mac(&salted(password), b"Client Key");
    let signature = mac(digest::digest(&digest::SHA512, &key).as_ref(), signed.as_bytes());
    let proof: Vec<u8> = key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
    let (code, word) = token(run, format!("{last},p={}", BASE64_STANDARD.encode(proof)).as_bytes());
    let server = mac(&mac(&salted(password), b"Server Key"), signed.as_bytes());
    (code, word == format!("v={}", BASE64_STANDARD.encode(server)).as_bytes())
}

#[test]
fn a_proof_lets_in_and_the_server_proves_itself_too() {
    let mut run = strict();
    assert_eq!(scram(&mut run, "alice", "pencil"), (0, true));
    run.call(ApiKey::Metadata, 13, &MetadataRequest::default());
    for (user, password) in [("alice", "wrong"), ("bob", "pencil")] {
        let mut run = strict();
        assert_eq!(scram(&mut run, user, password), (58, false));
        assert_eq!(run.closed.as_deref(), Some("login refused"));
    }
}

#[test]
fn a_login_has_an_end_and_a_stranger_little_room() {
    let mut run = strict();
    run.pass_ms(30_000);
    assert_eq!(run.closed.as_deref(), Some("the login took too long"));
    let mut run = strict();
    run.octets(&[&(1_u32 << 20).to_be_bytes()[..], &(ApiKey::ApiVersions as i16).to_be_bytes()].concat());
    assert!(run.closed.is_some());
    let mut run = Run::new();
    run.call(ApiKey::Metadata, 13, &MetadataRequest::default());
    run.pass_ms(1_000_000);
    assert!(run.closed.is_none());
}

#[test]
fn a_large_first_request_is_taken_from_whoever_need_not_log_in() {
    let names: Vec<_> = (0..5_000).map(|number| format!("a-topic-that-is-not-there-{number}")).collect();
    let topics =
        names.iter().map(|name| MetadataRequestTopic { name: Some(name.into()), ..Default::default() });
    let request = MetadataRequest { topics: Some(topics.collect()), ..Default::default() };
    let mut run = Run::new();
    run.call(ApiKey::Metadata, 12, &request);
    assert_eq!(run.closed, None);
    let mut run = strict();
    run.send(ApiKey::Metadata, 12, &request);
    assert!(run.closed.is_some());
}

#[test]
fn the_name_that_comes_with_the_first_request_is_known_before_anybody_asks() {
    for one_by_one in [false, true] {
        let mut run = Run::new();
        run.one_by_one = one_by_one;
        run.send(ApiKey::Metadata, 9, &MetadataRequest::default());
        assert_eq!(run.client_when_asked.as_deref(), Some("client-1"));
    }
}

#[test]
fn a_size_that_nobody_may_claim_ends_the_connection_at_once() {
    let first_octets: [&[u8]; 5] = [
        &(-5_i32).to_be_bytes(),
        &i32::MAX.to_be_bytes(),
        &[0; 4],
        b"\0\0\0\x03abc",
        b"GET / HTTP/1.1\r\n\r\n",
    ];
    for octets in first_octets {
        for one_by_one in [false, true] {
            let mut run = Run::new();
            run.one_by_one = one_by_one;
            run.octets(octets);
            assert!(run.closed.is_some(), "{octets:?}");
        }
    }
}
