//! A whole application in a temporary folder, for tests: a clock that stands still, keys of its
//! own, an embedded store, and books that are checked when it closes.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a broken world ends its test"
)]

mod carrier;
pub mod rows;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;
use tempfile::TempDir;
use tollgate_core::audit::Actor;
use tollgate_core::clock::ManualClock;
use tollgate_core::hold::Ask;
use tollgate_core::page::{PAGE_ROWS_MAX, PageAsk};
use tollgate_core::price::book::PriceBook;
use tollgate_core::role::Role;
use tollgate_core::usage::{UsageEntry, UsageSource};
use tollgate_core::{Clock, IntegrationId, KeyId, Nanos, NodeId, TenantId, TokenUsage};
use tollgate_providers::{Loopback, UrlPolicy};
use tollgate_store::{AuditFilter, AuditRow, AuditSeal, OpenStore, Store};
use tollgate_vault::KeyRing;

use crate::app::{App, AppParts};
use crate::config::AppConfig;
use crate::context::Context;
use crate::integrations::NewIntegration;
use crate::keys::{CreatedKey, NewKey};
use crate::metering::{CallFacts, Ending, Hold, NotAdmitted};
use crate::revision::Precondition;
use crate::tenants::NewTenant;

pub use carrier::{Scripted, ScriptedCarrier};

/// When every world begins: a Sunday in the middle of a month.
pub const BEGINNING: &str = "2026-11-22T10:00:00Z";

/// The model that a world's integrations have a price for: $1 and $2 a million tokens.
pub const MODEL: &str = "test-model";

/// The provider key that a world's integrations have; to be found nowhere in clear.
pub const CANARY: &str = "sk-canary-0123456789-wxyz";

/// The file of master keys in a world's folder.
const KEY_FILE: &str = "master.key";

/// A running application with nobody else on it.
#[derive(Debug)]
pub struct World {
    /// The application.
    pub app: Arc<App>,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// The provider, as probes find it.
    pub provider: Arc<ScriptedCarrier>,
    /// None once another world goes on with it.
    folder: Option<TempDir>,
    config: AppConfig,
    is_closed: bool,
}

impl World {
    /// A new world with an empty store, where nothing is probed unless it is asked for.
    pub async fn start() -> Self {
        let world = Self::start_with(AppConfig {
            ledger_gather_ms: 0,
            probe_seconds: 0,
            ..AppConfig::default()
        });
        Box::pin(world).await
    }

