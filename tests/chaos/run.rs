//! A run from its beginning to its end: set up, strike, wait until all is well, compare, again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tollgate_tests::{Cluster, Control, Durability, Simulator, Tables};

use crate::fleet::{Fleet, Node, Shape};
use crate::load::{Failure, Load, Target};
use crate::oracle::{News, Oracle, Span, whole_ledger};
use crate::report::{Report, say};
use crate::schedule::{Fault, Schedule};
use crate::tally::{Broken, Tally};
use crate::{Engine, Options};

/// Everything has to be idle, and every row in the ledger, after so long.
const PATIENCE: Duration = Duration::from_mins(1);

/// The longest call has ended, well or not, after so long.
const CALLS_END: Duration = Duration::from_mins(3);

const GLANCE: Duration = Duration::from_millis(50);

/// A ledger that has not grown for so long is taken to be complete.
const STILL: Duration = Duration::from_millis(400);

/// What a run tells while it goes on, and when it has failed.
#[derive(Debug, Default)]
struct Story {
    tally: Arc<Tally>,
    broken: Arc<Broken>,
    /// The clients, as soon as there are some: they keep what they were answered.
    clients: Mutex<Option<Arc<Load>>>,
    steps: Mutex<Vec<String>>,
}

/// Everything that runs. What is in front ends first.
pub(crate) struct Stage {
    pub(crate) options: Options,
    story: Arc<Story>,
    pub(crate) load: Arc<Load>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) simulator: Simulator,
    pub(crate) cluster: Option<Arc<Cluster>>,
    pub(crate) oracle: Oracle,
    begun: Instant,
    /// Targets that stay the same from quiet point to quiet point.
    pub(crate) lasting: Vec<Target>,
    /// How often there was a new target with limits that can be used up.
    pub(crate) generations: usize,
    /// Rolling restarts, by both clocks.
    pub(crate) rolling: Mutex<Vec<Rolling>>,
}

/// A rolling restart that is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rolling {
    pub(crate) from: Instant,
    pub(crate) to: Instant,
    pub(crate) span: Span,
}

/// Runs as the options say.
pub(crate) async fn run(options: Options) -> Report {
    let folder = tempfile::Builder::new()
        .prefix("tollgate-chaos-")
        .tempdir()
        .unwrap();
    let story = Arc::new(Story::default());
    let begun = Instant::now();
    let (faults, skipped) = options.faults();
    for what in &skipped {
        say(&format!("SKIPPED {what}"));
    }
    let mut tasks = JoinSet::new();
    tasks.spawn(play(
        options.clone(),
        folder.path().to_owned(),
        faults,
        Arc::clone(&story),
    ));
    match tasks.join_next().await.unwrap() {
        Ok(Ok(())) => {}
        Ok(Err(why)) => story.broken.note(why),
        Err(panic) => story
            .broken
            .note(format!("the run itself broke off: {panic}")),
    }
    let broken = story.broken.all();
    // The logs of a run that went well are of no use.
    let logs = (!broken.is_empty()).then(|| folder.keep());
    let load = story.clients.lock().unwrap().take();
    let steps = story.steps.lock().unwrap().clone();
    Report {
        options,
        skipped,
        counts: story.tally.all(),
        answers: load.map(|load| load.answers.all()).unwrap_or_default(),
        steps,
        broken,
        took: begun.elapsed(),
        logs,
    }
}

async fn play(
    options: Options,
    folder: PathBuf,
    faults: Vec<Fault>,
    story: Arc<Story>,
) -> Result<(), String> {
    let mut stage = Stage::set(options, &folder, story).await?;
    let played = stage.play(&faults).await;
    if let (Err(_), Some(cluster)) = (&played, &stage.cluster) {
        let log = std::fs::read(cluster.folder.join("server.log")).unwrap_or_default();
        std::fs::write(folder.join("postgres.log"), log).unwrap();
    }
    played
}

