//! Which crate may depend on which: the drawing of the hourglass as data, checked against what cargo reads.
//!
//! Called by `cargo xtask arrows` and by the suite. A crate without a row fails, so a new crate is placed on purpose. Development
//! dependencies count like others, except that any crate's tests may use the testkit.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::workspace::{Metadata, Workspace};

/// Each crate with the crates of ours that it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("stele-model", &[]),
    ("stele-record", &["stele-model"]),
    ("stele-log", &["stele-model"]),
    ("stele-core", &["stele-model", "stele-record"]),
    ("stele-hub", &["stele-model", "stele-record"]),
    ("stele-amqp091", &["stele-model", "stele-record"]),
    ("stele-kafka", &["stele-model", "stele-record"]),
    ("stele-nats", &["stele-model", "stele-record"]),
    (
        "stele-server",
        &[
            "stele-model",
            "stele-record",
            "stele-log",
            "stele-core",
            "stele-hub",
            "stele-amqp091",
            "stele-kafka",
            "stele-nats",
        ],
    ),
    // The bus shares no code with the broker; the binary carries its relay.
    ("stele-bus-relay", &[]),
    (
        "stelemq",
        &["stele-model", "stele-record", "stele-log", "stele-nats", "stele-server", "stele-bus-relay"],
    ),
    ("stele-sim", &["stele-model", "stele-record", "stele-log", "stele-core", "stele-hub", "stele-amqp091"]),
    // The bus knows brokers by their protocols alone: it is complete on any of them, and shares no code with this one.
    ("stele-bus-derive", &[]),
    ("stele-bus", &["stele-bus-derive"]),
    ("stele-bus-test", &["stele-bus"]),
    ("stele-bus-sql", &["stele-bus", "stele-bus-relay"]),
    // Uses the bus as any service would: by its public API.
    ("interop", &["stele-bus", "stele-bus-sql", "stele-bus-relay"]),
    ("shop", &["stele-bus", "stele-bus-sql", "stele-bus-relay", "stele-bus-test"]),
    // Its judge knows orders and messages only; the processes it kills are built of the bus.
    ("stele-bus-crash", &["stele-bus", "stele-bus-relay", "stele-bus-sql", "stele-testkit"]),
    // What judges the broker from outside must not share a mistake with it.
    ("stele-testkit", &[]),
    // It measures the bus's library, and knows nothing of the broker's.
    ("stele-bench", &["stele-bus", "stele-bus-relay", "stele-bus-sql", "stele-testkit"]),
    ("conform-lapin", &[]),
    ("conform-async-nats", &[]),
    // Starts and kills the binary as the drivers do.
    ("xtask", &["stele-testkit"]),
];

/// A test of any crate may use it.
const FOR_TESTS: &str = "stele-testkit";

/// Compare the workspace with the table.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let metadata = workspace.metadata()?;
    let faults = faults(&metadata, ARROWS);
    if !faults.is_empty() {
        bail!("arrows that must not be:\n  {}", faults.join("\n  "));
    }
    println!("arrows: {} crates depend on each other as drawn", metadata.packages.len());
    Ok(())
}

fn faults(metadata: &Metadata, table: &[(&str, &[&str])]) -> Vec<String> {
    let table: BTreeMap<&str, &[&str]> = table.iter().copied().collect();
    let mut faults = Vec::new();
    for package in &metadata.packages {
        let Some(allowed) = table.get(package.name.as_str()) else {
            faults.push(format!("{} has no row in xtask/src/arrows.rs: give it one", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| dependency.path.is_some()) {
            let in_tests = dependency.kind.as_deref() == Some("dev") && dependency.name == FOR_TESTS;
            if !in_tests && !allowed.contains(&dependency.name.as_str()) {
                faults.push(format!(
                    "{} -> {}: {} may depend on [{}]",
                    package.name,
                    dependency.name,
                    package.name,
                    allowed.join(", ")
                ));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{Dependency, Package};

    fn check(name: &str, dependency: &str, kind: Option<&str>) -> Vec<String> {
        let dependency = Dependency {
            name: dependency.into(),
            kind: kind.map(Into::into),
            path: Some("somewhere".into()),
        };
        let package = Package { name: name.into(), dependencies: vec![dependency] };
        faults(&Metadata { packages: vec![package] }, ARROWS)
    }

    #[test]
    fn a_drawn_arrow_passes() {
        assert_eq!(check("stele-hub", "stele-model", None), Vec::<String>::new());
    }

    #[test]
    fn a_dialect_that_sees_the_core_is_named() {
        let faults = check("stele-amqp091", "stele-core", None);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("stele-amqp091 -> stele-core"), "{faults:?}");
    }

    #[test]
    fn a_development_dependency_is_an_arrow_too() {
        assert_eq!(check("stele-core", "stele-log", Some("dev")).len(), 1);
        assert_eq!(check("stele-core", "stele-testkit", Some("dev")), Vec::<String>::new());
        assert_eq!(check("stele-core", "stele-testkit", None).len(), 1);
    }

    #[test]
    fn a_crate_without_a_row_is_named() {
        assert!(check("stele-new", "stele-model", None)[0].starts_with("stele-new has no row"));
    }

    #[test]
    fn the_table_only_points_at_crates_it_knows_and_has_no_cycle() {
        let mut done: Vec<&str> = Vec::new();
        let mut left: Vec<_> = ARROWS.to_vec();
        while !left.is_empty() {
            let count = left.len();
            left.retain(|(name, needs)| {
                let ready = needs.iter().all(|need| done.contains(need));
                if ready {
                    done.push(name);
                }
                !ready
            });
            assert!(left.len() < count, "a cycle or an unknown crate among {left:?}");
        }
    }
}
