//! Integrations and their credentials.

use cus_models::{CusHealthState, CusIntegration, CusIntegrationStatus, CusProviderType};
use tollgate_core::page::PageAsk;
use tollgate_core::{CredentialId, TenantId};
use tollgate_store::{Conflict, IntegrationChange, IntegrationFilter, NewCredential, StoreError};

use crate::world::{World, audit, id_of, moment};

pub(crate) fn credential(version: i64) -> NewCredential {
    NewCredential {
        id: CredentialId::generate(),
        version,
        sealed: format!("sealed {version}").into_bytes(),
        fingerprint: format!("fp-{version}"),
        last4: "wxyz".to_owned(),
    }
}

fn full(tenant: &TenantId) -> CusIntegration {
    let mut full = CusIntegration::new(
        tenant.as_str(),
        "Näme",
        CusProviderType::Bedrock,
        "encrypted://1",
    )
    .unwrap();
    full.config = serde_json::from_str(r#"{"region": "eu-central-1", "hard_cap": true}"#).unwrap();
    full.status = CusIntegrationStatus::Enabled;
    full.health_state = CusHealthState::Degraded;
    full.health_checked_at = Some(moment(7));
    full.health_message = Some("slow".to_owned());
    full.default_model = Some("claude".to_owned());
    full.budget_limit_cents = (1 << 53) - 1;
    full.token_limit_month = 2;
    full.rate_limit_rpm = 3;
    full.created_by = Some("key/1".to_owned());
    full.created_at = moment(5);
    full.updated_at = moment(6);
    full
}

fn change(integration: &CusIntegration) -> IntegrationChange {
    IntegrationChange {
        integration: integration.clone(),
        expected: integration.updated_at,
        credential: None,
    }
}

pub(crate) async fn an_integration_comes_back_as_it_was_given(world: &World) {
    let acme = world.create_tenant("acme").await;
    let given = full(&acme);
    let store = world.tenant(&acme);
    let created = store
        .create_integration(
            &given,
            Some(credential(1)),
            audit(Some(&acme), "integration.create"),
        )
        .await
        .unwrap();
    assert_eq!(created, given);
    assert_eq!(store.get_integration(id_of(&given)).await.unwrap(), given);
    assert_eq!(store.find_integration("Näme").await.unwrap(), given);
    let kept = store.get_credential(id_of(&given)).await.unwrap().unwrap();
    assert_eq!(
        (kept.version, kept.sealed.as_slice()),
        (1, b"sealed 1".as_slice())
    );
    assert_eq!(
        (kept.fingerprint.as_str(), kept.last4.as_str()),
        ("fp-1", "wxyz")
    );
    assert_eq!(kept.created_at, moment(60));
    assert!(!format!("{kept:?}").contains("sealed"));
    let twice = store.create_integration(&given, None, audit(Some(&acme), "integration.create"));
    let mut renamed = given.clone();
    "another".clone_into(&mut renamed.name);
    assert!(matches!(
        twice.await,
        Err(StoreError::Conflict(
            Conflict::IntegrationNameTaken | Conflict::IntegrationExists
        ))
    ));
    let twice = store.create_integration(&renamed, None, audit(Some(&acme), "integration.create"));
    assert!(matches!(
        twice.await,
        Err(StoreError::Conflict(Conflict::IntegrationExists))
    ));
}

pub(crate) async fn a_living_name_is_unique_and_free_again_after_deletion(world: &World) {
    let acme = world.create_tenant("acme").await;
    let other = world.create_tenant("other").await;
    let first = world.create_integration(&acme, "main").await;
    let spare = world.create_integration(&acme, "spare").await;
    world.create_integration(&other, "main").await;
    let store = world.tenant(&acme);
    let mut renamed = spare.clone();
    "main".clone_into(&mut renamed.name);
    let taken =
        store.update_integration(change(&renamed), audit(Some(&acme), "integration.update"));
    assert!(matches!(
        taken.await,
        Err(StoreError::Conflict(Conflict::IntegrationNameTaken))
    ));
    store
        .delete_integration(
            id_of(&first),
            None,
            audit(Some(&acme), "integration.delete"),
        )
        .await
        .unwrap();
    assert!(matches!(
        store.get_integration(id_of(&first)).await,
        Err(StoreError::NotFound)
    ));
    let reused = world.create_integration(&acme, "main").await;
    assert_ne!(reused.id, first.id);
    let again = store.delete_integration(
        id_of(&first),
        None,
        audit(Some(&acme), "integration.delete"),
    );
    assert!(matches!(again.await, Err(StoreError::NotFound)));
}

pub(crate) async fn a_change_of_an_integration_that_changed_meanwhile_is_refused(world: &World) {
    let acme = world.create_tenant("acme").await;
    let read = world.create_integration(&acme, "main").await;
    let store = world.tenant(&acme);
    let mut first = read.clone();
    first.budget_limit_cents = 100;
    let kept = store
        .update_integration(change(&first), audit(Some(&acme), "integration.update"))
        .await
        .unwrap();
    assert_eq!(kept.budget_limit_cents, 100);
    assert!(
        kept.updated_at > read.updated_at,
        "its time moves on even if nobody set it"
    );
    assert_eq!(store.get_integration(id_of(&read)).await.unwrap(), kept);

    let mut second = read.clone();
    second.token_limit_month = 5;
    let late = store.update_integration(change(&second), audit(Some(&acme), "integration.update"));
    assert!(matches!(
        late.await,
        Err(StoreError::Conflict(Conflict::IntegrationChanged))
    ));
    assert_eq!(store.get_integration(id_of(&read)).await.unwrap(), kept);
}

pub(crate) async fn another_tenants_integration_is_not_found(world: &World) {
    let (acme, other) = (
        world.create_tenant("acme").await,
        world.create_tenant("other").await,
    );
    let integration = world.create_integration(&acme, "main").await;
    let id = id_of(&integration);
    let stranger = world.tenant(&other);
    assert!(matches!(
        stranger.get_integration(id).await,
        Err(StoreError::NotFound)
    ));
    assert!(matches!(
        stranger.find_integration("main").await,
        Err(StoreError::NotFound)
    ));
    let deleted = stranger
        .delete_integration(id, None, audit(Some(&other), "integration.delete"))
        .await;
    assert!(matches!(deleted, Err(StoreError::NotFound)));
    let mut claimed = integration.clone();
    claimed.tenant_id = other.to_string();
    let changed = stranger
        .update_integration(change(&claimed), audit(Some(&other), "x"))
        .await;
    assert!(matches!(changed, Err(StoreError::NotFound)));
    assert!(stranger.get_credential(id).await.unwrap().is_none());
    assert_eq!(
        world.tenant(&acme).get_integration(id).await.unwrap(),
        integration
    );
}

pub(crate) async fn a_replaced_credential_leaves_no_secret_behind(world: &World) {
    let acme = world.create_tenant("acme").await;
    let integration = world.create_integration(&acme, "main").await;
    let id = id_of(&integration);
    let store = world.tenant(&acme);
    assert!(store.get_credential(id).await.unwrap().is_none());
    let mut read = integration;
    for version in [1, 2] {
        let replaced = IntegrationChange {
            credential: Some(credential(version)),
            ..change(&read)
        };
        read = store
            .update_integration(replaced, audit(Some(&acme), "x"))
            .await
            .unwrap();
        assert_eq!(
            store.get_credential(id).await.unwrap().unwrap().version,
            version
        );
    }
    let again = IntegrationChange {
        credential: Some(credential(2)),
        ..change(&read)
    };
    let again = store
        .update_integration(again, audit(Some(&acme), "x"))
        .await;
    assert!(matches!(
        again,
        Err(StoreError::Conflict(Conflict::CredentialVersionExists))
    ));
    assert_eq!(
        store.get_credential(id).await.unwrap().unwrap().sealed,
        b"sealed 2"
    );
    let with_secret = "UPDATE credentials SET last4 = last4 WHERE length(sealed) > 0";
    assert_eq!(world.raw(with_secret).await.unwrap(), 1);
    store
        .delete_integration(id, None, audit(Some(&acme), "integration.delete"))
        .await
        .unwrap();
    assert_eq!(world.raw(with_secret).await.unwrap(), 0);
}

pub(crate) async fn integrations_are_filtered_and_paged(world: &World) {
    let acme = world.create_tenant("acme").await;
    let store = world.tenant(&acme);
    let enabled = full(&acme);
    store
        .create_integration(&enabled, None, audit(Some(&acme), "x"))
        .await
        .unwrap();
    for name in ["a", "b", "c"] {
        world.create_integration(&acme, name).await;
    }
    let names = async |filter| -> Vec<String> {
        let page = store
            .list_integrations(PageAsk::default(), filter)
            .await
            .unwrap();
        page.rows
            .into_iter()
            .map(|integration| integration.name)
            .collect()
    };
    assert_eq!(names(IntegrationFilter::default()).await.len(), 4);
    let status = IntegrationFilter {
        status: Some(CusIntegrationStatus::Enabled),
        ..Default::default()
    };
    assert_eq!(names(status).await, ["Näme"]);
    let provider = IntegrationFilter {
        provider_type: Some(CusProviderType::OpenAi),
        ..Default::default()
    };
    assert_eq!(names(provider).await.len(), 3);
    let ask = PageAsk {
        rows: 3,
        after: None,
    };
    let page = store
        .list_integrations(ask, IntegrationFilter::default())
        .await
        .unwrap();
    assert_eq!(page.rows.len(), 3);
    let ask = PageAsk {
        rows: 3,
        after: page.next,
    };
    let page = store
        .list_integrations(ask, IntegrationFilter::default())
        .await
        .unwrap();
    assert_eq!((page.rows.len(), page.next), (1, None));
}

pub(crate) async fn an_integration_needs_a_living_tenant(world: &World) {
    let acme = world.create_tenant("acme").await;
    world
        .operator()
        .delete_tenant(&acme, audit(None, "tenant.delete"))
        .await
        .unwrap();
    for tenant in [acme, "nobody".parse().unwrap()] {
        let store = world.tenant(&tenant);
        let refused = store
            .create_integration(&full(&tenant), None, audit(Some(&tenant), "x"))
            .await;
        assert!(matches!(refused, Err(StoreError::NotFound)), "{tenant}");
    }
}
