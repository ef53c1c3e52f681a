//! Health of integrations: what is kept of it, who may write it, and whose turn it is to probe.

use cus_models::{CusHealthState, CusIntegration, CusIntegrationStatus};
use jiff::Timestamp;
use tollgate_core::TenantId;
use tollgate_core::page::PageAsk;
use tollgate_store::{
    AuditFilter, Conflict, Evidence, HealthChange, HealthCount, HealthRow, IntegrationChange,
    ProbeTurn, StoreError,
};

use crate::integrations::credential;
use crate::world::{World, audit, id_of, moment};

fn failing(read: &CusIntegration, row: &HealthRow) -> HealthChange {
    let mut integration = read.clone();
    integration.health_state = CusHealthState::Failing;
    integration.health_checked_at = Some(moment(100));
    integration.health_message = Some("provider_unreachable: nothing".to_owned());
    HealthChange {
        integration,
        expected: read.updated_at,
        health: HealthRow {
            failures: 3,
            successes: 1,
            evidence: Some(Evidence::Probe),
            latency_ms: Some(12),
            probed_at: Some(moment(100)),
            next_probe_at: Some(moment(110)),
            resume_status: Some(CusIntegrationStatus::Enabled),
            ..row.clone()
        },
        credential: None,
        audit: None,
    }
}

async fn start(world: &World) -> (TenantId, CusIntegration) {
    let acme = world.create_tenant("acme").await;
    let integration = world.create_integration(&acme, "main").await;
    (acme, integration)
}

pub(crate) async fn health_comes_back_as_it_was_kept(world: &World) {
    let (acme, read) = start(world).await;
    let store = world.tenant(&acme);
    let (found, row) = store.get_health(id_of(&read)).await.unwrap();
    assert_eq!((&found, &row), (&read, &HealthRow::default()));
    let change = failing(&read, &row);
    let kept = store.keep_health(change.clone()).await.unwrap();
    assert_eq!(kept, change.integration);
    let (found, row) = store.get_health(id_of(&read)).await.unwrap();
    assert_eq!(found, kept);
    let expected = HealthRow {
        revision: 1,
        ..change.health
    };
    assert_eq!(row, expected);
    let stranger = world.create_tenant("other").await;
    let foreign = world.tenant(&stranger).get_health(id_of(&read)).await;
    assert!(matches!(foreign, Err(StoreError::NotFound)));
}

pub(crate) async fn figures_alone_move_neither_the_integrations_time_nor_other_nodes(
    world: &World,
) {
    let (acme, read) = start(world).await;
    let store = world.tenant(&acme);
    let before = world.operator().latest_change().await.unwrap();
    let mut change = failing(&read, &HealthRow::default());
    "another name".clone_into(&mut change.integration.name);
    change.integration.updated_at = moment(500);
    let kept = store.keep_health(change).await.unwrap();
    assert_eq!(kept.updated_at, read.updated_at);
    assert_eq!(kept.name, "main", "only health is written");
    assert_eq!(world.operator().latest_change().await.unwrap(), before);
}

pub(crate) async fn health_that_was_read_before_a_change_is_not_kept(world: &World) {
    let (acme, read) = start(world).await;
    let store = world.tenant(&acme);
    let late = failing(&read, &HealthRow::default());
    store.keep_health(late.clone()).await.unwrap();
    let refused = store.keep_health(late).await;
    assert!(matches!(
        refused,
        Err(StoreError::Conflict(Conflict::IntegrationChanged))
    ));
    let (read, row) = store.get_health(id_of(&read)).await.unwrap();
    let mut renamed = read.clone();
    "renamed".clone_into(&mut renamed.name);
    let change = IntegrationChange {
        integration: renamed,
        expected: read.updated_at,
        credential: None,
    };
    store
        .update_integration(change, audit(Some(&acme), "integration.update"))
        .await
        .unwrap();
    let refused = store.keep_health(failing(&read, &row)).await;
    assert!(matches!(
        refused,
        Err(StoreError::Conflict(Conflict::IntegrationChanged))
    ));
}

