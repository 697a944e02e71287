//! Which user a client's certificate names, in the spelling of RabbitMQ, whose users are called so.
//!
//! Called by the transport for certificates that were verified. Reads the subject as DER (X.501: a sequence of sets of type and value)
//! and writes it as RFC 4514 says; whatever the bytes are, nothing panics. Not here: whether the certificate is to be trusted.

use crate::config::LoginFrom;
use rustls::pki_types::CertificateDer;
use std::borrow::Cow;
use std::fmt::Write as _;
use webpki::EndEntityCert;

/// The user; `None` if the certificate names none there.
#[must_use]
pub fn named(certificate: &CertificateDer<'_>, from: LoginFrom) -> Option<String> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let name = match from {
        LoginFrom::DistinguishedName => distinguished_name(certificate.subject())?,
        LoginFrom::CommonName => common_names(certificate.subject())?,
        LoginFrom::SubjectAlternativeName => certificate.valid_dns_names().next()?.to_owned(),
    };
    Some(name).filter(|name| !name.is_empty())
}

/// Object identifiers, as DER has them, and what RFC 4514 and RabbitMQ call them.
const ATTRIBUTES: [(&[u8], &str); 17] = [
    (COMMON_NAME, "CN"),
    (b"\x55\x04\x04", "SN"),
    (b"\x55\x04\x05", "SERIALNUMBER"),
    (b"\x55\x04\x06", "C"),
    (b"\x55\x04\x07", "L"),
    (b"\x55\x04\x08", "ST"),
    (b"\x55\x04\x09", "STREET"),
    (b"\x55\x04\x0a", "O"),
    (b"\x55\x04\x0b", "OU"),
    (b"\x55\x04\x0c", "TITLE"),
    (b"\x55\x04\x2a", "GIVENNAME"),
    (b"\x55\x04\x2b", "INITIALS"),
    (b"\x55\x04\x2c", "GENERATIONQUALIFIER"),
    (b"\x55\x04\x41", "PSEUDONYM"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01", "EMAILADDRESS"),
    (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19", "DC"),
    (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01", "UID"),
];
const COMMON_NAME: &[u8] = b"\x55\x04\x03";

// Tags of DER.
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const TELETEX_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const UNIVERSAL_STRING: u8 = 0x1c;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// The parts from the last to the first, values of one part joined by a plus sign.
fn distinguished_name(subject: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    for part in elements(subject) {
        let values: Option<Vec<String>> = elements(inside(part?, SET)?)
            .map(|value| attribute(inside(value?, SEQUENCE)?).map(shown))
            .collect();
        parts.push(values?.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

/// All of them, joined by commas; `None` if there is none.
fn common_names(subject: &[u8]) -> Option<String> {
    let mut names = Vec::new();
    for part in elements(subject) {
        for value in elements(inside(part?, SET)?) {
            let Attribute { kind, value } = attribute(inside(value?, SEQUENCE)?)?;
            if kind == COMMON_NAME {
                names.push(value);
            }
        }
    }
    (!names.is_empty()).then(|| names.join(","))
}

struct Attribute<'a> {
    /// The object identifier's octets.
    kind: &'a [u8],
    value: Cow<'a, str>,
}

fn attribute(octets: &[u8]) -> Option<Attribute<'_>> {
    let mut elements = elements(octets);
    let (kind, value) = (elements.next()??, elements.next()??);
    Some(Attribute { kind: inside(kind, OBJECT_IDENTIFIER)?, value: text(value)? })
}

fn shown(Attribute { kind, value }: Attribute<'_>) -> String {
    let known = ATTRIBUTES.iter().find(|(octets, _)| *octets == kind);
    let name = known.map_or_else(|| Cow::Owned(dotted(kind)), |(_, name)| Cow::Borrowed(*name));
    format!("{name}={}", escaped(&value))
}

/// An object identifier as numbers (X.690, 8.19).
fn dotted(octets: &[u8]) -> String {
    let mut numbers = Vec::new();
    let mut number = 0_u64;
    for octet in octets {
        number = (number << 7) | u64::from(octet & 0x7f);
        if octet & 0x80 == 0 {
            numbers.push(number);
            number = 0;
        }
    }
    let first = numbers.first().copied().unwrap_or_default();
    let root = (first / 40).min(2);
    let rest = numbers.iter().skip(1).map(|number| format!(".{number}"));
    format!("{root}.{}{}", first - root * 40, rest.collect::<String>())
}

/// A value with the escapes of RFC 4514; as with RabbitMQ, octets beyond ASCII are escaped too.
fn escaped(value: &str) -> String {
    let mut out = String::new();
    for (n, octet) in value.bytes().enumerate() {
        let is_last = n + 1 == value.len();
        match octet {
            b' ' | b'#' if n == 0 => out.extend(['\\', char::from(octet)]),
            b' ' if is_last => out.push_str("\\ "),
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => out.extend(['\\', char::from(octet)]),
            32..126 => out.push(char::from(octet)),
            _ => write!(out, "\\{octet:02X}").expect("a string takes everything"),
        }
    }
    out
}

/// An element: its tag and what is in it.
type Element<'a> = (u8, &'a [u8]);

fn inside((tag, octets): Element<'_>, wanted: u8) -> Option<&[u8]> {
    (tag == wanted).then_some(octets)
}

/// The elements one after the other; the last one is `None` if the octets are not DER.
fn elements(mut octets: &[u8]) -> impl Iterator<Item = Option<Element<'_>>> {
    std::iter::from_fn(move || {
        let [tag, rest @ ..] = octets else { return None };
        let split = length(rest).and_then(|(len, rest)| rest.split_at_checked(len));
        let Some((inner, after)) = split else {
            octets = &[];
            return Some(None);
        };
        octets = after;
        Some(Some((*tag, inner)))
    })
}

/// A length of up to two octets (X.690, 8.1.3), and what follows it.
fn length(octets: &[u8]) -> Option<(usize, &[u8])> {
    match octets {
        [len @ ..=0x7f, rest @ ..] => Some((usize::from(*len), rest)),
        [0x81, len, rest @ ..] => Some((usize::from(*len), rest)),
        [0x82, high, low, rest @ ..] => Some((usize::from(u16::from_be_bytes([*high, *low])), rest)),
        _ => None,
    }
}

/// A string in any of the alphabets that names are written in.
fn text((tag, octets): Element<'_>) -> Option<Cow<'_, str>> {
    let wide = |size: usize| {
        let sign =
            |sign: &[u8]| char::from_u32(sign.iter().fold(0, |sum, octet| (sum << 8) | u32::from(*octet)));
        octets
            .len()
            .is_multiple_of(size)
            .then(|| octets.chunks(size).map(sign).collect::<Option<String>>())?
    };
    match tag {
        UTF8_STRING | PRINTABLE_STRING | IA5_STRING => std::str::from_utf8(octets).ok().map(Cow::Borrowed),
        TELETEX_STRING => Some(octets.iter().map(|octet| char::from(*octet)).collect()),
        BMP_STRING => wide(2).map(Cow::Owned),
        UNIVERSAL_STRING => wide(4).map(Cow::Owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    fn certificate(names: &[(DnType, DnValue)], alternative: &[&str]) -> CertificateDer<'static> {
        let alternative: Vec<String> = alternative.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(alternative).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.to_owned())
    }

    #[test]
    fn a_subject_is_written_as_rabbitmq_writes_it() {
        let names = [
            (DnType::CountryName, DnValue::PrintableString("DE".try_into().unwrap())),
            (DnType::OrganizationName, utf8("Acme, Inc")),
            (DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]), utf8("a@b")),
            (DnType::CustomDnType(vec![2, 999, 3]), utf8("x")),
            (DnType::CommonName, utf8(" wörker#")),
        ];
        let user = named(&certificate(&names, &[]), LoginFrom::DistinguishedName);
        let expected = "CN=\\ w\\C3\\B6rker#,2.999.3=x,EMAILADDRESS=a@b,O=Acme\\, Inc,C=DE";
        assert_eq!(user.as_deref(), Some(expected));
    }

    #[test]
    fn a_common_name_is_written_as_it_is() {
        let names = [(DnType::OrganizationName, utf8("o")), (DnType::CommonName, utf8("w+ö"))];
        assert_eq!(named(&certificate(&names, &[]), LoginFrom::CommonName).as_deref(), Some("w+ö"));
        let none = [(DnType::OrganizationName, utf8("o"))];
        assert_eq!(named(&certificate(&none, &[]), LoginFrom::CommonName), None);
        assert_eq!(
            named(&certificate(&[], &[]), LoginFrom::DistinguishedName),
            None,
            "an empty name is nobody's"
        );
    }

    #[test]
    fn the_first_dns_name_is_taken_of_the_alternative_names() {
        let certificate = certificate(&[], &["10.0.0.1", "a.example", "b.example"]);
        assert_eq!(named(&certificate, LoginFrom::SubjectAlternativeName).as_deref(), Some("a.example"));
    }

    #[test]
    fn strings_of_wide_alphabets_are_read() {
        assert_eq!(text((BMP_STRING, b"\x00a\x03\xbb")).as_deref(), Some("aλ"));
        assert_eq!(text((UNIVERSAL_STRING, b"\x00\x00\x03\xbb")).as_deref(), Some("λ"));
        assert_eq!(text((TELETEX_STRING, b"\xe9")).as_deref(), Some("é"));
        assert_eq!(text((BMP_STRING, b"\x00a\x03")), None);
    }

    #[test]
    fn what_is_no_subject_names_nobody() {
        for octets in
            [&b"\x31"[..], b"\x31\x05\x00", b"\x30\x00", b"\x31\x02\x30\x00", b"\x31\x84\xff\xff\xff\xff"]
        {
            assert_eq!(distinguished_name(octets), None, "{octets:?}");
            assert_eq!(common_names(octets), None, "{octets:?}");
        }
    }
}
