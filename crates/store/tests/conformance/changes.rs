//! The directory, and the changes by which a node keeps its copy fresh.

use std::collections::BTreeSet;

use tollgate_store::ChangeKind;

use crate::integrations::credential;
use crate::keys::key;
use crate::world::{World, audit, id_of, moment, tenant};

pub(crate) async fn the_directory_holds_what_lives(world: &World) {
    let acme = world.create_tenant("acme").await;
    let with = world.create_integration(&acme, "with").await;
    world.create_integration(&acme, "without").await;
    let change = tollgate_store::IntegrationChange {
        expected: with.updated_at,
        integration: with.clone(),
        credential: Some(credential(1)),
    };
    let store = world.tenant(&acme);
    store
        .update_integration(change, audit(Some(&acme), "integration.update"))
        .await
        .unwrap();
    let (digest, made) = key(&acme, 1);
    store
        .create_key(&made, digest, audit(Some(&acme), "key.create"))
        .await
        .unwrap();

    let directory = world.operator().load_directory().await.unwrap();
    assert_eq!(directory.keys, [(digest, made.clone())]);
    assert_eq!(directory.tenants.len(), 1);
    let sealed: BTreeSet<_> = directory
        .integrations
        .iter()
        .map(|(integration, credential)| {
            (
                integration.name.as_str(),
                credential.as_ref().map(|found| found.version),
            )
        })
        .collect();
    assert_eq!(
        sealed,
        BTreeSet::from([("with", Some(1)), ("without", None)])
    );
    assert_eq!(
        directory.change,
        world.operator().latest_change().await.unwrap()
    );
}

pub(crate) async fn a_change_is_announced_with_its_kind_and_owner(world: &World) {
    let acme = world.create_tenant("acme").await;
    let operator = world.operator();
    let before = operator.latest_change().await.unwrap();
    assert!(operator.changes_since(before).await.unwrap().is_empty());
    let integration = world.create_integration(&acme, "main").await;
    let (digest, made) = key(&acme, 1);
    let created = audit(Some(&acme), "key.create");
    world
        .tenant(&acme)
        .create_key(&made, digest, created)
        .await
        .unwrap();
    let changes = operator.changes_since(before).await.unwrap();
    let seen: Vec<_> = changes
        .iter()
        .map(|change| (change.kind, change.id.as_str()))
        .collect();
    let key_id = made.id.to_string();
    let expected = [
        (ChangeKind::Integration, integration.id.as_str()),
        (ChangeKind::Key, &key_id),
    ];
    assert_eq!(seen, expected);
    assert!(
        changes
            .iter()
            .all(|change| change.tenant.as_ref() == Some(&acme))
    );
    assert_eq!(changes[1].seq, operator.latest_change().await.unwrap());
}

pub(crate) async fn a_poller_misses_no_change_of_many_at_once(world: &World) {
    let other = world.another_node().await;
    let mut writers = tokio::task::JoinSet::new();
    for index in 0..40 {
        let store = if index % 2 == 0 {
            world.store.clone()
        } else {
            other.clone()
        };
        writers.spawn(async move {
            let tenant = tenant(&format!("t-{index}"), moment(index));
            store
                .operator()
                .create_tenant(&tenant, audit(None, "tenant.create"))
                .await
                .unwrap();
        });
    }
    // A poller asks only for what is after the last change that it saw.
    let (mut last, mut seen) = (0, BTreeSet::new());
    while seen.len() < 40 {
        let changes = world.operator().changes_since(last).await.unwrap();
        assert!(
            !changes.is_empty() || !writers.is_empty(),
            "a change was missed: {seen:?}"
        );
        if changes.is_empty() {
            writers.join_next().await.unwrap().unwrap();
        }
        for change in changes {
            last = change.seq;
            assert!(seen.insert(change.id), "a change came twice");
        }
    }
    writers.join_all().await;
}

pub(crate) async fn a_loaded_thing_is_gone_when_it_is_deleted(world: &World) {
    let acme = world.create_tenant("acme").await;
    let integration = world.create_integration(&acme, "main").await;
    let id = id_of(&integration);
    let operator = world.operator();
    let (found, credential) = operator.load_integration(id).await.unwrap().unwrap();
    assert_eq!((found, credential.is_none()), (integration, true));
    let deleted = audit(Some(&acme), "integration.delete");
    world
        .tenant(&acme)
        .delete_integration(id, None, deleted)
        .await
        .unwrap();
    assert!(operator.load_integration(id).await.unwrap().is_none());
    operator
        .delete_tenant(&acme, audit(None, "tenant.delete"))
        .await
        .unwrap();
    assert!(operator.load_tenant(&acme).await.unwrap().is_none());
}
