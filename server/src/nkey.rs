//! Keys by which NATS users log in: an Ed25519 public key in base32, with a letter for its kind and a check sum.
//!
//! Called when a configuration is read and when a client has signed its nonce. The private halves are never seen here.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

/// The first byte of a user's public key; it makes the text begin with `U`.
const USER: u8 = 20 << 3;

const KEY_BYTES: usize = 32;

/// Whether the text is a user's public key.
#[must_use]
pub(crate) fn is_user(text: &str) -> bool {
    user_key(text).is_some()
}

/// Whether `signature` is what the holder of the key made of `signed`.
#[must_use]
pub(crate) fn verify(key: &str, signed: &[u8], signature: &[u8]) -> bool {
    user_key(key).is_some_and(|key| UnparsedPublicKey::new(&ED25519, key).verify(signed, signature).is_ok())
}

fn user_key(text: &str) -> Option<[u8; KEY_BYTES]> {
    let bytes = base32(text)?;
    let (payload, sum) = bytes.split_last_chunk::<2>()?;
    let (kind, key) = payload.split_first()?;
    let is_whole = *kind == USER && u16::from_le_bytes(*sum) == crc16(payload);
    key.try_into().ok().filter(|_| is_whole)
}

/// RFC 4648 without padding.
fn base32(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::with_capacity(text.len() * 5 / 8));
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => return None,
        };
        bits = bits << 5 | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}

/// CRC-16 with polynomial 0x1021, beginning with 0 (XMODEM).
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte) << 8,
            |crc: u16, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    /// From NATS' documentation of nkeys.
    const DOCUMENTED: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

    fn text(key: &[u8]) -> String {
        let mut bytes = vec![USER];
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(&crc16(&bytes).to_le_bytes());
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let bit = |n: usize| bytes[n / 8] >> (7 - n % 8) & 1;
        let bits = bytes.len() * 8;
        let value =
            |n: usize| (0..5).fold(0, |sum, at| sum << 1 | if n + at < bits { bit(n + at) } else { 0 });
        (0..bits).step_by(5).map(|n| char::from(letters[usize::from(value(n))])).collect()
    }

    #[test]
    fn a_documented_key_is_one_and_a_damaged_one_is_none() {
        assert!(is_user(DOCUMENTED));
        for other in ["", "U", "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY", &DOCUMENTED[1..]]
        {
            assert!(!is_user(other), "{other}");
        }
        assert!(!is_user(&DOCUMENTED.replace("RCSJ", "RCSK")));
    }

    #[test]
    fn only_the_holder_of_a_key_can_sign_for_it() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let key = text(pair.public_key().as_ref());
        let signature = pair.sign(b"nonce");
        assert!(verify(&key, b"nonce", signature.as_ref()));
        assert!(!verify(&key, b"other", signature.as_ref()));
        assert!(!verify(DOCUMENTED, b"nonce", signature.as_ref()));
        assert!(!verify(&key, b"nonce", &[]));
    }
}
