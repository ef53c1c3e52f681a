//! Prices: what a model costs a tenant, who says so, and the prices that a tenant or the operator sets.

mod layer;

use std::sync::Arc;

use cus_models::CusProviderType;
use jiff::Timestamp;
use tollgate_core::page::{Page, PageAsk};
use tollgate_core::price::book::MatchedBy;
use tollgate_core::price::overrides::{PriceError, PriceOverride};
use tollgate_core::price::{ModelPrices, Rates, Tier};
use tollgate_core::role::Permission;
use tollgate_core::{IntegrationId, TenantId};

use self::layer::{Layer, page, place};
use crate::app::App;
use crate::context::Context;
use crate::directory::Integration;
use crate::error::AppError;
use crate::tenants::as_json;

pub use tollgate_store::UnpricedModel;

/// Who says what a model costs; the first that does wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PriceSource {
    /// The configuration of an integration.
    Integration,
    /// The tenant's own prices.
    Tenant,
    /// The prices that the operator set for the whole installation.
    Installation,
    /// The list that came with the program.
    Bundled,
}

impl PriceSource {
    /// Every source, the first that wins first.
    pub const ALL: [Self; 4] = [
        Self::Integration,
        Self::Tenant,
        Self::Installation,
        Self::Bundled,
    ];

    /// The name that stands in the API and in the versions of prices.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Integration => "integration",
            Self::Tenant => "tenant",
            Self::Installation => "installation",
            Self::Bundled => "bundled",
        }
    }

    /// The source of prices that a tenant has set, or the operator for all.
    #[must_use]
    pub const fn of_owner(tenant: Option<&TenantId>) -> Self {
        match tenant {
            Some(_) => Self::Tenant,
            None => Self::Installation,
        }
    }
}

/// What a model costs now, who says so, and how its name led there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectivePrice {
    /// Who serves the model.
    pub provider_type: CusProviderType,
    /// The model that was asked for, or that the price is listed for.
    pub model: String,
    /// Who says what it costs.
    pub source: PriceSource,
    /// The name that the price is set or listed for.
    pub matched: Arc<str>,
    /// How the model's name led to that one.
    pub matched_by: MatchedBy,
    /// The only integration that it applies to; none where it applies to all.
    pub integration: Option<IntegrationId>,
    /// The prices.
    pub prices: Arc<ModelPrices>,
    /// When it was last set; none for bundled prices and those of an integration.
    pub updated_at: Option<Timestamp>,
}

/// A price that is to be set.
#[derive(Debug, Clone)]
pub struct NewPrice {
    /// Who serves the model.
    pub provider_type: CusProviderType,
    /// The model's name, in any case.
    pub model: String,
    /// Its prices.
    pub rates: Rates,
    /// Its prices for long requests, by rising bound.
    pub tiers: Vec<Tier>,
}

/// Which prices of a list; nothing means all.
#[derive(Debug, Clone, Default)]
pub struct PriceFilter {
    /// Only those at this provider.
    pub provider_type: Option<CusProviderType>,
    /// Only this model.
    pub model: Option<String>,
    /// Only models with this text in their name.
    pub search: Option<String>,
}

impl PriceFilter {
    fn accepts(&self, price: &EffectivePrice) -> bool {
        let model = price.model.to_ascii_lowercase();
        let asked = self.model.as_deref().map(str::to_ascii_lowercase);
        let sought = self.search.as_deref().map(str::to_ascii_lowercase);
        self.provider_type
            .is_none_or(|one| one == price.provider_type)
            && asked.is_none_or(|asked| asked == model)
            && sought.is_none_or(|sought| model.contains(&sought))
    }
}