impl Stage {
    async fn set(options: Options, folder: &Path, story: Arc<Story>) -> Result<Self, String> {
        let latency = ["--latency-ms=5", "--chunk-interval-ms=2"];
        let simulator = Simulator::start(folder, &latency).await;
        let is_shared = options.engine == Engine::Postgres;
        let cluster = is_shared.then(|| Arc::new(Cluster::start(Durability::Full)));
        let shape = Shape::fragile(options.nodes);
        let tally = Arc::clone(&story.tally);
        let fleet = Arc::new(Fleet::start(folder, &shape, cluster.as_deref(), tally).await);
        let load = Arc::new(Load::new(Arc::clone(&fleet), Arc::clone(&story.broken)));
        *story.clients.lock().unwrap() = Some(Arc::clone(&load));
        let mut stage = Self {
            options,
            story,
            load,
            fleet,
            simulator,
            cluster,
            oracle: Oracle::default(),
            begun: Instant::now(),
            lasting: Vec::new(),
            generations: 0,
            rolling: Mutex::default(),
        };
        stage.make_lasting_targets().await;
        stage.make_next_generation().await?;
        Ok(stage)
    }

    async fn play(&mut self, faults: &[Fault]) -> Result<(), String> {
        let options = self.options.clone();
        let seed = options.seed();
        let outage_ms = options.outage_seconds.map(|seconds| seconds * 1_000);
        let mut schedule = Schedule::new(seed, faults, options.nodes, outage_ms);
        let has_clocks = self.fleet.nodes.iter().any(|node| node.clock.is_some());
        self.oracle.clocks_lie = has_clocks && faults.contains(&Fault::Clock);
        let mut clients = self.load.start(options.clients, seed);
        self.begun = Instant::now();
        let mut quiet_at = self.begun + Duration::from_secs(options.quiet_seconds);
        while self.begun.elapsed() < options.length() {
            let step = schedule.next();
            self.tell(&step.to_string());
            let (first, second) = (step.blows.first(), step.blows.get(1));
            let struck = tokio::join!(self.strike(first), self.strike(second));
            struck.0.and(struck.1)?;
            let calm = Instant::now();
            self.fleet.all_ready().await?;
            self.every_node_serves().await?;
            if let Some(Err(panic)) = clients.try_join_next() {
                return Err(format!("a client broke off: {panic}"));
            }
            let took = u64::try_from(calm.elapsed().as_millis()).unwrap();
            self.story.tally.most("slowest recovery, ms", took);
            tokio::time::sleep(Duration::from_millis(step.pause_ms)).await;
            if Instant::now() > quiet_at {
                self.quiet().await?;
                self.make_next_generation().await?;
                quiet_at = Instant::now() + Duration::from_secs(options.quiet_seconds);
            }
        }
        self.load.end();
        self.quiet().await?;
        clients.join_all().await;
        self.rolling_restarts_went_well();
        self.end().await
    }

    /// Counts of what was done.
    pub(crate) fn tally(&self) -> &Tally {
        &self.story.tally
    }

    fn tell(&self, what: &str) {
        let at = self.begun.elapsed().as_secs_f64();
        self.story
            .steps
            .lock()
            .unwrap()
            .push(format!("{at:8.2} s  {what}"));
    }

    /// Silence; then everything must come to rest, and both sides' books are compared.
    async fn quiet(&mut self) -> Result<(), String> {
        let load = Arc::clone(&self.load);
        let silence = tokio::time::timeout(CALLS_END, load.gate.write()).await;
        let _silence = silence.map_err(|_late| "calls do not end".to_owned())?;
        self.tell("quiet: compare");
        self.fleet.all_ready().await?;
        if let Err(busy) = self.nodes_come_to_rest().await {
            // What is compared all the same says more than that.
            self.story.broken.note(busy);
        }
        let news = self.news().await;
        let (tally, broken) = (&self.story.tally, &self.story.broken);
        self.oracle.compare(&news, tally, broken);
        let rolling = self.rolling.lock().unwrap().clone();
        let spans: Vec<Span> = rolling.iter().map(|rolling| rolling.span).collect();
        self.oracle.nothing_is_estimated_in(&spans, &news, broken);
        self.books_verify().await;
        tally.count("quiet points");
        match broken.all().first() {
            // What comes after a broken promise proves nothing.
            Some(first) => Err(format!(
                "stopped at the first quiet point that shows it: {first}"
            )),
            None => Ok(()),
        }
    }

