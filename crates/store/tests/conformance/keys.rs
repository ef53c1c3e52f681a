//! Access keys: found by their tenant alone, revoked for good.

use tollgate_core::access::{AccessKey, KeyDigest};
use tollgate_core::page::PageAsk;
use tollgate_core::role::Role;
use tollgate_core::{KeyId, TenantId};
use tollgate_store::{Conflict, StoreError};

use crate::world::{World, audit, id_of, moment};

pub(crate) fn key(tenant: &TenantId, digest: u8) -> (KeyDigest, AccessKey) {
    let key = AccessKey {
        id: KeyId::generate(),
        tenant_id: Some(tenant.clone()),
        name: "for tests".to_owned(),
        role: Role::Caller,
        integration_id: None,
        prefix: "tg_live_abcd".to_owned(),
        created_at: moment(i64::from(digest)),
        expires_at: Some(moment(10_000)),
        revoked_at: None,
        last_used_at: None,
    };
    (KeyDigest([digest; 32]), key)
}

pub(crate) async fn a_key_is_found_by_its_tenant_alone(world: &World) {
    let (acme, other) = (
        world.create_tenant("acme").await,
        world.create_tenant("other").await,
    );
    let (digest, first) = key(&acme, 1);
    let (second_digest, second) = key(&acme, 2);
    let keys = world.tenant(&acme);
    keys.create_key(&first, digest, audit(Some(&acme), "key.create"))
        .await
        .unwrap();
    keys.create_key(&second, second_digest, audit(Some(&acme), "key.create"))
        .await
        .unwrap();
    assert_eq!(keys.get_key(first.id).await.unwrap(), first);
    let listed = keys.list_keys(PageAsk::default()).await.unwrap();
    assert_eq!(listed.rows, [second.clone(), first.clone()]);
    assert_eq!(
        world.operator().load_key(first.id).await.unwrap(),
        Some((digest, first.clone()))
    );
    assert_eq!(
        world.operator().load_key(KeyId::generate()).await.unwrap(),
        None
    );

    let stranger = world.tenant(&other);
    assert!(matches!(
        stranger.get_key(first.id).await,
        Err(StoreError::NotFound)
    ));
    let revoked = stranger
        .revoke_key(first.id, audit(Some(&other), "key.revoke"))
        .await;
    assert!(matches!(revoked, Err(StoreError::NotFound)));
    assert!(
        stranger
            .list_keys(PageAsk::default())
            .await
            .unwrap()
            .rows
            .is_empty()
    );
    let smuggled = stranger
        .create_key(&first, digest, audit(Some(&other), "key.create"))
        .await;
    assert!(matches!(smuggled, Err(StoreError::InvalidRow { .. })));
}

pub(crate) async fn a_key_is_revoked_once_and_for_all(world: &World) {
    let acme = world.create_tenant("acme").await;
    let (digest, made) = key(&acme, 1);
    world
        .tenant(&acme)
        .create_key(&made, digest, audit(Some(&acme), "key.create"))
        .await
        .unwrap();
    let mut entry = audit(Some(&acme), "key.revoke");
    let revoked = world
        .tenant(&acme)
        .revoke_key(made.id, entry.clone())
        .await
        .unwrap();
    assert_eq!(revoked.revoked_at, Some(entry.at));
    let changes = world.operator().latest_change().await.unwrap();
    entry.at = moment(99);
    let again = world
        .tenant(&acme)
        .revoke_key(made.id, entry)
        .await
        .unwrap();
    assert_eq!(again.revoked_at, Some(moment(60)));
    assert_eq!(world.operator().latest_change().await.unwrap(), changes);
    assert!(
        world
            .operator()
            .load_directory()
            .await
            .unwrap()
            .keys
            .is_empty()
    );
}

pub(crate) async fn two_keys_cannot_have_one_digest(world: &World) {
    let acme = world.create_tenant("acme").await;
    let (digest, first) = key(&acme, 1);
    let (_, second) = key(&acme, 2);
    let keys = world.tenant(&acme);
    keys.create_key(&first, digest, audit(Some(&acme), "key.create"))
        .await
        .unwrap();
    let taken = keys
        .create_key(&second, digest, audit(Some(&acme), "key.create"))
        .await;
    assert!(matches!(
        taken,
        Err(StoreError::Conflict(Conflict::KeyExists))
    ));
}

pub(crate) async fn a_keys_last_use_only_moves_forward(world: &World) {
    let acme = world.create_tenant("acme").await;
    let (digest, made) = key(&acme, 1);
    world
        .tenant(&acme)
        .create_key(&made, digest, audit(Some(&acme), "key.create"))
        .await
        .unwrap();
    for (seconds, known) in [(100, 100), (50, 100), (200, 200)] {
        world
            .operator()
            .touch_keys(&[(made.id, moment(seconds))])
            .await
            .unwrap();
        let found = world.tenant(&acme).get_key(made.id).await.unwrap();
        assert_eq!(found.last_used_at, Some(moment(known)));
    }
}

pub(crate) async fn operator_keys_belong_to_no_tenant(world: &World) {
    let acme = world.create_tenant("acme").await;
    let (digest, mut made) = key(&acme, 7);
    let operator = world.operator();
    let refused = operator
        .insert_operator_key(&made, digest, audit(None, "key.create"))
        .await;
    assert!(matches!(refused, Err(StoreError::InvalidRow { .. })));
    made.tenant_id = None;
    made.role = Role::Operator;
    operator
        .insert_operator_key(&made, digest, audit(None, "key.create"))
        .await
        .unwrap();
    assert_eq!(operator.list_operator_keys().await.unwrap(), [made.clone()]);
    assert!(matches!(
        world.tenant(&acme).get_key(made.id).await,
        Err(StoreError::NotFound)
    ));
    operator
        .revoke_operator_key(made.id, audit(None, "key.revoke"))
        .await
        .unwrap();
    let listed = operator.list_operator_keys().await.unwrap();
    assert_eq!(listed[0].revoked_at, Some(moment(60)));
}

pub(crate) async fn a_key_needs_a_living_tenant_and_is_bound_to_its_own_integrations(
    world: &World,
) {
    let (acme, other) = (
        world.create_tenant("acme").await,
        world.create_tenant("other").await,
    );
    let own = id_of(&world.create_integration(&acme, "main").await);
    let foreign = id_of(&world.create_integration(&other, "main").await);
    let create = async |tenant: &TenantId, digest, bound| {
        let (digest, mut made) = key(tenant, digest);
        made.integration_id = bound;
        world
            .tenant(tenant)
            .create_key(&made, digest, audit(Some(tenant), "key.create"))
            .await
    };
    create(&acme, 1, Some(own)).await.unwrap();
    let refused = create(&acme, 2, Some(foreign)).await;
    assert!(matches!(refused, Err(StoreError::NotFound)));
    world
        .operator()
        .delete_tenant(&acme, audit(None, "tenant.delete"))
        .await
        .unwrap();
    let nobody = "nobody".parse().unwrap();
    for tenant in [acme, nobody] {
        let refused = create(&tenant, 3, None).await;
        assert!(matches!(refused, Err(StoreError::NotFound)), "{tenant}");
    }
}
