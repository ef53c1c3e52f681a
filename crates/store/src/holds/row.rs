//! A hold as it is kept, and how it is read.

use tollgate_core::hold::Actual;
use tollgate_core::hold::direct::{DirectHold, HoldEnd, HoldState};
use tollgate_core::{HoldId, Nanos};

use crate::engine::Kind::Text;
use crate::engine::{Batch, Work, sql};
use crate::error::StoreError;
use crate::value::Place;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant_id, integration_id, period, cost_nanos, tokens, node_id, model, call_id, \
             policy_result, created_at, expires_at, state, settled_nanos, settled_tokens FROM holds ",
            $rest
        )
    };
}

pub(super) const SELECT: &str = select!("");

/// Holds by their ids.
pub(super) const FIND: Batch = Batch {
    head: select!("WHERE id IN ("),
    columns: &[Text],
    tail: ")",
    locks_rows: false,
};

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) tenant_id: String,
    integration_id: String,
    period: String,
    cost_nanos: i64,
    tokens: i64,
    node_id: String,
    model: Option<String>,
    call_id: Option<String>,
    policy_result: String,
    created_at: i64,
    expires_at: i64,
    state: String,
    settled_nanos: i64,
    settled_tokens: i64,
}

impl Row {
    pub(super) fn read(self) -> Result<(DirectHold, HoldState), StoreError> {
        let place = Place {
            table: "holds",
            row: &self.id,
        };
        let state = place.known("state", HoldState::from_name(&self.state))?;
        let policy_result = cus_models::CusPolicyResult::ALL
            .iter()
            .find(|one| one.as_str() == self.policy_result);
        let hold = DirectHold {
            id: place.text("id", &self.id)?,
            tenant_id: place.text("tenant_id", &self.tenant_id)?,
            integration_id: place.text("integration_id", &self.integration_id)?,
            period: place.text("period", &self.period)?,
            cost: Nanos::new(self.cost_nanos),
            tokens: self.tokens,
            node: place.text("node_id", &self.node_id)?,
            model: self.model.as_deref().map(Into::into),
            call_id: place.maybe_text("call_id", self.call_id.as_deref())?,
            policy_result: *place.known("policy_result", policy_result)?,
            created_at: place.time("created_at", self.created_at)?,
            expires_at: place.time("expires_at", self.expires_at)?,
        };
        Ok((hold, state))
    }

    /// The hold and how it has ended, if it has.
    pub(super) fn read_end(self) -> Result<(DirectHold, Option<HoldEnd>), StoreError> {
        let actual = Actual {
            cost: Nanos::new(self.settled_nanos),
            tokens: self.settled_tokens,
        };
        let (hold, state) = self.read()?;
        let end = match state {
            HoldState::Held => None,
            HoldState::Settled => Some(HoldEnd::Settled(actual)),
            HoldState::Released => Some(HoldEnd::Released),
            HoldState::Expired => Some(HoldEnd::Expired),
        };
        Ok((hold, end))
    }
}

/// The hold of that id, whoever's it is.
pub(super) async fn find(work: &mut Work, id: HoldId) -> Result<Option<Row>, StoreError> {
    let select = sql(SELECT).push("WHERE id = $1").bind(id.to_string());
    work.fetch_optional(select).await
}
