//! Access keys: found by their tenant alone, revoked for good.

use tollgate_core::access::{AccessKey, KeyDigest, KeyStatus};
use tollgate_core::page::PageAsk;
use tollgate_core::role::Role;
use tollgate_core::{KeyId, TenantId};
use tollgate_store::{Conflict, KeyFilter, KeyRotation, StoreError};

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
        rotated_from: None,
        replaced_by: None,
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
    let listed = keys
        .list_keys(PageAsk::default(), KeyFilter::default())
        .await
        .unwrap();
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
            .list_keys(PageAsk::default(), KeyFilter::default())
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
    let operators = async || {
        let all = operator.list_operator_keys(PageAsk::default(), KeyFilter::default());
        all.await.unwrap().rows
    };
    assert_eq!(operators().await, [made.clone()]);
    assert_eq!(operator.get_operator_key(made.id).await.unwrap(), made);
    assert!(matches!(
        world.tenant(&acme).get_key(made.id).await,
        Err(StoreError::NotFound)
    ));
    let revoke = async |id| {
        operator
            .revoke_operator_key(id, audit(None, "key.revoke"))
            .await
    };
    let refused = revoke(made.id).await;
    assert!(matches!(
        refused,
        Err(StoreError::Conflict(Conflict::LastOperatorKey))
    ));
    let (digest, mut other) = key(&acme, 8);
    other.tenant_id = None;
    other.role = Role::Operator;
    operator
        .insert_operator_key(&other, digest, audit(None, "key.create"))
        .await
        .unwrap();
    revoke(made.id).await.unwrap();
    // Again, it changes nothing, and does not stand for the one that is left.
    revoke(made.id).await.unwrap();
    assert!(revoke(other.id).await.is_err());
    assert_eq!(operators().await[1].revoked_at, Some(moment(60)));
}

/// A key that takes the place of `old`, which works on until a moment.
fn rotation(tenant: &TenantId, old: KeyId, (digest, until): (u8, i64)) -> KeyRotation {
    let (digest, mut new) = key(tenant, digest);
    new.rotated_from = Some(old);
    KeyRotation {
        old,
        until: moment(until),
        new,
        digest,
    }
}

async fn rotate(world: &World, rotation: KeyRotation) -> Result<AccessKey, StoreError> {
    let tenant = rotation.new.tenant_id.clone().unwrap();
    let audit = audit(Some(&tenant), "key.rotate");
    world.tenant(&tenant).rotate_key(rotation, audit).await
}

/// A new tenant with a key.
async fn with_a_key(world: &World) -> (TenantId, KeyId) {
    let acme = world.create_tenant("acme").await;
    let (digest, made) = key(&acme, 1);
    world
        .tenant(&acme)
        .create_key(&made, digest, audit(Some(&acme), "key.create"))
        .await
        .unwrap();
    (acme, made.id)
}

pub(crate) async fn a_rotated_key_works_on_for_the_overlap_and_points_to_the_new_one(
    world: &World,
) {
    let (acme, old) = with_a_key(world).await;
    let changes = world.operator().latest_change().await.unwrap();
    let first = rotation(&acme, old, (2, 500));
    let replaced = rotate(world, first.clone()).await.unwrap();
    assert_eq!(replaced.expires_at, Some(moment(500)));
    assert_eq!(replaced.replaced_by, Some(first.new.id));
    let store = world.tenant(&acme);
    assert_eq!(store.get_key(old).await.unwrap(), replaced);
    assert_eq!(store.get_key(first.new.id).await.unwrap(), first.new);
    let heard = world.operator().changes_since(changes).await.unwrap();
    let heard: Vec<_> = heard.into_iter().map(|change| change.id).collect();
    assert_eq!(heard, [old.to_string(), first.new.id.to_string()]);
    // The audit entry's time is second 60: an overlap that is over by then is none.
    let at_once = rotate(world, rotation(&acme, first.new.id, (3, 60))).await;
    assert_eq!(at_once.unwrap().revoked_at, Some(moment(60)));
    let living = world.operator().load_directory().await.unwrap().keys;
    assert_eq!(living.len(), 2);
}

pub(crate) async fn what_cannot_be_replaced_is_not_rotated(world: &World) {
    let (acme, old) = with_a_key(world).await;
    let other = world.create_tenant("other").await;
    let foreign = rotate(world, rotation(&other, old, (2, 500))).await;
    assert!(matches!(foreign, Err(StoreError::NotFound)));
    let smuggled = world
        .tenant(&other)
        .rotate_key(rotation(&acme, old, (2, 500)), audit(Some(&other), "x"))
        .await;
    assert!(matches!(smuggled, Err(StoreError::InvalidRow { .. })));
    rotate(world, rotation(&acme, old, (2, 500))).await.unwrap();
    let again = rotate(world, rotation(&acme, old, (3, 500))).await;
    assert!(matches!(
        again,
        Err(StoreError::Conflict(Conflict::KeyReplaced))
    ));
    let revoke = audit(Some(&acme), "key.revoke");
    world.tenant(&acme).revoke_key(old, revoke).await.unwrap();
    let ended = rotate(world, rotation(&acme, old, (4, 500))).await;
    assert!(matches!(
        ended,
        Err(StoreError::Conflict(Conflict::KeyEnded))
    ));
}

pub(crate) async fn keys_are_filtered_by_role_and_by_status_at_a_time(world: &World) {
    let (acme, old) = with_a_key(world).await;
    let second = rotation(&acme, old, (2, 500));
    rotate(world, second.clone()).await.unwrap();
    let third = rotation(&acme, second.new.id, (3, 0));
    rotate(world, third).await.unwrap();
    let store = world.tenant(&acme);
    for (status, seconds, digest) in [
        (KeyStatus::Active, 60, 3),
        (KeyStatus::Rotating, 60, 1),
        (KeyStatus::Expired, 500, 1),
        (KeyStatus::Revoked, 60, 2),
    ] {
        let filter = KeyFilter {
            role: Some(Role::Caller),
            status: Some((status, moment(seconds))),
        };
        let listed = store.list_keys(PageAsk::default(), filter).await.unwrap();
        let found: Vec<_> = listed.rows.iter().map(|key| key.created_at).collect();
        assert_eq!(found, [moment(digest)], "{status:?}");
        assert_eq!(listed.rows[0].status(moment(seconds)), status);
    }
    let filter = KeyFilter {
        role: Some(Role::Viewer),
        status: None,
    };
    let viewers = store.list_keys(PageAsk::default(), filter).await.unwrap();
    assert!(viewers.rows.is_empty());
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
