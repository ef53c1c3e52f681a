//! Tenants: created, changed, listed, deleted, and written down.

use tollgate_core::page::PageAsk;
use tollgate_core::tenant::TenantStatus;
use tollgate_store::{AuditFilter, Conflict, IntegrationFilter, StoreError};

use crate::world::{World, audit, call, id_of, moment, tenant};

pub(crate) async fn a_tenant_is_kept_changed_and_found_again(world: &World) {
    let id = world.create_tenant("acme").await;
    let mut acme = world.operator().get_tenant(&id).await.unwrap();
    assert_eq!(acme, tenant("acme", moment(0)));
    acme.status = TenantStatus::Suspended;
    "Acme, suspended".clone_into(&mut acme.name);
    let changed = world
        .operator()
        .update_tenant(&acme, moment(0), audit(Some(&id), "tenant.update"))
        .await
        .unwrap();
    let late = audit(Some(&id), "tenant.update");
    let late = world.operator().update_tenant(&acme, moment(0), late).await;
    assert!(matches!(
        late,
        Err(StoreError::Conflict(Conflict::TenantChanged))
    ));
    assert_eq!(changed.status, TenantStatus::Suspended);
    assert_eq!(changed.updated_at, moment(60));
    assert_eq!(
        world.operator().load_tenant(&id).await.unwrap(),
        Some(changed)
    );
    let nobody = "nobody".parse().unwrap();
    let missing = world.operator().get_tenant(&nobody).await;
    assert!(matches!(missing, Err(StoreError::NotFound)));
}

pub(crate) async fn a_tenants_id_is_never_given_twice(world: &World) {
    let id = world.create_tenant("acme").await;
    let operator = world.operator();
    let again = async || {
        let tenant = tenant("acme", moment(0));
        operator
            .create_tenant(&tenant, audit(None, "tenant.create"))
            .await
    };
    assert!(matches!(
        again().await,
        Err(StoreError::Conflict(Conflict::TenantExists))
    ));
    operator
        .delete_tenant(&id, audit(None, "tenant.delete"))
        .await
        .unwrap();
    assert!(matches!(
        again().await,
        Err(StoreError::Conflict(Conflict::TenantExists))
    ));
}

pub(crate) async fn tenants_are_listed_newest_first_in_pages(world: &World) {
    for (id, seconds) in [("b", 1), ("a", 1), ("c", 0), ("d", 2), ("e", 3)] {
        let tenant = tenant(id, moment(seconds));
        world
            .operator()
            .create_tenant(&tenant, audit(None, "tenant.create"))
            .await
            .unwrap();
    }
    let mut ask = PageAsk {
        rows: 2,
        after: None,
    };
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let page = world.operator().list_tenants(ask.clone()).await.unwrap();
        seen.extend(page.rows.into_iter().map(|tenant| tenant.id.to_string()));
        pages += 1;
        match page.next {
            Some(next) => ask.after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, ["e", "d", "b", "a", "c"]);
    assert_eq!(pages, 3);
}

pub(crate) async fn deleting_a_tenant_takes_its_keys_and_integrations_and_leaves_its_ledger(
    world: &World,
) {
    let id = world.create_tenant("acme").await;
    let integration = world.create_integration(&id, "main").await;
    let key = crate::keys::key(&id, 1);
    world
        .tenant(&id)
        .create_key(&key.1, key.0, audit(Some(&id), "key.create"))
        .await
        .unwrap();
    let entry = call(&id, id_of(&integration), "c-1");
    world.operator().append(&[entry], moment(1)).await.unwrap();

    world
        .operator()
        .delete_tenant(&id, audit(None, "tenant.delete"))
        .await
        .unwrap();

    let directory = world.operator().load_directory().await.unwrap();
    assert!(directory.keys.is_empty() && directory.tenants.is_empty());
    assert!(directory.integrations.is_empty());
    let store = world.tenant(&id);
    let left = store.list_integrations(PageAsk::default(), IntegrationFilter::default());
    assert!(left.await.unwrap().rows.is_empty());
    assert_eq!(world.operator().ledger_status().await.unwrap().rows, 1);
    let again = world
        .operator()
        .delete_tenant(&id, audit(None, "tenant.delete"))
        .await;
    assert!(matches!(again, Err(StoreError::NotFound)));
}

pub(crate) async fn each_change_is_written_in_the_audit_trail_with_a_number_of_its_own(
    world: &World,
) {
    let id = world.create_tenant("acme").await;
    world.create_integration(&id, "main").await;
    world.create_integration(&id, "spare").await;
    let trail = world
        .tenant(&id)
        .list_audit(
            PageAsk {
                rows: 2,
                after: None,
            },
            AuditFilter::default(),
        )
        .await
        .unwrap();
    let seen: Vec<_> = trail
        .rows
        .iter()
        .map(|row| (row.seq, row.action.as_str()))
        .collect();
    assert_eq!(seen, [(3, "integration.create"), (2, "integration.create")]);
    assert_eq!(trail.rows[0].after.as_deref(), Some("{}"));
    assert_eq!(trail.rows[0].at, moment(60));
    let rest = world
        .tenant(&id)
        .list_audit(
            PageAsk {
                rows: 2,
                after: trail.next,
            },
            AuditFilter::default(),
        )
        .await
        .unwrap();
    assert_eq!(rest.rows.len(), 1);
    assert_eq!(
        (rest.rows[0].action.as_str(), rest.next),
        ("tenant.create", None)
    );
    world
        .operator()
        .delete_tenant(&id, audit(None, "tenant.delete"))
        .await
        .unwrap();
    let operator = world
        .operator()
        .list_operator_audit(PageAsk::default(), AuditFilter::default())
        .await
        .unwrap();
    assert_eq!(operator.rows.len(), 1);
    assert_eq!(operator.rows[0].seq, 1);
}
