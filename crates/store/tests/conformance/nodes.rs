//! Nodes: alive, listed, retired.

use jiff::Timestamp;
use tollgate_core::account::Draw;
use tollgate_core::audit::AuditEntry;
use tollgate_core::limit::Limits;
use tollgate_core::page::PageAsk;
use tollgate_core::{IntegrationId, Nanos, NodeId, TenantId};
use tollgate_store::{Conflict, DrawAsk, NodeRow, StoreError};

use crate::world::{World, audit, id_of, moment};

pub(crate) async fn a_retired_node_is_told_so_and_its_allowance_is_free(world: &World) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let operator = world.operator();
    operator.heartbeat(moment(1)).await.unwrap();
    operator.heartbeat(moment(2)).await.unwrap();
    let nodes = operator.list_nodes().await.unwrap();
    assert_eq!(nodes.len(), 1);
    let node = &nodes[0];
    assert_eq!((node.id, node.started_at), (world.store.node(), moment(1)));
    assert_eq!((node.seen_at, node.retired_at), (moment(2), None));

    let ask = ask(id, acme);
    assert_eq!(operator.draw(&ask).await.unwrap().budget.drawn, 100);
    let alive = retire(world, Some(moment(1)), 3).await;
    assert!(matches!(
        alive,
        Err(StoreError::Conflict(Conflict::NodeAlive))
    ));
    operator
        .tell_master_keys(Some(r#"{"active":"k1"}"#.to_owned()), None)
        .await
        .unwrap();
    let retired = retire(world, Some(moment(2)), 3).await.unwrap();
    assert_eq!(
        (retired.retired_at, &retired.master_keys),
        (Some(moment(3)), &None)
    );
    // Again is the same, and moves nothing.
    assert_eq!(retire(world, None, 4).await.unwrap(), retired);
    assert_eq!(operator.list_nodes().await.unwrap(), [retired]);
    operator
        .tell_master_keys(Some("{}".to_owned()), None)
        .await
        .unwrap();
    assert_eq!(operator.list_nodes().await.unwrap()[0].master_keys, None);
    let told = operator.heartbeat(moment(5)).await;
    assert!(matches!(
        told,
        Err(StoreError::Conflict(Conflict::NodeRetired))
    ));
    let other = world.another_node().await;
    assert_eq!(other.operator().draw(&ask).await.unwrap().budget.drawn, 100);
    let entry = audit(None, "node.retire");
    let unknown = operator.retire_node(NodeId::generate(), None, entry).await;
    assert!(matches!(unknown, Err(StoreError::NotFound)));
    let ask = PageAsk::default();
    let trail = operator
        .list_operator_audit(ask, tollgate_store::AuditFilter::default())
        .await
        .unwrap()
        .rows;
    assert_eq!(
        trail
            .iter()
            .filter(|row| row.action == "node.retire")
            .count(),
        1
    );
}

async fn retire(
    world: &World,
    quiet_since: Option<Timestamp>,
    at: i64,
) -> Result<NodeRow, StoreError> {
    let entry = AuditEntry {
        at: moment(at),
        ..audit(None, "node.retire")
    };
    let node = world.store.node();
    world.operator().retire_node(node, quiet_since, entry).await
}

/// All of a budget of 100 nano-dollars.
fn ask(integration: IntegrationId, tenant: TenantId) -> DrawAsk {
    DrawAsk {
        integration,
        tenant,
        need: Draw {
            period: "2026-11".parse().unwrap(),
            budget: 100,
            tokens: 0,
        },
        limits: Limits {
            budget: Some(Nanos::new(100)),
            tokens: None,
            rate_rpm: None,
        },
        share: 1,
    }
}
