//! What stands behind the question mark of a monitoring endpoint: `subs=1&limit=10`, and how nats-server tells that it is wrong.
//!
//! Called by the monitoring port. What must hold: any text is read; nothing is refused before it is asked for.

/// Names and values, as they came; percent signs stand for themselves but where they escape.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads it.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (unescaped(name), unescaped(value))
        };
        Self(text.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    /// The first value of a name; `None` also if it is empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Yes or no; no if it is not there.
    ///
    /// # Errors
    /// Another word, in nats-server's words.
    pub fn truth(&self, name: &str) -> Result<bool, String> {
        match self.text(name) {
            None | Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(false),
            Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(true),
            Some(other) => Err(format!("error decoding boolean for '{name}': {other:?}")),
        }
    }

    /// A number; `default` if it is not there.
    ///
    /// # Errors
    /// Another word, in nats-server's words.
    pub fn number(&self, name: &str, default: usize) -> Result<usize, String> {
        let wrong = |text: &str| format!("error decoding integer for '{name}': {text:?}");
        self.text(name).map_or(Ok(default), |text| text.parse().map_err(|_| wrong(text)))
    }
}

/// Escapes of a URL resolved; what is malformed stays as it is.
fn unescaped(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((byte, more)) = rest.split_first() {
        let escaped = more.first_chunk::<2>().and_then(hex).filter(|_| *byte == b'%');
        bytes.push(escaped.unwrap_or(if *byte == b'+' { b' ' } else { *byte }));
        rest = if escaped.is_some() { &more[2..] } else { more };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The byte that two digits stand for.
fn hex(digits: &[u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? << 4 | low?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_names_and_escapes_resolved() {
        let query = Query::parse("subs=1&limit=10&acc=%24G&user=a+b&odd=%2&none=");
        assert_eq!(query.truth("subs"), Ok(true));
        assert_eq!(query.truth("auth"), Ok(false));
        assert_eq!(query.number("limit", 7), Ok(10));
        assert_eq!(query.number("offset", 7), Ok(7));
        assert_eq!(
            (query.text("acc"), query.text("user"), query.text("odd")),
            (Some("$G"), Some("a b"), Some("%2"))
        );
        assert_eq!(query.text("none"), None);
        assert_eq!(Query::parse("user=%+5").text("user"), Some("% 5"), "a sign is no digit");
        assert!(Query::parse("limit=many").number("limit", 1).is_err());
        assert!(Query::parse("subs=maybe").truth("subs").is_err());
    }
}
