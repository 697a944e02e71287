//! The codecs of record batches, bounded in what they may unpack.
//!
//! All four are vetted libraries; the framing that Kafka puts around snappy blocks (from snappy-java, "xerial") is ours.

use super::Damage;
use std::io::{Read, Write};

/// How the records of a batch are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Codec {
    /// Not at all.
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Snappy blocks in xerial's framing, or one bare block.
    Snappy = 2,
    /// An LZ4 frame.
    Lz4 = 3,
    /// A Zstandard frame.
    Zstd = 4,
}

/// Largest window of a Zstandard frame, as a power of two: 32 MiB, four times what its levels up to 19 use.
const ZSTD_WINDOW_LOG_MAX: u32 = 25;
/// Zstandard's and Kafka's default.
const ZSTD_LEVEL: i32 = 3;
/// From here up a level costs far more time and memory than it saves room.
const ZSTD_LEVEL_MAX: i32 = 19;
/// What a gzip member starts with (RFC 1952, 2.3): its two magic octets and deflate.
const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// What an LZ4 frame starts with.
const LZ4_MAGIC: [u8; 4] = 0x184D_2204_u32.to_le_bytes();
/// What a Zstandard frame starts with (RFC 8878, 3.1.1).
const ZSTD_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// What snappy-java starts with: magic, version 1, readable since version 1.
const XERIAL_HEAD: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// Octets of it that are always the same.
const XERIAL_MAGIC_BYTES: usize = 8;
/// Octets of one block, unpacked; snappy-java's default.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;

/// How records are to be packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packing {
    /// By what.
    pub codec: Codec,
    /// How hard gzip (1 to 9) and Zstandard (to 22) try; `None` and −1 for gzip: as they do by themselves. The others have one level.
    pub level: Option<i32>,
}

impl Codec {
    /// By its number in the attributes.
    ///
    /// # Errors
    /// [`Damage::Codec`] if it is none.
    pub fn of(number: u8) -> Result<Self, Damage> {
        Ok(match number {
            0 => Self::None,
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            4 => Self::Zstd,
            other => return Err(Damage::Codec(other)),
        })
    }

    /// By its name in the configuration `compression.type`; `None` for `producer` and unknown words.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "none" | "uncompressed" => Self::None,
            "gzip" => Self::Gzip,
            "snappy" => Self::Snappy,
            "lz4" => Self::Lz4,
            "zstd" => Self::Zstd,
            _ => return None,
        })
    }

    /// Unpacks.
    ///
    /// # Errors
    /// [`Damage::Compressed`], or [`Damage::TooLarge`] as soon as more than `bytes_max` octets would come out.
    pub fn unpack(self, packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, Damage> {
        match self {
            Self::None if packed.len() > bytes_max => Err(Damage::TooLarge(bytes_max)),
            Self::None => Ok(packed.to_vec()),
            Self::Gzip => drain(flate2::read::MultiGzDecoder::new(packed), bytes_max),
            Self::Snappy => unpack_snappy(packed, bytes_max),
            Self::Lz4 => drain(lz4_flex::frame::FrameDecoder::new(packed), bytes_max),
            Self::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(packed).map_err(|_| Damage::Compressed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|_| Damage::Compressed)?;
                drain(decoder, bytes_max)
            }
        }
    }

    /// Whether `packed` begins as this codec's output does: what can be told without unpacking. A bare snappy block begins with its length,
    /// which is all that can be asked of it.
    #[must_use]
    pub fn is_begun_in(self, packed: &[u8]) -> bool {
        match self {
            Self::None => true,
            Self::Gzip => packed.starts_with(&GZIP_MAGIC),
            Self::Snappy => {
                !packed.is_empty() && (is_framed(packed) || snap::raw::decompress_len(packed).is_ok())
            }
            Self::Lz4 => packed.starts_with(&LZ4_MAGIC),
            Self::Zstd => packed.starts_with(&ZSTD_MAGIC),
        }
    }

    /// Packs with the codec's own level.
    #[must_use]
    pub fn pack(self, plain: &[u8]) -> Vec<u8> {
        Packing { codec: self, level: None }.pack(plain)
    }
}

impl Packing {
    /// Packs, as the Java client would: independent blocks of 64 KB for LZ4, of 32 KB for snappy.
    ///
    /// # Panics
    /// Never: writing to memory does not fail.
    #[must_use]
    pub fn pack(self, plain: &[u8]) -> Vec<u8> {
        let in_memory = "memory takes it";
        match self.codec {
            Codec::None => plain.to_vec(),
            Codec::Gzip => {
                let level = self.level.and_then(|level| u32::try_from(level).ok());
                let level = level.map_or(flate2::Compression::default(), |level| {
                    flate2::Compression::new(level.min(flate2::Compression::best().level()))
                });
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(plain).expect(in_memory);
                encoder.finish().expect(in_memory)
            }
            Codec::Snappy => pack_snappy(plain),
            Codec::Lz4 => {
                let info = lz4_flex::frame::FrameInfo::new()
                    .block_size(lz4_flex::frame::BlockSize::Max64KB)
                    .block_mode(lz4_flex::frame::BlockMode::Independent);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(plain).expect(in_memory);
                encoder.finish().expect(in_memory)
            }
            Codec::Zstd => {
                let level = self.level.unwrap_or(ZSTD_LEVEL).min(ZSTD_LEVEL_MAX);
                zstd::stream::encode_all(plain, level).expect(in_memory)
            }
        }
    }
}

