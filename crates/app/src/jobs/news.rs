//! What other nodes changed, taken in at once by push and within seconds by polling; and what they
//! lack, given back.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tollgate_store::{Listener, News};

use crate::app::App;
use crate::error::AppError;

/// How long after a lost connection the next is tried.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// As many changes as one look brings at most: there may be more.
const CHANGES_OF_A_LOOK: usize = 1_000;

/// Listens for news; whoever follows changes is told with `heard`.
pub(super) async fn hear(app: Weak<App>, heard: Arc<Notify>) {
    loop {
        let Some(here) = app.upgrade() else { return };
        let listening = here.store.operator().listen().await;
        drop(here);
        match listening {
            Ok(Some(listener)) => pass_on(&app, listener, &heard).await,
            Ok(None) => return,
            Err(error) => tracing::warn!(%error, "cannot listen for news of other nodes"),
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}

/// Passes news on until they can no longer be heard.
async fn pass_on(app: &Weak<App>, mut listener: Listener, heard: &Notify) {
    // Whatever was said before this node listened.
    heard.notify_one();
    loop {
        match listener.next().await {
            Ok(News::Changed) => heard.notify_one(),
            Ok(News::Wanted(id)) => {
                let Some(app) = app.upgrade() else { return };
                if let Some(integration) = app.directory().integration(id) {
                    app.metering().give_back(&integration, 0).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "news of other nodes cannot be heard; polling goes on");
                return;
            }
        }
    }
}

/// Takes in other nodes' changes when there is news of them, and every so often.
pub(super) async fn follow(app: Weak<App>, heard: Arc<Notify>, mut seen: i64, every: Duration) {
    loop {
        // Whether told or not, the next look is the same.
        let _told = tokio::time::timeout(every, heard.notified()).await;
        let Some(app) = app.upgrade() else { return };
        if let Err(error) = take_changes(&app, &mut seen).await {
            tracing::warn!(%error, "other nodes' changes cannot be read");
        }
    }
}

/// Takes in every change after `seen`. What cannot be understood is forgotten, so that it can do
/// no harm and holds up nothing that comes after it.
async fn take_changes(app: &App, seen: &mut i64) -> Result<(), AppError> {
    loop {
        let changes = app.store.operator().changes_since(*seen).await?;
        let is_last = changes.len() < CHANGES_OF_A_LOOK;
        for change in changes {
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
        if is_last {
            return Ok(());
        }
    }
}
