//! The walls between tenants on PostgreSQL: with every condition on the tenant forgotten, row-level security still shows
//! and touches nothing foreign; and without the second wall the same questions do show it, so that this test can fail.

use std::collections::BTreeMap;

use cus_models::{CusIntegration, CusProviderType};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tollgate_core::access::AccessKey;
use tollgate_core::limit::Limits;
use tollgate_core::limit::permits::PermitAsk;
use tollgate_core::page::PageAsk;
use tollgate_core::price::Rates;
use tollgate_core::price::overrides::PriceOverride;
use tollgate_core::{IntegrationId, KeyId, NodeId, Period, TenantId};
use tollgate_store::{
    AuditFilter, ExportAsk, HealthChange, HealthRow, IntegrationChange, IntegrationFilter,
    KeyFilter, KeyRotation, OpenStore, PermitDraw, RowSecurity, Store, TenantStore, UsageFilter,
};

use crate::integrations::credential;
use crate::keys::key;
use crate::world::{Kind, World, audit, block_on, call, id_of, moment, seal};

/// Methods of a tenant's store that are not asked here, and why.
const NOT_ASKED: [(&str, &str); 4] = [
    (
        "report_usage",
        "it appends to the books, which are everybody's, and refuses entries of others before it begins",
    ),
    (
        "create_hold",
        "it refuses a hold of others before it begins",
    ),
    (
        "get_hold",
        "it finds by id and compares the tenant of the row; the conformance of holds asks as a stranger",
    ),
    (
        "release_hold",
        "it changes the books, which are everybody's, after comparing the tenant of the row",
    ),
];

/// What a stranger asks about.
struct Foreign {
    main: CusIntegration,
    key: KeyId,
}

/// A world with a tenant that has one of everything, and another that has nothing.
async fn neighbors() -> (World, Foreign, TenantId) {
    let world = World::create(Kind::Postgres).await;
    let acme = world.create_tenant("acme").await;
    let globex = world.create_tenant("globex").await;
    let main = world.create_integration(&acme, "main").await;
    let change = IntegrationChange {
        expected: main.updated_at,
        integration: main,
        credential: Some(credential(1)),
    };
    let entry = audit(Some(&acme), "integration.update");
    let store = world.tenant(&acme);
    let main = store.update_integration(change, entry).await.unwrap();
    let (digest, made) = key(&acme, 1);
    let entry = audit(Some(&acme), "key.create");
    store.create_key(&made, digest, entry).await.unwrap();
    let entry = call(&acme, id_of(&main), "c-1");
    world.operator().append(&[entry], moment(1)).await.unwrap();
    let ask = PermitAsk {
        need: 3,
        ..PermitAsk::default()
    };
    let draw = PermitDraw {
        integration: id_of(&main),
        tenant: acme,
        rpm: 10,
        ask,
        share: 1,
    };
    world.operator().draw_permits(&draw).await.unwrap();
    for model in ["shared", "own"] {
        let entry = audit(Some(&draw.tenant), "price.set");
        store.set_price(&price(model, 5), entry).await.unwrap();
    }
    let foreign = Foreign { main, key: made.id };
    (world, foreign, globex)
}

fn price(model: &str, seconds: i64) -> PriceOverride {
    PriceOverride {
        provider_type: CusProviderType::OpenAi,
        model: model.to_owned(),
        rates: Rates::default(),
        tiers: Vec::new(),
        created_at: moment(seconds),
        updated_at: moment(seconds),
    }
}

/// Asks every method of a stranger's store; by its name, whether it showed or touched something foreign.
async fn asked(
    stranger: &TenantStore,
    globex: &TenantId,
    foreign: &Foreign,
) -> BTreeMap<&'static str, bool> {
    let id = id_of(&foreign.main);
    let mut seen = reads(stranger, id, foreign.key).await;
    seen.extend(figures(stranger, id).await);
    seen.extend(health(stranger, globex, foreign).await);
    // Before the key is revoked, and the integration deleted.
    seen.extend(prices_and_rotation(stranger, globex, foreign.key).await);
    seen.extend(writes(stranger, globex, foreign).await);
    seen
}

