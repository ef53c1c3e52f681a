//! The shipped program as a process: started with its output in files, told to end, killed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use crate::wait::{GLANCE, PATIENCE};

/// A running process of the program.
#[derive(Debug)]
pub struct Program {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

/// What a process of the program that ended by itself left.
#[derive(Debug)]
pub struct Run {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// A value of the environment of the tests themselves.
#[expect(
    clippy::disallowed_methods,
    reason = "the suite's own switches, read in one place"
)]
pub fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The shipped program; a clear failure when it was not built.
pub fn binary() -> PathBuf {
    // A test lies in a folder below the program's, a runner beside it.
    let beside = || {
        let own = std::env::current_exe().unwrap();
        let near = own.ancestors().skip(1).take(2);
        let programs = near.map(|folder| folder.join("tollgate"));
        programs.fold(
            PathBuf::new(),
            |found, next| {
                if found.is_file() { found } else { next }
            },
        )
    };
    let path = setting("TOLLGATE_BIN").map_or_else(beside, PathBuf::from);
    assert!(
        path.is_file(),
        "there is no program at {}: run bin/test, or build it and name it in TOLLGATE_BIN",
        path.display()
    );
    path
}

fn command(args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(args)
        .envs(env.iter().copied())
        .kill_on_drop(true);
    command
}

/// Runs the program to its end with this on its standard input.
pub async fn run(args: &[&str], env: &[(&str, &str)], input: &str) -> Run {
    let mut command = command(args, env);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that does not read its input may have ended before it was written.
    drop(stdin.write_all(input.as_bytes()).await);
    drop(stdin);
    let ended = tokio::time::timeout(PATIENCE * 4, child.wait_with_output()).await;
    let output = ended
        .unwrap_or_else(|_| panic!("{args:?} did not end"))
        .unwrap();
    Run {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Program {
    /// Starts the program; its output goes to `NAME.out` and `NAME.err` in a folder.
    pub fn start(folder: &Path, name: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let (out, err) = (
            folder.join(format!("{name}.out")),
            folder.join(format!("{name}.err")),
        );
        let mut command = command(args, env);
        command.stdin(Stdio::null());
        command
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap());
        let child = command.spawn().unwrap();
        Self { child, out, err }
    }

    /// Its number among the processes of the machine; 0 once it has ended.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Waits for the first line of its output, which tells in JSON that it is ready.
    pub async fn ready(&mut self) -> Value {
        let ready = self.ready_or_ended().await;
        ready.unwrap_or_else(|why| panic!("the program ended before it was ready: {why}"))
    }

    /// The same, for a start that may fail: else how it ended and what it said.
    pub async fn ready_or_ended(&mut self) -> Result<Value, String> {
        // Not `until`: this one also has to run in tasks.
        let looking = async {
            loop {
                if let Some((line, _)) = self.output().split_once('\n') {
                    return Ok(line.to_owned());
                }
                if let Some(status) = self.child.try_wait().unwrap() {
                    return Err(format!("{status}: {}", self.messages()));
                }
                tokio::time::sleep(GLANCE).await;
            }
        };
        let line = tokio::time::timeout(PATIENCE, looking).await;
        let line = line.unwrap_or_else(|_| panic!("the program does not say that it is ready"))?;
        Ok(
            serde_json::from_str(&line)
                .unwrap_or_else(|error| panic!("not JSON ({error}): {line}")),
        )
    }

    /// What it has written to its standard output.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap()
    }

    /// What it has written to its standard error.
    pub fn messages(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.err).unwrap()).into_owned()
    }

    /// Ends it as a loss of power would: it has no say in it.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to end (SIGTERM).
    pub async fn ask_to_end(&self) {
        self.signal("-TERM").await;
    }

    /// Stops it where it is: it answers nothing, and no connection breaks.
    pub async fn freeze(&self) {
        self.signal("-STOP").await;
    }

    /// Lets it go on.
    pub async fn thaw(&self) {
        self.signal("-CONT").await;
    }

    async fn signal(&self, name: &str) {
        if let Some(pid) = self.child.id() {
            let mut kill = Command::new("kill");
            let sent = kill.args([name, &pid.to_string()]).status().await;
            assert!(sent.unwrap().success(), "the signal {name} was not sent");
        }
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended
            .unwrap_or_else(|_| panic!("the program does not end: {}", self.messages()))
            .unwrap()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}
