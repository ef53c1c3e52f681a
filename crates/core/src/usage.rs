//! One finished call: immutable, and known by its tenant and call id.

pub mod report;

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::Arc;

use cus_models::{CusPolicyResult, CusProviderType};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{AgentId, CallId, IntegrationId, SessionId, TenantId};
use crate::money::Nanos;
use crate::period::Period;
use crate::price::PricePin;
use crate::tokens::TokenUsage;

/// Where a row's token counts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// The provider reported them.
    Provider,
    /// Counted from what passed through, because the provider did not report them.
    Counted,
    /// Nothing is known: charged at what was held.
    Estimated,
}

impl UsageSource {
    /// The name that stands in the ledger and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Counted => "counted",
            Self::Estimated => "estimated",
        }
    }

    /// The source of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Provider, Self::Counted, Self::Estimated]
            .into_iter()
            .find(|source| source.as_str() == name)
    }
}

/// How a call came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It went through the gateway.
    Gateway,
    /// Its caller made it elsewhere and reported it.
    Telemetry,
}

impl Origin {
    /// Every origin.
    pub const ALL: [Self; 2] = [Self::Gateway, Self::Telemetry];

    /// The name that stands in the ledger and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Telemetry => "telemetry",
        }
    }

    /// The origin of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|origin| origin.as_str() == name)
    }
}

/// A name that is no origin's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not gateway or telemetry")]
pub struct InvalidOrigin;

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(name: &str) -> Result<Self, InvalidOrigin> {
        Self::from_name(name).ok_or(InvalidOrigin)
    }
}

/// One row of the ledger before it is written: its cents follow from the balance it joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageEntry {
    /// Whose call it was.
    pub tenant_id: TenantId,
    /// Through which integration.
    pub integration_id: IntegrationId,
    /// The call; a second entry with the same tenant and call id changes nothing.
    pub call_id: CallId,
    /// The caller's session.
    pub session_id: Option<SessionId>,
    /// The caller's agent.
    pub agent_id: Option<AgentId>,
    /// The provider.
    pub provider: CusProviderType,
    /// The model that was asked for, 1 to 100 characters.
    pub model: Arc<str>,
    /// Tokens by class.
    pub tokens: TokenUsage,
    /// What it cost.
    pub cost: Nanos,
    /// What was held for it.
    pub held: Nanos,
    /// Where the token counts come from.
    pub source: UsageSource,
    /// The prices it was charged at; none for what has no price, or was refused.
    pub price: Option<PricePin>,
    /// Milliseconds from admission to the last byte; none for a refused call.
    pub latency_ms: Option<i64>,
    /// What was decided about it.
    pub policy_result: CusPolicyResult,
    /// What went wrong, as a stable code of at most 50 characters.
    pub error_code: Option<Cow<'static, str>>,
    /// What went wrong, for people; never a secret.
    pub error_message: Option<String>,
    /// More, as a JSON object in text.
    pub extra: Option<Box<str>>,
    /// When it was admitted or refused: decides its day and its period.
    #[serde(with = "jiff::fmt::serde::timestamp::microsecond::required")]
    pub created_at: Timestamp,
}

impl UsageEntry {
    /// How `extra` begins in the row of a batch.
    const OF_BATCH: &'static str = "{\"batch\":";

    /// Whether it stands for calls of a batch: its id follows from their results, so that another
    /// entry with that id is the same one once more, at whatever time it was made.
    #[must_use]
    pub fn is_of_batch(&self) -> bool {
        let extra = self.extra.as_deref().unwrap_or_default();
        extra.starts_with(Self::OF_BATCH)
    }

    /// The month it is charged to.
    #[must_use]
    pub fn period(&self) -> Period {
        Period::of(self.created_at)
    }

    /// Whether the call was refused, so that nothing reached the provider.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.policy_result == CusPolicyResult::Blocked
    }
}
