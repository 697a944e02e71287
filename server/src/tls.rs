//! TLS for listeners: a rustls configuration from PEM files, replaced as a whole when the files change.
//!
//! The node takes [`Tls::current`] for each new connection; connections that stand keep the certificate they began with.

mod subject;

pub use subject::named;

use crate::config::{LoginFrom, TlsFiles};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The first byte of a TLS connection: a handshake record. No other dialect begins with it.
pub const FIRST_BYTE: u8 = 0x16;

/// Why a TLS configuration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or is not what it should be.
    #[error("could not load {what} from {path}: {reason}")]
    File {
        /// What it should hold.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The parts do not fit together.
    #[error("could not use {cert} with {key}: {reason}")]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// The TLS configuration in force, and the files it came from.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: Mutex<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// The file and the reason.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self { files: files.clone(), current: Mutex::new(server_config(files)?) })
    }

    /// What a new connection uses.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What of a client's certificate names the user it logs in as; `None`: certificates log nobody in.
    #[must_use]
    pub fn login_from(&self) -> Option<LoginFrom> {
        self.files.login_from
    }

    /// Reads the files again. If they are not in order, what was in force stays.
    ///
    /// # Errors
    /// The file and the reason.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = server_config(&self.files)?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

/// TLS 1.2 and 1.3 with the given identity; with `client_ca`, clients must show a certificate of one of its authorities, if
/// they may not lack one.
fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates("a certificate chain", &files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| file_error("a private key", &files.key, &reason(&error)))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mismatch = |error: rustls::Error| TlsError::Mismatch {
        cert: files.cert.clone(),
        key: files.key.clone(),
        reason: match error {
            rustls::Error::InconsistentKeys(_) => "the key does not belong to the certificate".into(),
            other => other.to_string(),
        },
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(mismatch)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let what = "client authorities";
            let mut roots = RootCertStore::empty();
            for authority in certificates(what, path)? {
                roots.add(authority).map_err(|error| file_error(what, path, &error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if files.client_may_lack { verifier.allow_unauthenticated() } else { verifier };
            let verifier = verifier.build().map_err(|error| file_error(what, path, &error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(mismatch)?;
    if files.client_ca.is_some() {
        // A session that is resumed would bring the client's certificate back unlooked at: also one that has expired since.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |error: &PemError| file_error(what, path, &reason(error));
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|error| wrong(&error))?
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(&error))?;
    if certificates.is_empty() {
        return Err(file_error(what, path, "it holds no certificate in PEM form"));
    }
    Ok(certificates)
}

fn reason(error: &PemError) -> String {
    match error {
        PemError::Io(error) => error.to_string(),
        PemError::NoItemsFound => "it holds none in PEM form".into(),
        other => other.to_string(),
    }
}

fn file_error(what: &'static str, path: &Path, reason: &str) -> TlsError {
    TlsError::File { what, path: path.to_owned(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use std::fs;

    /// Writes a self-signed certificate and its key into `dir`.
    fn identity(dir: &Path, name: &str) -> TlsFiles {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
        let files = TlsFiles {
            cert: dir.join(format!("{name}.pem")),
            key: dir.join(format!("{name}.key")),
            ..TlsFiles::default()
        };
        fs::write(&files.cert, cert.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn a_good_pair_loads_with_and_without_client_authorities() {
        let dir = tempfile::tempdir().unwrap();
        let files = identity(dir.path(), "a");
        Tls::load(&files).unwrap();
        let with_ca = TlsFiles { client_ca: Some(files.cert.clone()), ..files };
        Tls::load(&with_ca).unwrap();
    }

    #[test]
    fn sessions_are_resumed_only_where_no_certificate_of_a_client_would_pass_unlooked_at() {
        let dir = tempfile::tempdir().unwrap();
        let files = identity(dir.path(), "a");
        let kept = |files: &TlsFiles| {
            let config = Tls::load(files).unwrap().current();
            (config.session_storage.can_cache(), config.ticketer.enabled(), config.send_tls13_tickets > 0)
        };
        assert_eq!(kept(&files), (true, false, true));
        let with_ca = TlsFiles { client_ca: Some(files.cert.clone()), ..files };
        assert_eq!(kept(&with_ca), (false, false, false));
        assert_eq!(kept(&TlsFiles { client_may_lack: true, ..with_ca }), (false, false, false));
    }

    #[test]
    fn errors_name_the_file_and_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let good = identity(dir.path(), "a");
        let other = identity(dir.path(), "b");
        let missing = dir.path().join("missing.pem");
        let empty = dir.path().join("empty.pem");
        fs::write(&empty, "not PEM\n").unwrap();
        let broken = [
            (TlsFiles { cert: missing.clone(), ..good.clone() }, "a certificate chain from", "No such file"),
            (TlsFiles { cert: empty.clone(), ..good.clone() }, "a certificate chain from", "no certificate"),
            (TlsFiles { key: missing, ..good.clone() }, "a private key from", "No such file"),
            (TlsFiles { key: empty.clone(), ..good.clone() }, "a private key from", "none in PEM form"),
            (TlsFiles { key: other.key, ..good.clone() }, "could not use", "does not belong"),
            (TlsFiles { client_ca: Some(empty), ..good }, "client authorities from", "no certificate"),
        ];
        for (files, what, reason) in broken {
            let error = Tls::load(&files).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains(reason), "{error}");
            assert!(error.contains(&*dir.path().to_string_lossy()), "{error}");
        }
    }

    #[test]
    fn a_reload_takes_the_new_files_and_keeps_the_old_when_they_are_broken() {
        let dir = tempfile::tempdir().unwrap();
        let files = identity(dir.path(), "a");
        let tls = Tls::load(&files).unwrap();
        let first = tls.current();
        let other = identity(dir.path(), "b");
        fs::copy(&other.cert, &files.cert).unwrap();
        tls.reload().unwrap_err();
        assert!(Arc::ptr_eq(&first, &tls.current()), "a broken pair changes nothing");
        fs::copy(&other.key, &files.key).unwrap();
        tls.reload().unwrap();
        assert!(!Arc::ptr_eq(&first, &tls.current()));
    }
}
