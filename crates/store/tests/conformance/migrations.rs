//! Migrations: applied once, never past what the program knows.

use tollgate_core::NodeId;
use tollgate_core::page::PageAsk;
use tollgate_store::{OpenStore, Store, StoreError};

use crate::world::{Kind, World, block_on, moment, open, seal};

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

pub(crate) async fn an_unmigrated_database_says_so(world: &World) {
    let empty = World::create_empty(world.kind).await;
    let listed = empty
        .operator()
        .list_tenants(PageAsk::default(), None)
        .await;
    assert!(matches!(listed, Err(StoreError::NotMigrated)));
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
