//! Passwords at rest, in RabbitMQ's form: base64 of a 4-byte salt and SHA-256(salt ‖ password), so that its definitions can be
//! taken over. Called when a configuration is read, by the node when a client logs in and by the HTTP API.
//!
//! The form is one round of SHA-256: it keeps a leaked file from being read at a glance, not from being searched. That is why
//! hashes are treated as secrets here: never logged, never shown.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const SALT_LEN: usize = 4;

/// The salted hash of a password, with a fresh salt.
///
/// # Panics
/// If the operating system gives no random numbers.
#[must_use]
pub fn hash(password: &str) -> String {
    let mut salt = [0; SALT_LEN];
    rand::fill(&mut salt).expect("the operating system gives random numbers");
    STANDARD.encode([&salt[..], &digest(salt, password)].concat())
}

/// Is this the password? Takes the same time for all passwords of a length. An empty or malformed hash lets nobody in.
#[must_use]
pub fn verify(password: &str, hash: &str) -> bool {
    let Some((salt, expected)) = parts(hash) else { return false };
    verify_slices_are_equal(&digest(salt, password), &expected).is_ok()
}

/// Does the text have the form of a hash?
#[must_use]
pub fn is_hash(text: &str) -> bool {
    parts(text).is_some()
}

fn parts(hash: &str) -> Option<([u8; SALT_LEN], [u8; SHA256_OUTPUT_LEN])> {
    let bytes = STANDARD.decode(hash).ok()?;
    let (salt, digest) = bytes.split_first_chunk::<SALT_LEN>()?;
    Some((*salt, digest.try_into().ok()?))
}

fn digest(salt: [u8; SALT_LEN], password: &str) -> [u8; SHA256_OUTPUT_LEN] {
    let mut context = Context::new(&SHA256);
    context.update(&salt);
    context.update(password.as_bytes());
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_verifies_against_its_own_hash_only() {
        let stored = hash("s3cret");
        assert!(is_hash(&stored));
        assert!(verify("s3cret", &stored));
        for other in ["", "s3cre", "s3cret ", "S3cret"] {
            assert!(!verify(other, &stored), "{other:?}");
        }
    }

    #[test]
    fn the_same_password_gets_another_salt_each_time() {
        assert_ne!(hash("guest"), hash("guest"));
    }

    #[test]
    fn a_hash_made_by_rabbitmqs_documented_steps_is_accepted() {
        // RabbitMQ's guide "Credentials and Passwords" works this one out: salt 908D C60A, password test12.
        let documented = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
        assert!(verify("test12", documented));
        assert!(!verify("test13", documented));
    }

    #[test]
    fn what_is_not_a_hash_lets_nobody_in() {
        for text in ["", "guest", "AAAA", &STANDARD.encode([0; 35]), &STANDARD.encode([0; 37])] {
            assert!(!is_hash(text), "{text:?}");
            assert!(!verify("", text), "{text:?}");
        }
    }
}
