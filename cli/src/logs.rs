//! `stele verify` and `stele dump-log`: a data directory, or one log of it, looked at while no broker runs on it; `stele truncate-log` and
//! `stele rebuild-manifest`: one log, mended as far as it can be. Exit code 1 if anything is damaged, and stays so.

use crate::say;
use anyhow::{Context as _, anyhow, ensure};
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Checks every byte in use.
pub(crate) fn verify(dir: &Path) -> anyhow::Result<ExitCode> {
    let mut clean = true;
    for log in logs(dir)? {
        let report = stele_log::verify(&log).map_err(|why| failed("verify", &log, &why))?;
        clean &= report.is_clean();
        say(&format!("{}: {report}\n", log.display()))?;
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints every block.
pub(crate) fn dump(dir: &Path) -> anyhow::Result<ExitCode> {
    let mut clean = true;
    for log in logs(dir)? {
        let mut out = io::BufWriter::new(io::stdout().lock());
        writeln!(out, "{}:", log.display())?;
        let report = stele_log::dump(&log, &mut out).map_err(|why| failed("print", &log, &why))?;
        out.flush()?;
        clean &= report.is_clean();
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says what a cut would take away, or cuts.
pub(crate) fn truncate(dir: &Path, from: Option<u64>) -> anyhow::Result<ExitCode> {
    is_one_log(dir)?;
    if let Some(from) = from {
        let cut = stele_log::cut(dir, from).map_err(|why| failed("truncate", dir, &why))?;
        say(&format!("{cut}\nthis was done\n"))?;
        return verify(dir);
    }
    let Some(cut) = stele_log::plan_cut(dir).map_err(|why| failed("truncate", dir, &why))? else {
        say("replay reads the whole log: there is nothing to cut (`stele verify` looks at the rest)\n")?;
        return Ok(ExitCode::SUCCESS);
    };
    say(&format!(
        "{cut}\nnothing was changed; copy the directory, then say --cut-from-block {} to do it\n",
        cut.from
    ))?;
    Ok(ExitCode::FAILURE)
}

/// Makes a manifest again, and checks the log by it.
pub(crate) fn rebuild(dir: &Path) -> anyhow::Result<ExitCode> {
    is_one_log(dir)?;
    let rebuilt =
        stele_log::rebuild_manifest(dir).map_err(|why| failed("rebuild the manifest of", dir, &why))?;
    say(&format!("{rebuilt}\n"))?;
    verify(dir)
}

/// What the log says, which names its own causes.
fn failed(verb: &str, log: &Path, why: &dyn fmt::Display) -> anyhow::Error {
    anyhow!("could not {verb} {}: {why}", log.display())
}

/// What changes a log takes one at a time.
fn is_one_log(dir: &Path) -> anyhow::Result<()> {
    let logs = logs(dir)?;
    let names: Vec<_> = logs.iter().map(|log| log.display().to_string()).collect();
    ensure!(
        logs == [dir],
        "{} is a data directory; say which of its logs: {}",
        dir.display(),
        names.join(", ")
    );
    Ok(())
}

/// The logs of a data directory, the registry's first; or `dir` itself, if it is a log.
fn logs(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let what = || format!("could not read the directory {}", dir.display());
    let mut logs = Vec::new();
    for entry in fs::read_dir(dir).with_context(what)? {
        let path = entry.with_context(what)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && (name == "registry" || name.starts_with("shard-")) {
            // By number, not by letter: shard-10 comes after shard-9.
            let number = name.strip_prefix("shard-").map(|number| number.parse::<u32>().unwrap_or(u32::MAX));
            logs.push((number, path));
        }
    }
    logs.sort();
    if logs.is_empty() {
        return Ok(vec![dir.to_owned()]);
    }
    Ok(logs.into_iter().map(|(_, path)| path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logs_of_a_data_directory_come_in_order_and_a_log_stands_for_itself() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(logs(dir.path()).unwrap(), [dir.path()]);
        for name in ["shard-10", "shard-9", "registry", "other"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let names: Vec<_> =
            logs(dir.path()).unwrap().iter().map(|log| log.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["registry", "shard-9", "shard-10"]);
        let refused = is_one_log(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("say which of its logs") && refused.ends_with("shard-10"), "{refused}");
    }
}
