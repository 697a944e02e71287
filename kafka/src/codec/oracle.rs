//! Every message at every version against an independent implementation (crate `kafka-protocol`), and against itself.
//!
//! Test only. That crate reserves memory by counts from the wire, so it is fed nothing but what we wrote.

use super::Malformed;
use super::api::ApiKey;
use super::generated::apis;
use super::wire::{Text, Uuid};
use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable, Message};

/// Makes values up, the same ones for the same seed.
pub(crate) struct Choice {
    pub(crate) version: i16,
    state: u64,
}

impl Choice {
    pub(crate) fn new(version: i16, seed: u64) -> Self {
        Self { version, state: seed }
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// What can be made up.
pub(crate) trait Sample<'a>: Sized {
    fn sample(choice: &mut Choice) -> Self;
}

macro_rules! numbers {
    ($($of:ty)*) => {$(
        impl<'a> Sample<'a> for $of {
            fn sample(choice: &mut Choice) -> Self {
                const BYTES: usize = size_of::<$of>();
                let mut octets = [0; BYTES];
                octets.copy_from_slice(&choice.next().to_be_bytes()[..BYTES]);
                Self::from_be_bytes(octets)
            }
        }
    )*};
}

numbers!(i8 i16 u16 i32 u32 i64);

impl<'a> Sample<'a> for bool {
    fn sample(choice: &mut Choice) -> Self {
        choice.next().is_multiple_of(2)
    }
}

impl<'a> Sample<'a> for Uuid {
    fn sample(choice: &mut Choice) -> Self {
        Self(u128::from(choice.next()).to_be_bytes())
    }
}

impl<'a> Sample<'a> for Text<'a> {
    fn sample(choice: &mut Choice) -> Self {
        ["", "a", "größer", "a-name.of_something"][(choice.next() % 4) as usize]
            .repeat((choice.next() % 9) as usize)
            .into()
    }
}

impl<'a> Sample<'a> for &'a [u8] {
    fn sample(choice: &mut Choice) -> Self {
        [&b""[..], b"\0", b"octets", &[0xff; 200]][(choice.next() % 4) as usize]
    }
}

impl<'a, T: Sample<'a>> Sample<'a> for Vec<T> {
    fn sample(choice: &mut Choice) -> Self {
        (0..choice.next() % 4).map(|_| T::sample(choice)).collect()
    }
}

impl<'a, T: Sample<'a>> Sample<'a> for Option<T> {
    fn sample(choice: &mut Choice) -> Self {
        (!choice.next().is_multiple_of(3)).then(|| T::sample(choice))
    }
}

/// What that crate does not know yet.
const BEHIND: &[(ApiKey, i16)] = &[
    (ApiKey::ListOffsets, 11),
    (ApiKey::OffsetCommit, 10),
    (ApiKey::OffsetFetch, 10),
    (ApiKey::DescribeLogDirs, 5),
];

const SEEDS: u64 = 40;

macro_rules! one {
    ($api:expr, $module:ident::$message:ident, $versions:expr, $behind:ident) => {
        for version in $versions {
            for seed in 0..SEEDS {
                let mut choice = Choice::new(version, seed);
                let ours: super::generated::$module::$message = Sample::sample(&mut choice);
                let mut octets = BytesMut::new();
                $api.write(version, &ours, &mut octets);
                let context = || format!("{} version {version} seed {seed}: {ours:?}", stringify!($message));
                assert_eq!($api.read(version, &octets).as_ref(), Ok(&ours), "{}", context());
                type Theirs = kafka_protocol::messages::$message;
                if version > Theirs::VERSIONS.max {
                    if !$behind.contains(&($api, version)) {
                        $behind.push(($api, version));
                    }
                    continue;
                }
                let mut input = Bytes::copy_from_slice(&octets);
                let theirs =
                    Theirs::decode(&mut input, version).unwrap_or_else(|why| panic!("{why} {}", context()));
                assert!(input.is_empty(), "they leave {} octets: {}", input.len(), context());
                let mut back = BytesMut::new();
                theirs.encode(&mut back, version).unwrap_or_else(|why| panic!("{why} {}", context()));
                assert_eq!($api.read(version, &back).as_ref(), Ok(&ours), "{}", context());
            }
        }
    };
}

macro_rules! damage {
    ($api:expr, $module:ident::$message:ident, $versions:expr) => {
        for version in $versions {
            let mut choice = Choice::new(version, 7);
            let ours: super::generated::$module::$message = Sample::sample(&mut choice);
            let mut octets = BytesMut::new();
            $api.write(version, &ours, &mut octets);
            for at in 0..octets.len() {
                let short: Result<super::generated::$module::$message, Malformed> =
                    $api.read(version, &octets[..at]);
                assert!(
                    short.is_err(),
                    "{} version {version}: {at} octets are too few",
                    stringify!($message)
                );
                for hostile in [0xff, 0x7f, 0x80] {
                    let mut octets = octets.clone();
                    octets[at] = hostile;
                    let _ = $api.read::<super::generated::$module::$message>(version, &octets);
                }
            }
        }
    };
}

macro_rules! oracle {
    ($($key:literal $name:ident $module:ident $request:ident $response:ident $first:literal..=$last:literal $flexible:expr;)*) => {
        #[test]
        #[expect(elided_lifetimes_in_paths, reason = "some messages borrow and some do not")]
        fn every_message_at_every_version_reads_as_another_implementation_reads_it() {
            let mut behind = Vec::new();
            $(
                one!(ApiKey::$name, $module::$request, $first..=$last, behind);
                one!(ApiKey::$name, $module::$response, $first..=$last, behind);
            )*
            assert_eq!(behind, BEHIND, "versions that only we know");
        }

        #[test]
        #[expect(elided_lifetimes_in_paths, reason = "some messages borrow and some do not")]
        fn no_damaged_message_makes_a_reader_panic() {
            $(
                damage!(ApiKey::$name, $module::$request, $first..=$last);
                damage!(ApiKey::$name, $module::$response, $first..=$last);
            )*
        }
    };
}

apis!(oracle);
