//! A value as a layer gives it, and the ways to read it as a type. Called by the rows of `settings`; errors say what was
//! expected and fit after "`key`: ".

use super::{LogFormat, LoginFrom};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

/// A value of one key, from a file (typed) or from the environment and flags (text).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Text; in the environment and in flags everything is.
    Text(String),
    /// A TOML integer.
    Integer(i64),
    /// A TOML array of strings.
    List(Vec<String>),
    /// Anything else TOML has; its type's name.
    Other(&'static str),
}

impl Input {
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::List(_) => "an array",
            Self::Other(kind) => kind,
        }
    }

    /// Text that is not empty.
    pub(super) fn text(&self) -> Result<String, String> {
        match self {
            Self::Text(text) if text.is_empty() => Err("expected a string, found an empty one".into()),
            Self::Text(text) => Ok(text.clone()),
            other => Err(format!("expected a string, found {}", other.kind())),
        }
    }

    /// Text that may be empty.
    pub(super) fn any_text(&self) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            other => Err(format!("expected a string, found {}", other.kind())),
        }
    }

    /// "yes" or "no".
    pub(super) fn yes_no(&self) -> Result<bool, String> {
        match self.any_text()?.as_str() {
            "yes" => Ok(true),
            "no" => Ok(false),
            other => Err(format!("expected \"yes\" or \"no\", found \"{other}\"")),
        }
    }

    /// A list of words; as text they are separated by commas.
    pub(super) fn words(&self) -> Result<Vec<String>, String> {
        match self {
            Self::List(words) => Ok(words.clone()),
            Self::Text(text) => Ok(text
                .split(',')
                .map(str::trim)
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect()),
            other => Err(format!("expected an array of strings, found {}", other.kind())),
        }
    }

    /// A whole number in a range.
    pub(super) fn number<N>(&self, range: RangeInclusive<u64>) -> Result<N, String>
    where
        N: TryFrom<u64>,
    {
        let number = match self {
            Self::Integer(number) => i128::from(*number),
            Self::Text(text) => {
                text.trim().parse::<i128>().map_err(|_| format!("expected an integer, found \"{text}\""))?
            }
            other => return Err(format!("expected an integer, found {}", other.kind())),
        };
        in_range(number, &range, |n| n.to_string())
    }

    /// Like [`Self::number`]; 0 and `auto` stand for "the machine decides".
    pub(super) fn number_or_auto(&self, range: RangeInclusive<u64>) -> Result<Option<u16>, String> {
        match self {
            Self::Text(text) if text == "auto" => Ok(None),
            Self::Integer(0) => Ok(None),
            other => other.number(range).map(Some),
        }
    }

    /// A size: bytes as a number, or text such as `128 MiB`.
    pub(super) fn size<N>(&self, range: RangeInclusive<u64>) -> Result<N, String>
    where
        N: TryFrom<u64>,
    {
        let bytes = match self {
            Self::Integer(number) => i128::from(*number),
            Self::Text(text) => i128::from(size(text).ok_or_else(|| {
                format!(
                    "expected bytes as a number or as in \"128 MiB\" (B, KiB, MiB, GiB), found \"{text}\""
                )
            })?),
            other => return Err(format!("expected a size, found {}", other.kind())),
        };
        in_range(bytes, &range, size_shown)
    }

    /// An address to listen on: `address:port`, `:port` for all addresses, `off` for none.
    pub(super) fn address(&self) -> Result<Option<SocketAddr>, String> {
        let text = self.text()?;
        if text == "off" {
            return Ok(None);
        }
        if let Some(port) = text.strip_prefix(':').and_then(|port| port.parse().ok()) {
            return Ok(Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))));
        }
        let plain = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let address = plain.as_ref().unwrap_or(&text).parse();
        address.map(Some).map_err(|_| {
            format!("expected \"address:port\", \":port\" for all addresses, or \"off\", found \"{text}\"")
        })
    }

    /// Whether clients may come without a certificate.
    pub(super) fn client_certificates(&self) -> Result<bool, String> {
        match self.text()?.as_str() {
            "required" => Ok(false),
            "accepted" => Ok(true),
            other => Err(format!("expected \"required\" or \"accepted\", found \"{other}\"")),
        }
    }

    /// What of a certificate names a user.
    pub(super) fn login_from(&self) -> Result<Option<LoginFrom>, String> {
        let text = self.text()?;
        let known = LoginFrom::ALL.into_iter().find(|from| from.word() == text);
        if known.is_some() || text == "off" {
            return Ok(known);
        }
        let words = LoginFrom::ALL.map(|from| format!("\"{}\"", from.word())).join(", ");
        Err(format!("expected {words} or \"off\", found \"{text}\""))
    }

    /// How log lines look.
    pub(super) fn log_format(&self) -> Result<LogFormat, String> {
        match self.text()?.as_str() {
            "auto" => Ok(LogFormat::Auto),
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(format!("expected \"auto\", \"text\" or \"json\", found \"{other}\"")),
        }
    }
}

fn in_range<N: TryFrom<u64>>(
    number: i128,
    range: &RangeInclusive<u64>,
    shown: impl Fn(u64) -> String,
) -> Result<N, String> {
    let fits = u64::try_from(number).ok().filter(|number| range.contains(number));
    fits.and_then(|number| N::try_from(number).ok())
        .ok_or_else(|| format!("{number} is not in {} – {}", shown(*range.start()), shown(*range.end())))
}

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| text.strip_suffix(name).map(|digits| (digits, *unit)))
        .unwrap_or((text, 1));
    digits.trim_end().parse::<u64>().ok()?.checked_mul(unit)
}

/// The shortest exact way to write a size.
pub(super) fn size_shown(bytes: u64) -> String {
    match UNITS.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_with_their_units() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("1 KiB", 1024), ("128MiB", 128 << 20), ("8 GiB", 8 << 30)]
        {
            assert_eq!(size(text), Some(bytes), "{text}");
            assert_eq!(size(&size_shown(bytes)), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "1.5 MiB", "-1", "1 MB", "99999999999 GiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_beyond_their_range_or_type_are_refused() {
        assert_eq!(Input::Integer(7).number::<u16>(1..=9), Ok(7));
        assert_eq!(Input::Text(" 7 ".into()).number::<u16>(1..=9), Ok(7));
        for input in
            [Input::Integer(-1), Input::Integer(10), Input::Text("10".into()), Input::Integer(i64::MAX)]
        {
            let error = input.number::<u16>(1..=9).unwrap_err();
            assert!(error.ends_with("is not in 1 – 9"), "{error}");
        }
    }

    #[test]
    fn addresses_have_short_forms() {
        let address = |text: &str| Input::Text(text.into()).address();
        assert_eq!(address("off"), Ok(None));
        assert_eq!(address(":5672"), Ok(Some("0.0.0.0:5672".parse().unwrap())));
        assert_eq!(address("localhost:1"), Ok(Some("127.0.0.1:1".parse().unwrap())));
        assert_eq!(address("[::1]:5672"), Ok(Some("[::1]:5672".parse().unwrap())));
        for text in ["5672", "example.org:5672", ":70000", ""] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
