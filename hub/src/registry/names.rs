//! Names and secrets that nobody can guess: SipHash-2-4 of a counter under a random key that the driver gives at the start.
//!
//! A keyed hash instead of a random generator keeps this crate pure: the same key and numbers give the same name. Our own forty
//! lines, because the standard library's keyed hasher is deprecated and its replacement has no key.

/// SipHash-2-4 of `words` under `key`: unpredictable for who does not know the key.
#[must_use]
pub(crate) fn secret(key: [u64; 2], words: &[u64]) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    let length = ((words.len() as u64) * 8) << 56;
    for word in words.iter().copied().chain([length]) {
        v[3] ^= word;
        round(&mut v);
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    (0..4).for_each(|_| round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Bytes in the URL-safe base64 alphabet, without padding.
#[must_use]
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        for at in 0..=group.len() {
            let index = bits >> (18 - 6 * at) & 63;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}

/// The bytes that `text` is, as [`base64`] writes them; `None` if it writes none like it.
#[must_use]
pub(crate) fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for at in 0..4 {
            let digit = match group.get(at) {
                Some(letter) => ALPHABET.iter().position(|other| other == letter)?,
                None => 0,
            };
            bits = bits << 6 | u32::try_from(digit).ok()?;
        }
        let [_, a, b, c] = bits.to_be_bytes();
        bytes.extend_from_slice(&[a, b, c][..group.len() - 1]);
    }
    (base64(&bytes).as_bytes() == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_siphash_2_4() {
        // Key 00..0f, input 00..07: the ninth vector of the reference implementation (little endian).
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        assert_eq!(secret(key, &[0x0706_0504_0302_0100]), 0x93f5_f579_9a93_2462);
    }

    #[test]
    fn base64_goes_there_and_back() {
        assert_eq!(base64(b"Man"), "TWFu");
        assert_eq!(base64(&[0xfb, 0xff]), "-_8");
        for len in 0..10 {
            let bytes: Vec<u8> = (0_u8..len).map(|n| n.wrapping_mul(37)).collect();
            assert_eq!(from_base64(base64(&bytes).as_bytes()), Some(bytes));
        }
        assert_eq!(from_base64(b"A"), None);
        assert_eq!(from_base64(b"-_9"), None, "one spelling only");
        assert_eq!(from_base64(b"a+bc"), None);
    }
}