/// Reads to the end, or to the bound.
fn drain(from: impl Read, bytes_max: usize) -> Result<Vec<u8>, Damage> {
    let mut plain = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    from.take(limit).read_to_end(&mut plain).map_err(|_| Damage::Compressed)?;
    if plain.len() > bytes_max { Err(Damage::TooLarge(bytes_max)) } else { Ok(plain) }
}

fn is_framed(packed: &[u8]) -> bool {
    packed.starts_with(XERIAL_HEAD.get(..XERIAL_MAGIC_BYTES).unwrap_or_default())
}

/// Blocks, each after its length, behind xerial's head; or one bare block, which librdkafka and sarama may send.
fn unpack_snappy(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, Damage> {
    let mut plain = Vec::new();
    let Some(mut rest) = packed.get(XERIAL_HEAD.len()..).filter(|_| is_framed(packed)) else {
        unpack_block(packed, &mut plain, bytes_max)?;
        return Ok(plain);
    };
    while !rest.is_empty() {
        let (len, after) = rest.split_first_chunk::<4>().ok_or(Damage::Compressed)?;
        let len = u32::from_be_bytes(*len) as usize;
        let (block, after) = after.split_at_checked(len).ok_or(Damage::Compressed)?;
        unpack_block(block, &mut plain, bytes_max)?;
        rest = after;
    }
    Ok(plain)
}

fn unpack_block(block: &[u8], plain: &mut Vec<u8>, bytes_max: usize) -> Result<(), Damage> {
    let len = snap::raw::decompress_len(block).map_err(|_| Damage::Compressed)?;
    let start = plain.len();
    if start + len > bytes_max {
        return Err(Damage::TooLarge(bytes_max));
    }
    plain.resize(start + len, 0);
    let room = plain.get_mut(start..).unwrap_or_default();
    let written = snap::raw::Decoder::new().decompress(block, room).map_err(|_| Damage::Compressed)?;
    plain.truncate(start + written);
    Ok(())
}

fn pack_snappy(plain: &[u8]) -> Vec<u8> {
    let mut packed = XERIAL_HEAD.to_vec();
    let mut encoder = snap::raw::Encoder::new();
    for block in plain.chunks(XERIAL_BLOCK_BYTES) {
        let block = encoder.compress_vec(block).expect("a block is small");
        let len = u32::try_from(block.len()).expect("a block is small");
        packed.extend_from_slice(&len.to_be_bytes());
        packed.extend_from_slice(&block);
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    #[test]
    fn what_is_packed_is_unpacked() {
        let long: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for codec in ALL {
            for plain in [&b""[..], b"x", &long] {
                let packed = codec.pack(plain);
                assert_eq!(codec.unpack(&packed, plain.len()).as_deref(), Ok(plain), "{codec:?}");
            }
        }
    }

    #[test]
    fn a_higher_level_packs_smaller_and_is_unpacked_the_same() {
        let plain: Vec<u8> = (0..200_000_u32).flat_map(|n| (n.wrapping_mul(n) / 977).to_le_bytes()).collect();
        for (codec, levels) in [(Codec::Gzip, [1, 9, 12]), (Codec::Zstd, [-5, 19, 22])] {
            let packed = levels.map(|level| Packing { codec, level: Some(level) }.pack(&plain));
            assert!(packed[1].len() < packed[0].len(), "{codec:?}");
            assert_eq!(packed[1].len(), packed[2].len(), "{codec:?}: there is a highest level");
            for packed in packed {
                assert_eq!(codec.unpack(&packed, plain.len()).as_deref(), Ok(&plain[..]), "{codec:?}");
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_bound() {
        let plain = vec![0; 8 << 20];
        for codec in ALL {
            let packed = codec.pack(&plain);
            assert_eq!(codec.unpack(&packed, 1 << 20), Err(Damage::TooLarge(1 << 20)), "{codec:?}");
        }
        // A bare snappy block that claims 4 GiB.
        assert!(Codec::Snappy.unpack(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0], 1 << 20).is_err());
    }

    #[test]
    fn damage_is_told() {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut packed = codec.pack(&[7; 1000]);
            let last = packed.len() / 2;
            packed[last] ^= 0xff;
            packed.truncate(packed.len() - 3);
            // LZ4's reader takes the end of its input for the end of the frame: the records' own lengths tell then.
            let unpacked = codec.unpack(&packed, 10_000);
            assert!(unpacked.is_err() || unpacked.is_ok_and(|plain| plain != [7; 1000]), "{codec:?}");
        }
        assert_eq!(Codec::of(5), Err(Damage::Codec(5)));
    }

    #[test]
    fn each_codec_knows_how_it_begins() {
        for codec in ALL {
            assert!(codec.is_begun_in(&codec.pack(b"hello hello hello")), "{codec:?}");
        }
        for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
            assert!(!codec.is_begun_in(b"hello hello hello") && !codec.is_begun_in(b""), "{codec:?}");
        }
        assert!(!Codec::Snappy.is_begun_in(b"") && !Codec::Snappy.is_begun_in(&[0xff; 9]));
        assert!(Codec::Snappy.is_begun_in(&snap::raw::Encoder::new().compress_vec(b"hello").unwrap()));
    }

    #[test]
    fn a_bare_snappy_block_is_read_too() {
        let packed = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap();
        assert_eq!(Codec::Snappy.unpack(&packed, 100).as_deref(), Ok(&b"hello hello hello"[..]));
    }
}
