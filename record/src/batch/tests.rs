//! Batches, held against the encoder and decoder of crate `kafka-protocol`, and against damage.

use super::builder::{Builder, recode};
use super::compression::Packing;
use super::*;
use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as theirs;
use std::ops::ControlFlow;

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
const BYTES_MAX: usize = 1 << 20;

fn built(codec: Codec) -> Bytes {
    let mut builder = Builder::default();
    let headers = [(&b"name"[..], Some(&b"value"[..])), (b"empty", None)];
    builder.put(0, 1_000, (Some(b"key"), Some(b"value")), headers.into_iter());
    builder.put(1, 990, (None, Some(&[7; 300])), std::iter::empty());
    builder.put(4, 1_005, (Some(b"gone"), None), std::iter::empty());
    builder.finish(42, 3, codec)
}

#[test]
fn what_is_built_is_read() {
    for codec in CODECS {
        let octets = built(codec);
        let (batch, rest) = Batch::first(&octets).unwrap();
        assert!(rest.is_empty());
        batch.verify().unwrap();
        let head = batch.head();
        assert_eq!((head.base_offset, head.leader_epoch, head.last_offset(), head.count), (42, 3, 46, 3));
        assert_eq!((head.base_timestamp, head.max_timestamp), (1_000, 1_005));
        assert_eq!(head.attributes.codec(), Ok(codec));
        let contents = batch.contents(BYTES_MAX).unwrap();
        let records: Vec<_> = contents.records().map(Result::unwrap).collect();
        let plain: Vec<_> =
            records.iter().map(|one| (one.offset_delta, one.timestamp_delta, one.key, one.value)).collect();
        let expected = [
            (0, 0, Some(&b"key"[..]), Some(&b"value"[..])),
            (1, -10, None, Some(&[7; 300][..])),
            (4, 5, Some(b"gone"), None),
        ];
        assert_eq!(plain, expected);
        let headers: Vec<_> = records[0].headers().map(Result::unwrap).collect();
        assert_eq!(headers, [(&b"name"[..], Some(&b"value"[..])), (b"empty", None)]);
    }
}

#[test]
fn another_implementation_reads_what_we_build() {
    let mut octets = built(Codec::None);
    let set = theirs::RecordBatchDecoder::decode(&mut octets).unwrap();
    let offsets: Vec<i64> = set.records.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [42, 43, 46]);
    assert_eq!(set.records[0].key.as_deref(), Some(&b"key"[..]));
    assert_eq!(set.records[1].timestamp, 990);
    assert_eq!(set.records[2].value, None);
    let names: Vec<&str> = set.records[0].headers.keys().map(StrBytes::as_str).collect();
    assert_eq!(names, ["name", "empty"]);
}

#[test]
fn what_another_implementation_writes_is_read() {
    let record = |sequence: i32| theirs::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: 9,
        producer_epoch: 2,
        timestamp_type: theirs::TimestampType::Creation,
        offset: i64::from(sequence),
        sequence,
        timestamp: 77,
        key: None,
        value: Some(Bytes::from(vec![b'v'; 100])),
        headers: IndexMap::new(),
    };
    let records: Vec<_> = (0..20).map(record).collect();
    let mut octets = BytesMut::new();
    let options = theirs::RecordEncodeOptions { version: 2, compression: theirs::Compression::None };
    theirs::RecordBatchEncoder::encode(&mut octets, &records, &options).unwrap();
    let (batch, rest) = Batch::first(&octets).unwrap();
    assert!(rest.is_empty());
    batch.verify().unwrap();
    let head = batch.head();
    assert_eq!((head.producer_id, head.producer_epoch, head.base_sequence, head.count), (9, 2, 0, 20));
    assert_eq!(batch.contents(BYTES_MAX).unwrap().records().map(Result::unwrap).count(), 20);
}

