//! The audit trail: what was done to it afterwards is noticed, and the first bad entry is named.

use tollgate_core::access::{AccessKey, KeyDigest};
use tollgate_core::audit::{Actor, AuditEntry, AuditHead, Tampering};
use tollgate_core::page::PageAsk;
use tollgate_core::{IntegrationId, NodeId, TenantId};
use tollgate_store::{AuditFilter, AuditReport, AuditRow, AuditSeal, OpenStore, Store, StoreError};

use crate::keys::key;
use crate::world::{Kind, World, audit, block_on, moment, seal};

/// A world with a tenant whose trail has ten entries, and no triggers.
async fn trail(world: &World) -> TenantId {
    let acme = world.create_tenant("acme").await;
    for index in 1..10 {
        world
            .create_integration(&acme, &format!("integration {index}"))
            .await;
    }
    acme
}

async fn found(world: &World, tenant: &TenantId) -> Option<(i64, Tampering)> {
    let report = world.tenant(tenant).verify_audit(None).await.unwrap();
    assert_eq!(report.is_good(), report.first_bad.is_none());
    report.first_bad.map(|bad| {
        assert_eq!(bad.tenant.as_ref(), Some(tenant));
        (bad.seq, bad.reason)
    })
}

pub(crate) async fn a_trail_is_good_as_it_was_written_and_tells_its_head(world: &World) {
    let acme = trail(world).await;
    let report = world.tenant(&acme).verify_audit(None).await.unwrap();
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.trails, report.entries), (1, 10));
    let newest = world
        .tenant(&acme)
        .list_audit(PageAsk::default(), AuditFilter::default())
        .await;
    let newest = newest.unwrap().rows.remove(0);
    let head = AuditHead {
        seq: 10,
        hash: newest.hash,
    };
    assert_eq!(report.head, Some(head.clone()));
    assert_eq!(head.to_string().parse(), Ok(head));
    let nobody = world.tenant(&"nobody".parse().unwrap());
    let empty = nobody.verify_audit(None).await.unwrap();
    let expected = AuditReport {
        trails: 1,
        ..AuditReport::default()
    };
    assert_eq!(empty, expected);
}

pub(crate) async fn a_changed_entry_is_named(world: &World) {
    let acme = trail(world).await;
    world.drop_audit_guards().await;
    for (column, changed, mended) in [
        (
            "actor",
            "'{\"kind\":\"system\"}'",
            "'{\"kind\":\"console\"}'",
        ),
        ("action", "'integration.creatd'", "'integration.create'"),
        ("target", "'a thinG'", "'a thing'"),
        ("before", "''", "NULL"),
        ("after", "'{ }'", "'{}'"),
        ("after", "NULL", "'{}'"),
        ("request_id", "'req-2'", "'req-1'"),
        ("request_id", "NULL", "'req-1'"),
        ("created_at", "created_at + 1", "created_at - 1"),
        ("hash", "'0' || hash", "SUBSTR(hash, 2)"),
        ("hash", "UPPER(hash) || ' '", "LOWER(SUBSTR(hash, 1, 64))"),
    ] {
        for seq in [1, 6, 10] {
            let set = |to: &str| {
                format!(
                    "UPDATE audit_log SET {column} = {to} WHERE tenant_id = 'acme' AND seq = {seq}"
                )
            };
            world.raw(&set(changed)).await.unwrap();
            let bad = found(world, &acme).await;
            assert_eq!(bad, Some((seq, Tampering::Changed)), "{column} of {seq}");
            let first = if seq == 1 && column == "action" {
                "'tenant.create'"
            } else {
                mended
            };
            world.raw(&set(first)).await.unwrap();
            assert_eq!(found(world, &acme).await, None, "{column} of {seq}");
        }
    }
}

