//! Running other programs so that a failure names the command that failed.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Lines of standard error that a failure carries.
const LAST_WORDS_LINES: usize = 12;
/// How long the rest of a child's standard error is waited for after its end.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(2);

/// Run to the end, passing output on; anything but success is an error that carries the end of its standard error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let mut child =
        command.stderr(Stdio::piped()).spawn().with_context(|| format!("start {}", shown(command)))?;
    let errors = child.stderr.take().context("take the standard error of a child")?;
    let (done, passed_on) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(pass_on(BufReader::new(errors))));
    let status = child.wait()?;
    // Something that the child left running may hold its standard error open: it is not waited for.
    let last_words = passed_on.recv_timeout(OUTPUT_PATIENCE).unwrap_or_else(|_| Ok(String::new()))?;
    if !status.success() {
        bail!("{} ended with {status}\n{last_words}", shown(command));
    }
    Ok(())
}

/// Copies to our own standard error until the end; the last lines.
fn pass_on(mut errors: impl BufRead) -> Result<String> {
    let (mut last, mut line) = (VecDeque::new(), Vec::new());
    while errors.read_until(b'\n', &mut line)? > 0 {
        std::io::stderr().write_all(&line)?;
        if last.len() == LAST_WORDS_LINES {
            last.pop_front();
        }
        last.push_back(String::from_utf8_lossy(&line).into_owned());
        line.clear();
    }
    Ok(last.into_iter().collect())
}

/// Run to the end and take what it printed; anything but success is an error that carries its standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {}", shown(command)))?;
    if !output.status.success() {
        bail!(
            "{} ended with {}: {}",
            shown(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("read the output of {} as text", shown(command)))
}

/// The command as a person would type it, near enough to be tried by hand.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