async fn reads(
    stranger: &TenantStore,
    id: IntegrationId,
    key: KeyId,
) -> BTreeMap<&'static str, bool> {
    let page = PageAsk::default;
    let listed = stranger
        .list_integrations(page(), IntegrationFilter::default())
        .await;
    let keys = stranger.list_keys(page(), KeyFilter::default()).await;
    let trail = stranger
        .list_audit(page(), AuditFilter::default())
        .await
        .unwrap();
    let foreign_entries = trail.rows.iter().filter(|row| {
        row.tenant
            .as_ref()
            .is_some_and(|tenant| tenant.as_str() == "acme")
    });
    let prices = stranger.list_prices().await;
    BTreeMap::from([
        ("list_prices", !prices.unwrap().is_empty()),
        ("list_integrations", !listed.unwrap().rows.is_empty()),
        (
            "get_integration",
            stranger.get_integration(id).await.is_ok(),
        ),
        (
            "find_integration",
            stranger.find_integration("main").await.is_ok(),
        ),
        (
            "get_credential",
            stranger.get_credential(id).await.unwrap().is_some(),
        ),
        ("list_keys", !keys.unwrap().rows.is_empty()),
        ("get_key", stranger.get_key(key).await.is_ok()),
        ("list_audit", foreign_entries.count() > 0),
        (
            "verify_audit",
            !stranger.verify_audit(None).await.unwrap().is_good(),
        ),
    ])
}

async fn figures(stranger: &TenantStore, id: IntegrationId) -> BTreeMap<&'static str, bool> {
    let page = PageAsk::default;
    let (from, to) = ("2026-11-01".parse().unwrap(), "2026-11-30".parse().unwrap());
    let period: Period = "2026-11".parse().unwrap();
    let history = stranger.usage_history(page(), UsageFilter::default()).await;
    let days = stranger.usage_daily(from, to, None).await;
    let summary = stranger.usage_summary(from, to, None).await;
    let prospect = stranger.prospect(id, period, Limits::default()).await;
    let permits = stranger.permit_prospect(id, 10).await.unwrap();
    let unpriced = stranger.unpriced_models().await;
    let span = (moment(-1_000), moment(1_000));
    let models = stranger.usage_by_model(span, None).await;
    let ask = ExportAsk {
        from: span.0,
        to: span.1,
        settled_by: moment(1_000),
        integration: None,
        after: None,
        rows: 10,
    };
    let exported = stranger.export_usage(&ask).await;
    let balance = stranger.balance(id, period).await;
    BTreeMap::from([
        ("unpriced_models", !unpriced.unwrap().is_empty()),
        ("usage_by_model", !models.unwrap().is_empty()),
        ("export_usage", !exported.unwrap().rows.is_empty()),
        ("permit_prospect", permits.in_window > 0),
        ("balance", balance.unwrap().calls > 0),
        // Somebody else's month is told from none at all.
        ("prospect", prospect.is_err()),
        ("usage_history", !history.unwrap().rows.is_empty()),
        ("usage_daily", !days.unwrap().is_empty()),
        ("usage_summary", summary.unwrap().totals.total_calls > 0),
    ])
}

async fn health(
    stranger: &TenantStore,
    globex: &TenantId,
    foreign: &Foreign,
) -> BTreeMap<&'static str, bool> {
    let id = id_of(&foreign.main);
    let change = HealthChange {
        integration: CusIntegration {
            tenant_id: globex.to_string(),
            ..foreign.main.clone()
        },
        expected: foreign.main.updated_at,
        health: HealthRow::default(),
        credential: None,
        audit: None,
    };
    let got = stranger.get_health(id).await;
    let counted = stranger.count_health(None).await;
    let kept = stranger.keep_health(change).await;
    let turn = stranger.claim_probe(id, moment(1), moment(50)).await;
    BTreeMap::from([
        ("get_health", got.is_ok()),
        ("count_health", !counted.unwrap().is_empty()),
        ("keep_health", kept.is_ok()),
        ("claim_probe", turn.is_ok()),
    ])
}

async fn prices_and_rotation(
    stranger: &TenantStore,
    globex: &TenantId,
    old: KeyId,
) -> BTreeMap<&'static str, bool> {
    let entry = |action| audit(Some(globex), action);
    let (digest, mut new) = key(globex, 8);
    new.rotated_from = Some(old);
    let rotation = KeyRotation {
        old,
        until: moment(500),
        new,
        digest,
    };
    let rotated = stranger.rotate_key(rotation, entry("key.rotate")).await;
    let priced = stranger
        .set_price(&price("shared", 50), entry("price.set"))
        .await;
    let provider = CusProviderType::OpenAi;
    let removed = stranger
        .remove_price(provider, "own", entry("price.remove"))
        .await;
    BTreeMap::from([
        ("rotate_key", rotated.is_ok()),
        // A price that was set before keeps the time of its first setting.
        ("set_price", priced.unwrap().created_at == moment(5)),
        ("remove_price", removed.is_ok()),
    ])
}

