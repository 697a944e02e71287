//! A way to a database over TLS for the client of its log, which brings a second crypto library when it speaks TLS by itself: a unix
//! socket of our own, and behind it an encrypted connection with the rules that `sqlx` has for the others.
//!
//! The socket is in a folder that only this user can enter, takes one connection and is gone with it.

use super::Database;
use crate::source::SourceError;
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgSslMode;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpStream, UnixListener};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Longest wait for the connection and its handshake.
const CONNECT: Duration = Duration::from_secs(10);
/// A client's question whether the server speaks TLS: length and code.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// The server's yes and no.
const SPEAKS_TLS: u8 = b'S';
const SPEAKS_NO_TLS: u8 = b'N';

/// An open way. Dropped, it is closed.
pub(super) struct Tunnel {
    folder: tempfile::TempDir,
    carrier: JoinHandle<()>,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

impl Tunnel {
    /// Opens one if the database's URL asks for TLS, or lets the server choose; `None` if the connection is to be in the clear.
    pub(super) async fn open(database: &Database) -> Result<Option<Self>, SourceError> {
        let options = &database.0;
        let mode = options.get_ssl_mode();
        if options.get_socket().is_some() || matches!(mode, PgSslMode::Disable | PgSslMode::Allow) {
            return Ok(None);
        }
        let place = database.place();
        let failed =
            |error: io::Error| SourceError(format!("could not connect to {place} over TLS: {error}"));
        let opening = timeout(CONNECT, connect(database, mode)).await;
        let Some(stream) = opening.map_err(|_| failed(io::ErrorKind::TimedOut.into()))?.map_err(failed)?
        else {
            return Ok(None);
        };
        Self::before(stream, options.get_port()).map(Some).map_err(failed)
    }

    fn before(
        mut stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        port: u16,
    ) -> io::Result<Self> {
        let folder = tempfile::tempdir()?; // for this user alone
        let listener = UnixListener::bind(folder.path().join(format!(".s.PGSQL.{port}")))?;
        let carrier = tokio::spawn(async move {
            if let Ok((mut client, _)) = listener.accept().await {
                drop(listener);
                // However it ends, the client sees the end and says so.
                let _ = copy_bidirectional(&mut client, &mut stream).await;
            }
        });
        Ok(Self { folder, carrier })
    }

    /// What a client takes for the host: the socket's folder.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// An encrypted connection; `None` if the server speaks no TLS and need not.
async fn connect(
    database: &Database,
    mode: PgSslMode,
) -> io::Result<Option<impl AsyncRead + AsyncWrite + Send + Unpin + 'static>> {
    let (host, port) = (database.0.get_host().to_owned(), database.0.get_port());
    let mut stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&SSL_REQUEST).await?;
    match stream.read_u8().await? {
        SPEAKS_TLS => {}
        SPEAKS_NO_TLS if matches!(mode, PgSslMode::Prefer) => return Ok(None),
        _ => return Err(io::Error::other("the server speaks no TLS")),
    }
    let config = config(&Files::of(database), mode)?;
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map(Some)
}

/// What the URL says of certificates: paths, or PEM.
#[derive(Debug, Default)]
struct Files {
    authorities: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

impl Files {
    fn of(database: &Database) -> Self {
        let mut files = Self::default();
        for (name, value) in database.0.to_url_lossy().query_pairs() {
            match &*name {
                "sslrootcert" => files.authorities = Some(value.into_owned()),
                "sslcert" => files.certificate = Some(value.into_owned()),
                "sslkey" => files.key = Some(value.into_owned()),
                _ => {}
            }
        }
        files
    }
}

/// `sqlx` writes `file: PATH`, or the PEM as it is.
fn read(said: &str) -> io::Result<Vec<u8>> {
    if said.contains("-----BEGIN") {
        Ok(said.as_bytes().to_vec())
    } else {
        std::fs::read(said.trim_start_matches("file: "))
    }
}

fn certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(io::Error::other)
}

fn config(files: &Files, mode: PgSslMode) -> io::Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let verifies = matches!(mode, PgSslMode::VerifyCa | PgSslMode::VerifyFull);
    let mut authorities = RootCertStore::empty();
    if verifies {
        authorities.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(file) = &files.authorities {
            for certificate in certificates(&read(file)?)? {
                authorities.add(certificate).map_err(io::Error::other)?;
            }
        }
    }
    let builder = match mode {
        PgSslMode::VerifyFull => builder.with_root_certificates(authorities),
        _ => {
            let chain = match verifies {
                true => {
                    let chain = WebPkiServerVerifier::builder_with_provider(
                        Arc::new(authorities),
                        Arc::clone(&provider),
                    );
                    Some(chain.build().map_err(io::Error::other)?)
                }
                false => None,
            };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Lenient { chain, provider }))
        }
    };
    match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => {
            let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(io::Error::other)?;
            builder.with_client_auth_cert(certificates(&read(certificate)?)?, key).map_err(io::Error::other)
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

/// Looks at less than all: for `verify-ca` at the chain and not at the name, for `prefer` and `require` at neither.
#[derive(Debug)]
struct Lenient {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
