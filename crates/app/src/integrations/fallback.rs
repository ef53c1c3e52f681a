//! The `fallback` list of an integration on its way in: others of the same tenant that the same
//! callers can be answered by.

use cus_models::CusIntegration;
use tollgate_core::config::{Fallback, IntegrationConfig};
use tollgate_providers::{Dialect, registry};
use tollgate_store::StoreError;

use super::settings::provider_with;
use crate::app::App;
use crate::context::Context;
use crate::error::AppError;

impl App {
    /// Checks each entry of an integration's list against what the tenant has now. What changes
    /// later is noticed by the calls, which pass over an entry that leads nowhere.
    pub(super) async fn check_fallback(
        &self,
        context: &Context,
        own: &CusIntegration,
        config: &IntegrationConfig,
    ) -> Result<(), AppError> {
        if config.fallback.is_empty() {
            return Ok(());
        }
        let dialect = provider_with(own)?.0.describe().dialect;
        for (place, entry) in (1_u32..).zip(&config.fallback) {
            if entry.integration == own.id || entry.integration == own.name {
                if entry.model.is_none() {
                    let reason = "is the integration itself: give it another `model`, or let \
                                  `retries` say how often it is asked again";
                    return Err(invalid(place, reason));
                }
                continue;
            }
            let other = self.entry_of(context, place, entry).await?;
            check_dialects(place, entry, dialect, &other)?;
        }
        Ok(())
    }

    async fn entry_of(
        &self,
        context: &Context,
        place: u32,
        entry: &Fallback,
    ) -> Result<CusIntegration, AppError> {
        let store = self.store.tenant(context.tenant()?);
        let by_id = match entry.integration.parse() {
            Ok(id) => store.get_integration(id).await,
            Err(_) => Err(StoreError::NotFound),
        };
        let found = match by_id {
            Err(StoreError::NotFound) => store.find_integration(&entry.integration).await,
            found => found,
        };
        match found {
            Err(StoreError::NotFound) => Err(invalid(
                place,
                "is no integration of this tenant: give the id or the name of one",
            )),
            found => Ok(found?),
        }
    }
}

/// Refuses an entry that cannot answer the callers of a dialect, or not for the model they name.
fn check_dialects(
    place: u32,
    entry: &Fallback,
    dialect: Dialect,
    other: &CusIntegration,
) -> Result<(), AppError> {
    let (provider, config) = provider_with(other)?;
    let spoken = provider.describe().dialect;
    if !registry::can_answer(dialect, provider, &config) {
        let reason = format!(
            "speaks {}'s dialect, into which calls in {}'s are not translated",
            title(spoken),
            title(dialect)
        );
        return Err(invalid(place, &reason));
    }
    if spoken != dialect && entry.model.is_none() {
        let reason = format!(
            "speaks {}'s dialect and knows other models: give the `model` to ask it for",
            title(spoken)
        );
        return Err(invalid(place, &reason));
    }
    Ok(())
}

/// A mistake in one entry, which is named by its place: its text may be anything.
fn invalid(place: u32, reason: &str) -> AppError {
    AppError::Invalid {
        field: "config.fallback",
        reason: format!("entry {place} {reason}"),
    }
}

const fn title(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAi => "OpenAI",
        Dialect::Anthropic => "Anthropic",
        Dialect::Bedrock => "Bedrock",
    }
}
