//! A world for a test: a database of its own on either engine, with a tenant and an integration in it.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use cus_models::{CusIntegration, CusPolicyResult, CusProviderType};
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tollgate_core::audit::{Actor, AuditEntry};
use tollgate_core::tenant::{Tenant, TenantStatus};
use tollgate_core::usage::{UsageEntry, UsageSource};
use tollgate_core::{IntegrationId, Nanos, NodeId, TenantId, TokenUsage};
use tollgate_store::{AuditSeal, OpenStore, OperatorStore, Store, TenantStore};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// An open store in a fresh database.
pub(crate) struct World {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) store: Store,
    folder: tempfile::TempDir,
}

/// Runs a test in a world of its own; at its end the books must balance.
pub(crate) fn run(kind: Kind, test: impl AsyncFnOnce(&World)) {
    block_on(async {
        let world = World::create(kind).await;
        test(&world).await;
        world.assert_balanced().await;
        world.store.close().await;
    });
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

impl World {
    /// A migrated database.
    pub(crate) async fn create(kind: Kind) -> Self {
        let world = Self::create_empty(kind).await;
        world.store.migrate(moment(0)).await.unwrap();
        world
    }

    /// A database without tables.
    pub(crate) async fn create_empty(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = match kind {
            Kind::Sqlite => format!("sqlite:{}", folder.path().join("books.db").display()),
            Kind::Postgres => create_database().await,
        };
        let store = open(&url, NodeId::generate()).await;
        Self {
            kind,
            url,
            store,
            folder,
        }
    }

    /// The store of another node: a store of its own where the engine serves several, else the same one.
    pub(crate) async fn another_node(&self) -> Store {
        match self.kind {
            Kind::Sqlite => self.store.clone(),
            Kind::Postgres => open(&self.url, NodeId::generate()).await,
        }
    }

    pub(crate) fn operator(&self) -> OperatorStore {
        self.store.operator()
    }

    pub(crate) fn tenant(&self, id: &TenantId) -> TenantStore {
        self.store.tenant(id)
    }

    /// A new tenant.
    pub(crate) async fn create_tenant(&self, id: &str) -> TenantId {
        let tenant = tenant(id, moment(0));
        let audit = audit(Some(&tenant.id), "tenant.create");
        self.operator()
            .create_tenant(&tenant, audit)
            .await
            .unwrap()
            .id
    }

    /// A new integration.
    pub(crate) async fn create_integration(&self, tenant: &TenantId, name: &str) -> CusIntegration {
        let mut integration =
            CusIntegration::new(tenant.as_str(), name, CusProviderType::OpenAi, "env://KEY")
                .unwrap();
        integration.created_at = moment(0);
        integration.updated_at = moment(0);
        let audit = audit(Some(tenant), "integration.create");
        self.tenant(tenant)
            .create_integration(&integration, None, audit)
            .await
            .unwrap()
    }

    /// Runs SQL past the store, as somebody with the database's password could.
    pub(crate) async fn raw(&self, statement: &str) -> Result<u64, String> {
        let statement = AssertSqlSafe(statement.to_owned());
        match self.kind {
            Kind::Sqlite => {
                let path = self.url.replace("sqlite:", "sqlite://");
                let mut connection = SqliteConnection::connect(&path).await.unwrap();
                let done = sqlx::raw_sql(statement).execute(&mut connection).await;
                connection.close().await.unwrap();
                done.map(|done| done.rows_affected())
                    .map_err(|error| error.to_string())
            }
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                let done = sqlx::raw_sql(statement).execute(&mut connection).await;
                connection.close().await.unwrap();
                done.map(|done| done.rows_affected())
                    .map_err(|error| error.to_string())
            }
        }
    }

    /// What the files of the database hold; nothing where it is not ours to look into.
    pub(crate) fn files(&self) -> Vec<Vec<u8>> {
        match self.kind {
            Kind::Sqlite => std::fs::read_dir(self.folder.path())
                .unwrap()
                .map(|file| std::fs::read(file.unwrap().path()).unwrap())
                .collect(),
            Kind::Postgres => Vec::new(),
        }
    }

    /// Switches the guards of the ledger off, as only the owner of the database can.
    pub(crate) async fn drop_guards(&self) {
        let statement = match self.kind {
            Kind::Sqlite => {
                "DROP TRIGGER cus_llm_usage_no_update; DROP TRIGGER cus_llm_usage_no_delete"
            }
            Kind::Postgres => "DROP TRIGGER cus_llm_usage_no_change ON cus_llm_usage",
        };
        self.raw(statement).await.unwrap();
    }

    /// Switches the guards of the audit trail off, as only the owner of the database can.
    pub(crate) async fn drop_audit_guards(&self) {
        let statement = match self.kind {
            Kind::Sqlite => {
                "DROP TRIGGER audit_log_no_update; DROP TRIGGER audit_log_no_delete; \
                 DROP TRIGGER audit_heads_no_delete; DROP TRIGGER audit_heads_no_return"
            }
            Kind::Postgres => {
                "DROP TRIGGER audit_log_no_change ON audit_log; \
                 DROP TRIGGER audit_heads_no_delete ON audit_heads; \
                 DROP TRIGGER audit_heads_no_return ON audit_heads"
            }
        };
        self.raw(statement).await.unwrap();
    }

    pub(crate) async fn assert_balanced(&self) {
        let Ok(status) = self.store.migration_status().await else {
            return;
        };
        if status.applied.is_empty() {
            return;
        }
        let report = self.operator().verify(None).await.unwrap();
        let first = report
            .first
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(
            report.is_exact(),
            "{} differences; {first}",
            report.differences
        );
        if let Some((_, folder)) = self.url.split_once("?host=") {
            // A deadlock would be retried and not seen otherwise.
            let log = std::fs::read_to_string(Path::new(folder).join("server.log")).unwrap();
            for waited in ["deadlock detected", "could not serialize", "lock timeout"] {
                assert!(!log.contains(waited), "{log}");
            }
        }
    }
}

