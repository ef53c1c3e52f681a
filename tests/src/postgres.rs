//! A PostgreSQL cluster of the test's own, which ends with the test's process however that ends.

use std::path::PathBuf;
use std::process::Command;

use crate::program::repository;

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    /// Its folder, where its socket is.
    pub folder: PathBuf,
    /// The URL of its database, for a role that is no superuser.
    pub url: String,
}

/// What a cluster keeps when its server crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Perhaps not the last moments: fast, and enough where no server crashes.
    Relaxed,
    /// Whatever was committed.
    Full,
}

impl Cluster {
    /// Starts one.
    pub fn start(durability: Durability) -> Self {
        Self::start_in(durability, &[])
    }

    /// Starts one in an environment of its own.
    pub fn start_in(durability: Durability, env: &[(String, String)]) -> Self {
        // Directly below the temporary folder: the server's own user must be able to enter.
        let name = tempfile::Builder::new()
            .prefix("tollgate-pg-")
            .tempdir()
            .unwrap();
        let folder = name.path().to_owned();
        drop(name);
        let owner = std::process::id().to_string();
        let output = script_in(
            &["start", folder.to_str().unwrap(), &owner],
            durability,
            env,
        );
        Self {
            folder,
            url: output.trim().to_owned(),
        }
    }

    /// Each row of a statement as a line of JSON, read past row-level security.
    pub fn rows(&self, statement: &str) -> String {
        self.try_rows(statement)
            .unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    /// Runs a statement that changes something, as the superuser; what the server complains about, if it does.
    pub fn change(&self, statement: &str) -> Result<String, String> {
        self.psql(statement)
    }

    /// The same; an error when the server does not serve at the moment.
    pub fn try_rows(&self, statement: &str) -> Result<String, String> {
        self.psql(&format!("SELECT row_to_json(t) FROM ({statement}) t"))
    }

    fn psql(&self, statement: &str) -> Result<String, String> {
        let programs = script(&["where"], Durability::Relaxed);
        let psql = PathBuf::from(programs.trim()).join("psql");
        let mut command = Command::new(psql);
        command.args([
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            "--username=postgres",
        ]);
        command
            .arg(format!("--host={}", self.folder.display()))
            .arg("--dbname=tollgate");
        command.arg(format!("--command={statement}"));
        let output = command.current_dir("/").output().unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Cluster {
    /// Stops every process of it where it is: the store does not answer, and no connection breaks.
    pub fn freeze(&self) {
        signal("-STOP", &self.processes());
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        signal("-CONT", &self.processes());
    }

    /// Kills the process behind one of the program's connections: the server then breaks every connection, throws
    /// away what was not committed and recovers, as after a crash. Nothing happens while it has no connection.
    pub fn crash(&self) -> Option<()> {
        let statement = "SELECT pid FROM pg_stat_activity WHERE usename = 'tollgate'";
        let connections = self.try_rows(statement).ok()?;
        let row: serde_json::Value = serde_json::from_str(connections.lines().next()?).unwrap();
        signal("-KILL", &[row["pid"].to_string()]);
        Some(())
    }

    /// Stops the server and keeps what it has: `fast` breaks connections and ends in order, `immediate` crashes.
    pub fn halt(&self, mode: &str) {
        let folder = self.folder.to_str().unwrap();
        script(&["halt", folder, mode], Durability::Relaxed);
    }

    /// Starts the server again after a halt.
    pub fn resume(&self) {
        let folder = self.folder.to_str().unwrap();
        script(&["resume", folder], Durability::Relaxed);
    }

    /// The server's process and all that it started.
    fn processes(&self) -> Vec<String> {
        let pid_file = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        let server = pid_file.lines().next().unwrap().to_owned();
        let children = Command::new("ps")
            .args(["--no-headers", "-o", "pid", "--ppid", &server])
            .output();
        let children = String::from_utf8(children.unwrap().stdout).unwrap();
        let mut processes: Vec<String> = children.split_whitespace().map(str::to_owned).collect();
        processes.push(server);
        processes
    }
}

/// Sends a signal to processes; one that has ended meanwhile does not matter.
fn signal(name: &str, processes: &[String]) {
    Command::new("kill")
        .arg(name)
        .args(processes)
        .status()
        .unwrap();
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // One that is frozen would not hear that it is to stop.
        if self.folder.join("data/postmaster.pid").exists() {
            self.thaw();
        }
        let stop = ["stop", self.folder.to_str().unwrap_or_default()];
        let stopped = Command::new(repository().join("bin/throwaway-postgres"))
            .args(stop)
            .status();
        drop(stopped);
    }
}

/// Runs the script to its end. Its output goes to a file: the server it starts would keep a pipe open.
fn script(args: &[&str], durability: Durability) -> String {
    script_in(args, durability, &[])
}

fn script_in(args: &[&str], durability: Durability, env: &[(String, String)]) -> String {
    let output = tempfile::NamedTempFile::new().unwrap();
    let errors = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(repository().join("bin/throwaway-postgres"));
    command.args(args).stdin(std::process::Stdio::null());
    command.envs(env.iter().map(|(name, value)| (name, value)));
    if durability == Durability::Full {
        command.env("TOLLGATE_PG_FSYNC", "on");
    }
    command
        .stdout(output.reopen().unwrap())
        .stderr(errors.reopen().unwrap());
    let status = command.status().unwrap();
    let said = std::fs::read_to_string(errors.path()).unwrap();
    assert!(status.success(), "throwaway-postgres {args:?}: {said}");
    std::fs::read_to_string(output.path()).unwrap()
}