impl App {
    /// What models cost the context's tenant, by provider and name: every model of the bundled list
    /// and every one that a price was set for, then those of its integrations' configurations. An
    /// operator who names no tenant sees what tenants without prices of their own pay.
    pub async fn list_prices(
        &self,
        context: &Context,
        ask: PageAsk,
        filter: PriceFilter,
    ) -> Result<Page<EffectivePrice>, AppError> {
        context.must_be_allowed(Permission::ManagePrices)?;
        let layers = self.price_layers(context).await?;
        let bundled = self.prices.models();
        let mut models: Vec<(CusProviderType, String)> = bundled
            .map(|(provider, model)| (provider, model.to_string()))
            .collect();
        let set = layers.iter().flat_map(|layer| &layer.set);
        models.extend(set.map(|one| (one.provider_type, one.model.clone())));
        let mut rows: Vec<_> = models
            .iter()
            .filter_map(|(provider, model)| self.effective(context, &layers, *provider, model))
            .collect();
        rows.extend(self.prices_of_integrations(context));
        rows.retain(|price| filter.accepts(price));
        rows.sort_by_cached_key(place);
        rows.dedup_by_key(|price| place(price));
        Ok(page(rows, &ask))
    }

    /// What a model costs, through an integration if one is named: then its aliases count, too.
    pub async fn get_price(
        &self,
        context: &Context,
        (provider_type, model): (CusProviderType, &str),
        integration: Option<IntegrationId>,
    ) -> Result<EffectivePrice, AppError> {
        context.must_be_allowed(Permission::ManagePrices)?;
        let layers = self.price_layers(context).await?;
        let mut asked = model.to_owned();
        if let Some(id) = integration {
            let known = self.integration_of(context, id);
            let known = known.ok_or(AppError::NotFound("integration"))?;
            let snapshot = known.snapshot();
            snapshot.config.model(model).clone_into(&mut asked);
            if let Some(prices) = snapshot.own_prices(&asked)
                && snapshot.record.provider_type == provider_type
            {
                return Ok(of_integration(&known, &asked, prices));
            }
        }
        self.effective(context, &layers, provider_type, &asked)
            .ok_or(AppError::NotFound("price"))
    }

    /// Sets what a model costs: the context's tenant, or everybody who has no price of their own.
    /// Calls that were booked keep the price that they were booked at.
    pub async fn set_price(
        &self,
        context: &Context,
        new: NewPrice,
    ) -> Result<EffectivePrice, AppError> {
        context.must_be_allowed(Permission::ManagePrices)?;
        let price = PriceOverride {
            provider_type: new.provider_type,
            model: PriceOverride::model_name(&new.model).map_err(|error| invalid(&error))?,
            rates: new.rates,
            tiers: new.tiers,
            created_at: context.now.wall,
            updated_at: context.now.wall,
        };
        price.check().map_err(|error| invalid(&error))?;
        let before = self
            .own_price(context, price.provider_type, &price.model)
            .await?;
        let mut audit = context.audit("price.set", target(price.provider_type, &price.model));
        audit.before = before.as_ref().map(as_json);
        audit.after = Some(as_json(&price));
        if let Some(tenant) = &context.tenant {
            self.store.tenant(tenant).set_price(&price, audit).await?;
        } else {
            let operator = self.store.operator();
            operator.set_installation_price(&price, audit).await?;
        }
        self.refresh_prices(context.tenant.as_ref()).await?;
        let model = (price.provider_type, price.model.as_str());
        self.get_price(context, model, None).await
    }

    /// Removes a price that was set: what the next layer says applies again.
    pub async fn remove_price(
        &self,
        context: &Context,
        provider_type: CusProviderType,
        model: &str,
    ) -> Result<(), AppError> {
        context.must_be_allowed(Permission::ManagePrices)?;
        let model = model.to_ascii_lowercase();
        let before = self.own_price(context, provider_type, &model).await?;
        let before = before.ok_or(AppError::NotFound("price"))?;
        let mut audit = context.audit("price.remove", target(provider_type, &model));
        audit.before = Some(as_json(&before));
        let removed = if let Some(tenant) = &context.tenant {
            let store = self.store.tenant(tenant);
            store.remove_price(provider_type, &model, audit).await
        } else {
            let operator = self.store.operator();
            operator
                .remove_installation_price(provider_type, &model, audit)
                .await
        };
        removed.map_err(|error| AppError::from(error).naming("price"))?;
        self.refresh_prices(context.tenant.as_ref()).await
    }

