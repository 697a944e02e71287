//! The bytes on disk are those of `docs/golden/log-*`, and these files read back. A change of the format changes both, and keeps
//! the files of shipped versions. `STELE_GOLDEN=write` writes files that are missing.
//!
//! A golden file is text: the length, then a line for each 32 bytes that are not all zero, offset and bytes in hexadecimal.

use std::fmt::Write;
use std::path::PathBuf;
use stele_log::format::block::{self, Head, flags};
use stele_log::format::footer::{Footer, Move};
use stele_log::format::manifest::{Entry, Manifest, Sealed};
use stele_log::format::page::{Page, bytes_of};
use stele_log::format::segment::{Kind, SegmentHead, salt};
use stele_log::format::snapshot::{ChunkAt, SnapshotHead, encode_table};
use stele_model::id::{Lsn, Place};

const LINE_BYTES: usize = 32;

fn to_text(bytes: &[u8]) -> String {
    let mut text = format!("bytes {}\n", bytes.len());
    for (i, line) in
        bytes.chunks(LINE_BYTES).enumerate().filter(|(_, line)| line.iter().any(|byte| *byte != 0))
    {
        write!(text, "{:06x}", i * LINE_BYTES).unwrap();
        for (i, byte) in line.iter().enumerate() {
            write!(text, "{}{byte:02x}", if i % 4 == 0 { " " } else { "" }).unwrap();
        }
        text.push('\n');
    }
    text
}

fn of_text(text: &str) -> Vec<u8> {
    let mut lines = text.lines();
    let len: usize = lines.next().and_then(|line| line.strip_prefix("bytes ")).unwrap().parse().unwrap();
    let mut bytes = vec![0; len];
    for line in lines {
        let (offset, hex) = line.split_once(' ').unwrap();
        let offset = usize::from_str_radix(offset, 16).unwrap();
        let digits: Vec<u8> = hex.bytes().filter(|digit| *digit != b' ').collect();
        for (i, pair) in digits.chunks(2).enumerate() {
            bytes[offset + i] = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        }
    }
    bytes
}

/// Compares with the golden file and gives back what that file says.
fn golden(name: &str, pages: &[Page]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/golden/log-{name}.txt"));
    let written = to_text(bytes_of(pages));
    if !path.exists() && std::env::var("STELE_GOLDEN").is_ok_and(|what| what == "write") {
        std::fs::write(&path, &written).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(golden == written, "{name} is written in another way than {} says", path.display());
    of_text(&golden)
}

fn head(flags: u16, body_bytes: usize) -> Head {
    Head {
        flags,
        lsn: Lsn(0x0102_0304),
        epoch: 5,
        writer: 0x1122_3344_5566_7788,
        time: 1_700_000_000_000_000,
        salt: salt(0x1122_3344_5566_7788, 3),
        chain: 0xdead_beef,
        page: 17,
        entries: 2,
        body_bytes: body_bytes as u32,
        table_crc: 0,
        crc: 0,
    }
}

fn check_block(name: &str, flags: u16, body: &[u8]) {
    let head = head(flags, body.len());
    let mut pages = vec![Page::ZERO; head.layout().pages];
    let written = block::encode(head, body, &mut pages);
    let bytes = golden(name, &pages);
    let read = block::head(&bytes).unwrap();
    assert_eq!(read, written);
    assert_eq!(&bytes[block::body(&read, &bytes).unwrap()], body);
}

#[test]
fn blocks_are_written_as_the_golden_files_say() {
    let body: Vec<u8> = (0..=255).collect();
    check_block("block-v1", 0, &body);
    check_block("marker-v1", flags::MARKER, &[]);
    // Zeroes keep the file short: two frames, then five of which the body begins at the second page.
    check_block("block-frames-v1", 0, &[0; 16_385]);
    check_block("block-aligned-v1", flags::PROMOTED, &[0; 65_537]);
}

#[test]
fn a_segment_header_is_written_as_the_golden_file_says() {
    let (identity, number) = (0x1122_3344_5566_7788, 3);
    let written = SegmentHead {
        kind: Kind::Log,
        shard: 2,
        identity,
        number,
        salt: salt(identity, number),
        epoch: 5,
        first: Lsn(1000),
        chain: 0xdead_beef,
    };
    let bytes = golden("segment-v1", &[written.encode()]);
    let mut page = Page::ZERO;
    page.bytes_mut().copy_from_slice(&bytes);
    assert_eq!(SegmentHead::decode(&page), Ok(written));
}

#[test]
fn a_footer_is_written_as_the_golden_file_says() {
    // The first footers did not say which block is the last.
    let early = Footer {
        salt: 7,
        first: Lsn(1000),
        last: Lsn(0),
        time: (11, 12),
        index: vec![1, 2, 5],
        moves: vec![Move { place: Place { lsn: Lsn(1001), at: 4 }, len: 100, block: 1, at: 300 }],
    };
    assert_eq!(Footer::decode(&golden("footer-v1", &early.encode())).as_ref(), Ok(&early));
    let written = Footer { last: Lsn(1002), ..early };
    assert_eq!(Footer::decode(&golden("footer-v1-last", &written.encode())), Ok(written));
}

#[test]
fn a_manifest_is_written_as_the_golden_file_says() {
    let sealed = Sealed { first: Lsn(1000), last: Lsn(1999), chain: 0xdead_beef, footer_page: 900 };
    let written = Manifest {
        shard: 2,
        identity: 0x1122_3344_5566_7788,
        epoch: 5,
        number_next: 9,
        floor: (Lsn(999), 0xcafe_f00d),
        segments: vec![
            Entry { number: 3, kind: Kind::Promoted, file_pages: 905, sealed: Some(sealed) },
            Entry { number: 8, kind: Kind::Log, file_pages: 32_768, sealed: None },
        ],
    };
    assert_eq!(Manifest::decode(&golden("manifest-v1", &written.encode())), Ok(written));
}

#[test]
fn a_snapshot_is_written_as_the_golden_file_says() {
    let chunks = [
        ChunkAt { file: Lsn(900), page: 1, len: 65_536, crc: 0xdead_beef },
        ChunkAt { file: Lsn(1000), page: 1, len: 5, crc: 0xcafe_f00d },
    ];
    let (table, table_crc) = encode_table(&chunks);
    let written =
        SnapshotHead { identity: 0x1122_3344_5566_7788, lsn: Lsn(1000), table_page: 2, chunks: 2, table_crc };
    let bytes = golden("snapshot-v1", &[vec![written.encode()], table].concat());
    let mut page = Page::ZERO;
    page.bytes_mut().copy_from_slice(&bytes[..4096]);
    let read = SnapshotHead::decode(&page).unwrap();
    assert_eq!(read, written);
    assert_eq!(read.table(&bytes[4096..]).unwrap(), chunks);
}
