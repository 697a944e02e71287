//! What stands behind the question mark: `subs=1&limit=10`.

/// Names and values, as they came; percent signs stand for themselves but where they escape.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (unescaped(name), unescaped(value))
        };
        Self(text.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    /// The first value of a name; `None` also if it is empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Yes or no; no if it is not there.
    pub(super) fn truth(&self, name: &str) -> Result<bool, String> {
        match self.text(name) {
            None | Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(false),
            Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(true),
            Some(other) => Err(format!("error decoding boolean for '{name}': {other:?}")),
        }
    }

    /// A number; `default` if it is not there.
    pub(super) fn number(&self, name: &str, default: usize) -> Result<usize, String> {
        let wrong = |text: &str| format!("error decoding integer for '{name}': {text:?}");
        self.text(name).map_or(Ok(default), |text| text.parse().map_err(|_| wrong(text)))
    }
}

/// Escapes of a URL resolved; what is malformed stays as it is.
fn unescaped(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((byte, more)) = rest.split_first() {
        let hex = more.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *byte == b'%');
        bytes.push(escaped.unwrap_or(if *byte == b'+' { b' ' } else { *byte }));
        rest = if escaped.is_some() { &more[2..] } else { more };
    }
    String::from_utf8_lossy(&bytes).into_owned()
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
        assert!(Query::parse("limit=many").number("limit", 1).is_err());
        assert!(Query::parse("subs=maybe").truth("subs").is_err());
    }
}
