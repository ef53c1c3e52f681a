//! The price book: what a model costs at a provider at a time.
//!
//! Prices that a tenant or the operator sets ([`super::overrides`]) win over this list; prices in an
//! integration's own configuration ([`prices_from_config`]) win over all, which the caller asks first.

pub(super) mod name;
mod shelf;

use std::sync::{Arc, LazyLock};

use cus_models::CusProviderType;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use self::shelf::{Found, Shelf};
use super::ModelPrices;
use super::catalogue::{Catalogue, CatalogueError, is_negative};
use crate::config::IntegrationConfig;

/// The version that a row shows when its price came from its integration's configuration.
pub const INTEGRATION: &str = "integration";

/// What every model is known to cost.
#[derive(Debug, Clone)]
pub struct PriceBook {
    version: Arc<str>,
    dated: Date,
    shelves: Vec<Shelf>,
}

/// How the name of a model led to its price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchedBy {
    /// It is the very name that the price is for.
    Name,
    /// It is a dated snapshot, or the latest, of the model that the price is for.
    Snapshot,
    /// It fits a rule of the bundled list about the beginning, the end or a part of a name.
    Rule,
}

/// A price of the bundled list, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// Whose list it stands in: for Azure's models that may be the maker's.
    pub provider: CusProviderType,
    /// What the list calls the model.
    pub model: Arc<str>,
    /// How the name led there.
    pub by: MatchedBy,
    /// The prices.
    pub prices: Arc<ModelPrices>,
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

    /// What a model costs at a provider at a time; none when nobody says.
    ///
    /// In this order: the exact name at the provider, the exact name where the provider's own list
    /// is thin (Azure sells the models of others at their prices), the longest rule of the list that
    /// fits the name, a dated snapshot as its family.
    #[must_use]
    pub fn find(
        &self,
        provider: CusProviderType,
        model: &str,
        at: Timestamp,
    ) -> Option<Arc<ModelPrices>> {
        let (_, found) = self.look_up(provider, &name::folded(model))?;
        found.entry.at(at).map(Arc::clone)
    }

    /// The same, with how it was found.
    #[must_use]
    pub fn quote(&self, provider: CusProviderType, model: &str, at: Timestamp) -> Option<Quote> {
        let (place, found) = self.look_up(provider, &name::folded(model))?;
        Some(Quote {
            provider: place.provider(),
            model: Arc::clone(found.entry.model()),
            by: found.by,
            prices: found.entry.at(at).map(Arc::clone)?,
        })
    }

    /// Every model of the list with its provider, in the order of the list.
    pub fn models(&self) -> impl Iterator<Item = (CusProviderType, &Arc<str>)> {
        self.shelves
            .iter()
            .flat_map(|shelf| shelf.models().map(|model| (shelf.provider(), model)))
    }

    fn look_up(&self, provider: CusProviderType, name: &str) -> Option<(&Shelf, Found<'_>)> {
        let own = self.shelf(provider)?;
        let chain = || {
            let others = own
                .fallbacks()
                .iter()
                .filter_map(|other| self.shelf(*other));
            std::iter::once(own).chain(others)
        };
        let exact = |shelf| Shelf::exact(shelf, name).map(|entry| (shelf, Found::by_name(entry)));
        let nearest = |shelf| Shelf::nearest(shelf, name).map(|found| (shelf, found));
        chain()
            .find_map(exact)
            .or_else(|| chain().find_map(nearest))
    }

    fn shelf(&self, provider: CusProviderType) -> Option<&Shelf> {
        self.shelves
            .iter()
            .find(|shelf| shelf.provider() == provider)
    }
}

/// What an integration's own configuration says that a model costs: these prices win over every
/// book. The model is looked up by its name after aliases, in any case, and then by what is left of
/// it at its provider without a snapshot's date, a region or a revision. Negative prices are no
/// prices.
#[must_use]
pub fn prices_from_config(
    config: &IntegrationConfig,
    provider: CusProviderType,
    model: &str,
) -> Option<Arc<ModelPrices>> {
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
        .or_else(|| name::forms(provider, &folded).find_map(named))
        .filter(|rates| !is_negative(rates))?;
    Some(Arc::new(ModelPrices {
        version: Arc::clone(&VERSION),
        rates: *rates,
        tiers: Vec::new(),
        output_tokens_max: None,
        context_tokens: None,
    }))
}
