//! The price book: what a model costs at a provider at a time.
//!
//! Prices that an operator sets win over the bundled list; prices in an integration's own
//! configuration ([`prices_from_config`]) win over both, which the caller asks first.

mod name;
mod shelf;

use std::sync::{Arc, LazyLock};

use cus_models::CusProviderType;
use jiff::Timestamp;
use jiff::civil::Date;

use self::shelf::{Entry, Shelf};
use super::catalogue::{Catalogue, CatalogueError, is_negative};
use super::{ModelPrices, Rates, Tier};
use crate::config::IntegrationConfig;

/// The version that a row shows when its price was set by the operator.
pub const OPERATOR: &str = "operator";

/// The version that a row shows when its price came from its integration's configuration.
pub const INTEGRATION: &str = "integration";

/// What every model is known to cost.
#[derive(Debug, Clone)]
pub struct PriceBook {
    version: Arc<str>,
    dated: Date,
    shelves: Vec<Shelf>,
}

/// Prices that the operator sets for a model and for its dated snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceOverride {
    /// Who serves the model.
    pub provider: CusProviderType,
    /// The model's name, in any case.
    pub model: String,
    /// Its prices.
    pub rates: Rates,
    /// Its prices for long requests.
    pub tiers: Vec<Tier>,
}

/// An override that no call may be charged at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the price of `{model}` is negative: give prices of zero or more nano-dollars")]
pub struct NegativePrice {
    /// The model that it was given for.
    pub model: String,
}

impl PriceBook {
    /// The book that is compiled into the program. It is parsed here, so make it once.
    pub fn bundled() -> Result<Self, CatalogueError> {
        Self::new(&Catalogue::bundled()?)
    }

    /// A book of a catalogue; an error when two models claim the same name.
    pub fn new(catalogue: &Catalogue) -> Result<Self, CatalogueError> {
        let version: Arc<str> = catalogue.version.as_str().into();
        let shelves = CusProviderType::ALL
            .iter()
            .map(|provider| Shelf::new(catalogue, *provider, &version))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            version,
            dated: catalogue.dated,
            shelves,
        })
    }

    /// The list that the book was made from, its version and a hash of its content.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The day on which the list was published.
    #[must_use]
    pub const fn dated(&self) -> Date {
        self.dated
    }

    /// The same book with prices of the operator's, which win over it. A later override of a model
    /// replaces an earlier one; an override of a family covers its dated snapshots too.
    pub fn with_overrides(
        mut self,
        overrides: impl IntoIterator<Item = PriceOverride>,
    ) -> Result<Self, NegativePrice> {
        let version: Arc<str> = OPERATOR.into();
        for PriceOverride {
            provider,
            model,
            rates,
            mut tiers,
        } in overrides
        {
            if is_negative(&rates) || tiers.iter().any(|tier| is_negative(&tier.rates)) {
                return Err(NegativePrice { model });
            }
            tiers.sort_by_key(|tier| tier.above_input_tokens);
            let version = Arc::clone(&version);
            let prices = Arc::new(ModelPrices {
                version,
                rates,
                tiers,
                output_tokens_max: None,
            });
            let of_provider = self
                .shelves
                .iter_mut()
                .filter(|shelf| shelf.provider() == provider);
            for shelf in of_provider {
                shelf.set(&model, Arc::clone(&prices));
            }
        }
        Ok(self)
    }

    /// What a model costs at a provider at a time; none when nobody says.
    ///
    /// In this order: an override, the exact name at the provider, the exact name where the
    /// provider's own list is thin (Azure sells the models of others at their prices), the longest
    /// rule of the list that fits the name, a dated snapshot as its family.
    #[must_use]
    pub fn find(
        &self,
        provider: CusProviderType,
        model: &str,
        at: Timestamp,
    ) -> Option<Arc<ModelPrices>> {
        let folded = name::folded(model);
        let name = folded.as_ref();
        let own = self.shelf(provider)?;
        if let Some(prices) = own.overridden(name) {
            return Some(Arc::clone(prices));
        }
        let chain = || {
            let others = own
                .fallbacks()
                .iter()
                .filter_map(|other| self.shelf(*other));
            std::iter::once(own).chain(others)
        };
        chain()
            .find_map(|shelf| shelf.exact(name))
            .or_else(|| chain().find_map(|shelf| shelf.nearest(name)))
            .and_then(|entry: &Entry| entry.at(at))
            .map(Arc::clone)
    }

    fn shelf(&self, provider: CusProviderType) -> Option<&Shelf> {
        self.shelves
            .iter()
            .find(|shelf| shelf.provider() == provider)
    }
}

/// What an integration's own configuration says that a model costs: these prices win over every
/// book. The model is looked up by its name after aliases, in any case, and a dated snapshot as
/// its family. Negative prices are no prices.
#[must_use]
pub fn prices_from_config(config: &IntegrationConfig, model: &str) -> Option<Arc<ModelPrices>> {
    static VERSION: LazyLock<Arc<str>> = LazyLock::new(|| INTEGRATION.into());
    if config.prices.is_empty() {
        return None;
    }
    let named = |name: &str| {
        let mut all = config.prices.iter();
        config.prices.get(name).or_else(|| {
            all.find(|(model, _)| model.eq_ignore_ascii_case(name))
                .map(|(_, rates)| rates)
        })
    };
    let folded = name::folded(model);
    let rates = named(model)
        .or_else(|| name::forms(CusProviderType::Custom, &folded).find_map(named))
        .filter(|rates| !is_negative(rates))?;
    Some(Arc::new(ModelPrices {
        version: Arc::clone(&VERSION),
        rates: *rates,
        tiers: Vec::new(),
        output_tokens_max: None,
    }))
}
