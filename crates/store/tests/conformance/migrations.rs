//! Migrations: applied once, never past what the program knows.

use sqlx::{Connection, SqliteConnection};
use tollgate_core::NodeId;
use tollgate_core::page::PageAsk;
use tollgate_store::{OpenStore, Store, StoreError};

use crate::world::{Kind, World, block_on, call, id_of, moment, open, seal};

pub(crate) async fn migrating_twice_changes_nothing(world: &World) {
    let empty = World::create_empty(world.kind).await;
    let before = empty.store.migration_status().await.unwrap();
    assert!(before.applied.is_empty());
    assert_eq!(
        (before.pending[0].version, before.pending[0].name),
        (1, "books")
    );
    let first = empty.store.migrate(moment(1)).await.unwrap();
    assert_eq!(first.applied[0].applied_at, moment(1));
    assert!(first.pending.is_empty());
    let second = empty.store.migrate(moment(2)).await.unwrap();
    assert_eq!(second, first);
    assert_eq!(empty.store.migration_status().await.unwrap(), first);
    empty.store.close().await;
}

pub(crate) async fn nodes_that_start_together_migrate_once(world: &World) {
    let empty = World::create_empty(world.kind).await;
    let mut nodes = tokio::task::JoinSet::new();
    for index in 0..5 {
        let store = empty.another_node().await;
        nodes.spawn(async move { store.migrate(moment(index)).await.unwrap() });
    }
    let seen = nodes.join_all().await;
    assert!(seen.iter().all(|status| *status == seen[0]));
}

pub(crate) async fn a_newer_schema_is_refused(world: &World) {
    let insert = "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (999, 'future', 0, 0)";
    world.raw(insert).await.unwrap();
    for outcome in [
        world.store.migrate(moment(1)).await,
        world.store.migration_status().await,
    ] {
        assert!(matches!(
            outcome,
            Err(StoreError::SchemaTooNew { found: 999, .. })
        ));
    }
}

pub(crate) async fn a_changed_migration_is_refused(world: &World) {
    world
        .raw("UPDATE schema_migrations SET checksum = checksum - 1")
        .await
        .unwrap();
    for outcome in [
        world.store.migrate(moment(1)).await,
        world.store.migration_status().await,
    ] {
        assert!(matches!(
            outcome,
            Err(StoreError::MigrationChanged { version: 1, .. })
        ));
    }
}

pub(crate) async fn a_row_that_cannot_be_true_is_refused_by_the_ledgers_table(world: &World) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let one = [call(&acme, id, "one")];
    world.operator().append(&one, moment(1)).await.unwrap();
    let columns = "tenant_id, created_at, integration_id, call_id, provider, model, tokens_in, tokens_out, cost_cents, \
                   cost_nanos, held_nanos, tokens_by_class, period, day, node_id, settled_at";
    let copy = |[result, source, origin, outcome, latency]: [&str; 5]| {
        format!(
            "BEGIN; INSERT INTO cus_llm_usage (id, {columns}, policy_result, usage_source, origin, hold_outcome, latency_ms) \
             SELECT 'copy', {columns}, {result}, {source}, {origin}, {outcome}, {latency} FROM cus_llm_usage; ROLLBACK"
        )
    };
    let good = ["'allowed'", "'provider'", "'gateway'", "NULL", "0"];
    for (place, wrong) in ["'odd'", "''", "'Gateway'", "'odd'", "-1"]
        .iter()
        .enumerate()
    {
        let mut checked = good;
        checked[place] = wrong;
        let refused = world.raw(&copy(checked)).await.unwrap_err();
        assert!(
            refused.to_lowercase().contains("check"),
            "{place}: {refused}"
        );
    }
    let may_stand: [&[&str]; 4] = [
        &["'warned'", "'blocked'"],
        &["'counted'", "'estimated'"],
        &["'telemetry'"],
        &[
            "'settled'",
            "'settled_before'",
            "'released'",
            "'expired'",
            "'unknown'",
        ],
    ];
    for (place, names) in may_stand.iter().enumerate() {
        for name in *names {
            let mut checked = good;
            checked[place] = name;
            let stands = world.raw(&copy(checked)).await;
            assert!(stands.is_ok_and(|rows| rows > 0), "{name}");
        }
    }
}

