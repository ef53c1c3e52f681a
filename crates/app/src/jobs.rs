//! Work that nobody asked for: hearing what other nodes changed, telling that this one lives,
//! writing down when keys were last used, forgetting answers that were kept long enough, and
//! looking after the master keys.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::app::App;
use crate::error::AppError;
use crate::masterkeys::tending::Tended;

/// Seconds between two notes of the keys' last use, and two signs of life.
const HOUSEKEEPING_SECONDS: u64 = 30;

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
        let every = Duration::from_secs(refresh_seconds.max(1));
        let mut tasks = vec![
            tokio::spawn(keep_house(Arc::downgrade(app))),
            tokio::spawn(tend_master_keys(Arc::downgrade(app), every)),
        ];
        if app.store.engine_name() != "sqlite" {
            tasks.push(tokio::spawn(follow_changes(
                Arc::downgrade(app),
                change,
                every,
            )));
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

/// Other nodes' changes: polled, so that they are in force within seconds.
async fn follow_changes(app: Weak<App>, mut seen: i64, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(app) = app.upgrade() else { return };
        if let Err(error) = take_changes(&app, &mut seen).await {
            tracing::warn!(%error, "other nodes' changes cannot be read");
        }
    }
}

/// Takes in every change after `seen`. What cannot be understood is forgotten, so that it can do
/// no harm and holds up nothing that comes after it.
async fn take_changes(app: &App, seen: &mut i64) -> Result<(), AppError> {
    for change in app.store.operator().changes_since(*seen).await? {
        match app.refresh(change.kind, &change.id).await {
            Ok(()) => {}
            Err(error @ AppError::Unavailable(_)) => return Err(error),
            Err(error) => {
                tracing::error!(%error, ?change, "a change cannot be understood");
                app.forget(change.kind, &change.id);
            }
        }
        *seen = change.seq;
    }
    Ok(())
}

/// The key file may change at any time, and a rotation may have been interrupted by the last end.
async fn tend_master_keys(app: Weak<App>, every: Duration) {
    let mut tended = Tended::default();
    loop {
        let Some(current) = app.upgrade() else { return };
        current.tend_master_keys(&mut tended).await;
        drop(current);
        tokio::time::sleep(every).await;
    }
}

async fn keep_house(app: Weak<App>) {
    loop {
        tokio::time::sleep(Duration::from_secs(HOUSEKEEPING_SECONDS)).await;
        let Some(app) = app.upgrade() else { return };
        note_use_of_keys(&app).await;
        if let Err(error) = app.store.operator().heartbeat(app.now().wall).await {
            tracing::warn!(%error, "this node cannot give a sign of life");
        }
        if let Err(error) = app.forget_old_requests(app.now()).await {
            tracing::warn!(%error, "old answers cannot be forgotten");
        }
        // Told anew by and by: a restored store, or a program that shared this folder, may have it otherwise.
        app.forget_told_keys();
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