pub(crate) async fn an_entry_that_was_taken_out_put_in_or_moved_is_named(world: &World) {
    let acme = trail(world).await;
    let globex = world.create_tenant("globex").await;
    world.drop_audit_guards().await;
    // Two entries change places.
    let swap = "UPDATE audit_log SET seq = -4 WHERE tenant_id = 'acme' AND seq = 4; \
                UPDATE audit_log SET seq = 4 WHERE tenant_id = 'acme' AND seq = 5; \
                UPDATE audit_log SET seq = 5 WHERE tenant_id = 'acme' AND seq = -4";
    world.raw(swap).await.unwrap();
    assert_eq!(found(world, &acme).await, Some((4, Tampering::Changed)));
    world.raw(swap).await.unwrap();
    assert_eq!(found(world, &acme).await, None);
    // One goes into another's trail.
    let away =
        "UPDATE audit_log SET tenant_id = 'globex', seq = 2 WHERE tenant_id = 'acme' AND seq = 7";
    world.raw(away).await.unwrap();
    assert_eq!(found(world, &acme).await, Some((7, Tampering::Missing)));
    assert_eq!(found(world, &globex).await, Some((2, Tampering::Changed)));
    world
        .raw("UPDATE audit_log SET tenant_id = 'acme', seq = 7 WHERE tenant_id = 'globex' AND seq = 2")
        .await
        .unwrap();
    assert_eq!(found(world, &acme).await, None);
    // Forged ones, copies of a true one.
    for (seq, reason, named) in [
        (0, Tampering::OutOfPlace, 0),
        (11, Tampering::Changed, 11),
        (i64::MAX, Tampering::Missing, 11),
        (i64::MIN, Tampering::OutOfPlace, i64::MIN),
    ] {
        let forge = format!(
            "INSERT INTO audit_log SELECT tenant_id, {seq}, actor, action, target, before, after, request_id, \
             created_at, hash FROM audit_log WHERE tenant_id = 'acme' AND seq = 3"
        );
        world.raw(&forge).await.unwrap();
        assert_eq!(found(world, &acme).await, Some((named, reason)));
        world
            .raw(&format!(
                "DELETE FROM audit_log WHERE tenant_id = 'acme' AND seq = {seq}"
            ))
            .await
            .unwrap();
    }
}

pub(crate) async fn a_gap_that_was_closed_is_named(world: &World) {
    let acme = trail(world).await;
    world.drop_audit_guards().await;
    world
        .raw("DELETE FROM audit_log WHERE tenant_id = 'acme' AND seq = 6")
        .await
        .unwrap();
    assert_eq!(found(world, &acme).await, Some((6, Tampering::Missing)));
    for seq in 7..=10 {
        let close = format!(
            "UPDATE audit_log SET seq = {} WHERE tenant_id = 'acme' AND seq = {seq}",
            seq - 1
        );
        world.raw(&close).await.unwrap();
    }
    assert_eq!(found(world, &acme).await, Some((6, Tampering::Changed)));
    world
        .raw("DELETE FROM audit_log WHERE tenant_id = 'acme' AND seq = 1")
        .await
        .unwrap();
    assert_eq!(found(world, &acme).await, Some((1, Tampering::Missing)));
}

pub(crate) async fn a_trail_that_was_cut_is_noticed(world: &World) {
    let acme = trail(world).await;
    world.drop_audit_guards().await;
    world
        .raw("DELETE FROM audit_log WHERE tenant_id = 'acme' AND seq > 8")
        .await
        .unwrap();
    assert_eq!(found(world, &acme).await, Some((9, Tampering::TailCut)));
    // The head goes back too, with a mark that is not the entry's.
    world
        .raw("UPDATE audit_heads SET seq = 8 WHERE tenant_id = 'acme'")
        .await
        .unwrap();
    assert_eq!(found(world, &acme).await, Some((8, Tampering::HeadChanged)));
    world
        .raw("UPDATE audit_heads SET seq = 7 WHERE tenant_id = 'acme'")
        .await
        .unwrap();
    assert_eq!(found(world, &acme).await, Some((8, Tampering::PastHead)));
    world
        .raw("DELETE FROM audit_heads WHERE tenant_id = 'acme'")
        .await
        .unwrap();
    assert_eq!(found(world, &acme).await, Some((8, Tampering::HeadLost)));
    // Nothing can be changed then: it could not be written down.
    let entry = audit(Some(&acme), "integration.delete");
    let id = IntegrationId::generate();
    let refused = world
        .tenant(&acme)
        .delete_integration(id, None, entry)
        .await;
    assert!(matches!(refused, Err(StoreError::NotFound)));
    let (digest, made) = key(&acme, 9);
    let refused = world
        .tenant(&acme)
        .create_key(&made, digest, audit(Some(&acme), "key.create"))
        .await;
    assert!(
        matches!(
            refused,
            Err(StoreError::Corrupt {
                table: "audit_heads",
                ..
            })
        ),
        "{refused:?}"
    );
    // Everything is emptied, and the head is as it was.
    world.raw("DELETE FROM audit_log").await.unwrap();
    world
        .raw(&format!(
            "INSERT INTO audit_heads VALUES ('acme', 10, '{}')",
            "0".repeat(64)
        ))
        .await
        .unwrap();
    assert_eq!(found(world, &acme).await, Some((1, Tampering::TailCut)));
}

