//! What it costs to look into a batch that is produced: its checksum, its plain records, and, which nobody does, unpacking it.
//!
//! `cargo run --release -p stele-record --example look`. The figures in `docs/dialects/kafka.md` come from here.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use std::hint::black_box;
use std::time::Instant;
use stele_record::batch::Batch;
use stele_record::batch::builder::Builder;
use stele_record::batch::compression::Codec;

const ROUNDS: u32 = 200;
const UNPACKED_BYTES_MAX: usize = 64 << 20;

fn main() {
    for (records, value_bytes) in [(1000, 1000), (64, 1000), (1, 1000), (10_000, 100)] {
        for codec in [Codec::None, Codec::Lz4, Codec::Snappy, Codec::Zstd, Codec::Gzip] {
            let octets = batch(codec, records, value_bytes);
            let (batch, _) = Batch::first(&octets).expect("it was just made");
            let verify = time(|| batch.verify().is_ok());
            let look = time(|| batch.check_records().is_ok());
            let unpack = time(|| {
                let contents = batch.contents(UNPACKED_BYTES_MAX).expect("it was just made");
                contents.records().all(|record| record.is_ok())
            });
            let kb = octets.len() / 1000;
            println!(
                "{records:>6} × {value_bytes} B, {codec:?}, {kb} KB: checksum {verify:.1} µs, look {look:.2} µs, unpack {unpack:.1} µs"
            );
        }
    }
    bomb();
}

/// A batch of 1 MB that unpacks to the bound.
fn bomb() {
    let plain = vec![0; UNPACKED_BYTES_MAX];
    for codec in [Codec::Lz4, Codec::Zstd, Codec::Gzip] {
        let packed = codec.pack(&plain);
        let begun = Instant::now();
        let len = codec.unpack(black_box(&packed), UNPACKED_BYTES_MAX).map_or(0, |plain| plain.len());
        let took = begun.elapsed().as_millis();
        println!("{codec:?}: {} KB become {} MB in {took} ms", packed.len() / 1000, len >> 20);
    }
}

/// Text that packs to about half.
fn batch(codec: Codec, records: i32, value_bytes: usize) -> Vec<u8> {
    let mut builder = Builder::default();
    let mut seed = 1_u64;
    for at in 0..records {
        let octet = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            b'a' + (seed >> 60) as u8
        };
        let value: Vec<u8> = std::iter::repeat_with(octet).take(value_bytes).collect();
        builder.put(at, 1_700_000_000_000, (Some(b"key"), Some(&value)), std::iter::empty());
    }
    builder.finish(0, -1, codec).to_vec()
}

/// Microseconds of one call.
fn time(mut call: impl FnMut() -> bool) -> f64 {
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        assert!(black_box(call()), "the batch is sound");
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
}
