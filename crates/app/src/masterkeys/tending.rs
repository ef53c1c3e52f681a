//! What a node does about master keys without being asked: it follows the key file, tells the
//! others, and goes on with a rotation that was interrupted.

use tollgate_core::audit::Actor;
use tollgate_core::role::Role;

use super::ring::json_of;
use crate::app::App;
use crate::context::Context;
use crate::error::AppError;
use crate::revision::Precondition;

/// What the node knows of its own tending.
#[derive(Debug, Default)]
pub(crate) struct Tended {
    /// Whether a look at everything that is sealed is due: after the start, after another key
    /// became active, and until nothing waits.
    is_settled: bool,
    /// The last complaint, so that each is logged once.
    complaint: String,
}

impl App {
    /// Looks after the master keys once.
    pub(crate) async fn tend_master_keys(&self, tended: &mut Tended) {
        let system = self.system();
        match self.reload_ring(&system).await {
            Ok(false) => tended.complaint.clear(),
            Ok(true) => *tended = Tended::default(),
            Err(error) => tended.complain(&error),
        }
        let active = self.ring.load().active_id();
        let lags = self.keys_in_use().iter().any(|id| *id != active);
        if lags || !tended.is_settled {
            match self.rewrap_all(&system).await {
                Ok(done) => tended.is_settled = !done.is_waiting,
                Err(error) => tended.complain(&error),
            }
        }
        if let Err(error) = self.tell_keys().await {
            tended.complain(&error);
        }
    }

    /// Tells the other nodes which keys this one has, if that has changed.
    pub(crate) async fn tell_keys(&self) -> Result<(), AppError> {
        let keys = self.told_keys();
        if self.ring.told.lock().as_ref() == Some(&keys) {
            return Ok(());
        }
        let text = Some(json_of(&keys)?);
        self.store.operator().tell_master_keys(text, None).await?;
        *self.ring.told.lock() = Some(keys);
        Ok(())
    }

    /// Has the keys told again, although they have not changed.
    pub(crate) fn forget_told_keys(&self) {
        *self.ring.told.lock() = None;
    }

    /// Tells that this node has stopped and needs no keys.
    pub(crate) async fn tell_no_keys(&self) {
        if let Err(error) = self.store.operator().tell_master_keys(None, None).await {
            tracing::warn!(%error, "the other nodes cannot be told that this one stops");
        }
    }

    /// Tollgate itself, as the one who asks.
    fn system(&self) -> Context {
        Context {
            actor: Actor::System,
            role: Role::Operator,
            tenant: None,
            bound_to: None,
            request_id: None,
            precondition: Precondition::None,
            now: self.now(),
        }
    }
}

impl Tended {
    fn complain(&mut self, error: &AppError) {
        let said = error.to_string();
        if said != self.complaint {
            tracing::error!(error = %said, "the master keys: the ring that was in use stays in use");
            self.complaint = said;
        }
    }
}
