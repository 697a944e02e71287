//! How long a user's crate with the bus's default features builds from nothing: nothing compiled before, everything downloaded.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{Aim, Figure, figure};

/// What a newcomer writes.
const MAIN: &str = r#"//! A consumer and a publisher.

use serde::{Deserialize, Serialize};
use stele_bus::transport::amqp::Amqp;
use stele_bus::{Bus, Message, Msg};

#[derive(Message, Serialize, Deserialize)]
#[message(urn = "Shop:Greeting")]
struct Greeting {
    name: String,
}

async fn greet(Msg(greeting): Msg<Greeting>) {
    println!("hello, {}", greeting.name);
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = Bus::builder(Amqp::new("amqp://localhost")?).handle(greet).build()?;
    bus.start().await?;
    bus.publish(&Greeting { name: "world".into() }).await?;
    bus.stop().await;
    Ok(())
}
"#;

/// Cores that the aim speaks of.
const CORES: f64 = 4.0;

pub(super) fn run() -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let bus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bus").canonicalize().context("find the bus")?;
    let manifest = format!(
        "[package]\nname = \"newcomer\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
         serde = {{ version = \"1\", features = [\"derive\"] }}\nstele-bus = {{ path = {bus:?} }}\n\
         tokio = {{ version = \"1\", features = [\"macros\", \"rt-multi-thread\"] }}\n"
    );
    std::fs::write(folder.path().join("Cargo.toml"), manifest)?;
    std::fs::create_dir(folder.path().join("src"))?;
    std::fs::write(folder.path().join("src/main.rs"), MAIN)?;
    cargo(folder.path(), &["fetch", "--quiet"])?;
    let (start, before) = (Instant::now(), children()?);
    cargo(folder.path(), &["build", "--quiet", "--offline", "--jobs", "4"])?;
    let (wall, cpu) = (start.elapsed(), children()? - before);
    Ok(vec![
        figure("build of a user's crate from nothing", wall.as_secs_f64(), "s", Some(Aim::AtMost(90.0))),
        figure("build of a user's crate, CPU time / 4", cpu.as_secs_f64() / CORES, "s", None),
    ])
}

fn cargo(folder: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    let status =
        command.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS").status().context("run cargo")?;
    ensure!(status.success(), "cargo {} failed", arguments.join(" "));
    Ok(())
}

/// CPU time of all ended children of this process.
fn children() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    // cutime and cstime are the 16th and 17th field, of which the first two were cut off; a tick is 10 ms on Linux.
    let (user, system) = ticks(13).zip(ticks(14)).context("read the children's times")?;
    Ok(Duration::from_millis((user + system) * 10))
}