#[test]
fn a_stamp_leaves_the_checksum_right() {
    let mut octets = BytesMut::from(&built(Codec::Lz4)[..]);
    stamp(octets.first_chunk_mut().unwrap(), 1_000_000, 8);
    let (batch, _) = Batch::first(&octets).unwrap();
    batch.verify().unwrap();
    assert_eq!((batch.head().base_offset, batch.head().leader_epoch), (1_000_000, 8));
    stamp_log_append_time(&mut octets, 5_000);
    let (batch, _) = Batch::first(&octets).unwrap();
    batch.verify().unwrap();
    assert!(batch.head().attributes.is_log_append_time());
    assert_eq!((batch.head().max_timestamp, batch.head().base_timestamp), (5_000, 1_000));
}

#[test]
fn another_codec_holds_the_same_records() {
    let original = built(Codec::Zstd);
    let (batch, _) = Batch::first(&original).unwrap();
    for codec in CODECS {
        let again = recode(&batch, Packing { codec, level: None }, BYTES_MAX).unwrap();
        let (again, _) = Batch::first(&again).unwrap();
        again.verify().unwrap();
        assert_eq!(again.head().attributes.codec(), Ok(codec));
        let (ours, same) = (again.contents(BYTES_MAX).unwrap(), batch.contents(BYTES_MAX).unwrap());
        assert_eq!(ours.octets(), same.octets());
        let head = Head { length: 0, crc: 0, attributes: Attributes(0), ..*again.head() };
        assert_eq!(head, Head { length: 0, crc: 0, attributes: Attributes(0), ..*batch.head() });
    }
}

#[test]
fn every_flipped_bit_behind_the_checksum_is_seen() {
    let octets = built(Codec::None);
    for at in CRC_AT..octets.len() {
        let mut octets = octets.to_vec();
        octets[at] ^= 1;
        let (batch, _) = Batch::first(&octets).unwrap();
        assert!(matches!(batch.verify(), Err(Damage::Crc { .. })), "octet {at}");
    }
}

#[test]
fn short_batches_and_other_formats_are_refused() {
    let octets = built(Codec::None);
    for short in 0..octets.len() {
        assert_eq!(Batch::first(&octets[..short]).unwrap_err(), Damage::Short, "{short} octets");
    }
    let mut old = octets.to_vec();
    old[MAGIC_AT] = 1;
    assert_eq!(Batch::first(&old).unwrap_err(), Damage::Magic(1));
    assert_eq!(Batch::first(&old[..20]).unwrap_err(), Damage::Magic(1), "an old message may be shorter");
    for length in [-1, 0, 48, i32::MIN] {
        let mut octets = octets.to_vec();
        octets[8..12].copy_from_slice(&length.to_be_bytes());
        assert_eq!(Batch::first(&octets).unwrap_err(), Damage::Length(length));
    }
}

#[test]
fn a_count_is_not_believed() {
    let mut octets = built(Codec::None).to_vec();
    for count in [-1, i32::MAX, 1000] {
        octets[57..61].copy_from_slice(&count.to_be_bytes());
        let (batch, _) = Batch::first(&octets).unwrap();
        assert_eq!(batch.contents(BYTES_MAX).unwrap_err(), Damage::Record("count"));
    }
    octets[57..61].copy_from_slice(&2_i32.to_be_bytes());
    let (batch, _) = Batch::first(&octets).unwrap();
    let contents = batch.contents(BYTES_MAX).unwrap();
    let last = contents.records().last();
    assert_eq!(last, Some(Err(Damage::Record("octets left over"))));
}