    /// Waits until no node has a call, or a row on its way.
    async fn nodes_come_to_rest(&self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        for node in &self.fleet.nodes {
            while let Err(busy) = self.is_at_rest(node).await {
                if Instant::now() > until {
                    return Err(format!("a node does not come to rest: {busy}"));
                }
                tokio::time::sleep(GLANCE).await;
            }
        }
        Ok(())
    }

    async fn is_at_rest(&self, node: &Node) -> Result<(), String> {
        let endpoint = node.endpoint().ok_or("it does not run")?;
        let control = Control::new(&endpoint.admin_url, &self.fleet.operator_key);
        let status = control.get("/ledger/status").await;
        let lag = &status["writer"]["lag_rows"];
        let open = &status["journal"]["open_calls"];
        // A full disk leaves calls open in the journal whose rows have been written all the same.
        if *lag == 0 && (*open == 0 || self.tally().of("full disks") > 0) {
            Ok(())
        } else {
            Err(format!("{lag} rows wait, {open} calls are open"))
        }
    }

    /// What is new on both sides, as soon as the ledger has a row of every billed request and does not grow any more, or
    /// patience ends.
    async fn news(&self) -> News {
        let until = Instant::now() + PATIENCE;
        let mut rows = usize::MAX;
        loop {
            let news = self.oracle.news(&self.simulator, &self.tables());
            let is_stable = news.rows() == std::mem::replace(&mut rows, news.rows());
            if (news.missing().is_empty() && is_stable) || Instant::now() > until {
                return news;
            }
            tokio::time::sleep(STILL).await;
        }
    }

    fn tables(&self) -> Tables<'_> {
        match &self.cluster {
            Some(cluster) => Tables::Postgres(cluster),
            None => Tables::Sqlite(self.fleet.nodes[0].data_dir()),
        }
    }

    /// Has a node work out every balance and roll-up from the ledger's rows.
    async fn books_verify(&self) {
        let report = self.operator().get("/ledger/verify").await;
        let is_exact = report["exact"] == true && report["differences"] == 0;
        if !is_exact {
            self.story
                .broken
                .note(format!("the books differ: {report}"));
        }
        self.story.tally.count("books: verified");
    }

    /// The operator, at the first node.
    pub(crate) fn operator(&self) -> Control {
        let endpoint = self.fleet.nodes[0].endpoint().unwrap();
        Control::new(&endpoint.admin_url, &self.fleet.operator_key)
    }

    /// With one retry, no call of a client that stays fails while nodes are restarted one by one.
    fn rolling_restarts_went_well(&self) {
        if self.options.nodes < 2 {
            return;
        }
        let rolling = self.rolling.lock().unwrap().clone();
        // One that goes on into the next fault has met that.
        let within = |failure: &&Failure| {
            let meets = |one: &Rolling| failure.begun >= one.from && failure.ended < one.to;
            rolling.iter().any(meets)
        };
        for failure in self.load.failures().iter().filter(within) {
            let at = failure
                .begun
                .saturating_duration_since(self.begun)
                .as_secs_f64();
            let what = &failure.what;
            let broken = &self.story.broken;
            broken.note(format!("failed in a rolling restart, at {at:.2} s: {what}"));
        }
    }

    async fn end(&mut self) -> Result<(), String> {
        let (tally, broken) = (&self.story.tally, &self.story.broken);
        self.fleet.end().await?;
        whole_ledger(&self.tables(), tally, broken);
        for wire in self
            .fleet
            .nodes
            .iter()
            .filter_map(|node| node.wire.as_ref())
        {
            tally.add("replies to COMMIT swallowed", wire.swallowed());
            tally.add("connections to the store cut", wire.broken());
        }
        self.simulator.stop().await;
        Ok(())
    }
}
