//! The world of a test: a store, a gateway in front of a simulated provider, tenants; and what must hold at its end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use crate::books::{Join, LedgerRow, Tables};
use crate::canary::found_in;
use crate::client::Caller;
use crate::control::Control;
use crate::postgres::{Cluster, Durability};
use crate::program::{Program, run, setting};
use crate::simulator::Simulator;
use crate::tenant::{Integration, Tenant};

/// Where the books are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// In a file of the data directory.
    Sqlite,
    /// In a cluster of the test's own.
    Postgres,
}

/// How a world is made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the books are kept.
    pub engine: Engine,
    /// Settings of the gateway, by their variables' names.
    pub env: Vec<(String, String)>,
    /// Options of the simulated provider.
    pub provider: Vec<String>,
    /// What a cluster keeps when its server crashes.
    pub durability: Durability,
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    /// Its process.
    pub program: Program,
    /// The line that it printed when it was ready.
    pub ready: Value,
    /// The data plane's URL, without a path.
    pub url: String,
    /// The control plane's URL, without a path.
    pub admin_url: String,
    /// A key of the operator.
    pub operator_key: String,
}

/// A gateway, its store and its provider; to be closed at the end of a test.
#[derive(Debug)]
pub struct World {
    /// The provider.
    pub simulator: Simulator,
    /// The gateway.
    pub gateway: Gateway,
    /// The operator.
    pub operator: Control,
    plan: Plan,
    folder: TempDir,
    cluster: Option<Cluster>,
    starts: AtomicUsize,
    tenants: AtomicUsize,
    is_closed: bool,
}

impl Plan {
    /// A gateway that logs all it can, and a provider without faults.
    pub fn on(engine: Engine) -> Self {
        Self::quiet(engine).with("TOLLGATE__LOG__LEVEL", "trace")
    }

    /// The same with the usual log: for many calls. Nothing is probed unless it is asked for, so that a provider gets
    /// what the test sends and nothing else.
    pub fn quiet(engine: Engine) -> Self {
        Self {
            engine,
            env: vec![("TOLLGATE__APP__PROBE_SECONDS".to_owned(), "0".to_owned())],
            provider: Vec::new(),
            durability: Durability::Relaxed,
        }
    }

    /// The same with a setting.
    #[must_use]
    pub fn with(mut self, variable: &str, value: &str) -> Self {
        self.env.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// The same on a cluster that keeps whatever was committed.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.durability = Durability::Full;
        self
    }

    /// The same with an option of the simulated provider.
    #[must_use]
    pub fn provider(mut self, option: &str) -> Self {
        self.provider.push(option.to_owned());
        self
    }
}

impl Gateway {
    /// Starts one; `dev` tells the operator's key itself.
    pub async fn start(folder: &Path, name: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut program = Program::start(folder, name, args, env);
        let ready = program.ready().await;
        let text = |name: &str| {
            ready[name]
                .as_str()
                .unwrap_or_else(|| panic!("no {name}: {ready}"))
        };
        let (url, admin_url) = (text("url").to_owned(), text("admin_url").to_owned());
        let operator_key = ready["operator_key"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        Self {
            program,
            ready,
            url,
            admin_url,
            operator_key,
        }
    }

    /// A text of the line that it printed.
    pub fn text(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap_or_default()
    }
}

impl World {
    /// A world on an engine, with everything as it usually is.
    pub async fn on(engine: Engine) -> Self {
        Self::start(Plan::on(engine)).await
    }

    /// A world whose file the test itself will look into.
    pub async fn start_on_sqlite() -> Self {
        Self::start_as_said(Plan::on(Engine::Sqlite)).await
    }

    /// A world; `TOLLGATE_ENGINE=postgres` puts every one on PostgreSQL.
    pub async fn start(mut plan: Plan) -> Self {
        if setting("TOLLGATE_ENGINE").as_deref() == Some("postgres") {
            plan.engine = Engine::Postgres;
        }
        Self::start_as_said(plan).await
    }

    async fn start_as_said(plan: Plan) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("tollgate-world-")
            .tempdir()
            .unwrap();
        let options: Vec<&str> = plan.provider.iter().map(String::as_str).collect();
        let simulator = Simulator::start(folder.path(), &options).await;
        let cluster = (plan.engine == Engine::Postgres).then(|| Cluster::start(plan.durability));
        let gateway = begin(&folder, &plan, &simulator, (cluster.as_ref(), 0)).await;
        let operator = Control::new(&gateway.admin_url, &gateway.operator_key);
        let (starts, tenants) = (AtomicUsize::new(1), AtomicUsize::new(0));
        Self {
            simulator,
            gateway,
            operator,
            plan,
            folder,
            cluster,
            starts,
            tenants,
            is_closed: false,
        }
    }

    /// The folder of all that the world's programs write.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The gateway's data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The cluster of a world on PostgreSQL.
    pub fn cluster(&self) -> &Cluster {
        self.cluster
            .as_ref()
            .expect("this world is not on PostgreSQL")
    }

    /// Kills the gateway and starts it anew on the same store.
    pub async fn kill_and_restart(&mut self) {
        self.gateway.program.kill().await;
        self.restart().await;
    }

    /// Starts the gateway anew on the same store, after it has ended.
    pub async fn restart(&mut self) {
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        let place = (self.cluster.as_ref(), start);
        let key = std::mem::take(&mut self.gateway.operator_key);
        self.gateway = begin(&self.folder, &self.plan, &self.simulator, place).await;
        if self.gateway.operator_key.is_empty() {
            self.gateway.operator_key = key;
        }
        self.operator = Control::new(&self.gateway.admin_url, &self.gateway.operator_key);
    }

