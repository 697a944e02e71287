//! `cargo xtask codegen kafka`: Kafka's message definitions, as published inside the kafka-clients package, become the tables in
//! `kafka/src/codec/generated`.
//!
//! The tables are committed, the definitions are not: they are fetched with Maven's own client into the build folder. The
//! command needs the network the first time, so it is no step of the suite; with `--check` it changes nothing and fails if the
//! committed tables are not what it would write.

mod definition;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::command;
use crate::workspace::Workspace;
use definition::Definition;

/// The version whose definitions are taken.
const KAFKA: &str = "4.3.1";
const OUTPUT: &str = "kafka/src/codec/generated";

/// The APIs that the dialect has messages for, in the order of their keys.
const APIS: &[&str] = &[
    "Produce",
    "Fetch",
    "ListOffsets",
    "Metadata",
    "OffsetCommit",
    "OffsetFetch",
    "FindCoordinator",
    "JoinGroup",
    "Heartbeat",
    "LeaveGroup",
    "SyncGroup",
    "DescribeGroups",
    "ListGroups",
    "SaslHandshake",
    "ApiVersions",
    "CreateTopics",
    "DeleteTopics",
    "DeleteRecords",
    "InitProducerId",
    "OffsetForLeaderEpoch",
    "DescribeAcls",
    "CreateAcls",
    "DeleteAcls",
    "DescribeConfigs",
    "AlterConfigs",
    "DescribeLogDirs",
    "SaslAuthenticate",
    "CreatePartitions",
    "DeleteGroups",
    "IncrementalAlterConfigs",
    "OffsetDelete",
    "DescribeUserScramCredentials",
    "AlterUserScramCredentials",
    "DescribeCluster",
    "DescribeProducers",
    "ListConfigResources",
    "DescribeTopicPartitions",
];

/// What is generated, and whether it is written.
#[derive(Args)]
pub(crate) struct Options {
    /// Which dialect's code.
    dialect: Dialect,
    /// Write nothing; fail if something would change.
    #[arg(long)]
    check: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dialect {
    Kafka,
}

/// Generate, or compare.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let Dialect::Kafka = options.dialect;
    let definitions = fetch(workspace)?;
    let files = generate(&definitions)?;
    if options.check {
        return compare(workspace, &files);
    }
    let folder = workspace.path(OUTPUT);
    std::fs::create_dir_all(&folder).with_context(|| format!("make {OUTPUT}"))?;
    for (name, text) in &files {
        let path = workspace.path(name);
        std::fs::write(&path, text).with_context(|| format!("write {name}"))?;
    }
    for stale in stale(workspace, &files)? {
        std::fs::remove_file(&stale).with_context(|| format!("remove {}", stale.display()))?;
    }
    println!("codegen: {} files from the definitions of Kafka {KAFKA}", files.len());
    Ok(())
}

/// The folder with the definitions; fetched unless it is there.
fn fetch(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target(format!("kafka-definitions-{KAFKA}"));
    let messages = folder.join("common/message");
    if !messages.is_dir() {
        let artifact = format!("-Dartifact=org.apache.kafka:kafka-clients:{KAFKA}");
        let output = format!("-DoutputDirectory={}", folder.display());
        // In a folder of its own: without a project the plugin leaves a folder of marks where it is started.
        std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        command::run(workspace.command("mvn").current_dir(&folder).args([
            "-q",
            "-B",
            "dependency:unpack",
            &artifact,
            &output,
            "-Dmdep.unpack.includes=common/message/*.json",
        ]))?;
    }
    Ok(messages)
}

/// The files by their path from the root.
fn generate(definitions: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let mut apis = Vec::new();
    for name in APIS {
        let read = |kind: &str| -> Result<Definition> {
            let path = definitions.join(format!("{name}{kind}.json"));
            let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            Definition::parse(&text).with_context(|| format!("understand {}", path.display()))
        };
        let (request, response) = (read("Request")?, read("Response")?);
        let api = table::Api::new(name, request, response)?;
        files.insert(format!("{OUTPUT}/{}.rs", api.module()), api.text(KAFKA)?);
        apis.push(api);
    }
    apis.sort_by_key(table::Api::key);
    files.insert(format!("{OUTPUT}.rs"), table::index(&apis, KAFKA));
    Ok(files)
}

fn compare(workspace: &Workspace, files: &BTreeMap<String, String>) -> Result<()> {
    let differs = |(name, text): &(&String, &String)| {
        std::fs::read_to_string(workspace.path(name)).ok().as_ref() != Some(*text)
    };
    let mut faults: Vec<String> = files.iter().filter(differs).map(|(name, _)| name.clone()).collect();
    faults.extend(stale(workspace, files)?.iter().map(|path| path.display().to_string()));
    if !faults.is_empty() {
        bail!("not as generated:\n  {}", faults.join("\n  "));
    }
    println!("codegen: {} files are as generated from the definitions of Kafka {KAFKA}", files.len());
    Ok(())
}

/// Files in the folder that nothing generates any more.
fn stale(workspace: &Workspace, files: &BTreeMap<String, String>) -> Result<Vec<PathBuf>> {
    let mut stale = Vec::new();
    for entry in std::fs::read_dir(workspace.path(OUTPUT)).with_context(|| format!("list {OUTPUT}"))? {
        let name = entry?.file_name();
        if !files.contains_key(&format!("{OUTPUT}/{}", name.to_string_lossy())) {
            stale.push(workspace.path(OUTPUT).join(name));
        }
    }
    Ok(stale)
}