    /// The models of the tenant's calls that have no price, the last seen first; those that have
    /// got one since are left out.
    pub async fn unpriced_models(&self, context: &Context) -> Result<Vec<UnpricedModel>, AppError> {
        context.must_be_allowed(Permission::ManagePrices)?;
        let store = self.store.tenant(context.tenant()?);
        self.settle_books().await;
        let mut models = store.unpriced_models().await?;
        models.retain(|one| {
            let known = self.integration_of(context, one.integration_id);
            known.is_some_and(|known| {
                self.prices(&known.snapshot(), &one.model, context.now)
                    .is_none()
            })
        });
        Ok(models)
    }

    fn effective(
        &self,
        context: &Context,
        layers: &[Layer],
        provider_type: CusProviderType,
        model: &str,
    ) -> Option<EffectivePrice> {
        let mut layers = layers.iter();
        if let Some(found) = layers.find_map(|layer| layer.find(provider_type, model)) {
            return Some(found);
        }
        let quote = self.prices.quote(provider_type, model, context.now.wall)?;
        Some(EffectivePrice {
            provider_type,
            model: model.to_owned(),
            source: PriceSource::Bundled,
            matched: quote.model,
            matched_by: quote.by,
            integration: None,
            prices: quote.prices,
            updated_at: None,
        })
    }

    /// The prices that were set, the first that wins first, as the store has them.
    async fn price_layers(&self, context: &Context) -> Result<Vec<Layer>, AppError> {
        let mut layers = Vec::new();
        if let Some(tenant) = &context.tenant {
            let set = self.store.tenant(tenant).list_prices().await?;
            layers.push(Layer::of(PriceSource::Tenant, set));
        }
        let set = self.store.operator().list_installation_prices().await?;
        layers.push(Layer::of(PriceSource::Installation, set));
        Ok(layers)
    }

    /// The price that the context's tenant, or the operator for all, has set for this very name.
    async fn own_price(
        &self,
        context: &Context,
        provider_type: CusProviderType,
        model: &str,
    ) -> Result<Option<PriceOverride>, AppError> {
        let layers = self.price_layers(context).await?;
        let own = layers.into_iter().next().map(|layer| layer.set);
        let mut own = own.unwrap_or_default().into_iter();
        Ok(own.find(|one| one.provider_type == provider_type && one.model == model))
    }

    fn prices_of_integrations(&self, context: &Context) -> Vec<EffectivePrice> {
        let all = self.directory().integrations();
        let own = all
            .iter()
            .filter(|one| Some(&one.tenant_id) == context.tenant.as_ref());
        let priced = |one: &Arc<Integration>| {
            let snapshot = one.snapshot();
            let models = snapshot.config.prices.keys();
            models
                .filter_map(|model| Some(of_integration(one, model, snapshot.own_prices(model)?)))
                .collect::<Vec<_>>()
        };
        own.flat_map(priced).collect()
    }
}

fn of_integration(one: &Integration, model: &str, prices: Arc<ModelPrices>) -> EffectivePrice {
    let snapshot = one.snapshot();
    let named = snapshot
        .config
        .prices
        .keys()
        .find(|name| name.eq_ignore_ascii_case(model));
    EffectivePrice {
        provider_type: snapshot.record.provider_type,
        model: model.to_owned(),
        source: PriceSource::Integration,
        matched: named.map_or(model, String::as_str).into(),
        matched_by: match named {
            Some(_) => MatchedBy::Name,
            None => MatchedBy::Snapshot,
        },
        integration: Some(one.id),
        prices,
        updated_at: None,
    }
}

fn target(provider_type: CusProviderType, model: &str) -> String {
    format!("price/{provider_type}/{model}")
}

fn invalid(error: &PriceError) -> AppError {
    let field = match error {
        PriceError::Name => "model",
        PriceError::Tiers => "tiers",
        PriceError::Rate { class } => match *class {
            "input" => "rates.input",
            "output" => "rates.output",
            "cached_input" => "rates.cached_input",
            "cache_write" => "rates.cache_write",
            "cache_write_hour" => "rates.cache_write_hour",
            "audio_input" => "rates.audio_input",
            "reasoning" => "rates.reasoning",
            "audio_output" => "rates.audio_output",
            "image_input" => "rates.image_input",
            "image_output" => "rates.image_output",
            Rates::WEB_SEARCH => "rates.web_search",
            Rates::FILE_SEARCH => "rates.file_search",
            _ => "rates.request",
        },
    };
    let reason = error.to_string();
    AppError::Invalid { field, reason }
}
