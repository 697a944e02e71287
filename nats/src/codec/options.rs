//! What a client says of itself: the JSON of CONNECT.
//!
//! What is left out or null has nats-server's default; what has another type than it should is a violation. Fields that nobody knows are
//! passed over, as nats-server does.

use serde_json::Value;

/// Longest text that is kept of what a client calls itself, bytes.
const NAME_BYTES_MAX: usize = 256;

/// The options, with nats-server's defaults.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// Every command is answered by `+OK`.
    pub verbose: bool,
    /// Subjects of publishes are checked.
    pub pedantic: bool,
    /// The client hears what it publishes itself.
    pub echo: bool,
    /// It understands headers.
    pub headers: bool,
    /// It wants to be told when nobody hears its requests.
    pub no_responders: bool,
    /// 1: it takes further INFOs.
    pub protocol: i64,
    /// What it calls the connection.
    pub name: String,
    /// Its library's language.
    pub lang: String,
    /// Its library's version.
    pub version: String,
    /// User name.
    pub user: Option<String>,
    /// Password.
    pub pass: Option<String>,
    /// Token.
    pub auth_token: Option<String>,
    /// Public key.
    pub nkey: Option<String>,
    /// Signature of the nonce, base64.
    pub sig: Option<String>,
    /// A user's JWT.
    pub jwt: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            verbose: true,
            pedantic: true,
            echo: true,
            headers: false,
            no_responders: false,
            protocol: 0,
            name: String::new(),
            lang: String::new(),
            version: String::new(),
            user: None,
            pass: None,
            auth_token: None,
            nkey: None,
            sig: None,
            jwt: None,
        }
    }
}

/// It is no JSON object, or a field has the wrong type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Options {
    /// Reads the arguments of CONNECT, as Go does: names in any case, `null` for nothing, octets that are no letters as such.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(json: &[u8]) -> Result<Self, Malformed> {
        let fields = match serde_json::from_str(&String::from_utf8_lossy(json)) {
            Ok(Value::Object(fields)) => fields,
            Ok(Value::Null) => return Ok(Self::default()),
            Ok(_) | Err(_) => return Err(Malformed),
        };
        let mut options = Self::default();
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            let flag = || value.as_bool().ok_or(Malformed);
            let text = || value.as_str().map(str::to_owned).ok_or(Malformed);
            let secret = || text().map(|text| Some(text).filter(|text| !text.is_empty()));
            let short = || value.as_str().map(shortened).ok_or(Malformed);
            match name.to_ascii_lowercase().as_str() {
                "verbose" => options.verbose = flag()?,
                "pedantic" => options.pedantic = flag()?,
                "echo" => options.echo = flag()?,
                "headers" => options.headers = flag()?,
                "no_responders" => options.no_responders = flag()?,
                "protocol" => options.protocol = value.as_i64().ok_or(Malformed)?,
                "name" => options.name = short()?,
                "lang" => options.lang = short()?,
                "version" => options.version = short()?,
                "user" => options.user = secret()?,
                "pass" => options.pass = secret()?,
                "auth_token" => options.auth_token = secret()?,
                "nkey" => options.nkey = secret()?,
                "sig" => options.sig = secret()?,
                "jwt" => options.jwt = secret()?,
                // Whether TLS is spoken is seen.
                "tls_required" => _ = flag()?,
                _ => {}
            }
        }
        Ok(options)
    }
}

fn shortened(text: &str) -> String {
    let end = (0..=NAME_BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_or_null_has_its_default() {
        assert!(Options::read(b"{}") == Ok(Options::default()));
        let read =
            Options::read(br#"{"verbose":false,"name":null,"user":"","lang":"go","new":[1]}"#).unwrap();
        assert!(!read.verbose && read.pedantic && read.name.is_empty() && read.user.is_none());
        assert_eq!(read.lang, "go");
        assert!(Options::read(b"null") == Ok(Options::default()));
        assert!(!Options::read(br#"{"Verbose":false}"#).unwrap().verbose);
        assert_eq!(Options::read(b"{\"name\":\"a\xff\"}").unwrap().name, "a\u{fffd}");
    }

    #[test]
    fn wrong_types_and_things_that_are_no_objects_are_malformed() {
        for json in ["", "[]", "{", r#"{"verbose":"yes"}"#, r#"{"name":1}"#, r#"{"tls_required":1}"#] {
            assert!(Options::read(json.as_bytes()) == Err(Malformed), "{json}");
        }
    }

    #[test]
    fn a_long_name_is_cut_between_letters() {
        let json = format!(r#"{{"name":"{}"}}"#, "ä".repeat(200));
        assert_eq!(Options::read(json.as_bytes()).unwrap().name, "ä".repeat(128));
    }
}