pub(crate) async fn a_status_that_changes_with_health_is_audited_and_announced(world: &World) {
    let (acme, read) = start(world).await;
    let store = world.tenant(&acme);
    let before = world.operator().latest_change().await.unwrap();
    let mut change = failing(&read, &HealthRow::default());
    change.integration.status = CusIntegrationStatus::Error;
    "encrypted://new".clone_into(&mut change.integration.credential_ref);
    change.credential = Some(credential(1));
    change.audit = Some(audit(Some(&acme), "integration.error"));
    let kept = store.keep_health(change).await.unwrap();
    assert!(kept.updated_at > read.updated_at);
    assert_eq!(store.get_integration(id_of(&read)).await.unwrap(), kept);
    let sealed = store.get_credential(id_of(&read)).await.unwrap().unwrap();
    assert_eq!(sealed.version, 1);
    let changes = world.operator().changes_since(before).await.unwrap();
    assert_eq!(changes.len(), 1);
    let trail = store
        .list_audit(PageAsk::default(), AuditFilter::default())
        .await
        .unwrap();
    assert_eq!(trail.rows[0].action, "integration.error");
}

pub(crate) async fn a_change_of_an_integration_keeps_what_was_heard_of_it_since(world: &World) {
    let (acme, read) = start(world).await;
    let store = world.tenant(&acme);
    store
        .keep_health(failing(&read, &HealthRow::default()))
        .await
        .unwrap();
    let mut edited = read.clone();
    edited.budget_limit_cents = 7;
    let change = IntegrationChange {
        integration: edited,
        expected: read.updated_at,
        credential: None,
    };
    let kept = store
        .update_integration(change, audit(Some(&acme), "integration.update"))
        .await
        .unwrap();
    assert_eq!(kept.budget_limit_cents, 7);
    assert_eq!(kept.health_state, CusHealthState::Failing);
    assert_eq!(store.get_integration(id_of(&read)).await.unwrap(), kept);
}

pub(crate) async fn one_node_of_many_gets_the_turn_to_probe(world: &World) {
    let (acme, read) = start(world).await;
    let id = id_of(&read);
    let other = world.another_node().await;
    let (now, until) = (moment(100), moment(140));
    let (here, there) = (world.tenant(&acme), other.tenant(&acme));
    let mut asks = tokio::task::JoinSet::new();
    for turn in 0..8 {
        let store = if turn % 2 == 0 { &here } else { &there }.clone();
        asks.spawn(async move { store.claim_probe(id, now, until).await.unwrap() });
    }
    let mut mine = 0;
    while let Some(turn) = asks.join_next().await {
        match turn.unwrap() {
            ProbeTurn::Mine => mine += 1,
            ProbeTurn::Later(next) => assert_eq!(next, until),
        }
    }
    assert_eq!(mine, 1);
    let again = here.claim_probe(id, until, moment(180)).await.unwrap();
    assert_eq!(again, ProbeTurn::Mine, "one that was lost is taken over");
    let stranger = world.create_tenant("other").await;
    let foreign = world.tenant(&stranger).claim_probe(id, until, until).await;
    assert!(matches!(foreign, Err(StoreError::NotFound)));
}

pub(crate) async fn an_integration_that_is_taken_up_is_probed_at_once(world: &World) {
    let (acme, mut read) = start(world).await;
    let id = id_of(&read);
    let store = world.tenant(&acme);
    for (version, now) in [(None, moment(10)), (Some(1), moment(40))] {
        let late: Timestamp = moment(1_000);
        store.claim_probe(id, now, late).await.unwrap();
        let turn = store.claim_probe(id, now, late).await.unwrap();
        assert_eq!(turn, ProbeTurn::Later(late));
        let mut change = IntegrationChange {
            expected: read.updated_at,
            integration: read,
            credential: version.map(credential),
        };
        if version.is_none() {
            change.integration.status = CusIntegrationStatus::Enabled;
        }
        read = store
            .update_integration(change, audit(Some(&acme), "x"))
            .await
            .unwrap();
        let turn = store.claim_probe(id, now, moment(30)).await.unwrap();
        assert_eq!(turn, ProbeTurn::Mine, "{version:?}");
    }
}

pub(crate) async fn health_is_counted_within_the_tenant(world: &World) {
    let (acme, read) = start(world).await;
    world.create_integration(&acme, "second").await;
    let gone = world.create_integration(&acme, "third").await;
    let other = world.create_tenant("other").await;
    world.create_integration(&other, "foreign").await;
    let store = world.tenant(&acme);
    store
        .delete_integration(id_of(&gone), None, audit(Some(&acme), "integration.delete"))
        .await
        .unwrap();
    store
        .keep_health(failing(&read, &HealthRow::default()))
        .await
        .unwrap();
    let count = |state| HealthCount {
        status: CusIntegrationStatus::Created,
        state,
        integrations: 1,
    };
    assert_eq!(
        store.count_health(None).await.unwrap(),
        [
            count(CusHealthState::Failing),
            count(CusHealthState::Unknown)
        ]
    );
}