    /// A new world with an empty store and these settings.
    pub async fn start_with(config: AppConfig) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let beginning: Timestamp = BEGINNING.parse().expect("a time");
        let clock = Arc::new(ManualClock::at(beginning));
        let text = KeyRing::generate_file_text().expect("keys");
        let mut file = File::create(folder.path().join(KEY_FILE)).expect("a key file");
        text.write_to(&mut file).expect("a key file");
        Box::pin(Self::start_in(folder, NodeId::generate(), clock, config)).await
    }

    /// Ends the application and starts it again on the same folder, at `clock`. `between` gets the
    /// folder while nothing runs.
    pub async fn restart(mut self, clock: ManualClock, between: impl FnOnce(&Path)) -> Self {
        self.is_closed = true;
        self.app.stop().await;
        let folder = self.folder.take().expect("a world that was not left");
        let (config, node) = (self.config.clone(), self.app.store.node());
        drop(self);
        between(folder.path());
        Box::pin(Self::start_in(folder, node, Arc::new(clock), config)).await
    }

    async fn start_in(
        folder: TempDir,
        node: NodeId,
        clock: Arc<ManualClock>,
        config: AppConfig,
    ) -> Self {
        let url = format!("sqlite:{}", folder.path().join("tollgate.db").display());
        let key_file = folder.path().join(KEY_FILE);
        let read_keys = move || {
            let text = std::fs::read_to_string(&key_file).map_err(|error| error.to_string())?;
            KeyRing::parse(&text).map_err(|error| error.to_string())
        };
        let ring = read_keys().expect("keys");
        let audit_key = ring.audit_key();
        let seal = AuditSeal::new(move |bytes| audit_key.mark(bytes));
        let options = OpenStore::for_node(node, seal);
        let store = Store::open(&url, options).await.expect("an embedded store");
        store.migrate(clock.now().wall).await.expect("tables");
        let provider = Arc::new(ScriptedCarrier::new(Arc::clone(&clock)));
        let app = App::start(AppParts {
            store,
            ring,
            read_keys: Box::new(read_keys),
            clock: Arc::<ManualClock>::clone(&clock),
            prices: PriceBook::bundled().expect("prices"),
            url_policy: UrlPolicy {
                loopback: Loopback::Allowed,
                ..UrlPolicy::default()
            },
            read_env: Box::new(|name| (name == "TOLLGATE_CRED_TEST").then(|| CANARY.to_owned())),
            carrier: Arc::<ScriptedCarrier>::clone(&provider),
            journal_dir: folder.path().join("journal"),
            config: config.clone(),
        });
        // Boxed, because it is large and every test that starts a world would be too.
        let app = Box::pin(app).await.expect("a running application");
        Self {
            app,
            clock,
            provider,
            folder: Some(folder),
            config,
            is_closed: false,
        }
    }

    /// The folder that holds everything that the world keeps.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder
            .as_ref()
            .expect("a world that was not left")
            .path()
    }

    /// The operator at the console, acting on no tenant.
    #[must_use]
    pub fn console(&self) -> Context {
        Context {
            actor: Actor::Console,
            role: Role::Operator,
            tenant: None,
            precondition: Precondition::None,
            bound_to: None,
            request_id: None,
            now: self.clock.now(),
        }
    }

    /// The operator, acting on a tenant.
    #[must_use]
    pub fn acting_on(&self, tenant: &TenantId) -> Context {
        Context {
            tenant: Some(tenant.clone()),
            ..self.console()
        }
    }

    /// Somebody of a tenant, with a role.
    #[must_use]
    pub fn somebody(&self, tenant: &TenantId, role: Role) -> Context {
        let actor = Actor::Key {
            id: KeyId::generate(),
        };
        Context {
            actor,
            role,
            ..self.acting_on(tenant)
        }
    }

    /// A new tenant.
    pub async fn tenant(&self, id: &str) -> TenantId {
        let id: TenantId = id.parse().expect("a tenant id");
        let new = NewTenant {
            id: Some(id.clone()),
            name: format!("Tenant {id}"),
        };
        self.app
            .create_tenant(&self.console(), new)
            .await
            .expect("a tenant");
        id
    }

    /// A new key of a tenant, or of the operator; the text that its holder presents.
    pub async fn key(&self, tenant: Option<&TenantId>, role: Role) -> String {
        self.created_key(tenant, role).await.secret.reveal()
    }

    /// A new key of a tenant, or of the operator, with what is kept of it.
    pub async fn created_key(&self, tenant: Option<&TenantId>, role: Role) -> CreatedKey {
        let context = tenant.map_or_else(|| self.console(), |tenant| self.acting_on(tenant));
        let name = format!("{role} key");
        let new = NewKey {
            name,
            role,
            integration_id: None,
            expires_at: None,
        };
        self.app.create_key(&context, new).await.expect("a key")
    }

    /// A new enabled integration of a tenant, without limits, with a price for [`MODEL`].
    pub async fn integration(&self, tenant: &TenantId, name: &str) -> IntegrationId {
        let context = self.acting_on(tenant);
        let entered = json!({ "api_key": CANARY }).to_string();
        let config = json!({
            "base_url": "http://127.0.0.1:9/v1",
            "prices": { MODEL: { "input": 1_000_000_000, "output": 2_000_000_000 } },
        });
        let new = NewIntegration {
            name: name.to_owned(),
            provider_type: cus_models::CusProviderType::OpenAi,
            credential: Some(serde_json::from_str(&entered).expect("a credential")),
            credential_ref: None,
            config: config.as_object().cloned(),
            default_model: None,
            budget_limit_cents: 0,
            token_limit_month: 0,
            rate_limit_rpm: 0,
        };
        let shown = self
            .app
            .create_integration(&context, new)
            .await
            .expect("an integration");
        let id = shown.record.id.parse().expect("an id");
        self.app
            .enable_integration(&context, id)
            .await
            .expect("an enabled integration");
        id
    }

    /// An admitted call that holds so much at worst.
    pub async fn hold(&self, id: IntegrationId, worst: TokenUsage) -> Result<Hold, NotAdmitted> {
        let integration = self
            .app
            .directory()
            .integration(id)
            .expect("a known integration");
        let prices = self
            .app
            .prices(&integration.snapshot(), MODEL, self.clock.now());
        let cost = prices
            .as_ref()
            .map(|prices| prices.rates.cost(&worst).expect("a cost"));
        let facts = CallFacts {
            call_id: None,
            session_id: None,
            agent_id: None,
            model: MODEL.into(),
            ask: Ask { worst, cost },
            prices,
        };
        self.app.metering().admit(&integration, facts).await
    }

    /// A call that used so much, from its admission to the ledger; what it cost.
    pub async fn call(&self, id: IntegrationId, used: TokenUsage) -> Nanos {
        let hold = self
            .hold(id, used)
            .await
            .unwrap_or_else(|refused| panic!("{refused:?}"));
        hold.dispatch().leave().expect("a call in the journal");
        let usage = Some((used, UsageSource::Provider));
        let settled = hold.settle(Ending {
            usage,
            ..Ending::default()
        });
        self.app.books_caught_up().await;
        settled.cost
    }

    /// The audit trail of a tenant, or of the operator's own changes, newest first.
    pub async fn audit(&self, tenant: Option<&TenantId>) -> Vec<AuditRow> {
        let ask = PageAsk {
            rows: PAGE_ROWS_MAX,
            after: None,
        };
        let all = AuditFilter::default();
        let page = match tenant {
            Some(tenant) => self.app.store.tenant(tenant).list_audit(ask, all).await,
            None => {
                self.app
                    .store
                    .operator()
                    .list_operator_audit(ask, all)
                    .await
            }
        };
        page.expect("an audit trail").rows
    }

    /// What the use cases do when a provider refuses an integration's credential.
    pub async fn refuse_credential(&self, id: IntegrationId) {
        let known = self
            .app
            .directory()
            .integration(id)
            .expect("a known integration");
        let used = known.snapshot().record.updated_at;
        self.app.mark_credential_refused(id, used).await;
    }

    /// Another node, which has given no sign of life for an hour.
    pub async fn quiet_node(&self) -> NodeId {
        let node = NodeId::generate();
        let seen = self.clock.now().wall - jiff::SignedDuration::from_hours(1);
        let store = self.app.store.as_node(node);
        store
            .operator()
            .heartbeat(seen)
            .await
            .expect("another node");
        node
    }

    /// Another node books a call.
    pub async fn book_elsewhere(&self, entry: UsageEntry) {
        let other = self.app.store.as_node(NodeId::generate()).operator();
        let now = self.clock.now().wall;
        let report = other.append(&[entry], now).await.expect("a booked call");
        assert_eq!(report.written, 1);
    }

    /// Takes the store away, as an outage does. The world can only be left then.
    pub async fn lose_store(&self) {
        self.app.store.close().await;
    }

    /// Ends a world whose books can no longer be checked.
    pub async fn leave(mut self) {
        self.is_closed = true;
        self.app.stop().await;
    }

    /// Checks that no call is open and that the books are exact, then stops everything.
    pub async fn close(mut self) {
        self.is_closed = true;
        for integration in self.app.directory().integrations() {
            let held = self.app.metering().in_flight(&integration);
            assert_eq!(
                (held.budget_held, held.tokens_held),
                (Nanos::ZERO, 0),
                "an open hold"
            );
        }
        let books = self
            .app
            .verify_ledger(&self.console())
            .await
            .expect("a verification");
        assert!(books.is_exact(), "the books differ: {:?}", books.first);
        self.app.stop().await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let is_over = self.is_closed || std::thread::panicking();
        assert!(
            is_over,
            "a world is closed at the end of its test: `world.close().await`"
        );
    }
}
