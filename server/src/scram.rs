//! What is kept of a password for SCRAM (RFC 5802, RFC 7677), for both hashes. Made where a plain password is known: when a configuration is
//! read. It takes some milliseconds, so never on an IO thread.
//!
//! The password goes in as its UTF-8 bytes, as Kafka does it, without SASLprep: for ASCII that is the same.

use aws_lc_rs::{digest, hmac, pbkdf2, rand};
use std::num::NonZeroU32;
use stele_model::registry::{ScramHash, ScramSecret};

/// Rounds of PBKDF2: the fewest that RFC 7677 allows, and what Kafka's tools take by default.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("it is not 0");

const SALT_BYTES: usize = 20;

/// For each hash, with a fresh salt.
///
/// # Panics
/// If the operating system gives no random numbers.
#[must_use]
pub fn secrets(password: &str) -> Vec<ScramSecret> {
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt).expect("the operating system gives random numbers");
    [ScramHash::Sha256, ScramHash::Sha512].map(|hash| secret(hash, password, &salt)).into()
}

fn secret(hash: ScramHash, password: &str, salt: &[u8]) -> ScramSecret {
    let (rounds, mac, digest) = match hash {
        ScramHash::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, hmac::HMAC_SHA256, &digest::SHA256),
        ScramHash::Sha512 => (pbkdf2::PBKDF2_HMAC_SHA512, hmac::HMAC_SHA512, &digest::SHA512),
    };
    let mut salted = vec![0; digest.output_len()];
    pbkdf2::derive(rounds, ITERATIONS, salt, password.as_bytes(), &mut salted);
    let key = hmac::Key::new(mac, &salted);
    let client_key = hmac::sign(&key, b"Client Key");
    ScramSecret {
        hash,
        salt: salt.into(),
        iterations: ITERATIONS.get(),
        stored_key: digest::digest(digest, client_key.as_ref()).as_ref().into(),
        server_key: hmac::sign(&key, b"Server Key").as_ref().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn the_example_of_rfc_7677_gives_its_server_signature() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let secret = secret(ScramHash::Sha256, "pencil", &salt);
        let auth = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.server_key);
        let signature = STANDARD.encode(hmac::sign(&key, auth.as_bytes()));
        assert_eq!(signature, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        // The proof that the client sends is its key, hidden by what the stored key signs.
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let hidden = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret.stored_key), auth.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(hidden.as_ref()).map(|(a, b)| a ^ b).collect();
        assert_eq!(digest::digest(&digest::SHA256, &client_key).as_ref(), secret.stored_key);
    }

    #[test]
    fn there_is_one_for_each_hash_with_keys_of_its_length() {
        let secrets = secrets("pw");
        let lens: Vec<_> =
            secrets.iter().map(|kept| (kept.stored_key.len(), kept.server_key.len())).collect();
        assert_eq!(lens, [(32, 32), (64, 64)]);
    }
}
