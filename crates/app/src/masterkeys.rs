//! Master keys: the ring in use, what is sealed under which key, and the rotation.
//!
//! The key file is edited by whoever has the server's disk (`tollgate masterkey`). A running node
//! looks at it every second, takes over what it says ([`ring`]), tells the other nodes through the
//! store which keys it has, and re-wraps what is sealed under another key than the active one
//! ([`rewrap`]). So a rotation needs no memory of its own: whatever was interrupted goes on by
//! itself, from what the file and the rows say.

pub mod rewrap;
pub mod ring;
pub mod tending;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tollgate_core::NodeId;
use tollgate_core::role::Permission;
use tollgate_store::NodeRow;
use tollgate_vault::{MasterKeyId, Sealed};

use crate::app::App;
use crate::context::Context;
use crate::error::AppError;

/// Where every master key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterKeys {
    /// The key that this node seals with.
    pub active: MasterKeyId,
    /// Every key that a running node has or that something is sealed under, in the order of ids.
    pub keys: Vec<MasterKeyState>,
    /// The running nodes.
    pub nodes: Vec<NodeMasterKeys>,
}

/// Where one master key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterKeyState {
    /// Its id.
    pub id: MasterKeyId,
    /// Whether every running node has it.
    pub is_known: bool,
    /// Whether a running node seals with it.
    pub is_active: bool,
    /// Credentials that are sealed under it.
    pub credentials: u64,
    /// Whether it can be taken out of the key file: nothing is sealed under it, no node seals with
    /// it, and none has something in memory that is sealed under it.
    pub is_removable: bool,
}

/// What a running node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeMasterKeys {
    /// Which node.
    pub id: NodeId,
    /// When it last gave a sign of life.
    pub seen_at: Timestamp,
    /// What it told.
    pub keys: ToldKeys,
}

/// What a node tells of its master keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldKeys {
    /// The key that it seals with.
    #[serde(with = "as_text")]
    pub active: MasterKeyId,
    /// The keys of its ring.
    #[serde(with = "as_texts")]
    pub known: BTreeSet<MasterKeyId>,
    /// The keys that something in its memory is sealed under.
    #[serde(with = "as_texts")]
    pub used: BTreeSet<MasterKeyId>,
}

impl App {
    /// Where every master key stands.
    pub async fn master_keys(&self, context: &Context) -> Result<MasterKeys, AppError> {
        context.must_be_allowed(Permission::ManageInstallation)?;
        let operator = self.store.operator();
        let openings = operator.sealed_openings().await?;
        let nodes = running(&operator.list_nodes().await?)?;
        let mut sealed: BTreeMap<MasterKeyId, u64> = BTreeMap::new();
        for id in openings
            .iter()
            .filter_map(|opening| Sealed::master_key_in(opening))
        {
            let credentials = sealed.entry(id).or_default();
            *credentials = credentials.saturating_add(1);
        }
        let mut ids: BTreeSet<MasterKeyId> = self.ring.load().ids().collect();
        ids.extend(sealed.keys().copied());
        ids.extend(
            nodes
                .iter()
                .flat_map(|node| node.keys.known.iter().copied()),
        );
        let state = |id: MasterKeyId| {
            let credentials = sealed.get(&id).copied().unwrap_or(0);
            let is_active = nodes.iter().any(|node| node.keys.active == id);
            let is_used = nodes.iter().any(|node| node.keys.used.contains(&id));
            MasterKeyState {
                id,
                is_known: nodes.iter().all(|node| node.keys.known.contains(&id)),
                is_active,
                credentials,
                is_removable: credentials == 0 && !is_active && !is_used,
            }
        };
        Ok(MasterKeys {
            active: self.ring.load().active_id(),
            keys: ids.into_iter().map(state).collect(),
            nodes,
        })
    }

    /// The keys that something in the directory is sealed under.
    pub(crate) fn keys_in_use(&self) -> BTreeSet<MasterKeyId> {
        let integrations = self.directory().integrations();
        let keys = integrations
            .iter()
            .filter_map(|one| one.snapshot().master_key());
        keys.collect()
    }

    /// What this node tells the others.
    pub(crate) fn told_keys(&self) -> ToldKeys {
        let ring = self.ring.load();
        ToldKeys {
            active: ring.active_id(),
            known: ring.ids().collect(),
            used: self.keys_in_use(),
        }
    }
}

/// The nodes that told their keys: those that run, and those that ended without saying so.
fn running(rows: &[NodeRow]) -> Result<Vec<NodeMasterKeys>, AppError> {
    let told = rows.iter().filter(|row| row.retired_at.is_none());
    let told = told.filter_map(|row| Some((row, row.master_keys.as_deref()?)));
    let read = told.map(|(row, text)| {
        Ok(NodeMasterKeys {
            id: row.id,
            seen_at: row.seen_at,
            keys: serde_json::from_str(text).map_err(AppError::internal)?,
        })
    });
    read.collect()
}

/// A master key's id in JSON.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer};
    use tollgate_vault::MasterKeyId;

    pub(super) fn serialize<S: Serializer>(id: &MasterKeyId, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(id.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<MasterKeyId, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The ids of master keys in JSON.
mod as_texts {
    use std::collections::BTreeSet;

    use serde::{Deserialize, Deserializer, Serializer};
    use tollgate_vault::MasterKeyId;

    pub(super) fn serialize<S: Serializer>(
        ids: &BTreeSet<MasterKeyId>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(ids.iter().map(MasterKeyId::as_str))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeSet<MasterKeyId>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let ids = texts.iter().map(|text| text.parse());
        ids.collect::<Result<_, _>>()
            .map_err(serde::de::Error::custom)
    }
}