async fn writes(
    stranger: &TenantStore,
    globex: &TenantId,
    foreign: &Foreign,
) -> BTreeMap<&'static str, bool> {
    let entry = |action| audit(Some(globex), action);
    let id = id_of(&foreign.main);
    let mut same_name = foreign.main.clone();
    same_name.id = IntegrationId::generate().to_string();
    same_name.tenant_id = globex.to_string();
    let created = stranger
        .create_integration(&same_name, None, entry("integration.create"))
        .await;
    let (digest, bound) = key(globex, 7);
    let bound = AccessKey {
        integration_id: Some(id),
        ..bound
    };
    let bound = stranger
        .create_key(&bound, digest, entry("key.create"))
        .await;
    let revoked = stranger.revoke_key(foreign.key, entry("key.revoke")).await;
    let change = IntegrationChange {
        expected: foreign.main.updated_at,
        integration: CusIntegration {
            tenant_id: globex.to_string(),
            name: "taken over".to_owned(),
            ..foreign.main.clone()
        },
        credential: Some(credential(2)),
    };
    let updated = stranger
        .update_integration(change, entry("integration.update"))
        .await;
    let deleted = stranger
        .delete_integration(id, None, entry("integration.delete"))
        .await;
    BTreeMap::from([
        // A name that only a foreign integration has is free.
        ("create_integration", created.is_err()),
        ("create_key", bound.is_ok()),
        ("revoke_key", revoked.is_ok()),
        ("update_integration", updated.is_ok()),
        ("delete_integration", deleted.is_ok()),
    ])
}

async fn open(world: &World) -> Store {
    let options = OpenStore::for_node(NodeId::generate(), seal());
    Store::open(&world.url, options).await.unwrap()
}

#[test]
fn with_the_filters_forgotten_row_security_shows_and_touches_nothing_foreign() {
    block_on(async {
        let (world, foreign, globex) = neighbors().await;
        let before = everything(&world).await;
        let store = open(&world).await;
        store.forget_tenant_filters();
        let seen = asked(&store.tenant(&globex), &globex, &foreign).await;
        let leaks: Vec<_> = seen.iter().filter(|(_, is_seen)| **is_seen).collect();
        assert!(leaks.is_empty(), "{leaks:?}");
        assert_eq!(
            everything(&world).await,
            before,
            "something foreign was changed"
        );
        let mut named: Vec<&str> = seen.into_keys().collect();
        named.extend(NOT_ASKED.map(|(method, _)| method));
        named.sort_unstable();
        assert_eq!(
            named,
            methods(),
            "a method of a tenant's store that is not asked here"
        );
        store.close().await;
        world.assert_balanced().await;
        world.store.close().await;
    });
}

#[test]
fn with_both_walls_down_the_same_questions_show_what_is_foreign() {
    block_on(async {
        let (world, foreign, globex) = neighbors().await;
        let store = open(&world).await;
        store.forget_tenant_filters();
        store.take_wall_down();
        let seen = asked(&store.tenant(&globex), &globex, &foreign).await;
        let unseen: Vec<_> = seen.iter().filter(|(_, is_seen)| !**is_seen).collect();
        assert!(
            unseen.is_empty(),
            "these would not notice a missing wall: {unseen:?}"
        );
        store.close().await;
        world.store.close().await;
    });
}

#[test]
fn with_the_second_wall_down_the_first_holds() {
    block_on(async {
        let (world, foreign, globex) = neighbors().await;
        let store = open(&world).await;
        store.take_wall_down();
        let mut seen = asked(&store.tenant(&globex), &globex, &foreign).await;
        // It refuses a month that is somebody else's: that it is one is all that it tells.
        seen.remove("prospect");
        let leaks: Vec<_> = seen.iter().filter(|(_, is_seen)| **is_seen).collect();
        assert!(leaks.is_empty(), "{leaks:?}");
        store.close().await;
        world.store.close().await;
    });
}

#[test]
fn every_table_is_behind_the_wall_or_named_here() {
    block_on(async {
        let world = World::create(Kind::Postgres).await;
        let open = texts(
            &world,
            "SELECT c.relname::text FROM pg_class c WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition \
             AND c.relnamespace = 'public'::regnamespace AND NOT (c.relrowsecurity \
             AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)) ORDER BY 1",
        );
        // What no tenant owns, and what no tenant's work may touch at all.
        assert_eq!(open.await, ["nodes", "schema_migrations"]);
        let reachable = texts(
            &world,
            "SELECT c.relname::text FROM pg_class c WHERE c.relkind IN ('r', 'p') AND NOT c.relrowsecurity \
             AND c.relnamespace = 'public'::regnamespace \
             AND has_table_privilege('tollgate_tenant', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE') ORDER BY 1",
        );
        assert_eq!(reachable.await, [""; 0]);
        world.store.close().await;
    });
}

