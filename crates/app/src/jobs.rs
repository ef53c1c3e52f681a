//! Work that nobody asked for: hearing what other nodes changed and lack, telling that this one
//! lives, giving back what it does not need, writing down when keys were last used, ending holds,
//! forgetting answers that were kept long enough, and looking after the master keys
//! and the health of integrations.

mod news;

use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::app::App;
use crate::clock;
use crate::health::schedule;
use crate::masterkeys::tending::Tended;

/// Seconds between two notes of the keys' last use.
const HOUSEKEEPING_SECONDS: u64 = 30;

/// Seconds between two signs of life, where other nodes wait for them.
const HEARTBEAT_SECONDS: u64 = 5;

/// Seconds without a sign of life after which a node does not count for what others leave to it.
const SILENT_SECONDS: i64 = 20;

/// Hours without a sign of life after which what a node has drawn is free for others.
const LOST_HOURS: i64 = 24;

/// How often allowances are looked through, and how long one must be idle to go back.
const GIVE_BACK_EVERY: Duration = Duration::from_millis(500);
const IDLE_MICROS: i64 = 2_000_000;

/// How often the key file is looked at.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// The running jobs.
#[derive(Debug)]
pub struct Jobs {
    tasks: Vec<JoinHandle<()>>,
}

impl Jobs {
    /// Starts the jobs. `change` is the last change that the directory has seen.
    #[expect(
        clippy::disallowed_methods,
        reason = "jobs are one of the few places where tasks start"
    )]
    pub fn start(app: &Arc<App>, change: i64, refresh_seconds: u64) -> Self {
        let mut tasks = vec![
            tokio::spawn(keep_house(Arc::downgrade(app))),
            tokio::spawn(tend_master_keys(Arc::downgrade(app))),
            tokio::spawn(schedule::look_after(Arc::downgrade(app))),
            tokio::spawn(sweep_holds(Arc::downgrade(app))),
        ];
        if app.store.engine_name() != "sqlite" {
            let every = Duration::from_secs(refresh_seconds.max(1));
            let heard = Arc::new(Notify::new());
            tasks.extend([
                tokio::spawn(news::hear(Arc::downgrade(app), Arc::clone(&heard))),
                tokio::spawn(news::follow(Arc::downgrade(app), heard, change, every)),
                tokio::spawn(live(Arc::downgrade(app))),
                tokio::spawn(give_back(Arc::downgrade(app))),
            ]);
        }
        Self { tasks }
    }

    /// Stops them, and writes down what they still had to.
    pub(crate) async fn stop(self, app: &App) {
        for task in &self.tasks {
            task.abort();
        }
        note_use_of_keys(app).await;
    }
}

/// The key file may change at any time, and a rotation may have been interrupted by the last end.
async fn tend_master_keys(app: Weak<App>) {
    let mut tended = Tended::default();
    loop {
        let Some(current) = app.upgrade() else { return };
        current.tend_master_keys(&mut tended).await;
        drop(current);
        tokio::time::sleep(TEND_EVERY).await;
    }
}

/// Ends holds whose time has come, and hears which of this node's were ended elsewhere.
async fn sweep_holds(app: Weak<App>) {
    let mut seconds: u64 = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Some(app) = app.upgrade() else { return };
        seconds = seconds.wrapping_add(1);
        if !app.has_holds_due() && !seconds.is_multiple_of(HOUSEKEEPING_SECONDS) {
            continue;
        }
        if let Err(error) = app.sweep_holds().await {
            tracing::warn!(%error, "holds cannot be swept");
        }
    }
}

async fn keep_house(app: Weak<App>) {
    loop {
        tokio::time::sleep(Duration::from_secs(HOUSEKEEPING_SECONDS)).await;
        let Some(app) = app.upgrade() else { return };
        note_use_of_keys(&app).await;
        beat(&app).await;
        if let Err(error) = app.forget_old_requests(app.now()).await {
            tracing::warn!(%error, "old answers cannot be forgotten");
        }
        // Told anew by and by: a restored store, or a program that shared this folder, may have it otherwise.
        app.forget_told_keys();
    }
}

/// Tells the others that this node lives, and counts them.
async fn live(app: Weak<App>) {
    loop {
        let Some(here) = app.upgrade() else { return };
        beat(&here).await;
        drop(here);
        tokio::time::sleep(Duration::from_secs(HEARTBEAT_SECONDS)).await;
    }
}

async fn beat(app: &App) {
    let operator = app.store.operator();
    let beaten = async {
        let sharing = app.metering().fellowship.sharing();
        clock::follow(&app.store, &*app.clock, sharing).await?;
        let now = app.now();
        operator.heartbeat(now.wall).await?;
        let nodes = operator.living_nodes(SILENT_SECONDS).await?;
        let integrations = app.directory().integrations();
        app.metering().heard(&integrations, nodes, now);
        let long_ago = now
            .wall
            .saturating_sub(SignedDuration::from_hours(LOST_HOURS));
        match long_ago {
            Ok(long_ago) => operator.free_lost_nodes(long_ago).await,
            Err(_before_time) => Ok(0),
        }
    };
    match beaten.await {
        Ok(0) => {}
        Ok(lost) => tracing::warn!(
            lost,
            "nodes were not seen for a day: what they had drawn is free"
        ),
        Err(error) => tracing::warn!(%error, "this node cannot give a sign of life"),
    }
}

/// Gives back what is idle, so that other nodes can use it; a node alone keeps what it has.
async fn give_back(app: Weak<App>) {
    loop {
        tokio::time::sleep(GIVE_BACK_EVERY).await;
        let Some(app) = app.upgrade() else { return };
        if app.metering().fellowship.share() == 1 {
            continue;
        }
        for integration in app.directory().integrations() {
            app.metering().give_back(&integration, IDLE_MICROS).await;
        }
    }
}

async fn note_use_of_keys(app: &App) {
    let used = app.directory().used_keys();
    if used.is_empty() {
        return;
    }
    if let Err(error) = app.store.operator().touch_keys(&used).await {
        tracing::warn!(%error, "the last use of keys cannot be written down");
    }
}
