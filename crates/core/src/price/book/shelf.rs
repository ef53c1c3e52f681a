//! One provider's part of the price book: models by exact name, and rules for the other names.

use std::collections::HashMap;
use std::sync::Arc;

use cus_models::CusProviderType;
use jiff::Timestamp;

use super::name::{self, Place};
use crate::price::ModelPrices;
use crate::price::catalogue::{Catalogue, CatalogueError, CatalogueModel};

/// A model's prices over time.
#[derive(Debug)]
pub(super) struct Entry {
    /// Never empty; by rising time, the first from the beginning of time.
    eras: Vec<(Timestamp, Arc<ModelPrices>)>,
}

/// The models of one provider.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    provider: CusProviderType,
    fallbacks: Vec<CusProviderType>,
    overrides: HashMap<Box<str>, Arc<ModelPrices>>,
    exact: HashMap<Box<str>, Arc<Entry>>,
    /// The longest first, so that the first that fits is the best.
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    text: Box<str>,
    place: Place,
    entry: Arc<Entry>,
}

impl Entry {
    fn new(model: &CatalogueModel, version: &Arc<str>) -> Self {
        let eras = model.prices.iter().map(|era| {
            let prices = ModelPrices {
                version: Arc::clone(version),
                rates: era.rates,
                tiers: era.tiers.clone(),
                output_tokens_max: None,
            };
            (era.since(), Arc::new(prices))
        });
        Self {
            eras: eras.collect(),
        }
    }

    /// The prices that applied at a time.
    pub(super) fn at(&self, at: Timestamp) -> Option<&Arc<ModelPrices>> {
        self.eras
            .iter()
            .rev()
            .find(|(since, _)| *since <= at)
            .map(|(_, prices)| prices)
    }
}

impl Shelf {
    /// The models of a provider; an error when two of them claim the same name.
    pub(super) fn new(
        catalogue: &Catalogue,
        provider: CusProviderType,
        version: &Arc<str>,
    ) -> Result<Self, CatalogueError> {
        let models = catalogue
            .models
            .iter()
            .filter(|model| model.provider == provider);
        let models: Vec<_> = models
            .map(|model| (model, Arc::new(Entry::new(model, version))))
            .collect();
        let mut shelf = Self {
            provider,
            fallbacks: catalogue.fallbacks(provider).to_vec(),
            overrides: HashMap::new(),
            exact: HashMap::new(),
            rules: Vec::new(),
        };
        for (model, entry) in &models {
            for name in &model.equals {
                if shelf
                    .exact
                    .insert(name.as_str().into(), Arc::clone(entry))
                    .is_some()
                {
                    return Err(CatalogueError::Ambiguous {
                        provider,
                        name: name.clone(),
                    });
                }
            }
        }
        for (model, entry) in &models {
            shelf.add_other_names(model, entry)?;
        }
        shelf
            .rules
            .sort_by_key(|rule| std::cmp::Reverse(rule.text.len()));
        Ok(shelf)
    }

    pub(super) const fn provider(&self) -> CusProviderType {
        self.provider
    }

    /// Whose models the provider also serves at their prices.
    pub(super) fn fallbacks(&self) -> &[CusProviderType] {
        &self.fallbacks
    }

    /// Sets the operator's prices of a model.
    pub(super) fn set(&mut self, model: &str, prices: Arc<ModelPrices>) {
        self.overrides
            .insert(model.to_ascii_lowercase().into(), prices);
    }

    /// The operator's prices of a name, or else of the family that it is a snapshot of.
    pub(super) fn overridden(&self, name: &str) -> Option<&Arc<ModelPrices>> {
        if self.overrides.is_empty() {
            return None;
        }
        name::forms(self.provider, name).find_map(|form| self.overrides.get(form))
    }

    /// The model of exactly this name.
    pub(super) fn exact(&self, name: &str) -> Option<&Entry> {
        self.exact.get(name).map(Arc::as_ref)
    }

    /// The model that fits a name best: of the rules that fit and of the exact names that the
    /// name is a form of, the longest.
    pub(super) fn nearest(&self, name: &str) -> Option<&Entry> {
        let mut best: Option<(usize, &Entry)> = None;
        for form in name::forms(self.provider, name) {
            // Nothing in a form is longer than the form, and forms grow shorter.
            if best.is_some_and(|(longest, _)| longest >= form.len()) {
                break;
            }
            let exact = self.exact(form).map(|entry| (form.len(), entry));
            let rule = self
                .rules
                .iter()
                .find(|rule| name::fits(form, &rule.text, rule.place))
                .map(|rule| (rule.text.len(), rule.entry.as_ref()));
            for (length, entry) in [exact, rule].into_iter().flatten() {
                if best.is_none_or(|(longest, _)| length > longest) {
                    best = Some((length, entry));
                }
            }
        }
        best.map(|(_, entry)| entry)
    }

    /// Adds a model's rules. The text of a rule is a name too, and so is a name with its date
    /// written without dashes, unless another model has it.
    fn add_other_names(
        &mut self,
        model: &CatalogueModel,
        entry: &Arc<Entry>,
    ) -> Result<(), CatalogueError> {
        let rules = [
            (Place::Start, &model.starts_with),
            (Place::End, &model.ends_with),
            (Place::Within, &model.contains),
        ];
        for (place, texts) in rules {
            for text in texts {
                if self
                    .rules
                    .iter()
                    .any(|rule| rule.place == place && *rule.text == **text)
                {
                    let name = text.clone();
                    return Err(CatalogueError::Ambiguous {
                        provider: self.provider,
                        name,
                    });
                }
                let text: Box<str> = text.as_str().into();
                self.exact
                    .entry(text.clone())
                    .or_insert_with(|| Arc::clone(entry));
                self.rules.push(Rule {
                    text,
                    place,
                    entry: Arc::clone(entry),
                });
            }
        }
        for compact in model
            .equals
            .iter()
            .filter_map(|name| name::with_compact_date(name))
        {
            self.exact
                .entry(compact.into())
                .or_insert_with(|| Arc::clone(entry));
        }
        Ok(())
    }
}
