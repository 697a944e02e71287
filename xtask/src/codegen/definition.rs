//! A message definition as Kafka writes it: JSON with `//` comments.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

/// One request or response.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Definition {
    pub(super) api_key: i16,
    pub(super) name: String,
    pub(super) valid_versions: String,
    pub(super) flexible_versions: String,
    #[serde(default)]
    pub(super) latest_version_unstable: bool,
    pub(super) fields: Vec<Field>,
    #[serde(default)]
    pub(super) common_structs: Vec<Field>,
}

/// One field, or a structure that several fields share.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Field {
    pub(super) name: String,
    #[serde(default, rename = "type")]
    pub(super) of: String,
    #[serde(default)]
    pub(super) versions: String,
    pub(super) nullable_versions: Option<String>,
    pub(super) tagged_versions: Option<String>,
    pub(super) tag: Option<u32>,
    pub(super) default: Option<Value>,
    pub(super) flexible_versions: Option<String>,
    #[serde(default)]
    pub(super) fields: Vec<Field>,
}

/// A range of versions, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Versions {
    pub(super) first: i16,
    pub(super) last: i16,
}

impl Definition {
    pub(super) fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(&without_comments(text)).context("read it as JSON")
    }

    /// The versions that are stable.
    pub(super) fn stable(&self) -> Result<Versions> {
        let valid = Versions::parse(&self.valid_versions)?.context("find a valid version")?;
        Ok(Versions { last: valid.last - i16::from(self.latest_version_unstable), ..valid })
    }
}

impl Versions {
    /// `3`, `3+`, `3-5` or `none`.
    pub(super) fn parse(text: &str) -> Result<Option<Self>> {
        let number =
            |text: &str| text.trim().parse::<i16>().with_context(|| format!("read version {text:?}"));
        Ok(match text {
            "none" => None,
            _ => Some(match (text.strip_suffix('+'), text.split_once('-')) {
                (Some(first), _) => Self { first: number(first)?, last: i16::MAX },
                (None, Some((first, last))) => Self { first: number(first)?, last: number(last)? },
                (None, None) => Self { first: number(text)?, last: number(text)? },
            }),
        })
    }

    /// The versions in both.
    pub(super) fn within(self, other: Self) -> Option<Self> {
        let both = Self { first: self.first.max(other.first), last: self.last.min(other.last) };
        (both.first <= both.last).then_some(both)
    }

    /// As a Rust range of what `valid` leaves open; `None` if that is all.
    pub(super) fn range(self, valid: Self) -> Option<String> {
        match (self.first <= valid.first, self.last >= valid.last) {
            (true, true) => None,
            (true, false) => Some(format!("..={}", self.last)),
            (false, true) => Some(format!("{}..", self.first)),
            (false, false) => Some(format!("{}..={}", self.first, self.last)),
        }
    }
}

/// The text without `//` comments outside strings.
fn without_comments(text: &str) -> String {
    text.lines().map(without_comment).collect::<Vec<_>>().join("\n")
}

fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match c {
            '"' if before != '\\' => quoted = !quoted,
            '/' if before == '/' && !quoted => return &line[..at - 1],
            _ => {}
        }
        before = c;
    }
    line
}

impl Field {
    /// What the generator does not do must not be met unnoticed.
    pub(super) fn check(&self) -> Result<()> {
        if self.flexible_versions.is_some() {
            bail!("{} has flexible versions of its own", self.name);
        }
        if self.tag.is_some() != self.tagged_versions.is_some() {
            bail!("{} has a tag without versions, or the reverse", self.name);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_end_lines_but_not_strings() {
        assert_eq!(without_comment("a // b"), "a ");
        assert_eq!(without_comment(r#""see http://x" // y"#), r#""see http://x" "#);
    }

    #[test]
    fn versions_are_ranges_within_what_is_valid() {
        let valid = Versions { first: 3, last: 13 };
        let range = |text: &str| {
            let versions = Versions::parse(text).unwrap().unwrap();
            versions.within(valid).map(|both| both.range(valid).unwrap_or_else(|| "all".to_owned()))
        };
        assert_eq!(range("0+").as_deref(), Some("all"));
        assert_eq!(range("5-9").as_deref(), Some("5..=9"));
        assert_eq!(range("0-12").as_deref(), Some("..=12"));
        assert_eq!(range("13").as_deref(), Some("13.."));
        assert_eq!(range("0-2"), None);
        assert_eq!(Versions::parse("none").unwrap(), None);
    }
}
