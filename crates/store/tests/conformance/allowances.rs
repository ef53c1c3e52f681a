//! Allowances: drawn within the limit whoever draws, given back, settled.

use tollgate_core::account::{Draw, Grant, Granted};
use tollgate_core::limit::Limits;
use tollgate_core::usage::UsageEntry;
use tollgate_core::{IntegrationId, Nanos, TenantId, TokenUsage};
use tollgate_store::{DrawAsk, Store, StoreError};

use crate::world::{World, call, id_of, moment};

fn limits(budget: Option<i64>, tokens: Option<i64>) -> Limits {
    Limits {
        budget: budget.map(Nanos::new),
        tokens,
        rate_rpm: None,
    }
}

fn need(budget: i64, tokens: i64) -> Draw {
    Draw {
        period: "2026-11".parse().unwrap(),
        budget,
        tokens,
    }
}

fn ask(tenant: &TenantId, integration: IntegrationId, limits: Limits, need: Draw) -> DrawAsk {
    DrawAsk {
        integration,
        tenant: tenant.clone(),
        need,
        limits,
        share: u32::MAX,
    }
}

async fn integration(world: &World) -> (TenantId, IntegrationId) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    (acme, id)
}

fn drawn(grant: &Grant) -> (i64, i64) {
    (grant.budget.drawn, grant.tokens.drawn)
}

pub(crate) async fn a_draw_gives_what_is_needed_or_a_share_and_never_more_than_is_left(
    world: &World,
) {
    let (acme, id) = integration(world).await;
    let operator = world.operator();
    let limits = limits(Some(1_000), Some(100));
    let mut first = ask(&acme, id, limits, need(10, 30));
    first.share = 4;
    assert_eq!(drawn(&operator.draw(&first).await.unwrap()), (250, 30));
    first.need = need(10, 0);
    assert_eq!(
        drawn(&operator.draw(&first).await.unwrap()),
        (250 + 187, 30)
    );
    first.share = 0;
    assert_eq!(
        drawn(&operator.draw(&first).await.unwrap()),
        (1_000, 30),
        "a share of 0 is all"
    );
    first.need = need(10, 1_000);
    assert_eq!(
        drawn(&operator.draw(&first).await.unwrap()),
        (1_000, 100),
        "the rest, and no more"
    );
    // A limit that was lowered gives nothing and takes nothing.
    first.limits = Limits {
        budget: Some(Nanos::new(1)),
        tokens: Some(1),
        rate_rpm: None,
    };
    assert_eq!(drawn(&operator.draw(&first).await.unwrap()), (1_000, 100));
}

pub(crate) async fn an_unlimited_quantity_needs_no_draw(world: &World) {
    let (acme, id) = integration(world).await;
    world
        .operator()
        .append(&[call(&acme, id, "a")], moment(1))
        .await
        .unwrap();
    let asked = ask(&acme, id, limits(None, Some(10)), need(i64::MAX, 0));
    let grant = world.operator().draw(&asked).await.unwrap();
    assert_eq!(
        grant.budget,
        Granted {
            drawn: 0,
            own: 1_000,
            elsewhere: 0
        }
    );
    assert_eq!(
        grant.tokens,
        Granted {
            drawn: 0,
            own: 3,
            elsewhere: 0
        }
    );
    let extreme = ask(
        &acme,
        id,
        limits(Some(i64::MAX), None),
        need(i64::MAX, i64::MAX),
    );
    let grant = world.operator().draw(&extreme).await.unwrap();
    assert_eq!(drawn(&grant), (i64::MAX, 0));
}

pub(crate) async fn what_is_given_back_can_be_drawn_by_another_node(world: &World) {
    let (acme, id) = integration(world).await;
    let other = world.another_node().await;
    let limits = limits(Some(100), Some(100));
    let operator = world.operator();
    operator
        .draw(&ask(&acme, id, limits, need(100, 80)))
        .await
        .unwrap();
    let grant = operator.give_back(id, &need(40, 1_000)).await.unwrap();
    assert_eq!(drawn(&grant), (60, 0), "never more than there is");
    let before = drawn(
        &other
            .operator()
            .draw(&ask(&acme, id, limits, need(0, 0)))
            .await
            .unwrap(),
    );
    let asked = ask(&acme, id, limits, need(1_000, 1_000));
    let after = drawn(&other.operator().draw(&asked).await.unwrap());
    assert_eq!((after.0 - before.0, after.1 - before.1), (40, 100));
    let unknown = operator
        .give_back(IntegrationId::generate(), &need(5, 5))
        .await
        .unwrap();
    assert_eq!(drawn(&unknown), (0, 0));
}