pub(crate) async fn open(url: &str, node: NodeId) -> Store {
    Store::open(
        url,
        OpenStore {
            max_connections: 4,
            node,
            audit: seal(),
        },
    )
    .await
    .unwrap()
}

/// A seal of the tests' own: no cryptography, but each byte counts.
pub(crate) fn seal() -> AuditSeal {
    AuditSeal::new(|bytes| {
        let mut mark = [0_u8; 32];
        let mut state = 0xcbf2_9ce4_8422_2325_u64;
        for (index, byte) in bytes.iter().enumerate() {
            state = (state ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            mark[index % 32] ^= state.to_be_bytes()[0];
        }
        mark
    })
}

/// 2026-11-15 12:00:00 UTC and so many seconds.
pub(crate) fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_794_744_000 + seconds).unwrap()
}

pub(crate) fn tenant(id: &str, created_at: Timestamp) -> Tenant {
    Tenant {
        id: id.parse().unwrap(),
        name: format!("Tenant {id}"),
        status: TenantStatus::Active,
        created_at,
        updated_at: created_at,
    }
}

pub(crate) fn audit(tenant: Option<&TenantId>, action: &'static str) -> AuditEntry {
    AuditEntry {
        tenant: tenant.cloned(),
        actor: Actor::Console,
        action,
        target: "a thing".to_owned(),
        before: None,
        after: Some("{}".to_owned()),
        request_id: Some("req-1".to_owned()),
        at: moment(60),
    }
}

/// A call of one in-token and two out-tokens at 1,000 nano-dollars, 10 ms long.
pub(crate) fn call(tenant: &TenantId, integration: IntegrationId, id: &str) -> UsageEntry {
    UsageEntry {
        tenant_id: tenant.clone(),
        integration_id: integration,
        call_id: id.parse().unwrap(),
        session_id: None,
        agent_id: None,
        provider: CusProviderType::OpenAi,
        model: "gpt-4o".into(),
        tokens: TokenUsage::plain(1, 2),
        cost: Nanos::new(1_000),
        held: Nanos::new(2_000),
        source: UsageSource::Provider,
        price: None,
        latency_ms: Some(10),
        policy_result: CusPolicyResult::Allowed,
        error_code: None,
        error_message: None,
        extra: None,
        created_at: moment(0),
    }
}

/// A call that was refused.
pub(crate) fn refusal(tenant: &TenantId, integration: IntegrationId, id: &str) -> UsageEntry {
    UsageEntry {
        tokens: TokenUsage::NONE,
        cost: Nanos::ZERO,
        held: Nanos::ZERO,
        latency_ms: None,
        policy_result: CusPolicyResult::Blocked,
        error_code: Some("budget_exceeded".into()),
        ..call(tenant, integration, id)
    }
}

pub(crate) fn id_of(integration: &CusIntegration) -> IntegrationId {
    integration.id.parse().unwrap()
}

/// A database of its own in this process's cluster.
async fn create_database() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let cluster = cluster();
    let name = format!("world_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(cluster).await.unwrap();
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::raw_sql(create)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    cluster.replace("/tollgate?", &format!("/{name}?"))
}

/// The URL of a cluster that stops when this process ends.
fn cluster() -> &'static str {
    static CLUSTER: OnceLock<String> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let folder: PathBuf = tempfile::Builder::new()
            .prefix("tg-pg-")
            .tempdir_in("/tmp")
            .unwrap()
            .keep();
        let started = Command::new(root.join("bin/throwaway-postgres"))
            .arg("start")
            .arg(&folder)
            .arg(std::process::id().to_string())
            .output()
            .unwrap();
        let problem = String::from_utf8_lossy(&started.stderr);
        assert!(
            started.status.success(),
            "no PostgreSQL to test with: {problem}"
        );
        String::from_utf8(started.stdout).unwrap().trim().to_owned()
    })
}
