//! Every Rust file starts with `//!`: what it is, who calls it, what must hold, what is deliberately not there.

use super::Page;

pub(super) fn check(page: &Page, faults: &mut Vec<String>) {
    if page.is("rs") && !page.text.starts_with("//! ") {
        faults.push(format!("{}:1: a file starts with `//! ` and a sentence on what it is", page.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(name: &str, text: &str) -> usize {
        let mut faults = Vec::new();
        check(&Page { name: name.into(), text: text.into() }, &mut faults);
        faults.len()
    }

    #[test]
    fn a_rust_file_without_a_header_is_named() {
        assert_eq!(faults("a.rs", "use std::fs;"), 1);
        assert_eq!(faults("a.rs", "//! What it is.\n"), 0);
        assert_eq!(faults("a.py", "import os"), 0);
    }
}