#[test]
fn records_cross_to_other_dialects_and_back() {
    let octets = built(Codec::Zstd);
    let now = stele_model::id::Now(5_000_000);
    let publishes = crossing::publishes(&octets, "orders", now, BYTES_MAX).unwrap();
    assert_eq!(publishes.items.len(), 3);
    assert!(crossing::publishes(&octets, "orders", now, 300).is_none(), "they take more");
    assert!(
        crossing::publishes(&octets, "orders", now, 400).is_none(),
        "unpacked they fit, with their heads they do not"
    );
    for (item, n) in publishes.items.iter().zip(0..) {
        let view = crate::View::parse(publishes.record(n)).unwrap();
        assert_eq!((view.exchange(), view.key()), (&b"amq.topic"[..], &b"orders"[..]));
        assert_eq!(
            (publishes.slice(&item.exchange), publishes.slice(&item.key)),
            (view.exchange(), view.key())
        );
        assert!(view.headers_table().check().is_ok());
    }
    let first = crate::View::parse(publishes.record(0)).unwrap();
    assert_eq!((first.body(), first.time()), (&b"value"[..], 1_000_000));
    let back = crossing::batch(&publishes.bytes, 42, 0).unwrap();
    let (back, _) = Batch::first(&back).unwrap();
    back.verify().unwrap();
    let contents = back.contents(BYTES_MAX).unwrap();
    let records: Vec<_> = contents.records().map(Result::unwrap).collect();
    assert_eq!((records[0].key, records[0].value), (Some(&b"key"[..]), Some(&b"value"[..])));
    let headers: Vec<_> = records[0].headers().map(Result::unwrap).collect();
    assert_eq!(headers, [(&b"name"[..], Some(&b"value"[..])), (b"empty", None)]);
    assert_eq!((records[1].key, records[1].value), (Some(&b"orders"[..]), Some(&[7; 300][..])));
    assert_eq!((records[2].key, records[2].value), (Some(&b"gone"[..]), None));
    let times: Vec<_> = records.iter().map(|one| back.head().base_timestamp + one.timestamp_delta).collect();
    assert_eq!(times, [1_000, 990, 1_005]);
}

/// Offsets of the records that an opened batch shows of a range, at most so many.
fn shown(batch: &mut crossing::Opened, range: std::ops::Range<i64>, most: usize) -> Vec<i64> {
    let mut offsets = Vec::new();
    batch.records(("orders", 1), range, |offset, record| {
        assert_eq!(crate::View::parse(&record).unwrap().key(), b"orders");
        offsets.push(offset);
        if offsets.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    offsets
}

#[test]
fn an_opened_batch_is_read_some_at_a_time_and_again_from_before() {
    for codec in CODECS {
        let mut batch = crossing::Opened::new(&built(codec), BYTES_MAX).unwrap();
        assert_eq!(batch.unpacked_bytes() > 0, codec != Codec::None);
        assert_eq!(shown(&mut batch, 0..5, 1), [0]);
        assert_eq!(shown(&mut batch, 1..5, 9), [1, 4]);
        assert!(shown(&mut batch, 5..9, 9).is_empty());
        assert_eq!(shown(&mut batch, 0..4, 9), [0, 1]);
        assert_eq!(shown(&mut batch, 2..9, 9), [4]);
        assert_eq!(shown(&mut batch, 1..2, 9), [1]);
    }
    assert!(matches!(crossing::Opened::new(&built(Codec::Lz4), 300), Err(Damage::TooLarge(300))));
}

#[test]
fn offsets_that_do_not_ascend_are_passed_over() {
    let one = |offset: u8| [12, 0, 0, offset << 1, 1, 1, 0];
    let records: Vec<u8> = [3, 0, 3, 2, 4].iter().flat_map(|offset| one(*offset)).collect();
    let mut octets = built(Codec::None)[..HEAD_BYTES].to_vec();
    octets[8..12].copy_from_slice(&(HEAD_BYTES as i32 - 12 + records.len() as i32).to_be_bytes());
    octets[57..61].copy_from_slice(&5_i32.to_be_bytes());
    octets.extend_from_slice(&records);
    let mut batch = crossing::Opened::new(&octets.into(), BYTES_MAX).unwrap();
    assert_eq!(shown(&mut batch, 0..5, 9), [3, 4]);
}
