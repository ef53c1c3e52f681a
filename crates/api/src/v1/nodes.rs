//! Nodes, for the operator.

pub(crate) mod list;
pub(crate) mod retire;

use jiff::Timestamp;
use serde::Serialize;
use tollgate_app::nodes::NodeRow;
use tollgate_core::NodeId;
use utoipa::ToSchema;

/// A running copy of the program, or one that ran.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Node)]
pub(crate) struct NodeBody {
    /// Its id, which its data directory keeps.
    id: String,
    /// Whether it is the node that answers.
    answering: bool,
    /// `running` (it did not say that it stops, so it may also have been killed), `stopped` or `retired`.
    status: &'static str,
    /// When it was first seen.
    started_at: Timestamp,
    /// When it last gave a sign of life.
    seen_at: Timestamp,
    /// When it was retired; null while it may return.
    retired_at: Option<Timestamp>,
}

impl NodeBody {
    pub(crate) fn of(row: &NodeRow, answering: NodeId) -> Self {
        let status = match (row.retired_at, &row.master_keys) {
            (Some(_), _) => "retired",
            (None, Some(_)) => "running",
            (None, None) => "stopped",
        };
        Self {
            id: row.id.to_string(),
            answering: row.id == answering,
            status,
            started_at: row.started_at,
            seen_at: row.seen_at,
            retired_at: row.retired_at,
        }
    }
}
