//! SCRAM (RFC 5802) with SHA-256 and SHA-512, the server's side: text in, text out, and the proof checked.
//!
//! Channel binding and delegation tokens are refused, as is whatever else the client declares to be mandatory.

use aws_lc_rs::{constant_time, digest, hmac};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use stele_model::registry::{ScramHash, ScramSecret};

/// Longest message of a client, octets.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// The client's first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientFirst {
    pub(super) user: String,
    nonce: String,
    /// Without the part about channel binding.
    bare: String,
    /// That part, which the last message repeats.
    binding: String,
}

/// What must be known when the client's proof comes.
#[derive(Debug)]
pub(super) struct Challenge {
    pub(super) user: String,
    secret: ScramSecret,
    /// Both nonces.
    nonce: String,
    binding: String,
    /// The first two messages, as the proof is made of them.
    so_far: String,
}

/// The first message: `n,,n=user,r=nonce`.
pub(super) fn client_first(message: &[u8]) -> Option<ClientFirst> {
    let text = std::str::from_utf8(message).ok().filter(|text| text.len() <= MESSAGE_BYTES_MAX)?;
    let (flag, rest) = text.split_once(',')?;
    let (authorize, bare) = rest.split_once(',')?;
    if !matches!(flag, "n" | "y") {
        return None;
    }
    let mut fields = bare.split(',');
    let user = unescaped(fields.next()?.strip_prefix("n=")?)?;
    let nonce = fields.next()?.strip_prefix("r=").filter(|nonce| !nonce.is_empty())?;
    // A name to act as must be the name itself; extensions (such as `tokenauth`) change the meaning of what follows.
    let acts_as = authorize.strip_prefix("a=").map_or(Some(String::new()), unescaped)?;
    if (!acts_as.is_empty() && acts_as != user) || user.is_empty() || fields.next().is_some() {
        return None;
    }
    let binding = format!("{flag},{authorize},");
    Some(ClientFirst { nonce: nonce.to_owned(), bare: bare.to_owned(), binding, user })
}

/// The server's first message, and what to keep until the proof. `nonce` must be unpredictable, without commas.
pub(super) fn challenge(first: ClientFirst, secret: ScramSecret, nonce: &str) -> (Challenge, String) {
    let nonce = format!("{}{nonce}", first.nonce);
    let salt = BASE64_STANDARD.encode(&secret.salt);
    let message = format!("r={nonce},s={salt},i={}", secret.iterations);
    let so_far = format!("{},{message}", first.bare);
    (Challenge { user: first.user, secret, nonce, binding: first.binding, so_far }, message)
}

impl Challenge {
    /// Checks the client's last message; the server's last one, which shows that it knows the user.
    pub(super) fn check(&self, message: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(message).ok().filter(|text| text.len() <= MESSAGE_BYTES_MAX)?;
        let (before, proof) = text.rsplit_once(",p=")?;
        let mut fields = before.split(',');
        let binding = BASE64_STANDARD.decode(fields.next()?.strip_prefix("c=")?).ok()?;
        let nonce = fields.next()?.strip_prefix("r=")?;
        if binding != self.binding.as_bytes() || nonce != self.nonce || fields.next().is_some() {
            return None;
        }
        let signed = format!("{},{before}", self.so_far);
        let proof = BASE64_STANDARD.decode(proof).ok()?;
        let ScramSecret { hash, stored_key, server_key, .. } = &self.secret;
        let signature = mac(*hash, stored_key, signed.as_bytes());
        if proof.len() != signature.as_ref().len() {
            return None;
        }
        let client_key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        constant_time::verify_slices_are_equal(digest_of(*hash, &client_key).as_ref(), stored_key).ok()?;
        Some(format!("v={}", BASE64_STANDARD.encode(mac(*hash, server_key, signed.as_bytes()))))
    }
}

/// What is kept of a password that the client has salted already (AlterUserScramCredentials).
pub(super) fn secret(hash: ScramHash, salt: &[u8], iterations: u32, salted_password: &[u8]) -> ScramSecret {
    let client_key = mac(hash, salted_password, b"Client Key");
    ScramSecret {
        hash,
        salt: salt.to_vec(),
        iterations,
        stored_key: digest_of(hash, client_key.as_ref()).as_ref().to_vec(),
        server_key: mac(hash, salted_password, b"Server Key").as_ref().to_vec(),
    }
}

fn mac(hash: ScramHash, key: &[u8], message: &[u8]) -> hmac::Tag {
    let algorithm = match hash {
        ScramHash::Sha256 => hmac::HMAC_SHA256,
        ScramHash::Sha512 => hmac::HMAC_SHA512,
    };
    hmac::sign(&hmac::Key::new(algorithm, key), message)
}

fn digest_of(hash: ScramHash, octets: &[u8]) -> digest::Digest {
    let algorithm = match hash {
        ScramHash::Sha256 => &digest::SHA256,
        ScramHash::Sha512 => &digest::SHA512,
    };
    digest::digest(algorithm, octets)
}

/// `=2C` is a comma, `=3D` an equals sign; no other escape is allowed.
fn unescaped(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (escape, rest) = part.split_at_checked(2)?;
        out.push(match escape {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        out.push_str(rest);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::pbkdf2;
    use std::num::NonZeroU32;

    /// The example of RFC 7677.
    fn example() -> ScramSecret {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let mut salted = [0; 32];
        let rounds = NonZeroU32::new(4096).unwrap();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, b"pencil", &mut salted);
        secret(ScramHash::Sha256, &salt, 4096, &salted)
    }

    fn exchange() -> Challenge {
        let first = client_first(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        assert_eq!(first.user, "user");
        let (challenge, message) = challenge(first, example(), "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        assert_eq!(
            message,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        challenge
    }

    const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    #[test]
    fn the_example_of_the_standard_passes() {
        let last = exchange().check(LAST.as_bytes());
        assert_eq!(last.as_deref(), Some("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    }

    #[test]
    fn whoever_changes_anything_is_refused() {
        for at in 0..LAST.len() {
            let mut message = LAST.as_bytes().to_vec();
            message[at] ^= 1;
            assert_eq!(exchange().check(&message), None, "octet {at}");
        }
    }

    #[test]
    fn first_messages_that_ask_for_more_are_refused() {
        let bad = [
            "p=tls-unique,,n=u,r=x",
            "n,,n=u,r=x,tokenauth=true",
            "n,a=other,n=u,r=x",
            "n,,n=,r=x",
            "n,,n=u,r=",
            "n,,n=a=2c,r=x",
            "n",
        ];
        for message in bad {
            assert_eq!(client_first(message.as_bytes()), None, "{message}");
        }
        assert_eq!(client_first(b"y,a=a=2Cb,n=a=2Cb,r=x").unwrap().user, "a,b");
    }
}
