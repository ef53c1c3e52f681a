//! All or nothing: callers who go away, batches that meet, changes that fail.

use std::future::Future;

use tollgate_core::page::PageAsk;
use tollgate_core::usage::UsageEntry;
use tollgate_core::{IntegrationId, Nanos, TenantId};
use tollgate_store::{AuditFilter, Conflict, KeyFilter, StoreError};

use crate::integrations::credential;
use crate::world::{World, audit, call, id_of, moment};

async fn integrations(world: &World, count: usize) -> (TenantId, Vec<IntegrationId>) {
    let acme = world.create_tenant("acme").await;
    let mut ids = Vec::new();
    for index in 0..count {
        ids.push(id_of(
            &world.create_integration(&acme, &format!("i-{index}")).await,
        ));
    }
    (acme, ids)
}

/// Comes back after so many turns of the scheduler.
async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn a_caller_who_goes_away_leaves_nothing_half_done(world: &World) {
    let (acme, ids) = integrations(world, 2).await;
    let operator = world.operator();
    let mut batches = Vec::new();
    for index in 0..60 {
        let batch: Vec<UsageEntry> = (0..20)
            .map(|row| call(&acme, ids[row % 2], &format!("c-{index}-{row}")))
            .collect();
        tokio::select! {
            biased;
            done = operator.append(&batch, moment(1)) => { done.unwrap(); }
            () = turns(index * 3) => {}
        }
        batches.push(batch);
    }
    for index in 0..40_u8 {
        let (digest, key) = crate::keys::key(&acme, index);
        let store = world.tenant(&acme);
        tokio::select! {
            biased;
            done = store.create_key(&key, digest, audit(Some(&acme), "key.create")) => done.unwrap(),
            () = turns(usize::from(index)) => {}
        }
    }
    // Whatever was begun comes to its end; then each batch is there whole or not at all.
    for batch in batches {
        let report = operator.append(&batch, moment(2)).await.unwrap();
        assert!(report.conflicts.is_empty() && report.refused.is_empty());
        let whole = [(0, 20), (20, 0)];
        assert!(
            whole.contains(&(report.written, report.duplicates)),
            "{report:?}"
        );
    }
    let status = operator.ledger_status().await.unwrap();
    assert_eq!((status.rows, status.cost), (1_200, Nanos::new(1_200_000)));
    let all = PageAsk {
        rows: 200,
        after: None,
    };
    let store = world.tenant(&acme);
    let keys = store.list_keys(all.clone(), KeyFilter::default()).await;
    let keys = keys.unwrap();
    let trail = store.list_audit(all, AuditFilter::default()).await.unwrap();
    let noted = trail
        .rows
        .iter()
        .filter(|row| row.action == "key.create")
        .count();
    assert_eq!(keys.rows.len(), noted, "each key has its audit entry");
}

pub(crate) async fn what_was_begun_is_finished_although_nobody_waits(world: &World) {
    let (acme, ids) = integrations(world, 1).await;
    let entry = call(&acme, ids[0], "begun");
    {
        let operator = world.operator();
        let batch = std::slice::from_ref(&entry);
        let mut begun = std::pin::pin!(operator.append(batch, moment(1)));
        let once =
            std::future::poll_fn(|context| std::task::Poll::Ready(begun.as_mut().poll(context)));
        assert!(once.await.is_pending());
    }
    let mut is_there = false;
    // Each question is a round trip, so these are time enough.
    for _ in 0..100_000 {
        is_there = is_there
            || world
                .operator()
                .is_call_known(&acme, &entry.call_id)
                .await
                .unwrap();
        if is_there {
            break;
        }
    }
    assert!(is_there, "the batch was begun and is not there");
}

