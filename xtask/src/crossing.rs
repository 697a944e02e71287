//! Records between the dialects: their clients, unmodified, send to each other through our own binary.
//!
//! Called by `cargo xtask conform-crossing` and by the suite. The script judges by itself and exits non-zero, since no other broker could be
//! asked; nothing here knows a record.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::broker::Subject;
use crate::command;
use crate::conform::Dialect;
use crate::provision;
use crate::workspace::Workspace;

/// What is run.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Only rows whose sentence has these words.
    #[arg(long)]
    only: Option<String>,
    /// Our own binary as it stands here, instead of a release binary that is built now.
    #[arg(long)]
    program: Option<PathBuf>,
}

/// As the command line says.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let subject = Subject::ours(workspace, Dialect::Kafka, options.program.as_deref())?;
    let Subject::Ours { broker, .. } = &subject else { bail!("our own broker is one that was started here") };
    let mut script = workspace.command(provision::python(workspace, provision::KAFKA)?);
    script.arg("-B").arg(workspace.path(provision::KAFKA).join("crossing"));
    script.args(["--bootstrap", &broker.kafka().to_string()]);
    script.args(["--url", &format!("amqp://guest:guest@127.0.0.1:{}/", broker.amqp().port())]);
    script.args(["--nats", &format!("nats://{}", broker.nats())]);
    if let Some(only) = &options.only {
        script.args(["--only", only]);
    }
    command::run(&mut script)
}
