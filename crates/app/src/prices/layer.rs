//! What a layer of prices says of a model, and the pages of a list that is put together in memory.

use std::sync::Arc;

use cus_models::CusProviderType;
use tollgate_core::page::{Cursor, Page, PageAsk};
use tollgate_core::price::book::MatchedBy;
use tollgate_core::price::overrides::{PriceOverride, PriceOverrides};

use super::{EffectivePrice, PriceSource};

/// The prices that somebody set, one layer over the bundled list.
pub(super) struct Layer {
    source: PriceSource,
    pub(super) set: Vec<PriceOverride>,
    prices: PriceOverrides,
}

impl Layer {
    /// The prices that `source` has set.
    pub(super) fn of(source: PriceSource, set: Vec<PriceOverride>) -> Self {
        let prices = PriceOverrides::new(source.as_str(), &set);
        Self {
            source,
            set,
            prices,
        }
    }

    /// What it says of a model.
    pub(super) fn find(
        &self,
        provider_type: CusProviderType,
        model: &str,
    ) -> Option<EffectivePrice> {
        let (matched, prices) = self.prices.matching(provider_type, model)?;
        let is_same = matched.eq_ignore_ascii_case(model);
        let is_it = |one: &&PriceOverride| {
            one.provider_type == provider_type && one.model.eq_ignore_ascii_case(matched)
        };
        Some(EffectivePrice {
            provider_type,
            model: model.to_owned(),
            source: self.source,
            matched: matched.into(),
            matched_by: if is_same {
                MatchedBy::Name
            } else {
                MatchedBy::Snapshot
            },
            integration: None,
            prices: Arc::clone(prices),
            updated_at: self.set.iter().find(is_it).map(|one| one.updated_at),
        })
    }
}

/// Where a price stands in the list.
pub(super) fn place(price: &EffectivePrice) -> String {
    let integration = price.integration.map(|id| id.to_string());
    format!(
        "{}/{}/{}",
        price.provider_type,
        price.model.to_ascii_lowercase(),
        integration.unwrap_or_default()
    )
}

/// A page of rows in their order.
pub(super) fn page(rows: Vec<EffectivePrice>, ask: &PageAsk) -> Page<EffectivePrice> {
    let after = ask.after.as_ref().map(|cursor| cursor.id.as_str());
    let mut rest = rows
        .into_iter()
        .filter(|price| after.is_none_or(|after| place(price).as_str() > after));
    let rows: Vec<_> = rest.by_ref().take(usize::from(ask.rows)).collect();
    let next = rest.next().and(rows.last()).map(|last| Cursor {
        at_micros: 0,
        id: place(last),
    });
    Page { rows, next }
}
