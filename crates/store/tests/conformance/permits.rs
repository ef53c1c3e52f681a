//! Permits: no more than a minute has, whoever draws; what comes back is there again.

use tollgate_core::limit::permits::PermitAsk;
use tollgate_core::{IntegrationId, TenantId};
use tollgate_store::{PermitDraw, StoreError};

use crate::world::{World, id_of};

fn draw(tenant: &TenantId, integration: IntegrationId, need: i64) -> PermitDraw {
    PermitDraw {
        integration,
        tenant: tenant.clone(),
        rpm: 10,
        ask: PermitAsk {
            need,
            ..PermitAsk::default()
        },
        share: 1,
    }
}

async fn integration(world: &World) -> (TenantId, IntegrationId) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    (acme, id)
}

pub(crate) async fn nodes_together_get_no_more_permits_than_a_minute_has(world: &World) {
    let (acme, id) = integration(world).await;
    let other = world.another_node().await;
    let (here, there) = (world.operator(), other.operator());
    let (mut got, mut waits) = (0, Vec::new());
    for _ in 0..5 {
        let asked = draw(&acme, id, 2);
        let (one, two) = tokio::join!(here.draw_permits(&asked), there.draw_permits(&asked));
        for grant in [one.unwrap(), two.unwrap()] {
            got += grant.calls;
            waits.push(grant.retry_after_ms);
        }
    }
    assert_eq!(got, 10);
    assert!(
        waits.iter().all(|wait| (0..=61_100).contains(wait)),
        "{waits:?}"
    );
    assert!(
        waits[9] > 50_000,
        "nothing is free for most of a minute: {waits:?}"
    );
    let figures = here.draw_permits(&draw(&acme, id, 0)).await.unwrap();
    assert_eq!((figures.calls, figures.in_window), (0, 10));
}

pub(crate) async fn permits_that_come_back_are_there_for_another_node(world: &World) {
    let (acme, id) = integration(world).await;
    let other = world.another_node().await;
    let here = world.operator();
    let mut asked = draw(&acme, id, 1);
    (asked.rpm, asked.ask.want, asked.share) = (60, 100, 2);
    let grant = here.draw_permits(&asked).await.unwrap();
    assert_eq!(
        grant.calls, 2,
        "what is wanted, up to two seconds of the limit"
    );
    (asked.ask.need, asked.share) = (5, 1);
    let grant = here.draw_permits(&asked).await.unwrap();
    assert_eq!(grant.calls, 5, "what is needed, all of it");
    let mut back = draw(&acme, id, 0);
    // Two of them come back; what never was is not believed.
    back.ask.unused = vec![(grant.slot, 2), (grant.slot + 100, 50)];
    assert_eq!(here.draw_permits(&back).await.unwrap().in_window, 5);
    let asked = draw(&acme, id, 100);
    let rest = other.operator().draw_permits(&asked).await.unwrap();
    assert_eq!(rest.calls, 5);
}

pub(crate) async fn another_tenants_minute_cannot_be_drawn_from(world: &World) {
    let (acme, id) = integration(world).await;
    let operator = world.operator();
    operator.draw_permits(&draw(&acme, id, 1)).await.unwrap();
    let globex = world.create_tenant("globex").await;
    let refused = operator.draw_permits(&draw(&globex, id, 1)).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
}
