//! A relative link in a document leads to a file that exists.
//!
//! Links into the web and anchors inside a page are not followed.

use std::path::{Component, Path, PathBuf};

use super::Page;

pub(super) fn check(page: &Page, exists: impl Fn(&Path) -> bool, faults: &mut Vec<String>) {
    if !page.is("md") {
        return;
    }
    let mut fenced = false;
    for (number, line) in page.text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        for target in targets(line).filter(|_| !fenced) {
            let found = resolve(&page.name, target).is_some_and(|path| exists(&path));
            if !found {
                faults.push(format!("{}:{}: dead link to {target}", page.name, number + 1));
            }
        }
    }
}

/// What stands in the brackets of `](…)`, as far as it is a path; text between backticks is not a link.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let prose = line.split('`').step_by(2);
    prose.flat_map(|part| part.split("](").skip(1)).filter_map(|rest| {
        let target = rest.split([')', ' ', '#']).next()?;
        (!target.is_empty() && !target.contains("://") && !target.starts_with("mailto:")).then_some(target)
    })
}

/// The path from the root, or `None` if it leaves the repository.
fn resolve(page: &str, target: &str) -> Option<PathBuf> {
    let mut path = match target.strip_prefix('/') {
        Some(_) => PathBuf::new(),
        None => Path::new(page).parent()?.to_path_buf(),
    };
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => path.pop().then_some(())?,
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let there = ["docs/here.md", "README.md"].map(PathBuf::from);
        check(
            &Page { name: "docs/page.md".into(), text: text.into() },
            |path| there.iter().any(|known| known == path),
            &mut faults,
        );
        faults
    }

    #[test]
    fn a_link_is_followed_from_the_folder_of_its_page() {
        assert_eq!(
            faults("[a](here.md) [b](../README.md#top) [c](#below) [d](https://example.org/x)"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_dead_link_is_named_with_its_line() {
        assert_eq!(faults("fine\n[a](gone.md)"), ["docs/page.md:2: dead link to gone.md"]);
        assert_eq!(faults("[a](../../outside.md)").len(), 1);
    }

    #[test]
    fn code_is_not_a_link() {
        assert_eq!(faults("`v[i](gone.md)`\n```\n[a](gone.md)\n```"), Vec::<String>::new());
    }
}
