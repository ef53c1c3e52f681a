//! Prices of an operator's or a tenant's own: checked when they are entered, found before the bundled list.

use std::collections::HashMap;
use std::sync::Arc;

use cus_models::CusProviderType;
use jiff::Timestamp;
use serde::Serialize;

use super::book::name;
use super::{ModelPrices, Rates, Tier};

/// The highest price that may be set: a dollar a token, in nano-dollars per million tokens.
pub const PRICE_MAX: i64 = 1_000_000_000_000_000;

/// The highest price of a request itself that may be set: a thousand dollars, in nano-dollars.
pub const REQUEST_PRICE_MAX: i64 = 1_000_000_000_000;

/// The most tiers that a price may have.
pub const TIERS_MAX: usize = 16;

/// The highest bound of a tier, in input tokens: a thousand times what any model reads.
pub const TIER_BOUND_MAX: u64 = 1_000_000_000;

/// The longest name of a model that may have a price of its own, in bytes.
pub const MODEL_NAME_MAX: usize = 200;

/// Prices that somebody sets for a model and for its dated snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PriceOverride {
    /// Who serves the model.
    pub provider_type: CusProviderType,
    /// The model's name, in lower case: case in names of models says nothing.
    pub model: String,
    /// Its prices.
    pub rates: Rates,
    /// Its prices for long requests, by rising bound.
    pub tiers: Vec<Tier>,
    /// When it was first set.
    pub created_at: Timestamp,
    /// When it was last set.
    pub updated_at: Timestamp,
}

/// A price that no call may be charged at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// A model has to have a name.
    #[error("a model's name is 1 to {MODEL_NAME_MAX} bytes without spaces or control characters")]
    Name,
    /// A price is below nothing, or above what can be true.
    #[error(
        "give whole nano-dollars from 0 to {PRICE_MAX} per million tokens (a dollar a token), and for the \
         request itself from 0 to {REQUEST_PRICE_MAX}"
    )]
    Rate {
        /// The class of tokens, as its field is named.
        class: &'static str,
    },
    /// The tiers do not rise, are too many, or begin where no request ends.
    #[error(
        "give at most {TIERS_MAX} tiers, each with a greater `above_input_tokens` than the one before, and \
         none above {TIER_BOUND_MAX}"
    )]
    Tiers,
}

/// Prices that were set, by provider and model.
#[derive(Debug, Clone, Default)]
pub struct PriceOverrides {
    by_provider: HashMap<CusProviderType, HashMap<Box<str>, Arc<ModelPrices>>>,
}

impl PriceOverride {
    /// The name of a model as its price is kept.
    pub fn model_name(model: &str) -> Result<String, PriceError> {
        let is_fit = |letter: char| !letter.is_control() && !letter.is_whitespace();
        if model.is_empty() || model.len() > MODEL_NAME_MAX || !model.chars().all(is_fit) {
            return Err(PriceError::Name);
        }
        Ok(model.to_ascii_lowercase())
    }

    /// Refuses prices that cannot be meant.
    pub fn check(&self) -> Result<(), PriceError> {
        Self::model_name(&self.model)?;
        check_rates(&self.rates)?;
        self.tiers
            .iter()
            .try_for_each(|tier| check_rates(&tier.rates))?;
        let bounds = || self.tiers.iter().map(|tier| tier.above_input_tokens);
        let is_fit = self.tiers.len() <= TIERS_MAX
            && bounds().is_sorted_by(|lower, upper| lower < upper)
            && bounds().all(|bound| bound <= TIER_BOUND_MAX);
        if !is_fit {
            return Err(PriceError::Tiers);
        }
        Ok(())
    }

    /// What a row shows that was charged at it: who set it and when.
    #[must_use]
    pub fn version(&self, source: &str) -> String {
        format!("{source}:{}", self.updated_at)
    }
}

/// Refuses unit prices that cannot be meant; names the class.
pub fn check_rates(rates: &Rates) -> Result<(), PriceError> {
    for (class, price) in rates.named() {
        let is_by_use = [Rates::REQUEST, Rates::WEB_SEARCH, Rates::FILE_SEARCH].contains(&class);
        let most = if is_by_use {
            REQUEST_PRICE_MAX
        } else {
            PRICE_MAX
        };
        if price.is_some_and(|price| !(0..=most).contains(&price)) {
            return Err(PriceError::Rate { class });
        }
    }
    Ok(())
}

impl PriceOverrides {
    /// The prices that `source` has set.
    pub fn new<'o>(source: &str, overrides: impl IntoIterator<Item = &'o PriceOverride>) -> Self {
        let mut all = Self::default();
        for one in overrides {
            let prices = ModelPrices {
                version: one.version(source).into(),
                rates: one.rates,
                tiers: one.tiers.clone(),
                output_tokens_max: None,
                context_tokens: None,
            };
            let of_provider = all.by_provider.entry(one.provider_type).or_default();
            of_provider.insert(one.model.to_ascii_lowercase().into(), Arc::new(prices));
        }
        all
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_provider.is_empty()
    }

    /// The price that was set for a model, or else for the family that it is a snapshot of.
    #[must_use]
    pub fn find(&self, provider: CusProviderType, model: &str) -> Option<&Arc<ModelPrices>> {
        self.matching(provider, model).map(|(_, prices)| prices)
    }

    /// The same, with the name that it was set for.
    #[must_use]
    pub fn matching(
        &self,
        provider: CusProviderType,
        model: &str,
    ) -> Option<(&str, &Arc<ModelPrices>)> {
        let of_provider = self.by_provider.get(&provider)?;
        let folded = name::folded(model);
        name::forms(provider, &folded)
            .find_map(|form| of_provider.get_key_value(form))
            .map(|(name, prices)| (&**name, prices))
    }
}
