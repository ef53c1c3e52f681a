//! Tenants: created, changed, listed, deleted, and written down.

use tollgate_core::page::PageAsk;
use tollgate_core::tenant::TenantStatus;
use tollgate_core::{CredentialId, TenantId};
use tollgate_store::{
    AuditFilter, Balance, Conflict, IntegrationChange, IntegrationFilter, NewCredential, StoreError,
};

use crate::world::{Kind, World, audit, call, id_of, moment, tenant};

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

pub(crate) async fn a_balance_is_its_tenants_alone(world: &World) {
    let acme = world.create_tenant("acme").await;
    let globex = world.create_tenant("globex").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let entry = call(&acme, id, "c-1");
    let (month, cost) = (entry.period(), entry.cost);
    world.operator().append(&[entry], moment(1)).await.unwrap();
    let seen = async |tenant| world.tenant(tenant).balance(id, month).await.unwrap();
    assert_eq!(seen(&acme).await.settled, cost);
    assert_eq!(seen(&globex).await, Balance::default());
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
        Err(StoreError::Conflict(Conflict::TenantDeleted))
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
        let page = world
            .operator()
            .list_tenants(ask.clone(), None)
            .await
            .unwrap();
        seen.extend(page.rows.into_iter().map(|tenant| tenant.id.to_string()));
        pages += 1;
        match page.next {
            Some(next) => ask.after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, ["e", "d", "b", "a", "c"]);
    assert_eq!(pages, 3);
    let mut asleep = tenant("b", moment(1));
    asleep.status = TenantStatus::Suspended;
    world
        .operator()
        .update_tenant(&asleep, moment(1), audit(None, "tenant.suspend"))
        .await
        .unwrap();
    for (status, ids) in [
        (TenantStatus::Suspended, vec!["b"]),
        (TenantStatus::Active, vec!["e", "d", "a", "c"]),
    ] {
        let operator = world.operator();
        let page = operator.list_tenants(PageAsk::default(), Some(status));
        let listed: Vec<_> = page
            .await
            .unwrap()
            .rows
            .into_iter()
            .map(|row| row.id)
            .collect();
        let listed: Vec<_> = listed.iter().map(TenantId::as_str).collect();
        assert_eq!(listed, ids);
    }
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

    let erased = world
        .operator()
        .delete_tenant(&id, audit(None, "tenant.delete"))
        .await
        .unwrap();
    assert_eq!((erased.keys_revoked, erased.integrations_deleted), (1, 1));

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

/// Bytes that look like no others, different for each credential.
fn canary(number: u32) -> Vec<u8> {
    let mut bytes = b"sealed canary ".to_vec();
    bytes.extend((0..160_u32).map(|at| u8::try_from((number * 31 + at * 7) % 251).unwrap()));
    bytes
}

/// Gives each of these tenants 60 integrations with a credential that is replaced once: enough that pages are split and
/// rows move. Canaries are numbered as they come: of four, the last is in use by the second tenant.
async fn fill_with_canaries(world: &World, tenants: [&TenantId; 2]) -> u32 {
    let mut number = 0;
    for index in 0..60 {
        for tenant in tenants {
            let mut integration = world.create_integration(tenant, &format!("i{index}")).await;
            for version in 1..=2 {
                number += 1;
                let credential = NewCredential {
                    id: CredentialId::generate(),
                    version,
                    sealed: canary(number),
                    fingerprint: "f".to_owned(),
                    last4: "last".to_owned(),
                };
                let change = IntegrationChange {
                    expected: integration.updated_at,
                    integration,
                    credential: Some(credential),
                };
                let audit = audit(Some(tenant), "integration.update");
                let store = world.tenant(tenant);
                integration = store.update_integration(change, audit).await.unwrap();
            }
        }
    }
    number
}

pub(crate) async fn a_deleted_tenants_credentials_are_in_no_row_and_in_no_file(world: &World) {
    let gone = world.create_tenant("gone").await;
    let stays = world.create_tenant("stays").await;
    let canaries = fill_with_canaries(world, [&gone, &stays]).await;
    // A version that is out of use and still has its bytes, as an overlap leaves it.
    let retire = "UPDATE credentials SET retired_at = 1 WHERE tenant_id = 'gone' AND version = 2 AND integration_id = \
                  (SELECT MIN(integration_id) FROM credentials WHERE tenant_id = 'gone')";
    assert_eq!(world.raw(retire).await.unwrap(), 1);

    let operator = world.operator();
    let audit = audit(None, "tenant.delete");
    let erased = operator.delete_tenant(&gone, audit).await.unwrap();

    assert_eq!(
        (erased.integrations_deleted, erased.credentials_erased),
        (60, 60)
    );
    let trail = operator.list_operator_audit(PageAsk::default(), AuditFilter::default());
    let after = trail.await.unwrap().rows[0].after.clone().unwrap();
    assert!(after.contains("\"credentials_erased\":60"), "{after}");
    let sealed =
        "UPDATE credentials SET version = version WHERE tenant_id = 'gone' AND length(sealed) > 0";
    assert_eq!(world.raw(sealed).await.unwrap(), 0);
    let files = world.files();
    if world.kind == Kind::Sqlite {
        let holds = |number| {
            let canary = canary(number);
            let in_file = |file: &Vec<u8>| file.windows(canary.len()).any(|bytes| bytes == canary);
            files.iter().any(in_file)
        };
        let found: Vec<_> = (1..=canaries).filter(|number| holds(*number)).collect();
        let in_use: Vec<_> = (1..=canaries).filter(|number| number % 4 == 0).collect();
        assert_eq!(found, in_use);
    }
}