    /// Ends the gateway as an operator would; it must end well.
    pub async fn stop_gateway(&mut self) {
        self.gateway.program.ask_to_end().await;
        let status = self.gateway.program.ended().await;
        assert!(
            status.success(),
            "the gateway ends with {status}: {}",
            self.gateway.program.messages()
        );
    }

    /// A new tenant with a caller's key.
    pub async fn tenant(&self) -> Tenant {
        let number = self.tenants.fetch_add(1, Ordering::Relaxed);
        let urls = (self.gateway.url.as_str(), self.simulator.url.as_str());
        Tenant::create(&self.operator, &format!("Tenant {number}"), urls).await
    }

    /// A tenant as it is reached after a restart.
    pub fn again(&self, tenant: &Tenant) -> Tenant {
        let mut tenant = tenant.clone();
        tenant.control = self.operator.of_tenant(&tenant.id);
        tenant.caller = Caller::new(&self.gateway.url, &tenant.caller.key);
        tenant
    }

    /// Waits until no call of any tenant holds anything.
    pub async fn holds_are_gone(&self) {
        for tenant in self.operator.list("/tenants").await {
            let control = self.operator.of_tenant(tenant["id"].as_str().unwrap());
            for integration in control.list("/integrations").await {
                let id = integration["id"].as_str().unwrap().to_owned();
                let integration = Integration {
                    id,
                    control: control.clone(),
                };
                integration.holds_are_gone().await;
            }
        }
    }

    /// Fails unless ledger, balances and roll-ups are equal.
    pub async fn books_verify(&self) {
        let report = self.operator.get("/ledger/verify").await;
        let is_exact = report["exact"] == true && report["differences"] == 0;
        assert!(is_exact, "the books differ: {report}");
    }

    /// The whole ledger; the gateway must have ended.
    pub fn ledger(&self) -> Vec<LedgerRow> {
        self.tables().ledger()
    }

    /// The tables, as a tool from outside reads them; the gateway must have ended.
    pub fn tables(&self) -> Tables<'_> {
        match &self.cluster {
            Some(cluster) => Tables::Postgres(cluster),
            None => Tables::Sqlite(self.data_dir()),
        }
    }

    /// The end of a test: what must always hold is checked. Gives the ledger.
    pub async fn close(mut self) -> Vec<LedgerRow> {
        self.holds_are_gone().await;
        self.books_verify().await;
        self.stop_gateway().await;
        let rows = self.ledger();
        Join::of(&self.simulator.lines(), &rows).must_be_exact();
        self.end_unjoined().await;
        rows
    }

    /// The end of a test that has compared the books itself; the gateway must have ended.
    pub async fn end_unjoined(mut self) {
        self.simulator.stop().await;
        self.canary_is_nowhere();
        self.is_closed = true;
    }

    /// What the gateway had to complain about, for whoever looks at a test that failed.
    #[expect(
        clippy::print_stderr,
        reason = "the place where a failed test is looked at"
    )]
    fn tell(&self) {
        let log = self.gateway.program.messages();
        let complaints = log
            .lines()
            .filter(|line| line.contains("WARN") || line.contains("ERROR"));
        let complaints: Vec<&str> = complaints.collect();
        eprintln!(
            "the gateway complained {} times; the last of it:",
            complaints.len()
        );
        for line in complaints.iter().rev().take(20).rev() {
            eprintln!("  {line}");
        }
    }

    /// Fails if anything that was written holds the canary.
    pub fn canary_is_nowhere(&self) {
        let mut found = found_in(self.folder.path());
        found.extend(
            self.cluster
                .iter()
                .flat_map(|cluster| found_in(&cluster.folder)),
        );
        assert!(
            found.is_empty(),
            "the canary credential stands in {found:?}"
        );
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        let may_be_open = self.is_closed || std::thread::panicking();
        assert!(may_be_open, "a test must close its world");
    }
}

/// Starts the gateway of a world for the given time: on SQLite as one tries it out, on PostgreSQL as one runs it.
async fn begin(
    folder: &TempDir,
    plan: &Plan,
    simulator: &Simulator,
    (cluster, start): (Option<&Cluster>, usize),
) -> Gateway {
    let data_dir = folder.path().join("data");
    let data_dir = data_dir.to_str().unwrap();
    let mut env: Vec<(&str, &str)> = plan
        .env
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let name = format!("gateway-{start}");
    let Some(cluster) = cluster else {
        let place = [
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
            data_dir,
            "--provider-url",
            &simulator.url,
        ];
        let args = [&["dev", "--json"], &place[..]].concat();
        return Gateway::start(folder.path(), &name, &args, &env).await;
    };
    env.push(("TOLLGATE__STORE__URL", &cluster.url));
    env.push(("TOLLGATE__PROVIDERS__ALLOW_LOOPBACK", "true"));
    let operator_key = if start == 0 {
        let init = run(&["init", "--json", "--data-dir", data_dir], &env, "").await;
        assert_eq!(init.code, Some(0), "{} {}", init.out, init.err);
        let made: Value = serde_json::from_str(&init.out).unwrap();
        made["operator_key"].as_str().unwrap().to_owned()
    } else {
        String::new()
    };
    let place = [
        "--data-dir",
        data_dir,
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ];
    let args = [&["serve", "--json"], &place[..]].concat();
    let gateway = Gateway::start(folder.path(), &name, &args, &env).await;
    Gateway {
        operator_key,
        ..gateway
    }
}
