//! Nodes: alive, listed, retired.

use jiff::Timestamp;
use tollgate_core::account::{Draw, Grant, Granted};
use tollgate_core::audit::AuditEntry;
use tollgate_core::limit::Limits;
use tollgate_core::page::PageAsk;
use tollgate_core::usage::UsageEntry;
use tollgate_core::{CallId, IntegrationId, Nanos, NodeId, TenantId};
use tollgate_store::{Conflict, DrawAsk, News, NodeRow, Owed, StoreError};

use crate::world::{World, audit, call, id_of, moment};

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

pub(crate) async fn a_node_that_begins_gives_back_what_it_had_drawn(world: &World) {
    let acme = world.create_tenant("acme").await;
    let ask = ask(id_of(&world.create_integration(&acme, "main").await), acme);
    let (here, other) = (world.operator(), world.another_node().await);
    assert_eq!(here.draw(&ask).await.unwrap().budget.drawn, 100);
    if world.store.engine_name() == "postgres" {
        let nothing = other.operator().draw(&ask).await.unwrap();
        assert_eq!(nothing.budget.drawn, 0);
    }
    here.give_back_all(&[]).await.unwrap();
    let mut figures = ask.clone();
    figures.need.budget = 0;
    assert_eq!(here.draw(&figures).await.unwrap().budget.drawn, 0);
    let all = other.operator().draw(&ask).await.unwrap();
    assert_eq!(all.budget.drawn, 100);
    if world.store.engine_name() == "postgres" {
        here.give_back_all(&[]).await.unwrap();
        let nothing = here.draw(&ask).await.unwrap();
        assert_eq!(nothing.budget.drawn, 0, "another node keeps what is its");
    }
}

pub(crate) async fn what_a_node_owes_stays_drawn_while_it_begins(world: &World) {
    let acme = world.create_tenant("acme").await;
    let ask = ask(
        id_of(&world.create_integration(&acme, "main").await),
        acme.clone(),
    );
    let fresh = id_of(&world.create_integration(&acme, "never drawn from").await);
    let (here, other) = (world.operator(), world.another_node().await.operator());
    assert_eq!(here.draw(&ask).await.unwrap().budget.drawn, 100);
    let owed = |integration, nanos, tokens| Owed {
        integration,
        tenant: acme.clone(),
        period: ask.need.period,
        nanos,
        tokens,
    };
    let owed = [owed(ask.integration, 30, 7), owed(fresh, 40, 0)];
    let granted = |drawn| Granted {
        drawn,
        own: 0,
        elsewhere: 0,
    };
    // A start that ends in the middle is begun again: the same is owed, and not more.
    for _start in 0..3 {
        let mut figures = here.give_back_all(&owed).await.unwrap();
        figures.sort_by_key(|(_, grant)| grant.budget.drawn);
        let grant = |nanos, tokens| Grant {
            period: ask.need.period,
            budget: granted(nanos),
            tokens: granted(tokens),
        };
        let expected = [(ask.integration, grant(30, 7)), (fresh, grant(40, 0))];
        assert_eq!(figures, expected);
    }
    if world.store.engine_name() == "postgres" {
        let part = other.draw(&ask).await.unwrap();
        assert_eq!(part.budget.drawn, 70, "what is owed is nobody else's");
        other.give_back_all(&[]).await.unwrap();
    }
    // Its row takes the place of what was owed.
    let row = UsageEntry {
        cost: Nanos::new(30),
        created_at: "2026-11-15T12:00:00Z".parse().unwrap(),
        ..call(&acme, ask.integration, "late")
    };
    here.append(&[row], moment(9)).await.unwrap();
    here.give_back_all(&[]).await.unwrap();
    let all = here.draw(&ask).await.unwrap();
    assert_eq!((all.budget.own, all.budget.drawn), (30, 100));
    assert!(here.verify(None).await.unwrap().is_exact());
}

pub(crate) async fn a_start_is_told_which_calls_the_ledger_has(world: &World) {
    let acme = world.create_tenant("acme").await;
    let globex = world.create_tenant("globex").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let operator = world.operator();
    let asked: Vec<(TenantId, CallId)> = (0..700)
        .map(|n| (acme.clone(), format!("call-{n}").parse().unwrap()))
        .chain([(globex, "call-3".parse().unwrap())])
        .collect();
    assert!(operator.known_calls(&[]).await.unwrap().is_empty());
    let none = operator.known_calls(&asked).await.unwrap();
    assert_eq!(none, vec![None; 701]);
    let batch = [call(&acme, id, "call-699"), call(&acme, id, "call-3")];
    operator.append(&batch, moment(1)).await.unwrap();
    let known = operator.known_calls(&asked).await.unwrap();
    let places: Vec<usize> = (0..701).filter(|place| known[*place].is_some()).collect();
    assert_eq!(places, [3, 699]);
    assert_eq!(known[3], Some(batch[1].created_at));
}

pub(crate) async fn a_node_that_was_not_seen_for_long_loses_what_it_had_drawn(world: &World) {
    let acme = world.create_tenant("acme").await;
    let ask = ask(id_of(&world.create_integration(&acme, "main").await), acme);
    let (here, other) = (world.operator(), world.another_node().await);
    if world.store.engine_name() == "sqlite" {
        // There is one node, and it is never lost to itself.
        here.draw(&ask).await.unwrap();
        assert_eq!(here.free_lost_nodes(moment(99)).await.unwrap(), 0);
        return;
    }
    let other = other.operator();
    here.heartbeat(moment(10)).await.unwrap();
    other.heartbeat(moment(20)).await.unwrap();
    assert_eq!(here.living_nodes(15).await.unwrap(), 2);
    assert_eq!(here.living_nodes(5).await.unwrap(), 1);
    here.draw(&ask).await.unwrap();
    assert_eq!(other.free_lost_nodes(moment(10)).await.unwrap(), 0);
    assert_eq!(other.draw(&ask).await.unwrap().budget.drawn, 0);
    assert_eq!(other.free_lost_nodes(moment(11)).await.unwrap(), 1);
    assert_eq!(other.draw(&ask).await.unwrap().budget.drawn, 100);
    assert_eq!(
        other.free_lost_nodes(moment(99)).await.unwrap(),
        0,
        "never its own"
    );
    here.heartbeat(moment(30)).await.unwrap();
}

pub(crate) async fn news_of_a_change_and_of_a_lack_reach_other_nodes(world: &World) {
    let (here, other) = (world.operator(), world.another_node().await);
    let Some(mut listener) = other.operator().listen().await.unwrap() else {
        assert_eq!(world.store.engine_name(), "sqlite");
        return;
    };
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    assert_eq!(listener.next().await.unwrap(), News::Changed);
    assert_eq!(listener.next().await.unwrap(), News::Changed);
    other.operator().draw(&ask(id, acme.clone())).await.unwrap();
    here.draw(&ask(id, acme.clone())).await.unwrap();
    assert_eq!(listener.next().await.unwrap(), News::Wanted(id));
    // Nothing is wanted of others where they have nothing.
    other.operator().give_back_all(&[]).await.unwrap();
    let mut more = ask(id, acme.clone());
    more.need.budget = 1_000;
    here.draw(&more).await.unwrap();
    world.create_tenant("globex").await;
    assert_eq!(listener.next().await.unwrap(), News::Changed);
}
