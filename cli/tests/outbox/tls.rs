//! The relay where everything is encrypted: the database, its log, the broker. Certificates are made here, and what is not signed by
//! their authority is not spoken to.

use super::{DEBEZIUM, PATIENCE, address, broker_with, emptied, ended, nobodys, relay, scrape};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use stele_testkit::postgres::Cluster;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::UnixStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Files of an authority and of a server that it vouches for.
struct Files {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

fn files(folder: &Path) -> Files {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    Files {
        authority: write("authority.pem", authority.pem()),
        certificate: write("server.pem", certificate.pem()),
        key: write("server.key", key.serialize_pem()),
    }
}

/// TLS before a Postgres that has only its unix socket: takes connections until the test ends. Its port.
fn encrypted(cluster: &Cluster, files: &Files) -> u16 {
    let chain = CertificateDer::pem_file_iter(&files.certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let (port, socket) = (listener.local_addr().unwrap().port(), cluster.socket());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((mut client, _)) = listener.accept().await {
                let (acceptor, socket) = (acceptor.clone(), socket.clone());
                tokio::spawn(async move {
                    let mut question = [0; 8];
                    client.read_exact(&mut question).await?;
                    // Whoever does not ask for TLS is not let in.
                    if question[4..] != [0x04, 0xd2, 0x16, 0x2f] {
                        return Ok(());
                    }
                    client.write_all(b"S").await?;
                    let mut client = acceptor.accept(client).await?;
                    let mut server = UnixStream::connect(socket).await?;
                    copy_bidirectional(&mut client, &mut server).await.map(drop)
                });
            }
        });
    });
    port
}

const INSERT: &str = "insert into outbox(id, aggregatetype, aggregateid, type, payload) \
     values (gen_random_uuid(), 'order', 'a', 'T', '{}')";

#[test]
fn everything_may_be_encrypted_and_what_nobody_vouches_for_is_not_spoken_to() {
    let cluster = Cluster::start(&["fsync=off", "wal_level=logical"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    cluster.sql(DEBEZIUM).unwrap();
    let port = encrypted(&cluster, &files);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let authority = text(&files.authority);
    let (certificate, key) =
        (format!("tls.cert={}", text(&files.certificate)), format!("tls.key={}", text(&files.key)));
    let certified = ["--set", &certificate, "--set", &key, "--set", "listen.amqps=127.0.0.1:0"];
    let (_broker, ready) = broker_with(&folder.path().join("data"), &certified);
    let database = |rest: &str| format!("postgres://stele:hunter2@localhost:{port}/postgres?sslmode={rest}");
    let verified = database(&format!("verify-full&sslrootcert={authority}"));

    // The database, its log and the broker; the log, since the relay would look by itself once in ten minutes.
    for scheme in ["amqps", "tls"] {
        let (dialect, login) = if scheme == "tls" { ("nats", "") } else { ("amqps", "guest:guest@") };
        let to = format!("{scheme}://{login}localhost:{}", address(&ready, dialect).port());
        let metrics = nobodys().to_string();
        let args = ["--postgres", &verified, "--to", &to, "--to-ca", &authority, "--mode", "wal"];
        let polls = ["--poll-min", "600s", "--poll-max", "600s", "--metrics", &metrics];
        let _relay = relay(&[&args[..], &polls].concat());
        let deadline = Instant::now() + PATIENCE;
        while !scrape(&metrics).contains("\noutbox_log_followed 1\n") {
            assert!(Instant::now() < deadline, "the log is not followed");
        }
        cluster.sql(INSERT).unwrap();
        emptied(&cluster);
    }

    let amqps = format!("amqps://guest:hunter2@localhost:{}", address(&ready, "amqps").port());
    let nats = format!("tls://ann:hunter2@localhost:{}", address(&ready, "nats").port());
    for (from, to, part) in [
        (database("verify-full"), &amqps, "could not connect to postgres://localhost"), // an authority that nobody knows
        (verified.clone(), &amqps, "could not connect to amqps://localhost"),
        (verified.clone(), &nats, "could not connect to tls://localhost"),
    ] {
        let (code, _, error) = ended(&["outbox", "relay", "--postgres", &from, "--to", to]);
        assert!(code == 1 && error.contains(part), "no {part:?} in {error}");
        assert!(error.to_lowercase().contains("certificate"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
