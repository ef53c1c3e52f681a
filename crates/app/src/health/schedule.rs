//! Probes that nobody asked for: each integration in its turn, a few at a time, and none where
//! calls have shown that all is well.

use std::sync::{Arc, Weak};
use std::time::Duration;

use cus_models::{CusHealthState, CusIntegrationStatus};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tollgate_core::health::{Finding, Health, Source};
use tollgate_store::{ProbeTurn, StoreError};

use super::fold::{Report, Taken};
use super::probe::Heard;
use crate::app::App;
use crate::directory::Integration;
use crate::error::AppError;

/// Between two looks at what is due. At most `probes_max` probes begin at each, so that a start
/// with many integrations is no rush.
const LOOK: Duration = Duration::from_secs(1);

/// The longest time for which live calls are counted before they are folded, in seconds.
const FOLD_SECONDS: u64 = 5;

/// How long a probe may be over its patience until another node may take it for lost.
const LOST_SECONDS: u64 = 30;

/// Looks after the health of every integration until the app is gone.
pub(crate) async fn look_after(app: Weak<App>) {
    let mut probes: JoinSet<()> = JoinSet::new();
    let mut looks: u64 = 0;
    loop {
        tokio::time::sleep(LOOK).await;
        while probes.try_join_next().is_some() {}
        let Some(app) = app.upgrade() else { return };
        looks = looks.wrapping_add(1);
        let every = app.probing.pace.retry_seconds.clamp(1, FOLD_SECONDS);
        if looks.is_multiple_of(every) {
            app.fold_traffic().await;
        }
        let free = app.probing.at_once_max.saturating_sub(probes.len());
        for known in app.due(free) {
            let app = Arc::clone(&app);
            probes.spawn(async move { app.probe_in_turn(&known).await });
        }
    }
}

impl App {
    /// Takes in what calls have shown since the last time.
    pub(crate) async fn fold_traffic(&self) {
        let now = self.now();
        for known in self.directory().integrations() {
            let Some(finding) = known.traffic.fold(now) else {
                continue;
            };
            let used = {
                let snapshot = known.snapshot();
                let health = Health::of(&snapshot.record, 0, 0);
                let is_news = finding != Finding::Good || health.state != CusHealthState::Healthy;
                if !is_news || health.is_deaf_to(finding, Source::Traffic) {
                    continue;
                }
                snapshot.record.updated_at
            };
            let heard = Heard::of_traffic(finding);
            self.note(&known, &heard, (Source::Traffic, used)).await;
        }
    }

    /// Integrations whose probe is due, those that wait longest first.
    fn due(&self, most: usize) -> Vec<Arc<Integration>> {
        if !self.probing.is_on {
            return Vec::new();
        }
        let now = self.now().wall.as_microsecond();
        let mut due: Vec<_> = self
            .directory()
            .integrations()
            .into_iter()
            .filter(|known| known.next_probe_micros() <= now && self.is_in_service(known))
            .collect();
        due.sort_by_key(|known| known.next_probe_micros());
        due.truncate(most);
        for known in &due {
            // Until its turn is known, it is not due again.
            known.probe_at(self.later(self.probing.patience_seconds));
        }
        due
    }

    /// Whether an integration is one that calls may go through, or may again: of a living tenant.
    fn is_in_service(&self, known: &Integration) -> bool {
        let status = known.snapshot().record.status;
        let is_used = matches!(
            status,
            CusIntegrationStatus::Enabled | CusIntegrationStatus::Error
        );
        let tenant = self.directory().tenant(&known.tenant_id);
        is_used && tenant.is_some_and(|tenant| !tenant.is_suspended())
    }

    /// Probes an integration if it is this node's turn, unless calls have shown that it is well.
    pub(crate) async fn probe_in_turn(&self, known: &Integration) {
        let now = self.now();
        let patience = self.probing.patience_seconds.saturating_add(LOST_SECONDS);
        let until = self.later(patience).unwrap_or(now.wall);
        let store = self.store.tenant(&known.tenant_id);
        match store.claim_probe(known.id, now.wall, until).await {
            Ok(ProbeTurn::Mine) => {}
            Ok(ProbeTurn::Later(next)) => return known.probe_at(Some(next)),
            Err(StoreError::NotFound) => return known.probe_at(Some(Timestamp::MAX)),
            Err(error) => {
                tracing::warn!(%error, integration = %known.id, "whose turn it is cannot be read");
                return known.probe_at(self.later(self.probing.pace.retry_seconds));
            }
        }
        let Ok(_turn) = known.probing.try_lock() else {
            return known.probe_at(self.later(self.probing.pace.retry_seconds));
        };
        let snapshot = Arc::clone(&known.snapshot());
        let used = snapshot.record.updated_at;
        let every = self.probing.pace.every_seconds;
        let is_well = snapshot.record.health_state == CusHealthState::Healthy
            && snapshot.record.status == CusIntegrationStatus::Enabled;
        if is_well && known.traffic.answered_within(every, now) {
            let heard = Heard::of_traffic(Finding::Good);
            return self.note(known, &heard, (Source::Traffic, used)).await;
        }
        let heard = self.probe(&snapshot).await;
        self.note(known, &heard, (Source::Scheduled, used)).await;
    }

    /// Takes in what nobody waits for: what cannot be kept is logged, and found again next time.
    async fn note(&self, known: &Integration, heard: &Heard, (source, used): (Source, Timestamp)) {
        let report = Report {
            heard,
            source,
            used,
            context: None,
        };
        let next = self.later(self.probing.pace.retry_seconds);
        match self.take_in(known, report).await {
            Ok(Taken::Kept(_)) => {}
            Ok(Taken::Outdated) => known.probe_at(next),
            Err(AppError::NotFound(_)) => known.probe_at(Some(Timestamp::MAX)),
            Err(error) => {
                tracing::warn!(%error, integration = %known.id, "its health cannot be kept");
                known.probe_at(next);
            }
        }
    }

    fn later(&self, seconds: u64) -> Option<Timestamp> {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let wait = SignedDuration::from_secs(seconds);
        self.now().wall.checked_add(wait).ok()
    }
}
