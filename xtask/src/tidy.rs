//! House rules that no compiler checks: every Rust file says what it is, no banned word, no dead link, no file too long.
//!
//! Called by `cargo xtask tidy` and by the suite. What is banned, and which long files are accepted, is data in `xtask/tidy.toml`.

mod header;
mod length;
mod link;
mod word;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::workspace::Workspace;

/// Where the rules stand; the file itself is exempt, since it must name what it bans.
const RULES: &str = "xtask/tidy.toml";

/// The content of `xtask/tidy.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    length: length::Rule,
    #[serde(rename = "word")]
    words: Vec<word::Rule>,
}

/// One text file of the repository.
struct Page {
    /// Relative to the root, with forward slashes.
    name: String,
    text: String,
}

impl Page {
    fn is(&self, extension: &str) -> bool {
        Path::new(&self.name).extension().is_some_and(|found| found == extension)
    }
}

/// Read every text file and hold it against the rules.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let rules = std::fs::read_to_string(workspace.path(RULES)).with_context(|| format!("read {RULES}"))?;
    let rules: Rules = toml::from_str(&rules).with_context(|| format!("understand {RULES}"))?;
    let files = workspace.files()?;
    let mut faults = Vec::new();
    let mut pages = 0;
    for file in files.iter().filter(|file| *file != Path::new(RULES)) {
        let Some(page) = page(workspace, file)? else { continue };
        pages += 1;
        header::check(&page, &mut faults);
        length::check(&page, &rules.length, &mut faults);
        word::check(&page, &rules.words, &mut faults);
        link::check(&page, |path| workspace.path(path).exists(), &mut faults);
    }
    length::check_list(&rules.length, |path| workspace.path(path).exists(), &mut faults);
    if !faults.is_empty() {
        bail!("{} things to tidy:\n  {}", faults.len(), faults.join("\n  "));
    }
    println!("tidy: {pages} files are as they should be");
    Ok(())
}

/// The file as text, or `None` when it is not text.
fn page(workspace: &Workspace, file: &PathBuf) -> Result<Option<Page>> {
    let bytes = std::fs::read(workspace.path(file)).with_context(|| format!("read {}", file.display()))?;
    Ok(String::from_utf8(bytes).ok().map(|text| Page { name: file.to_string_lossy().into_owned(), text }))
}
