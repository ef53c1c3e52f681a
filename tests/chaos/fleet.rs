//! The nodes: each a process with a data directory of its own, on one store; and what is done to them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tollgate_tests::{Answer, Cluster, Http, Program, run};

use crate::clock::{self, WallClock};
use crate::disk::{self, Disk};
use crate::tally::Tally;
use crate::wire::Wire;

/// A node has this long to start, and to be ready after whatever was done to it.
const PATIENCE: Duration = Duration::from_mins(2);

/// Between two tries to start a node, as a supervisor would pause.
const START_PAUSE: Duration = Duration::from_millis(200);

/// Between two looks at a node.
const GLANCE: Duration = Duration::from_millis(20);

/// A node is ready for so long before the next one is restarted, as supervisors have it.
pub(crate) const READY_BEFORE_NEXT: Duration = Duration::from_secs(1);

/// Where a node is reached.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// The data plane's URL, without a path.
    pub(crate) url: String,
    /// The control plane's URL, without a path.
    pub(crate) admin_url: String,
}

/// One node, running or not.
#[derive(Debug)]
pub(crate) struct Node {
    index: usize,
    /// Its wire to PostgreSQL.
    pub(crate) wire: Option<Wire>,
    /// Its wall clock, where it can be set back.
    pub(crate) clock: Option<WallClock>,
    /// Its disk, where this user may mount one.
    pub(crate) disk: Option<Disk>,
    folder: PathBuf,
    env: Vec<(String, String)>,
    endpoint: Mutex<Option<Endpoint>>,
    seat: tokio::sync::Mutex<Seat>,
}

#[derive(Debug, Default)]
struct Seat {
    program: Option<Program>,
    starts: usize,
}

/// How many nodes there are, and what stands between them and the world.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// How many.
    pub(crate) nodes: usize,
    /// Where their data directories are.
    pub(crate) disks: disk::Kind,
    /// How they reach the store.
    pub(crate) wires: Wiring,
    /// What shows them the time.
    pub(crate) clocks: Clocks,
    /// What is in each one's environment; nothing beyond the list's end.
    pub(crate) own_env: Vec<Vec<(String, String)>>,
}

/// How nodes reach the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wiring {
    /// As in earnest.
    Direct,
    /// By a wire of each node's own, which can be cut.
    Own,
}

/// What shows nodes the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clocks {
    /// The machine's clock.
    Machine,
    /// A clock of each node's own, which can be set, where the library for it is installed.
    Own,
}

impl Shape {
    /// Nodes as one runs them in earnest.
    pub(crate) const fn plain(nodes: usize) -> Self {
        Self {
            nodes,
            disks: disk::Kind::Shared,
            wires: Wiring::Direct,
            clocks: Clocks::Machine,
            own_env: Vec::new(),
        }
    }

    /// Nodes that everything can be done to.
    pub(crate) fn fragile(nodes: usize) -> Self {
        Self {
            nodes,
            disks: disk::kind(),
            wires: Wiring::Own,
            clocks: Clocks::Own,
            own_env: Vec::new(),
        }
    }
}

/// All nodes.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// The nodes.
    pub(crate) nodes: Vec<Arc<Node>>,
    /// The key of the operator.
    pub(crate) operator_key: String,
    /// What was done, by name.
    pub(crate) tally: Arc<Tally>,
    http: Http,
}

impl Fleet {
    /// Makes the data directories and starts a node on each.
    pub(crate) async fn start(
        folder: &Path,
        shape: &Shape,
        cluster: Option<&Cluster>,
        tally: Arc<Tally>,
    ) -> Self {
        let mut nodes = Vec::new();
        for index in 0..shape.nodes {
            nodes.push(Arc::new(Node::new(folder, index, shape, cluster)));
        }
        let first = &nodes[0];
        let data_dir = first.data_dir();
        let init = ["init", "--json", "--data-dir", data_dir.to_str().unwrap()];
        let made = run(&init, &first.environment(), "").await;
        assert_eq!(made.code, Some(0), "{} {}", made.out, made.err);
        let made: Value = serde_json::from_str(&made.out).unwrap();
        let fleet = Self {
            nodes,
            operator_key: made["operator_key"].as_str().unwrap().to_owned(),
            tally,
            http: Http::new(),
        };
        for node in &fleet.nodes {
            node.launch(&fleet.tally).await.unwrap();
        }
        fleet
    }

