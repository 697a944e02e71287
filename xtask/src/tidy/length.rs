//! A Rust file has at most so many lines, unless it is listed with its own bound.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Page;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    lines_max: usize,
    /// Files that may be longer (flat tables, generated code), each with its own bound in lines.
    #[serde(default)]
    longer: BTreeMap<String, usize>,
}

pub(super) fn check(page: &Page, rule: &Rule, faults: &mut Vec<String>) {
    if !page.is("rs") {
        return;
    }
    let lines = page.text.lines().count();
    let lines_max = rule.longer.get(&page.name).copied().unwrap_or(rule.lines_max);
    if lines > lines_max {
        faults.push(format!(
            "{}: {lines} lines, at most {lines_max}: look for the noun that wants its own file",
            page.name
        ));
    }
}

/// An exemption for a file that is gone is dead weight.
pub(super) fn check_list(rule: &Rule, exists: impl Fn(&str) -> bool, faults: &mut Vec<String>) {
    for name in rule.longer.keys().filter(|name| !exists(name)) {
        faults.push(format!("xtask/tidy.toml: {name} may be longer, but there is no such file"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_over_the_bound_is_named_unless_listed() {
        let rule = Rule { lines_max: 2, longer: BTreeMap::from([("b.rs".to_owned(), 3)]) };
        let count = |name: &str| {
            let mut faults = Vec::new();
            check(&Page { name: name.into(), text: "1\n2\n3\n".into() }, &rule, &mut faults);
            faults.len()
        };
        assert_eq!((count("a.rs"), count("b.rs"), count("a.md")), (1, 0, 0));
    }
}
