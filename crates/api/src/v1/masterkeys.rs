//! Master keys, for the operator. The keys themselves are in no answer.

pub(crate) mod rewrap;
pub(crate) mod status;

use jiff::Timestamp;
use serde::Serialize;
use tollgate_app::masterkeys::{MasterKeyState, MasterKeys, NodeMasterKeys};
use utoipa::ToSchema;

/// Where every master key stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MasterKeys)]
pub(crate) struct MasterKeysBody {
    /// The id of the key that the node that answers seals with.
    active: String,
    /// Every key that a running node has or that something is sealed under.
    keys: Vec<MasterKeyBody>,
    /// The running nodes, and those that ended without saying so.
    nodes: Vec<NodeKeysBody>,
}

/// Where one master key stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MasterKey)]
pub(crate) struct MasterKeyBody {
    /// Its id in the key file.
    id: String,
    /// Whether every running node has it.
    known: bool,
    /// Whether a running node seals with it.
    active: bool,
    /// Credentials that are sealed under it.
    credentials: u64,
    /// Whether nothing needs it any more, so that it can be taken out of the key file.
    removable: bool,
}

/// Which master keys a node has.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NodeMasterKeys)]
pub(crate) struct NodeKeysBody {
    /// The node's id.
    id: String,
    /// When it last gave a sign of life.
    seen_at: Timestamp,
    /// The id of the key that it seals with.
    active: String,
    /// The ids of the keys that it has.
    known: Vec<String>,
    /// The ids of the keys that something in its memory is sealed under.
    used: Vec<String>,
}

impl From<MasterKeys> for MasterKeysBody {
    fn from(keys: MasterKeys) -> Self {
        Self {
            active: keys.active.to_string(),
            keys: keys.keys.into_iter().map(MasterKeyBody::from).collect(),
            nodes: keys.nodes.into_iter().map(NodeKeysBody::from).collect(),
        }
    }
}

impl From<MasterKeyState> for MasterKeyBody {
    fn from(state: MasterKeyState) -> Self {
        Self {
            id: state.id.to_string(),
            known: state.is_known,
            active: state.is_active,
            credentials: state.credentials,
            removable: state.is_removable,
        }
    }
}

impl From<NodeMasterKeys> for NodeKeysBody {
    fn from(node: NodeMasterKeys) -> Self {
        Self {
            id: node.id.to_string(),
            seen_at: node.seen_at,
            active: node.keys.active.to_string(),
            known: node.keys.known.iter().map(ToString::to_string).collect(),
            used: node.keys.used.iter().map(ToString::to_string).collect(),
        }
    }
}
