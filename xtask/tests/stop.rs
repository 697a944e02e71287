//! A chore that is stopped leaves nothing running.
//!
//! The chore runs a `cargo` made here, which starts programs in several ways and waits. All of them hold the chore's standard output open: when
//! that ends, they have ended.

use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// Each would say that it has survived. One is a child, one has a session of its own, and one has lost its parent.
const CARGO: &str = r#"#!/bin/sh
(sleep 20; echo survived) &
setsid sh -c 'sleep 20; echo survived' &
sh -c '(sleep 20; echo survived) &'
echo started
wait
"#;

fn stopped_by(signal: Signal) -> Result<(Option<i32>, String), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("xtask-stop-{}-{}", std::process::id(), signal.as_raw()));
    std::fs::create_dir_all(&folder)?;
    let cargo = folder.join("cargo");
    std::fs::write(&cargo, CARGO)?;
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755))?;
    let path = format!("{}:{}", folder.display(), std::env::var("PATH")?);
    let mut chore = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["test", "--only", "format"])
        .env("PATH", path)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(chore.stdout.take().ok_or("its output is a pipe")?);
    let mut line = String::new();
    while line.trim() != "started" {
        line.clear();
        assert!(said.read_line(&mut line)? > 0, "the chore starts its program");
    }
    kill_process(Pid::from_child(&chore), signal)?;
    let mut rest = String::new();
    said.read_to_string(&mut rest)?;
    std::fs::remove_dir_all(&folder)?;
    Ok((chore.wait()?.code(), rest))
}

#[test]
fn what_a_chore_has_started_ends_with_it_when_it_is_stopped() {
    for signal in [Signal::TERM, Signal::INT] {
        let (code, rest) = stopped_by(signal).expect("the chore runs");
        assert!(!rest.contains("survived"), "{rest}");
        assert_eq!(code, Some(128 + signal.as_raw()));
    }
}
