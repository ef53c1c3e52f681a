//! A hold for a call that does not go through the gateway: kept in the store, so that any node can
//! end it and a crash does not forget it.

use std::sync::Arc;

use cus_models::CusPolicyResult;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Actual;
use crate::id::{CallId, HoldId, IntegrationId, NodeId, TenantId};
use crate::money::Nanos;
use crate::period::Period;

/// Where a direct hold is in its life. It leaves `held` once, and no other state ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    /// It counts against the limits.
    Held,
    /// A report has replaced it by what the call really used.
    Settled,
    /// Its caller has given it back.
    Released,
    /// Nobody ended it in time.
    Expired,
}

impl HoldState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Held, Self::Settled, Self::Released, Self::Expired];

    /// The name that stands in the store and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Settled => "settled",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// What became of a hold that a report names. The report is booked in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldOutcome {
    /// The report has settled it.
    Settled,
    /// Another report had settled it before.
    SettledBefore,
    /// It had been released.
    Released,
    /// It had expired.
    Expired,
    /// There is no such hold on the report's integration.
    Unknown,
}

impl HoldOutcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [
        Self::Settled,
        Self::SettledBefore,
        Self::Released,
        Self::Expired,
        Self::Unknown,
    ];

    /// What becomes of a hold in this state when it is too late.
    #[must_use]
    pub const fn late(state: HoldState) -> Self {
        match state {
            HoldState::Held | HoldState::Settled => Self::SettledBefore,
            HoldState::Released => Self::Released,
            HoldState::Expired => Self::Expired,
        }
    }

    /// The name that stands in the ledger and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::SettledBefore => "settled_before",
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }

    /// The outcome of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == name)
    }
}

/// How a direct hold has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldEnd {
    /// By a report: so much of its month was used.
    Settled(Actual),
    /// Given back by its caller: nothing reached the provider.
    Released,
    /// By its time.
    Expired,
}

/// A direct hold as it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectHold {
    /// Its id, which the report names.
    pub id: HoldId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// On whose limits it stands.
    pub integration_id: IntegrationId,
    /// The month that it is held in.
    pub period: Period,
    /// Money held.
    pub cost: Nanos,
    /// Tokens held.
    pub tokens: i64,
    /// The node in whose allowance it is.
    pub node: NodeId,
    /// The model of the call, if its caller said so.
    pub model: Option<Arc<str>>,
    /// The id of the call, if its caller has one already.
    pub call_id: Option<CallId>,
    /// Whether it came near a limit.
    pub policy_result: CusPolicyResult,
    /// When it was taken.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}
