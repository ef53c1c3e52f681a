//! One provider's part of the price book: models by exact name, and rules for the other names.

use std::collections::HashMap;
use std::sync::Arc;

use cus_models::CusProviderType;
use jiff::Timestamp;

use super::MatchedBy;
use super::name::{self, Place};
use crate::price::catalogue::{Catalogue, CatalogueError, CatalogueModel};
use crate::price::fees::with_fees;
use crate::price::{ModelPrices, Tier};

/// A model's prices over time.
#[derive(Debug)]
pub(super) struct Entry {
    model: Arc<str>,
    /// Never empty; by rising time, the first from the beginning of time.
    eras: Vec<(Timestamp, Arc<ModelPrices>)>,
}

/// A model that was found, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'s> {
    pub(super) entry: &'s Entry,
    pub(super) by: MatchedBy,
}

/// The models of one provider.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    provider: CusProviderType,
    fallbacks: Vec<CusProviderType>,
    models: Vec<Arc<Entry>>,
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
                rates: with_fees(model.provider, era.rates),
                tiers: era
                    .tiers
                    .iter()
                    .map(|tier| Tier {
                        rates: with_fees(model.provider, tier.rates),
                        ..*tier
                    })
                    .collect(),
                output_tokens_max: None,
                context_tokens: model.context_tokens,
            };
            (era.since(), Arc::new(prices))
        });
        Self {
            model: model.model.as_str().into(),
            eras: eras.collect(),
        }
    }

    /// What the list calls the model.
    pub(super) const fn model(&self) -> &Arc<str> {
        &self.model
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

impl<'s> Found<'s> {
    pub(super) const fn by_name(entry: &'s Entry) -> Self {
        let by = MatchedBy::Name;
        Self { entry, by }
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
            models: models.iter().map(|(_, entry)| Arc::clone(entry)).collect(),
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

    /// What the list calls its models, in its order.
    pub(super) fn models(&self) -> impl Iterator<Item = &Arc<str>> {
        self.models.iter().map(|entry| entry.model())
    }

    /// The model of exactly this name.
    pub(super) fn exact(&self, name: &str) -> Option<&Entry> {
        self.exact.get(name).map(Arc::as_ref)
    }

    /// The model that fits a name best: of the rules that fit and of the exact names that the
    /// name is a form of, the longest.
    pub(super) fn nearest(&self, name: &str) -> Option<Found<'_>> {
        let mut best: Option<(usize, Found<'_>)> = None;
        for form in name::forms(self.provider, name) {
            // Nothing in a form is longer than the form, and forms grow shorter.
            if best.is_some_and(|(longest, _)| longest >= form.len()) {
                break;
            }
            let by = MatchedBy::Snapshot;
            let exact = self
                .exact(form)
                .map(|entry| (form.len(), Found { entry, by }));
            let by = MatchedBy::Rule;
            let rule = self
                .rules
                .iter()
                .find(|rule| name::fits(form, &rule.text, rule.place))
                .map(|rule| (&*rule.text, &*rule.entry))
                .map(|(text, entry)| (text.len(), Found { entry, by }));
            for (length, found) in [exact, rule].into_iter().flatten() {
                if best.is_none_or(|(longest, _)| length > longest) {
                    best = Some((length, found));
                }
            }
        }
        best.map(|(_, found)| found)
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