    /// Kills nodes at the same moment and starts them again; each perhaps once more while it starts.
    pub(crate) async fn kill(
        &self,
        nodes: &[usize],
        again_after_ms: Option<u64>,
    ) -> Result<(), String> {
        let mut kills = JoinSet::new();
        for node in nodes {
            let (node, tally) = (Arc::clone(&self.nodes[*node]), Arc::clone(&self.tally));
            kills.spawn(async move { node.kill(again_after_ms, &tally).await });
        }
        kills.join_all().await.into_iter().collect()
    }

    /// Restarts nodes one by one as an operator would.
    pub(crate) async fn restart_in_turn(&self, nodes: &[usize]) -> Result<(), String> {
        for node in nodes {
            let node = &self.nodes[*node];
            node.end().await?;
            self.tally.count("ended by SIGTERM");
            node.launch(&self.tally).await?;
            self.ready(node).await?;
            tokio::time::sleep(READY_BEFORE_NEXT).await;
        }
        Ok(())
    }

    /// Waits until every node is ready; an error when one does not get there, or has ended by itself.
    pub(crate) async fn all_ready(&self) -> Result<(), String> {
        for node in &self.nodes {
            self.ready(node).await?;
        }
        Ok(())
    }

    async fn ready(&self, node: &Node) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        loop {
            node.must_run().await?;
            let seen = self.ask(node, "/readyz?verbose").await;
            if seen.as_ref().is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if Instant::now() > until {
                let seen = seen.map(|answer| answer.text());
                return Err(format!("node {} does not get ready: {seen:?}", node.index));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// What a node says on its control plane's address; an error when it says nothing.
    async fn ask(&self, node: &Node, path: &str) -> Result<Answer, String> {
        let admin_url = node.endpoint().ok_or("it does not run")?.admin_url;
        let url = format!("{admin_url}{path}");
        let asked = self.http.get(&url, &[]);
        let answer = tokio::time::timeout(Duration::from_secs(10), asked).await;
        answer
            .map_err(|late| late.to_string())?
            .map_err(|broken| broken.0)
    }

    /// Ends every node in order.
    pub(crate) async fn end(&self) -> Result<(), String> {
        for node in &self.nodes {
            node.end().await?;
        }
        Ok(())
    }
}

impl Node {
    fn new(folder: &Path, index: usize, shape: &Shape, cluster: Option<&Cluster>) -> Self {
        let own = folder.join(format!("node-{index}"));
        std::fs::create_dir(&own).unwrap();
        let disk = (shape.disks == disk::Kind::Own).then(|| Disk::mount(&own));
        let wired = cluster.filter(|_| shape.wires == Wiring::Own);
        let wire = wired
            .map(|cluster| Wire::listen(folder.join(format!("wire-{index}")), &cluster.folder));
        let key_file = folder.join("node-0/data/master.key");
        let mut env = vec![
            (
                "TOLLGATE__PROVIDERS__ALLOW_LOOPBACK".to_owned(),
                "true".to_owned(),
            ),
            (
                "TOLLGATE__VAULT__KEY_FILE".to_owned(),
                format!("file:{}", key_file.display()),
            ),
        ];
        let offset = folder.join(format!("clock-{index}"));
        let library = clock::library().filter(|_| shape.clocks == Clocks::Own);
        let clock = library.map(|library| WallClock::right(library, offset));
        env.extend(clock.iter().flat_map(WallClock::environment));
        if let Some(cluster) = cluster {
            let folder = wire.as_ref().map_or(&cluster.folder, |wire| &wire.folder);
            let url = cluster
                .url
                .replace(cluster.folder.to_str().unwrap(), folder.to_str().unwrap());
            env.push(("TOLLGATE__STORE__URL".to_owned(), url));
        }
        env.extend(shape.own_env.get(index).into_iter().flatten().cloned());
        Self {
            index,
            wire,
            clock,
            disk,
            folder: folder.to_owned(),
            env,
            endpoint: Mutex::default(),
            seat: tokio::sync::Mutex::default(),
        }
    }

    /// The folder of what it keeps.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.join(format!("node-{}/data", self.index))
    }

    /// Where it is reached, unless it is known not to run.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        self.endpoint.lock().unwrap().clone()
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        let pairs = self.env.iter();
        pairs.map(|(name, value)| (&**name, &**value)).collect()
    }

