//! Subjects: words between dots, `*` for any one word, `>` at the end for one or more.

/// Whether it can be subscribed to: no word is empty, and `>` stands at the end only.
#[must_use]
pub fn is_valid(subject: &[u8]) -> bool {
    let mut words = subject.split(|byte| *byte == b'.').peekable();
    while let Some(word) = words.next() {
        if word.is_empty() || (word == b">" && words.peek().is_some()) {
            return false;
        }
    }
    true
}

/// Whether it is valid and has no wildcard as a word.
#[must_use]
pub fn is_literal(subject: &[u8]) -> bool {
    subject.split(|byte| *byte == b'.').all(|word| !word.is_empty() && word != b"*" && word != b">")
}

/// Whether everything that `narrow` matches is matched by `wide` too. A literal is the narrowest: then this is whether it matches.
#[must_use]
pub fn is_subset(narrow: &[u8], wide: &[u8]) -> bool {
    let (mut narrow, mut wide) = (narrow.split(|byte| *byte == b'.'), wide.split(|byte| *byte == b'.'));
    loop {
        match (narrow.next(), wide.next()) {
            (None, None) => return true,
            (Some(_), Some(b">")) => return true,
            (Some(b">"), _) => return false,
            (Some(_), Some(b"*")) => {}
            (Some(word), Some(wanted)) if word == wanted && word != b"*" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_have_no_empty_words() {
        for subject in ["a", "a.b", "*", ">", "a.*.>", "a*.b>"] {
            assert!(is_valid(subject.as_bytes()), "{subject}");
        }
        for subject in ["", ".", "a.", ".a", "a..b", ">.a"] {
            assert!(!is_valid(subject.as_bytes()), "{subject}");
        }
        assert!(is_literal(b"a*.b>") && !is_literal(b"a.*") && !is_literal(b">"));
    }

    #[test]
    fn a_subset_is_matched_whatever_stands_for_its_wildcards() {
        for (narrow, wide, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.*", true),
            ("a.b", ">", true),
            ("a.*", "a.*", true),
            ("a.*", "a.>", true),
            ("a.>", "a.>", true),
            ("a.>", "a.*", false),
            ("a.*", "a.b", false),
            ("a", "a.>", false),
            ("a.b.c", "a.*", false),
            (">", "a.>", false),
        ] {
            assert_eq!(is_subset(narrow.as_bytes(), wide.as_bytes()), expected, "{narrow} in {wide}");
        }
    }
}
