//! The APIs by key and version, made from the generated index.

use super::Malformed;
use super::generated::apis;
use super::wire::{Reader, Wire, Writer};
use bytes::BytesMut;

macro_rules! keys {
    ($($key:literal $name:ident $module:ident $request:ident $response:ident $first:literal..=$last:literal $flexible:expr;)*) => {
        /// What a request asks for.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(i16)]
        #[expect(missing_docs, reason = "the names are those of Kafka's protocol guide")]
        pub enum ApiKey {
            $($name = $key,)*
        }

        impl ApiKey {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// By number; `None`: not spoken here.
            #[must_use]
            pub fn of(key: i16) -> Option<Self> {
                match key {
                    $($key => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Lowest and highest version: from Kafka 4's minimum to its latest stable one.
            #[must_use]
            pub fn versions(self) -> (i16, i16) {
                match self {
                    $(Self::$name => ($first, $last),)*
                }
            }

            /// First version in the flexible encoding.
            fn flexible_first(self) -> i16 {
                match self {
                    $(Self::$name => $flexible,)*
                }
            }
        }
    };
}

apis!(keys);

impl ApiKey {
    /// Whether messages of this version are in the flexible encoding.
    #[must_use]
    pub fn is_flexible(self, version: i16) -> bool {
        version >= self.flexible_first()
    }

    /// Whether we speak this version.
    #[must_use]
    pub fn has(self, version: i16) -> bool {
        let (first, last) = self.versions();
        (first..=last).contains(&version)
    }

    /// Reads the body of a request or response. Octets behind it are passed over, as Kafka does: librdkafka writes one too many behind
    /// AlterUserScramCredentials.
    ///
    /// # Errors
    /// [`Malformed`] if the octets do not start with a message of this version.
    pub fn read<'a, T: Wire<'a>>(self, version: i16, body: &'a [u8]) -> Result<T, Malformed> {
        let mut reader = Reader::new(body, version, self.is_flexible(version));
        T::read(&mut reader)
    }

    /// Appends the body of a request or response.
    pub fn write<'a>(self, version: i16, message: &impl Wire<'a>, out: &mut BytesMut) {
        message.write(&mut Writer { out, version, flexible: self.is_flexible(version) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_by_their_number() {
        for key in ApiKey::ALL {
            assert_eq!(ApiKey::of(*key as i16), Some(*key));
            let (first, last) = key.versions();
            assert!(first <= last && key.has(first) && key.has(last) && !key.has(last + 1));
        }
        assert_eq!(ApiKey::of(4), None, "a key between brokers");
    }
}