    fn spawn(&self, seat: &mut Seat) -> Program {
        seat.starts += 1;
        let name = format!("node-{}-start-{}", self.index, seat.starts);
        let data_dir = self.data_dir();
        let any = "127.0.0.1:0";
        let mut args = vec!["serve", "--json", "--data-dir", data_dir.to_str().unwrap()];
        args.extend(["--listen", any, "--admin-listen", any]);
        Program::start(&self.folder, &name, &args, &self.environment())
    }

    async fn launch(&self, tally: &Tally) -> Result<(), String> {
        self.launch_in(&mut *self.seat.lock().await, tally).await
    }

    /// Starts it, again and again as a supervisor would: with the store away a start fails.
    async fn launch_in(&self, seat: &mut Seat, tally: &Tally) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let mut program = self.spawn(seat);
            match program.ready_or_ended().await {
                Ok(ready) => {
                    let text = |name: &str| ready[name].as_str().unwrap().to_owned();
                    let (url, admin_url) = (text("url"), text("admin_url"));
                    *self.endpoint.lock().unwrap() = Some(Endpoint { url, admin_url });
                    seat.program = Some(program);
                    let took = u64::try_from(begun.elapsed().as_millis()).unwrap();
                    tally.most("slowest start, ms", took);
                    return Ok(());
                }
                Err(why) if begun.elapsed() > PATIENCE => {
                    return Err(format!("node {} does not start: {why}", self.index));
                }
                Err(_) => tally.count("starts that failed"),
            }
            tokio::time::sleep(START_PAUSE).await;
        }
    }

    async fn kill(&self, again_after_ms: Option<u64>, tally: &Tally) -> Result<(), String> {
        let mut seat = self.seat.lock().await;
        self.kill_in(&mut seat).await?;
        tally.count("kills");
        if let Some(ms) = again_after_ms {
            let mut program = self.spawn(&mut seat);
            tokio::time::sleep(Duration::from_millis(ms)).await;
            program.kill().await;
            tally.count("kills");
            tally.count("kills during a start");
        }
        self.launch_in(&mut seat, tally).await
    }

    async fn kill_in(&self, seat: &mut Seat) -> Result<(), String> {
        let mut program = seat.program.take().ok_or("it was not started")?;
        if !program.is_running() {
            return Err(self.ended_by_itself(&program));
        }
        program.kill().await;
        *self.endpoint.lock().unwrap() = None;
        Ok(())
    }

    /// Ends it in order.
    async fn end(&self) -> Result<(), String> {
        let mut seat = self.seat.lock().await;
        let mut program = seat.program.take().ok_or("it was not started")?;
        if !program.is_running() {
            return Err(self.ended_by_itself(&program));
        }
        program.ask_to_end().await;
        let status = program.ended().await;
        *self.endpoint.lock().unwrap() = None;
        if status.success() {
            Ok(())
        } else {
            Err(format!(
                "node {} ends with {status}: {}",
                self.index,
                program.messages()
            ))
        }
    }

    /// Stops it where it is for a while.
    pub(crate) async fn freeze(&self, pause: Duration) -> Result<(), String> {
        let seat = self.seat.lock().await;
        let program = seat.program.as_ref().ok_or("it was not started")?;
        program.freeze().await;
        tokio::time::sleep(pause).await;
        program.thaw().await;
        Ok(())
    }

    async fn must_run(&self) -> Result<(), String> {
        let mut seat = self.seat.lock().await;
        let Some(program) = &mut seat.program else {
            return Ok(());
        };
        if program.is_running() {
            Ok(())
        } else {
            Err(self.ended_by_itself(program))
        }
    }

    fn ended_by_itself(&self, program: &Program) -> String {
        let messages = program.messages();
        let lines: Vec<&str> = messages.lines().collect();
        let last = lines[lines.len().saturating_sub(5)..].join("\n  ");
        format!(
            "node {} has ended by itself; its last words:\n  {last}",
            self.index
        )
    }
}
