//! Words that must not be written, each with the reason that is shown to whoever wrote it.

use serde::Deserialize;

use super::Page;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    /// Found as a whole: no letter, digit or underscore may touch it on a side where it has one itself.
    text: String,
    why: String,
    /// Only files whose path starts with one of these; empty means all.
    #[serde(default)]
    only: Vec<String>,
    /// Files whose path starts or ends with one of these may say it.
    #[serde(default)]
    except: Vec<String>,
    /// Lines that hold one of these may say it.
    #[serde(default)]
    unless: Vec<String>,
}

impl Rule {
    fn hits(&self, line: &str) -> bool {
        holds(line, &self.text) && !self.unless.iter().any(|part| line.contains(part.as_str()))
    }

    fn concerns(&self, page: &Page) -> bool {
        let starts = |prefix: &String| page.name.starts_with(prefix.as_str());
        let excepted = self
            .except
            .iter()
            .any(|part| page.name.starts_with(part.as_str()) || page.name.ends_with(part.as_str()));
        (self.only.is_empty() || self.only.iter().any(starts)) && !excepted
    }
}

pub(super) fn check(page: &Page, rules: &[Rule], faults: &mut Vec<String>) {
    for rule in rules.iter().filter(|rule| rule.concerns(page)) {
        for (number, line) in page.text.lines().enumerate().filter(|(_, line)| rule.hits(line)) {
            let shown: String = line.trim().chars().take(80).collect();
            faults.push(format!("{}:{}: {:?}: {} ({shown})", page.name, number + 1, rule.text, rule.why));
        }
    }
}

fn holds(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let open_left = !word.starts_with(part) || !before.is_some_and(part);
        let open_right = !word.ends_with(char::is_alphanumeric) || !after.is_some_and(part);
        // A path is absolute only if nothing stands before it.
        let absolute =
            !word.starts_with('/') || !before.is_some_and(|c| part(c) || matches!(c, '.' | '-' | '}' | ')'));
        open_left && open_right && absolute
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_as_a_whole() {
        assert!(holds("a later: do it", "later"));
        assert!(!holds("collateral", "later"));
        assert!(!holds("later_on", "later"));
    }

    #[test]
    fn a_path_is_banned_only_where_it_begins() {
        assert!(holds("see /srv/x", "/srv/"));
        assert!(!holds("see ./srv/x and a/srv/x", "/srv/"));
    }

    #[test]
    fn a_prefix_ends_open() {
        assert!(holds("fn old_name()", "fn old_"));
        assert!(!holds("fn bold_name()", "fn old_"));
    }
}
