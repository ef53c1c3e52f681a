//! Nodes: which there are, and the retiring of one that will not return.

use jiff::SignedDuration;
use tollgate_core::NodeId;
use tollgate_core::role::Permission;

use crate::app::App;
use crate::context::Context;
use crate::error::AppError;

pub use tollgate_store::NodeRow;

/// How long a node must have given no sign of life before it can be retired: twice as long as it
/// waits between two of them.
const QUIET: SignedDuration = SignedDuration::from_secs(60);

/// Whether a node that may be alive is retired all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Only a node that has given no sign of life for a minute.
    Quiet,
    /// Whatever it says: who asks knows that it is gone.
    Always,
}

impl App {
    /// Every node that was ever seen, the one that was seen last first.
    pub async fn list_nodes(&self, context: &Context) -> Result<Vec<NodeRow>, AppError> {
        context.must_be_allowed(Permission::ManageInstallation)?;
        Ok(self.store.operator().list_nodes().await?)
    }

    /// Retires a node for good: what it had drawn and not settled is free for others. Where it
    /// starts again, it is told to begin as another node.
    ///
    /// A conflict if it is this node, or if it is alive and nobody insists.
    pub async fn retire_node(
        &self,
        context: &Context,
        id: NodeId,
        force: Force,
    ) -> Result<NodeRow, AppError> {
        context.must_be_allowed(Permission::ManageInstallation)?;
        if id == self.store.node() {
            return Err(AppError::Conflict {
                code: "node_is_this_one",
                message: "this is the node that answers: stop it, and ask another one".to_owned(),
            });
        }
        let since = context
            .now
            .wall
            .checked_sub(QUIET)
            .map_err(AppError::internal)?;
        let quiet_since = (force == Force::Quiet).then_some(since);
        let mut entry = context.audit("node.retire", format!("node/{id}"));
        entry.tenant = None;
        let retired = self
            .store
            .operator()
            .retire_node(id, quiet_since, entry)
            .await;
        retired.map_err(|error| AppError::from(error).naming("node"))
    }

    /// The node that answers.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.store.node()
    }
}
