//! Enforcement for calls that do not go through the gateway: would a call pass, what is used of
//! the limits, and holds that are taken for such a call.

pub mod check;
pub mod hold;
pub(crate) mod open;
pub mod status;

use std::sync::Arc;

use tollgate_core::hold::Ask;
use tollgate_core::price::{ModelPrices, WorstCase};
use tollgate_core::tokens::TOKENS_MAX;
use tollgate_core::{IntegrationId, Nanos, TokenClass, TokenUsage};

use crate::app::App;
use crate::context::Context;
use crate::directory::Integration;
use crate::error::AppError;

pub use check::{Check, Outcome, Question};
pub use hold::{NewHold, Taken};
pub use status::EnforcementStatus;

/// The most characters of a model's name.
const MODEL_CHARS_MAX: usize = 100;

/// What a caller says of a call before it is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Estimate {
    /// The most that it will cost.
    pub cost: Option<Nanos>,
    /// The most tokens that it will use, input and output together; none is 0.
    pub tokens: Option<u64>,
    /// Its model: without a cost the tokens are priced at the model's dearest rate.
    pub model: Option<String>,
}

/// An estimate in the integration's terms.
#[derive(Debug)]
pub(crate) struct Estimated {
    pub(crate) ask: Ask,
    /// The model as the provider knows it.
    pub(crate) model: Option<Arc<str>>,
}

impl App {
    /// The integration of that id, if the asker's tenant has a living one and the asker's key may
    /// see it.
    pub(crate) fn integration_of(
        &self,
        context: &Context,
        id: IntegrationId,
    ) -> Option<Arc<Integration>> {
        context.must_see(id).ok()?;
        let known = self.directory().integration(id);
        known.filter(|known| Some(&known.tenant_id) == context.tenant.as_ref())
    }

    /// What an estimate asks of the limits of an integration.
    pub(crate) fn estimate(
        &self,
        integration: &Integration,
        estimate: &Estimate,
    ) -> Result<Estimated, AppError> {
        let tokens = estimate.tokens.unwrap_or(0);
        if tokens > TOKENS_MAX {
            return Err(invalid(
                "estimated_tokens",
                format!("give at most {TOKENS_MAX}"),
            ));
        }
        let snapshot = integration.snapshot();
        let model = estimate
            .model
            .as_deref()
            .map(|model| snapshot.config.model(model));
        if let Some(model) = model
            && (model.is_empty() || model.chars().nth(MODEL_CHARS_MAX).is_some())
        {
            let reason = format!("a model's name has 1 to {MODEL_CHARS_MAX} characters");
            return Err(invalid("model", reason));
        }
        let prices = model.and_then(|model| self.prices(&snapshot, model, self.now()));
        let cost = match (estimate.cost, model, &prices) {
            (Some(cost), _, _) => Some(cost),
            (None, None, _) => Some(Nanos::ZERO),
            (None, Some(_), None) => None,
            (None, Some(_), Some(prices)) => Some(dearest(prices, tokens)?),
        };
        let worst = TokenUsage::plain(tokens, 0);
        Ok(Estimated {
            ask: Ask { worst, cost },
            model: model.map(Into::into),
        })
    }
}

/// What so many tokens cost at the dearest, on whichever side they fall.
fn dearest(prices: &ModelPrices, tokens: u64) -> Result<Nanos, AppError> {
    let (classes_in, classes_out): (Vec<_>, Vec<_>) = TokenClass::ALL
        .into_iter()
        .partition(|class| class.is_input());
    let side = |tokens_in, tokens_out| {
        let worst = WorstCase {
            tokens_in,
            classes_in: &classes_in,
            tokens_out,
            classes_out: &classes_out,
        };
        prices
            .worst_case(&worst)
            .map_err(|error| invalid("estimated_tokens", error.to_string()))
    };
    Ok(side(tokens, 0)?.max(side(0, tokens)?))
}

pub(crate) fn invalid(field: &'static str, reason: String) -> AppError {
    AppError::Invalid { field, reason }
}
