//! Nodes: alive, listed, retired.

use tollgate_core::account::Draw;
use tollgate_core::limit::Limits;
use tollgate_core::{Nanos, NodeId};
use tollgate_store::{Conflict, DrawAsk, StoreError};

use crate::world::{World, id_of, moment};

pub(crate) async fn a_retired_node_is_told_so_and_its_allowance_is_free(world: &World) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let operator = world.operator();
    operator.heartbeat(moment(1)).await.unwrap();
    operator.heartbeat(moment(2)).await.unwrap();
    let nodes = operator.list_nodes().await.unwrap();
    assert_eq!(nodes.len(), 1);
    let node = nodes[0];
    assert_eq!((node.id, node.started_at), (world.store.node(), moment(1)));
    assert_eq!((node.seen_at, node.retired_at), (moment(2), None));

    let ask = DrawAsk {
        integration: id,
        tenant: acme,
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
    };
    assert_eq!(operator.draw(&ask).await.unwrap().budget.drawn, 100);
    operator
        .retire_node(world.store.node(), moment(3))
        .await
        .unwrap();
    operator
        .retire_node(world.store.node(), moment(4))
        .await
        .unwrap();
    assert_eq!(
        operator.list_nodes().await.unwrap()[0].retired_at,
        Some(moment(3))
    );
    let told = operator.heartbeat(moment(5)).await;
    assert!(matches!(
        told,
        Err(StoreError::Conflict(Conflict::NodeRetired))
    ));
    let other = world.another_node().await;
    assert_eq!(other.operator().draw(&ask).await.unwrap().budget.drawn, 100);
    let unknown = operator.retire_node(NodeId::generate(), moment(6)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound)));
}
