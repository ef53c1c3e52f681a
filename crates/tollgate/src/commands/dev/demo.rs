//! The demo tenant: its keys and its two integrations, made through the use cases where missing.

use std::path::Path;
use std::sync::Arc;

use cus_models::{CusIntegrationStatus, CusProviderType};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use tollgate_app::integrations::{
    Change, EnteredCredential, IntegrationFilter, IntegrationPatch, NewIntegration,
    ShownIntegration,
};
use tollgate_app::keys::NewKey;
use tollgate_app::tenants::NewTenant;
use tollgate_app::{App, AppError, Context};
use tollgate_core::page::{PAGE_ROWS_MAX, PageAsk};
use tollgate_core::role::Role;
use tollgate_core::{IntegrationId, TenantId};

use crate::commands::init::console;
use crate::output::Failure;
use crate::wire::{of_app, replace_private};

/// The demo tenant's id.
pub(super) const TENANT: &str = "demo";

/// The keys of a demonstration in clear, in its data directory, so that they outlive a restart.
const KEY_FILE: &str = "dev-keys.json";

/// What the simulated provider takes for a key; it opens nothing.
const CREDENTIAL: &str = r#"{"api_key":"sk-simulated"}"#;

/// Everything that a visitor needs.
pub(super) struct Demo {
    pub(super) operator_key: String,
    pub(super) admin_key: String,
    pub(super) caller_key: String,
    pub(super) openai: IntegrationId,
    pub(super) anthropic: IntegrationId,
}

/// The keys as they are kept: only ever those of a demonstration.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct KeptKeys {
    operator: Option<String>,
    admin: Option<String>,
    caller: Option<String>,
}

impl Demo {
    /// Makes what is missing of the demo tenant, whose provider is at `provider_url`.
    pub(super) async fn set_up(
        app: &Arc<App>,
        folder: &Path,
        provider_url: &str,
    ) -> Result<Self, Failure> {
        let operator = console(app);
        let tenant: TenantId = TENANT.parse().map_err(Failure::plain)?;
        if !app
            .has_tenant(&tenant)
            .await
            .map_err(|error| of_app(&error))?
        {
            let new = NewTenant {
                id: Some(tenant.clone()),
                name: "Demo".to_owned(),
            };
            app.create_tenant(&operator, new)
                .await
                .map_err(|error| of_app(&error))?;
        }
        let admin = Context {
            tenant: Some(tenant),
            ..operator.clone()
        };
        let mut kept = read_keys(folder);
        let operator_key = live_key(app, &operator, Role::Operator, &mut kept.operator).await?;
        let admin_key = live_key(app, &admin, Role::Admin, &mut kept.admin).await?;
        let caller_key = live_key(app, &admin, Role::Caller, &mut kept.caller).await?;
        write_keys(folder, &kept)?;
        let set = async |provider_type| {
            let set = integration(app, &admin, provider_type, provider_url).await;
            set.map_err(|error| of_app(&error))
        };
        Ok(Self {
            operator_key,
            admin_key,
            caller_key,
            openai: set(CusProviderType::OpenAi).await?,
            anthropic: set(CusProviderType::Anthropic).await?,
        })
    }
}

fn read_keys(folder: &Path) -> KeptKeys {
    let text = std::fs::read(folder.join(KEY_FILE)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn write_keys(folder: &Path, keys: &KeptKeys) -> Result<(), Failure> {
    let text = serde_json::to_string(keys).map_err(Failure::plain)?;
    replace_private(&folder.join(KEY_FILE), |out| writeln!(out, "{text}"))
}

/// The key that was kept, if it still works, else a new one.
async fn live_key(
    app: &App,
    context: &Context,
    role: Role,
    kept: &mut Option<String>,
) -> Result<String, Failure> {
    if let Some(key) = kept
        && app.identify(key, context.now).is_ok()
    {
        return Ok(key.clone());
    }
    let new = NewKey {
        name: format!("demo {role}"),
        role,
        integration_id: None,
        expires_at: None,
    };
    let created = app
        .create_key(context, new)
        .await
        .map_err(|error| of_app(&error))?;
    let key = created.secret.reveal();
    *kept = Some(key.clone());
    Ok(key)
}

/// The integration of a provider, enabled and pointing to where the provider is now.
async fn integration(
    app: &App,
    context: &Context,
    provider_type: CusProviderType,
    provider_url: &str,
) -> Result<IntegrationId, AppError> {
    let name = provider_type.as_str();
    let ask = PageAsk {
        rows: PAGE_ROWS_MAX,
        after: None,
    };
    let filter = IntegrationFilter {
        provider_type: Some(provider_type),
        ..Default::default()
    };
    let page = app.list_integrations(context, ask, filter).await?;
    let known = page.rows.into_iter().find(|it| it.record.name == name);
    let config = Map::from_iter([("base_url".to_owned(), json!(provider_url))]);
    let shown = match known {
        Some(known) if is_at(&known, provider_url) => known,
        Some(known) => {
            let patch = IntegrationPatch {
                config: Change::Set(config),
                credential: Some(credential()?),
                ..IntegrationPatch::default()
            };
            app.update_integration(context, id_of(&known)?, patch)
                .await?
        }
        None => {
            let new = NewIntegration {
                name: name.to_owned(),
                provider_type,
                credential: Some(credential()?),
                credential_ref: None,
                config: Some(config),
                default_model: usual_model(provider_type).map(str::to_owned),
                budget_limit_cents: 0,
                token_limit_month: 0,
                rate_limit_rpm: 0,
            };
            app.create_integration(context, new).await?
        }
    };
    let id = id_of(&shown)?;
    // A visitor may have disabled it; only one that was never enabled is not finished.
    if shown.record.status == CusIntegrationStatus::Created {
        app.enable_integration(context, id).await?;
    }
    Ok(id)
}

/// The model of a visitor's call that names none.
const fn usual_model(provider_type: CusProviderType) -> Option<&'static str> {
    match provider_type {
        CusProviderType::OpenAi => Some("gpt-4o-mini"),
        CusProviderType::Anthropic => Some("claude-haiku-4-5"),
        CusProviderType::AzureOpenAi | CusProviderType::Bedrock | CusProviderType::Custom => None,
    }
}

fn is_at(shown: &ShownIntegration, provider_url: &str) -> bool {
    let config = shown.record.config.as_ref();
    config.and_then(|config| config.get("base_url")?.as_str()) == Some(provider_url)
}

fn id_of(shown: &ShownIntegration) -> Result<IntegrationId, AppError> {
    shown
        .record
        .id
        .parse()
        .map_err(|error| AppError::Internal(Box::new(error)))
}

fn credential() -> Result<EnteredCredential, AppError> {
    serde_json::from_str(CREDENTIAL).map_err(|error| AppError::Internal(Box::new(error)))
}