pub(crate) async fn an_unmigrated_database_says_so(world: &World) {
    let empty = World::create_empty(world.kind).await;
    let listed = empty
        .operator()
        .list_tenants(PageAsk::default(), None)
        .await;
    assert!(matches!(listed, Err(StoreError::NotMigrated)));
}

/// The statement that made the ledger's table, as SQLite keeps it.
async fn ledger_table(world: &World) -> String {
    let path = world.url.replace("sqlite:", "sqlite://");
    let mut connection = SqliteConnection::connect(&path).await.unwrap();
    let select = "SELECT sql FROM sqlite_schema WHERE name = 'cus_llm_usage'";
    let (text,): (String,) = sqlx::query_as(select)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    text
}

/// Takes the ledger's conditions back to what they were before they were written out.
const BACK: &str = "PRAGMA writable_schema = ON; \
     UPDATE sqlite_schema SET sql = replace(replace(sql, \
         'policy_result = ''allowed'' OR policy_result = ''warned'' OR policy_result = ''blocked''', \
         'policy_result IN (''allowed'', ''warned'', ''blocked'')'), \
         'usage_source = ''provider'' OR usage_source = ''counted'' OR usage_source = ''estimated''', \
         'usage_source IN (''provider'', ''counted'', ''estimated'')') WHERE name = 'cus_llm_usage'; \
     PRAGMA writable_schema = RESET; DELETE FROM schema_migrations WHERE version >= 11";

#[test]
fn a_sqlite_ledger_of_before_is_carried_over_with_its_conditions_written_out() {
    block_on(async {
        let world = World::create(Kind::Sqlite).await;
        let acme = world.create_tenant("acme").await;
        let id = id_of(&world.create_integration(&acme, "main").await);
        let before = [call(&acme, id, "before")];
        world.operator().append(&before, moment(1)).await.unwrap();
        world.store.close().await;
        world.raw(BACK).await.unwrap();
        assert!(ledger_table(&world).await.contains("policy_result IN ("));
        let store = open(&world.url, NodeId::generate()).await;
        store.migrate(moment(2)).await.unwrap();
        let table = ledger_table(&world).await;
        // Of a list of two SQLite makes no table.
        assert_eq!(table.matches(" IN (").count(), 1, "{table}");
        assert!(
            table.contains("origin IN ('gateway', 'telemetry')"),
            "{table}"
        );
        let after = [call(&acme, id, "before"), call(&acme, id, "after")];
        let report = store.operator().append(&after, moment(3)).await.unwrap();
        assert_eq!((report.written, report.duplicates), (1, 1));
        assert!(store.operator().verify(None).await.unwrap().is_exact());
        store.close().await;
    });
}

#[test]
fn a_second_process_on_the_sqlite_file_is_refused_until_the_first_closes() {
    block_on(async {
        let world = World::create(Kind::Sqlite).await;
        let second = Store::open(&world.url, OpenStore::for_node(NodeId::generate(), seal())).await;
        let refused = second.unwrap_err();
        assert!(matches!(refused, StoreError::Locked { .. }));
        assert!(
            refused.to_string().contains("in use by another process"),
            "{refused}"
        );
        world.store.close().await;
        let third = open(&world.url, NodeId::generate()).await;
        third.ping().await.unwrap();
        assert!(!third.migration_status().await.unwrap().applied.is_empty());
    });
}

#[test]
fn an_address_that_cannot_be_used_is_refused_without_being_repeated() {
    block_on(async {
        let options = OpenStore::for_node(NodeId::generate(), seal());
        for url in [
            "mysql://root:hunter2@localhost/x",
            "sqlite:",
            "",
            "books.db",
            "postgres://a:hunter2@[/x",
        ] {
            let refused = Store::open(url, options.clone()).await.unwrap_err();
            assert!(
                matches!(refused, StoreError::InvalidUrl { .. }),
                "{url}: {refused:?}"
            );
            assert!(!format!("{refused} {refused:?}").contains("hunter2"));
        }
    });
}

#[test]
fn a_database_in_memory_serves_writers_and_readers_alike() {
    block_on(async {
        let store = open("sqlite::memory:", NodeId::generate()).await;
        store.migrate(moment(0)).await.unwrap();
        assert!(
            store
                .operator()
                .list_tenants(PageAsk::default(), None)
                .await
                .unwrap()
                .rows
                .is_empty()
        );
        assert_eq!(store.engine_name(), "sqlite");
    });
}
