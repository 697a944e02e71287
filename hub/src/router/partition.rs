//! Which partition of a stream takes a record whose publisher knows of no partitions: by the hash that Kafka's clients use, so that
//! records of a key meet in one partition whoever wrote them (S25).

/// The partition, of `count`, for what has this key.
#[must_use]
pub fn partition_of(key: &[u8], count: u32) -> u32 {
    match count {
        0 | 1 => 0,
        _ => (murmur2(key) & 0x7fff_ffff) % count,
    }
}

/// MurmurHash2, 32 bits, with Kafka's seed.
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c ^ len;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (word ^ (word >> 24)).wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let word = (0..).zip(rest).fold(0_u32, |word, (at, byte)| word | u32::from(*byte) << (8 * at));
        hash = (hash ^ word).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_in_kafkas_clients() {
        // From the tests of Kafka's own clients (UtilsTest.testMurmur2).
        let known: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
        assert_eq!(partition_of(b"anything", 1), 0);
        assert_eq!(partition_of(b"foobar", 12), ((-790_332_482_i32).cast_unsigned() & 0x7fff_ffff) % 12);
    }
}