pub(crate) async fn a_head_that_was_kept_elsewhere_notices_what_the_kept_one_cannot(world: &World) {
    let acme = trail(world).await;
    let store = world.tenant(&acme);
    let head = store.verify_audit(None).await.unwrap().head.unwrap();
    world.create_integration(&acme, "later").await;
    let report = store.verify_audit(Some(head.clone())).await.unwrap();
    assert!(report.is_good(), "{report:?}");
    world.drop_audit_guards().await;
    // Back to an earlier state of both tables: nothing within the database contradicts it.
    let back = "DELETE FROM audit_log WHERE tenant_id = 'acme' AND seq > 8; \
                UPDATE audit_heads SET seq = 8, hash = (SELECT hash FROM audit_log WHERE tenant_id = 'acme' AND seq = 8) \
                WHERE tenant_id = 'acme'";
    world.raw(back).await.unwrap();
    assert_eq!(found(world, &acme).await, None);
    let report = store.verify_audit(Some(head.clone())).await.unwrap();
    let bad = report.first_bad.unwrap();
    assert_eq!((bad.seq, bad.reason), (9, Tampering::TailCut));
    // And on to another history of the same length.
    for number in 1..=3 {
        let (digest, made) = key(&acme, number);
        let entry = audit(Some(&acme), "key.create");
        store.create_key(&made, digest, entry).await.unwrap();
    }
    assert_eq!(found(world, &acme).await, None);
    let bad = store
        .verify_audit(Some(head))
        .await
        .unwrap()
        .first_bad
        .unwrap();
    assert_eq!((bad.seq, bad.reason), (10, Tampering::OtherHistory));
}

pub(crate) async fn another_key_makes_no_mark_that_fits(world: &World) {
    let acme = trail(world).await;
    let other = AuditSeal::new(|bytes| {
        let mut mark = [1; 32];
        mark[0] = u8::try_from(bytes.len() % 256).unwrap();
        mark
    });
    world.store.close().await;
    let open = |given: AuditSeal| async {
        let options = OpenStore::for_node(NodeId::generate(), given);
        Store::open(&world.url, options).await.unwrap()
    };
    let store = open(other).await;
    let report = store.tenant(&acme).verify_audit(None).await.unwrap();
    let bad = report.first_bad.unwrap();
    assert_eq!((bad.seq, bad.reason), (1, Tampering::Changed));
    store.close().await;
    let store = open(AuditSeal::absent()).await;
    let refused = store.tenant(&acme).verify_audit(None).await;
    assert!(matches!(refused, Err(StoreError::NoAuditKey)));
    let entry = audit(None, "tenant.delete");
    let refused = store.operator().delete_tenant(&acme, entry).await;
    assert!(matches!(refused, Err(StoreError::NoAuditKey)));
    store.close().await;
    let store = open(seal()).await;
    let report = store.tenant(&acme).verify_audit(None).await.unwrap();
    assert!(report.is_good(), "{report:?}");
    store.operator().get_tenant(&acme).await.unwrap();
    store.close().await;
}

pub(crate) async fn every_trail_is_walked_and_the_bad_one_named(world: &World) {
    trail(world).await;
    world.create_tenant("globex").await;
    let entry = audit(None, "rollup.rebuild");
    world.operator().rebuild_rollups(entry).await.unwrap();
    let every = world.operator().verify_every_audit().await.unwrap();
    assert_eq!((every.trails, every.entries, every.head), (3, 12, None));
    assert!(every.first_bad.is_none());
    let own = world.operator().verify_operator_audit(None).await.unwrap();
    assert_eq!((own.trails, own.entries), (1, 1));
    world.drop_audit_guards().await;
    world
        .raw("UPDATE audit_log SET action = 'x' WHERE tenant_id = 'globex'")
        .await
        .unwrap();
    let bad = world.operator().verify_every_audit().await.unwrap();
    let bad = bad.first_bad.unwrap();
    assert_eq!(bad.tenant, Some("globex".parse().unwrap()));
    assert_eq!((bad.seq, bad.reason), (1, Tampering::Changed));
    assert!(
        world
            .operator()
            .verify_operator_audit(None)
            .await
            .unwrap()
            .is_good()
    );
    world
        .raw("UPDATE audit_log SET action = 'x' WHERE tenant_id = ''")
        .await
        .unwrap();
    let bad = world.operator().verify_operator_audit(None).await.unwrap();
    assert_eq!(bad.first_bad.unwrap().tenant, None);
}