#[test]
fn the_wall_stands_and_says_so_and_sqlite_has_none() {
    block_on(async {
        let world = World::create(Kind::Postgres).await;
        let standing = RowSecurity::Standing {
            role: "tollgate_tenant".to_owned(),
        };
        assert_eq!(world.store.row_security().await.unwrap(), standing);
        let weak = texts(
            &world,
            "SELECT rolname::text FROM pg_roles WHERE rolname = 'tollgate_tenant' \
             AND (rolsuper OR rolbypassrls OR rolcanlogin OR rolcreaterole OR rolcreatedb)",
        );
        assert_eq!(weak.await, [""; 0]);
        world.store.close().await;
        let world = World::create(Kind::Sqlite).await;
        assert_eq!(
            world.store.row_security().await.unwrap(),
            RowSecurity::NotOffered
        );
        world.store.close().await;
    });
}

#[test]
fn a_role_that_may_make_no_roles_is_told_what_is_missing_and_works_all_the_same() {
    block_on(async {
        let world = World::create_empty(Kind::Postgres).await;
        let database = world
            .url
            .split('?')
            .next()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap()
            .to_owned();
        // Made anew in each process's cluster; two runs of this test in one cluster do not exist.
        let make = format!(
            "CREATE ROLE plain LOGIN; GRANT CREATE ON DATABASE {database} TO plain; GRANT CREATE ON SCHEMA public TO plain"
        );
        world.raw(&make).await.unwrap();
        let url = world.url.replace("//tollgate@", "//plain@");
        let options = || OpenStore::for_node(NodeId::generate(), seal());
        let store = Store::open(&url, options()).await.unwrap();
        store.migrate(moment(0)).await.unwrap();
        let found = store.row_security().await.unwrap();
        let RowSecurity::Missing { role, reason } = found else {
            panic!("{found:?}");
        };
        assert_eq!(role, "plain_tenant");
        assert!(reason.contains("no such role"), "{reason}");
        let nobody = store.tenant(&"nobody".parse().unwrap());
        assert!(
            nobody
                .list_keys(PageAsk::default(), KeyFilter::default())
                .await
                .unwrap()
                .rows
                .is_empty()
        );
        // What the documents tell the database's administrator to do.
        world
            .raw("CREATE ROLE plain_tenant NOLOGIN; GRANT plain_tenant TO plain")
            .await
            .unwrap();
        store.migrate(moment(1)).await.unwrap();
        assert_eq!(
            store.row_security().await.unwrap(),
            RowSecurity::Standing { role }
        );
        assert!(
            nobody
                .list_keys(PageAsk::default(), KeyFilter::default())
                .await
                .unwrap()
                .rows
                .is_empty()
        );
        store.close().await;
        world.store.close().await;
    });
}

#[test]
fn databases_of_one_cluster_raise_their_walls_at_once() {
    block_on(async {
        let mut starting = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let world = World::create_empty(Kind::Postgres).await;
            starting.spawn(async move {
                let standing = {
                    world.store.migrate(moment(0)).await.unwrap();
                    world.store.row_security().await.unwrap()
                };
                world.store.close().await;
                matches!(standing, RowSecurity::Standing { .. })
            });
        }
        assert_eq!(starting.join_all().await, [true; 6]);
    });
}

/// All that the first tenant has, as text.
async fn everything(world: &World) -> Vec<String> {
    let mut all = Vec::new();
    for table in [
        "cus_integrations",
        "credentials",
        "access_keys",
        "cus_llm_usage",
        "cus_usage_daily",
        "balances",
        "call_keys",
        "audit_log",
        "audit_heads",
        "prices",
        "unpriced_models",
        "rate_windows",
        "integration_health",
        "changes",
    ] {
        let rows = format!("SELECT t::text FROM {table} t WHERE tenant_id = 'acme' ORDER BY 1");
        all.extend(texts(world, &rows).await);
    }
    all.extend(texts(world, "SELECT t::text FROM tenants t ORDER BY 1").await);
    all
}

async fn texts(world: &World, statement: &str) -> Vec<String> {
    let mut connection = PgConnection::connect(&world.url).await.unwrap();
    let rows = sqlx::query_scalar(AssertSqlSafe(statement.to_owned()));
    let rows = rows.fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

/// The public methods of a tenant's store, read from the source.
fn methods() -> Vec<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let mut is_within = false;
            for line in text.lines() {
                match line {
                    "impl TenantStore {" => is_within = true,
                    "}" => is_within = false,
                    _ => {}
                }
                let method = line.strip_prefix("    pub async fn ").filter(|_| is_within);
                found.extend(method.map(|rest| rest.split(['(', '<']).next().unwrap().to_owned()));
            }
        }
    }
    found.sort_unstable();
    found
}