pub(crate) async fn batches_in_opposite_order_do_not_deadlock(world: &World) {
    let (acme, ids) = integrations(world, 12).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..6 {
        let store = world.another_node().await;
        let (acme, mut ids) = (acme.clone(), ids.clone());
        if writer % 2 == 1 {
            ids.reverse();
        }
        writers.spawn(async move {
            for round in 0..8 {
                let batch: Vec<_> = ids
                    .iter()
                    .enumerate()
                    .map(|(index, id)| call(&acme, *id, &format!("{writer}-{round}-{index}")))
                    .collect();
                let report = store.operator().append(&batch, moment(1)).await.unwrap();
                assert_eq!(report.written, 12);
            }
        });
    }
    writers.join_all().await;
    for id in ids {
        let balance = world
            .tenant(&acme)
            .balance(id, "2026-11".parse().unwrap())
            .await
            .unwrap();
        assert_eq!((balance.calls, balance.settled), (48, Nanos::new(48_000)));
    }
}

pub(crate) async fn the_same_batch_from_many_sides_is_booked_once(world: &World) {
    let (acme, ids) = integrations(world, 3).await;
    let batch: Vec<_> = (0..1_500)
        .map(|row| call(&acme, ids[row % 3], &format!("c-{row}")))
        .collect();
    let start = std::sync::Arc::new(tokio::sync::Barrier::new(4));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let (store, start) = (world.another_node().await, start.clone());
        let mut batch = batch.clone();
        if writer % 2 == 1 {
            batch.reverse();
        }
        writers.spawn(async move {
            store.operator().heartbeat(moment(1)).await.unwrap(); // its connection is open
            start.wait().await;
            store.operator().append(&batch, moment(1)).await.unwrap()
        });
    }
    let reports = writers.join_all().await;
    let (written, duplicates): (Vec<_>, Vec<_>) = reports
        .iter()
        .map(|report| (report.written, report.duplicates))
        .unzip();
    assert_eq!(written.iter().sum::<u64>(), 1_500);
    assert_eq!(duplicates.iter().sum::<u64>(), 3 * 1_500);
    assert_eq!(world.operator().ledger_status().await.unwrap().rows, 1_500);
}

pub(crate) async fn a_failed_change_leaves_no_trace(world: &World) {
    let (acme, _) = integrations(world, 1).await;
    let other = world.create_integration(&acme, "with").await;
    let before = world.operator().latest_change().await.unwrap();
    let store = world.tenant(&acme);
    let change = tollgate_store::IntegrationChange {
        expected: other.updated_at,
        integration: other.clone(),
        credential: Some(credential(1)),
    };
    let read = store
        .update_integration(change.clone(), audit(Some(&acme), "x"))
        .await
        .unwrap();
    // The version is taken: the renaming that came with it must not stay either.
    let again = tollgate_store::IntegrationChange {
        expected: read.updated_at,
        integration: cus_models::CusIntegration {
            name: "renamed".to_owned(),
            ..read.clone()
        },
        credential: Some(credential(1)),
    };
    let refused = store
        .update_integration(again, audit(Some(&acme), "x"))
        .await;
    assert!(matches!(
        refused,
        Err(StoreError::Conflict(Conflict::CredentialVersionExists))
    ));
    assert_eq!(store.get_integration(id_of(&read)).await.unwrap(), read);
    assert_eq!(
        store
            .get_credential(id_of(&read))
            .await
            .unwrap()
            .unwrap()
            .version,
        1
    );
    assert_eq!(world.operator().latest_change().await.unwrap(), before + 1);
    let trail = store
        .list_audit(PageAsk::default(), AuditFilter::default())
        .await
        .unwrap();
    assert_eq!(trail.rows.iter().filter(|row| row.action == "x").count(), 1);
    // And the connection that failed serves the next one.
    world.create_integration(&acme, "next").await;
}

pub(crate) async fn statements_are_counted(world: &World) {
    let before = world.store.statements();
    world.store.ping().await.unwrap();
    assert_eq!(world.store.statements(), before + 1);
    turns(10).await;
    assert_eq!(world.store.statements(), before + 1);
    let (acme, ids) = integrations(world, 1).await;
    let before = world.store.statements();
    world
        .operator()
        .append(&[call(&acme, ids[0], "a")], moment(1))
        .await
        .unwrap();
    assert!(world.store.statements() > before + 5);
}
