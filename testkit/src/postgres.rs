//! A private Postgres in child processes: made in a scratch folder, on a unix socket, thrown away when the value is dropped.
//!
//! Postgres refuses to run as root; then it runs as the user `postgres`, or else `nobody`. The programs are those of the newest version
//! that is installed.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a cluster may take until it lets clients in.
const READY_PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// A running cluster with one database, `postgres`, whose owner `stele` needs no password.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    programs: PathBuf,
    user: Option<(u32, u32)>,
    postmaster: Option<Child>,
}

impl Cluster {
    /// Make a cluster and wait until it lets clients in. `settings` are lines of its configuration, such as `fsync=off`.
    ///
    /// # Errors
    /// Postgres is not installed, or does not start; the end of its log is part of the error.
    pub fn start(settings: &[&str]) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("stele-pg-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;
        let user = unprivileged()?;
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid))
                .with_context(|| format!("give {} away", folder.display()))?;
        }
        let mut cluster = Self { programs: programs()?, folder, user, postmaster: None };
        let mut initdb = cluster.command("initdb");
        initdb.args(["-D", "data", "-U", "stele", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        finished(&mut initdb)?;
        let mut postgres = cluster.command("postgres");
        postgres.args(["-D", "data", "-c", "listen_addresses=", "-c"]);
        postgres.arg(format!("unix_socket_directories={}", cluster.folder.display()));
        for setting in settings {
            postgres.args(["-c", setting]);
        }
        let log = std::fs::File::create(cluster.folder.join("log"))?;
        postgres.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        cluster.postmaster = Some(postgres.spawn().context("start postgres")?);
        cluster.ready()?;
        Ok(cluster)
    }

    /// The unix socket, for those who forward to it.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// Where a client in this machine connects.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://stele@localhost/postgres?host={}", self.folder.display())
    }

    /// Runs SQL and returns what `psql` prints of it: no headings, columns apart by `|`.
    ///
    /// # Errors
    /// A statement fails; `psql`'s words are part of the error.
    pub fn sql(&self, text: &str) -> Result<String> {
        let mut psql = self.command("psql");
        psql.arg("-h").arg(&self.folder).args(["-U", "stele", "-d", "postgres", "-v", "ON_ERROR_STOP=1"]);
        psql.args(["-X", "-q", "-A", "-t", "-c", text]);
        finished(&mut psql)
    }

    fn ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_PATIENCE;
        loop {
            let mut ask = self.command("pg_isready");
            let ask = ask.arg("-q").arg("-h").arg(&self.folder).stdin(Stdio::null());
            if ask.status().context("ask whether postgres is ready")?.success() {
                return Ok(());
            }
            let ended =
                self.postmaster.as_mut().and_then(|child| child.try_wait().transpose()).transpose()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                bail!("postgres did not become ready: {log}");
            }
            std::thread::sleep(POLL);
        }
    }

    /// A program of Postgres, as the user who may run it, in the cluster's folder.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(&self.folder).env("LC_ALL", "C");
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // What fails here is already gone, or is said by the test that comes next.
        if let Some(mut postmaster) = self.postmaster.take() {
            let mut stop = self.command("pg_ctl");
            stop.args(["-D", "data", "-m", "immediate", "-s", "stop"])
                .stdin(Stdio::null())
                .stdout(Stdio::null());
            let stopped = stop.stderr(Stdio::null()).status();
            if !stopped.is_ok_and(|status| status.success()) {
                let _ = postmaster.kill();
            }
            let _ = postmaster.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn finished(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {program}"))?;
    if !output.status.success() {
        bail!("{program} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

/// The folder of the newest version's programs.
fn programs() -> Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        let folder = entry.path().join("bin");
        let version = entry.file_name().to_string_lossy().parse().unwrap_or(0);
        if folder.join("initdb").exists() {
            found.push((version, folder));
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = || std::env::split_paths(&path).find(|folder| folder.join("initdb").exists());
    let newest = found.into_iter().max().map(|(_, folder)| folder).or_else(on_path);
    newest.context("Postgres is not installed: on Debian, apt-get install postgresql")
}

/// User and group to run as, if this process is root.
fn unprivileged() -> Result<Option<(u32, u32)>> {
    use std::os::unix::fs::MetadataExt as _;
    let is_root = std::fs::metadata("/proc/self").context("look at our own process")?.uid() == 0;
    if !is_root {
        return Ok(None);
    }
    let users = std::fs::read_to_string(Path::new("/etc/passwd")).context("read the list of users")?;
    let user = |name: &str| -> Option<(u32, u32)> {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let found = user("postgres").or_else(|| user("nobody"));
    Ok(Some(found.context("find a user without rights, postgres or nobody")?))
}