pub(crate) async fn an_entry_can_neither_be_changed_nor_deleted(world: &World) {
    let acme = trail(world).await;
    let mut attempts = vec![
        "UPDATE audit_log SET action = 'x'",
        "UPDATE audit_log SET hash = 'x' WHERE seq = 3",
        "DELETE FROM audit_log",
        "DELETE FROM audit_log WHERE seq = 10",
        "DELETE FROM audit_heads",
        "UPDATE audit_heads SET seq = seq - 1",
        "UPDATE audit_heads SET tenant_id = 'globex'",
    ];
    if world.kind == Kind::Postgres {
        attempts.extend([
            "TRUNCATE audit_log",
            "TRUNCATE audit_heads",
            "TRUNCATE audit_log CASCADE",
        ]);
    }
    for attempt in attempts {
        let refused = world.raw(attempt).await.unwrap_err();
        assert!(refused.contains("append-only"), "{attempt}: {refused}");
    }
    assert_eq!(found(world, &acme).await, None);
}

pub(crate) async fn changes_at_once_make_one_chain(world: &World) {
    let acme = world.create_tenant("acme").await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..6_u8 {
        let store = world.another_node().await;
        let acme = acme.clone();
        writers.spawn(async move {
            for round in 0..5_u8 {
                let (digest, made) = key(&acme, writer * 10 + round);
                let entry = audit(Some(&acme), "key.create");
                store
                    .tenant(&acme)
                    .create_key(&made, digest, entry)
                    .await
                    .unwrap();
                let entry = audit(None, "rollup.rebuild");
                store.operator().rebuild_rollups(entry).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    let report = world.operator().verify_every_audit().await.unwrap();
    assert_eq!((report.first_bad, report.entries), (None, 61));
}

/// A trail of four entries: its first, and three keys that two keys made, one of them another tenant's.
async fn made_by_keys(world: &World) -> (TenantId, AccessKey) {
    let acme = world.create_tenant("acme").await;
    let globex = world.create_tenant("globex").await;
    let ((digest, foreign), (_, own)) = (key(&globex, 1), key(&acme, 2));
    let entry = audit(Some(&globex), "key.create");
    let stranger = world.tenant(&globex);
    stranger.create_key(&foreign, digest, entry).await.unwrap();
    let by = |actor: &AccessKey, target: &str, seconds: i64| AuditEntry {
        actor: Actor::Key { id: actor.id },
        target: target.to_owned(),
        at: moment(seconds),
        ..audit(Some(&acme), "key.create")
    };
    for (number, made, entry) in [
        (2, own.clone(), by(&own, "key/1", 100)),
        (3, key(&acme, 3).1, by(&foreign, "keyring/1", 200)),
        (4, key(&acme, 4).1, by(&own, "key/2", 300)),
    ] {
        let digest = KeyDigest([number; 32]);
        let store = world.tenant(&acme);
        store.create_key(&made, digest, entry).await.unwrap();
    }
    (acme, own)
}

pub(crate) async fn entries_are_filtered(world: &World) {
    let (acme, own) = made_by_keys(world).await;
    let all = AuditFilter::default;
    let action = |text: &str| AuditFilter {
        action: Some(text.to_owned()),
        ..all()
    };
    let target = |text: &str| AuditFilter {
        target: Some(text.to_owned()),
        ..all()
    };
    let actor = |actor| AuditFilter {
        actor: Some(actor),
        ..all()
    };
    let span = AuditFilter {
        from: Some(moment(200)),
        to: Some(moment(300)),
        ..all()
    };
    for (filter, expected) in [
        (all(), &[4, 3, 2, 1][..]),
        (action("tenant.create"), &[1]),
        (target("key"), &[4, 2]),
        (target("key/2"), &[4]),
        (target("k_y"), &[]),
        (actor(Actor::Key { id: own.id }), &[4, 2]),
        (actor(Actor::Console), &[1]),
        (span, &[3]),
    ] {
        let shown = format!("{filter:?}");
        let page = world
            .tenant(&acme)
            .list_audit(PageAsk::default(), filter)
            .await;
        let seqs: Vec<i64> = page.unwrap().rows.iter().map(|row| row.seq).collect();
        assert_eq!(seqs, expected, "{shown}");
    }
}

pub(crate) async fn entries_bear_the_names_of_keys_that_one_may_know(world: &World) {
    let (acme, own) = made_by_keys(world).await;
    let (ask, all) = (PageAsk::default(), AuditFilter::default());
    let page = world.tenant(&acme).list_audit(ask, all).await.unwrap();
    let names: Vec<_> = page.rows.into_iter().map(|row| row.actor_name).collect();
    let name = Some(own.name.clone());
    assert_eq!(
        names,
        [name.clone(), None, name, None],
        "a foreign key's name is not told"
    );
}

pub(crate) async fn every_trail_is_listed_page_by_page(world: &World) {
    made_by_keys(world).await;
    let mut ask = PageAsk {
        rows: 2,
        after: None,
    };
    let (mut seen, mut names) = (Vec::new(), 0);
    loop {
        let operator = world.operator();
        let page = operator.list_every_audit(ask.clone(), AuditFilter::default());
        let page = page.await.unwrap();
        names += page
            .rows
            .iter()
            .filter(|row| row.actor_name.is_some())
            .count();
        let row = |row: &AuditRow| (row.tenant.clone().map(String::from), row.seq);
        seen.extend(page.rows.iter().map(row));
        ask.after = page.next;
        if ask.after.is_none() {
            break;
        }
    }
    let of = |tenant: &str, seq| (Some(tenant.to_owned()), seq);
    let expected = [
        of("acme", 4),
        of("acme", 3),
        of("acme", 2),
        of("globex", 2),
        of("globex", 1),
        of("acme", 1),
    ];
    assert_eq!(seen, expected);
    assert_eq!(names, 3, "the operator may know every key");
}

pub(crate) async fn entries_from_before_the_chain_are_taken_into_it(world: &World) {
    let old = World::create_empty(world.kind).await;
    let books = match world.kind {
        Kind::Sqlite => include_str!("../../migrations/sqlite/0001_books.sql"),
        Kind::Postgres => include_str!("../../migrations/postgres/0001_books.sql"),
    };
    old.store.close().await;
    old.raw(books).await.unwrap();
    let checksum = books.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let number = match world.kind {
        Kind::Sqlite => "INTEGER",
        Kind::Postgres => "BIGINT",
    };
    old.raw(&format!(
        "CREATE TABLE schema_migrations (version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, \
         checksum BIGINT NOT NULL, applied_at BIGINT NOT NULL); \
         INSERT INTO schema_migrations VALUES (1, 'books', {}, 0); \
         INSERT INTO audit_log (tenant_id, seq, actor, action, target, created_at) \
         WITH RECURSIVE number(n) AS (SELECT CAST(1 AS {number}) UNION ALL SELECT n + 1 FROM number WHERE n < 1200) \
         SELECT 'acme', n, '{{\"kind\":\"console\"}}', 'key.create', 'key/1', 7 FROM number; \
         INSERT INTO audit_log (tenant_id, seq, actor, action, target, created_at) \
         VALUES ('', 1, '{{\"kind\":\"system\"}}', 'tenant.create', 'tenant/acme', 7)",
        checksum.cast_signed()
    ))
    .await
    .unwrap();
    let open = |given: AuditSeal| async {
        let options = OpenStore::for_node(NodeId::generate(), given);
        Store::open(&old.url, options).await.unwrap()
    };
    let without = open(AuditSeal::absent()).await;
    let refused = without.migrate(moment(1)).await;
    assert!(
        matches!(refused, Err(StoreError::NoAuditKey)),
        "{refused:?}"
    );
    assert_eq!(without.migration_status().await.unwrap().applied.len(), 1);
    without.close().await;
    let store = open(seal()).await;
    store.migrate(moment(1)).await.unwrap();
    let report = store.operator().verify_every_audit().await.unwrap();
    assert_eq!(
        (report.first_bad, report.trails, report.entries),
        (None, 2, 1_201)
    );
    let acme: TenantId = "acme".parse().unwrap();
    let listed = store
        .tenant(&acme)
        .list_audit(PageAsk::default(), AuditFilter::default())
        .await;
    assert_eq!(listed.unwrap().rows[0].seq, 1_200);
    store.close().await;
    assert!(old.raw("SELECT 1 FROM audit_log_unchained").await.is_err());
}

#[test]
fn a_store_that_only_looks_needs_no_key() {
    block_on(async {
        let options = OpenStore::for_node(NodeId::generate(), AuditSeal::absent());
        let store = Store::open("sqlite::memory:", options).await.unwrap();
        store.migrate(moment(0)).await.unwrap();
        let listed = store
            .operator()
            .list_operator_audit(PageAsk::default(), AuditFilter::default())
            .await;
        assert!(listed.unwrap().rows.is_empty());
        assert_eq!(
            format!("{:?} {:?}", AuditSeal::absent(), seal()),
            "AuditSeal(absent) AuditSeal(…)"
        );
    });
}
