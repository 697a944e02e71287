//! Passwords at rest, in two forms. RabbitMQ's: base64 of a 4-byte salt and SHA-256(salt ‖ password), so that its definitions can be
//! taken over; and bcrypt's (`$2a$11$…`), as nats-server's configurations have it. Called when a configuration is read, by the node
//! when a client logs in and by the HTTP API.
//!
//! The first form is one round of SHA-256: it keeps a leaked file from being read at a glance, not from being searched. The second takes long
//! on purpose (100 ms and more): whoever calls [`verify`] with one must not be needed by others meanwhile. Hashes are treated as
//! secrets here: never logged, never shown.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const SALT_LEN: usize = 4;

/// Largest cost of a bcrypt hash: one check takes some seconds. Each step more doubles it.
pub const BCRYPT_COST_MAX: u32 = 16;

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

/// Is this the password? Takes the same time for all passwords of a length. An empty or malformed hash lets nobody in. Of a password,
/// bcrypt looks at the first 72 bytes.
#[must_use]
pub fn verify(password: &str, hash: &str) -> bool {
    if is_slow(hash) {
        return bcrypt_cost(hash).is_ok() && bcrypt::verify(password, hash).unwrap_or(false);
    }
    let Some((salt, expected)) = parts(hash) else { return false };
    verify_slices_are_equal(&digest(salt, password), &expected).is_ok()
}

/// Does the text have the form of a hash?
#[must_use]
pub fn is_hash(text: &str) -> bool {
    if is_slow(text) { bcrypt_cost(text).is_ok() } else { parts(text).is_some() }
}

/// Does the text begin like a bcrypt hash, so that a check against it takes long?
#[must_use]
pub fn is_slow(text: &str) -> bool {
    stele_nats::front::is_bcrypt(text)
}

/// The cost of a bcrypt hash, or what is wrong with it.
///
/// # Errors
/// It is malformed, or its cost is above [`BCRYPT_COST_MAX`].
pub fn bcrypt_cost(hash: &str) -> Result<u32, String> {
    let parts: bcrypt::HashParts = hash.parse().map_err(|why| format!("is no bcrypt hash: {why}"))?;
    match parts.get_cost() {
        cost if cost > BCRYPT_COST_MAX => {
            Err(format!("has a cost of {cost}, and checking more than {BCRYPT_COST_MAX} takes too long"))
        }
        cost => Ok(cost),
    }
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
    fn a_bcrypt_hash_verifies_the_password_it_was_made_of() {
        // The conformance cases have it, and nats-server accepts it.
        let hash = "$2a$04$f9pLmFkRL2i807BWBnA0nei3hdqWQa1XUcebLSdLCzmW1qpHfIvPu";
        assert!(is_hash(hash) && is_slow(hash));
        assert!(verify("a-long-enough-secret-1", hash));
        for other in ["", "a-long-enough-secret-2", hash] {
            assert!(!verify(other, hash), "{other:?}");
        }
    }

    #[test]
    fn a_bcrypt_hash_that_is_malformed_or_takes_for_ever_lets_nobody_in() {
        let rest = "f9pLmFkRL2i807BWBnA0nei3hdqWQa1XUcebLSdLCzmW1qpHfIvPu";
        for text in ["$2a$04$", "$2a$04$short", &format!("$2a$31${rest}"), &format!("$2a$99${rest}")] {
            assert!(!is_hash(text), "{text}");
            assert!(!verify("a-long-enough-secret-1", text), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_hash_lets_nobody_in() {
        for text in ["", "guest", "AAAA", &STANDARD.encode([0; 35]), &STANDARD.encode([0; 37])] {
            assert!(!is_hash(text), "{text:?}");
            assert!(!verify("", text), "{text:?}");
        }
    }
}