pub(crate) async fn what_a_node_settles_leaves_its_allowance(world: &World) {
    let (acme, id) = integration(world).await;
    let limits = limits(Some(10_000), Some(100));
    let operator = world.operator();
    operator
        .draw(&ask(&acme, id, limits, need(4_000, 10)))
        .await
        .unwrap();
    operator
        .append(&[call(&acme, id, "a"), call(&acme, id, "b")], moment(1))
        .await
        .unwrap();
    let grant = operator
        .draw(&ask(&acme, id, limits, need(0, 0)))
        .await
        .unwrap();
    assert_eq!(
        grant.budget,
        Granted {
            drawn: 4_000,
            own: 2_000,
            elsewhere: 0
        }
    );
    assert_eq!(
        grant.tokens,
        Granted {
            drawn: 10,
            own: 6,
            elsewhere: 0
        }
    );
    let grant = operator.give_back(id, &need(9_999, 9_999)).await.unwrap();
    assert_eq!(
        drawn(&grant),
        (2_000, 6),
        "what is settled is not given back"
    );

    // A node that settles more than it drew starts again from what it has settled.
    let dear = UsageEntry {
        cost: Nanos::new(5_000),
        ..call(&acme, id, "dear")
    };
    operator.append(&[dear], moment(2)).await.unwrap();
    let grant = operator
        .draw(&ask(&acme, id, limits, need(10_000, 0)))
        .await
        .unwrap();
    assert_eq!(
        grant.budget,
        Granted {
            drawn: 10_000,
            own: 7_000,
            elsewhere: 0
        }
    );
}

/// One node: draws what a call needs, and books it, until it gets no more.
async fn spend(store: Store, acme: TenantId, id: IntegrationId, name: String) -> i64 {
    let limits = limits(Some(100_000), None);
    let operator = store.operator();
    let mut spent = 0;
    for round in 0.. {
        let mut asked = ask(&acme, id, limits, need(777, 0));
        asked.share = 9;
        let grant = operator.draw(&asked).await.unwrap();
        let free = grant.budget.drawn - grant.budget.own;
        if free < 777 {
            break;
        }
        let entry = UsageEntry {
            cost: Nanos::new(777),
            tokens: TokenUsage::NONE,
            ..call(&acme, id, &format!("{name}-{round}"))
        };
        let report = operator.append(&[entry], moment(1)).await.unwrap();
        assert_eq!(report.written, 1);
        spent += 777;
        if free > 5 * 777 {
            operator.give_back(id, &need(free - 777, 0)).await.unwrap();
        }
    }
    spent
}

pub(crate) async fn nodes_that_draw_at_once_never_pass_the_limit(world: &World) {
    let (acme, id) = integration(world).await;
    let mut nodes = tokio::task::JoinSet::new();
    for index in 0..4 {
        let store = world.another_node().await;
        // On SQLite there is one node, and its own callers are in each other's way: let one spend.
        if world.kind == crate::world::Kind::Sqlite && index > 0 {
            continue;
        }
        nodes.spawn(spend(store, acme.clone(), id, format!("n{index}")));
    }
    let spent: i64 = nodes.join_all().await.into_iter().sum();
    let balance = world
        .tenant(&acme)
        .balance(id, "2026-11".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(balance.settled, Nanos::new(spent));
    assert!(spent <= 100_000, "{spent}");
    assert!(
        spent > 100_000 - 5 * 777,
        "{spent}: what is left must be less than a call a node"
    );
}

pub(crate) async fn another_tenants_integration_cannot_be_drawn_from(world: &World) {
    let (acme, id) = integration(world).await;
    let other = world.create_tenant("other").await;
    let limits = limits(Some(100), None);
    world
        .operator()
        .draw(&ask(&acme, id, limits, need(1, 0)))
        .await
        .unwrap();
    let refused = world
        .operator()
        .draw(&ask(&other, id, limits, need(1, 0)))
        .await;
    assert!(matches!(refused, Err(StoreError::NotFound)));
}
