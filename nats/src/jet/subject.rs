//! What can be said of subjects and patterns without any state: whether they are possible, overlap, or contain each other.
//!
//! Called by the checks of stream and consumer configurations. Matching publishes against interest is the hub's, not done here.

/// Whether this can be subscribed to: tokens that are not empty and have no white space, `>` only as the last one.
#[must_use]
pub fn is_valid(subject: &str) -> bool {
    let mut tokens = subject.split('.').peekable();
    while let Some(token) = tokens.next() {
        let white = token.bytes().any(|octet| matches!(octet, b' ' | b'\t' | b'\n' | b'\r' | 0x0c));
        if token.is_empty() || white || (token == ">" && tokens.peek().is_some()) {
            return false;
        }
    }
    true
}

/// Whether it has no wildcard.
#[must_use]
pub fn is_literal(subject: &str) -> bool {
    !subject.split('.').any(|token| token == "*" || token == ">")
}

/// Whether this can be published to.
#[must_use]
pub fn is_publishable(subject: &str) -> bool {
    is_valid(subject) && is_literal(subject)
}

/// Whether some subject matches both patterns.
#[must_use]
pub fn collide(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some("*"), Some(_)) | (Some(_), Some("*")) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

/// Whether every subject that matches `part` matches `whole`.
#[must_use]
pub fn contains(whole: &str, part: &str) -> bool {
    let (mut whole, mut part) = (whole.split('.'), part.split('.'));
    loop {
        match (whole.next(), part.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) => return true,
            (_, Some(">")) => return false,
            (Some("*"), Some(_)) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

/// Longest name of a stream or consumer, octets.
pub const NAME_BYTES_MAX: usize = 255;

/// Whether a stream or consumer may be called so: it must be one token of a subject, and no part of a path.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let forbidden = |c: char| matches!(c, '.' | '*' | '>' | ' ' | '\t' | '\n' | '\r' | '\u{c}' | '/' | '\\');
    !name.is_empty() && !name.contains(forbidden)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Whether a subject matches a pattern, spelt out.
    fn matches(pattern: &[&str], subject: &[&str]) -> bool {
        match (pattern.split_first(), subject.split_first()) {
            (None, None) => true,
            (Some((&">", [])), Some(_)) => true,
            (Some((token, pattern)), Some((word, subject))) => {
                (*token == "*" || token == word) && matches(pattern, subject)
            }
            _ => false,
        }
    }

    /// All subjects of up to four tokens of an alphabet of two and one word that no pattern names.
    fn subjects() -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..4 {
            last = last
                .iter()
                .flat_map(|front| {
                    ["a", "b", "z"].map(|word| {
                        if front.is_empty() { word.to_owned() } else { format!("{front}.{word}") }
                    })
                })
                .collect();
            all.extend(last.clone());
        }
        all.retain(|subject| !subject.is_empty());
        all
    }

    fn pattern() -> impl Strategy<Value = String> {
        let words = proptest::collection::vec(proptest::sample::select(vec!["a", "b", "*"]), 0..3);
        (words, any::<bool>()).prop_filter_map("not empty", |(mut words, rest)| {
            if rest {
                words.push(">");
            }
            (!words.is_empty()).then(|| words.join("."))
        })
    }

    proptest! {
        #[test]
        fn patterns_collide_if_a_subject_matches_both(one in pattern(), other in pattern()) {
            let split = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
            let (a, b) = (split(&one), split(&other));
            let is = |pattern: &[String], subject: &str| {
                let pattern: Vec<&str> = pattern.iter().map(String::as_str).collect();
                matches(&pattern, &subject.split('.').collect::<Vec<_>>())
            };
            let all = subjects();
            prop_assert_eq!(collide(&one, &other), all.iter().any(|s| is(&a, s) && is(&b, s)));
            prop_assert_eq!(contains(&one, &other), all.iter().all(|s| !is(&b, s) || is(&a, s)));
        }
    }

    #[test]
    fn subjects_are_tokens_between_points() {
        for good in ["a", "a.b", "a.*", ">", "a.>", "$JS.API", "a*.b"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", ">.a", "a b", "a.\tb"] {
            assert!(!is_valid(bad), "{bad}");
        }
        assert!(is_literal("a*.b") && !is_literal("a.*"));
        assert!(is_name("a-b_c") && !is_name("a.b") && !is_name("") && !is_name("a/b") && !is_name("a b"));
    }
}
