//! Seals are exchanged in batches, each once, and never over a newer one.

use cus_models::CusIntegration;
use tollgate_core::page::PageAsk;
use tollgate_core::{CredentialId, TenantId};
use tollgate_store::{ChangeKind, IntegrationChange, NewCredential, Rewrapped};

use crate::world::{World, audit, id_of};

/// Something that looks as if it were sealed under a key whose id has two characters.
fn sealed(key: &str, rest: &str) -> Vec<u8> {
    [&[1, 1, 2], key.as_bytes(), rest.as_bytes()].concat()
}

fn opening(key: &str) -> Vec<u8> {
    sealed(key, "")
}

/// Gives an integration a credential; its id.
async fn give(
    world: &World,
    tenant: &TenantId,
    one: &CusIntegration,
    version: i64,
) -> CredentialId {
    let id = CredentialId::generate();
    let store = world.tenant(tenant);
    let integration = store.get_integration(id_of(one)).await.unwrap();
    let change = IntegrationChange {
        expected: integration.updated_at,
        integration,
        credential: Some(NewCredential {
            id,
            version,
            sealed: sealed("k1", &format!("secret {version} of {}", one.name)),
            fingerprint: "f".to_owned(),
            last4: "last".to_owned(),
        }),
    };
    let entry = audit(Some(tenant), "integration.update");
    store.update_integration(change, entry).await.unwrap();
    id
}

pub(crate) async fn seals_are_exchanged_in_batches_and_announced(world: &World) {
    let acme = world.create_tenant("acme").await;
    let operator = world.operator();
    let mut ids = Vec::new();
    for name in ["one", "two", "three"] {
        let integration = world.create_integration(&acme, name).await;
        ids.push(give(world, &acme, &integration, 1).await);
    }
    ids.sort_by_key(ToString::to_string);
    assert_eq!(operator.sealed_openings().await.unwrap().len(), 3);
    assert!(
        operator
            .not_sealed_under(opening("k1"), None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    let first = operator
        .not_sealed_under(opening("k2"), None, 2)
        .await
        .unwrap();
    assert_eq!(first.iter().map(|row| row.id).collect::<Vec<_>>(), ids[..2]);
    let rest = operator
        .not_sealed_under(opening("k2"), Some(ids[1]), 2)
        .await
        .unwrap();
    assert_eq!(rest.iter().map(|row| row.id).collect::<Vec<_>>(), ids[2..]);
    let seen = operator.latest_change().await.unwrap();
    let batch = first.into_iter().map(|row| Rewrapped {
        sealed: sealed("k2", "new"),
        row,
    });
    let batch: Vec<_> = batch.collect();
    let entry = audit(None, "masterkey.rewrap");
    assert_eq!(
        operator.rewrap(batch.clone(), entry.clone()).await.unwrap(),
        2
    );
    let heard = operator.changes_since(seen).await.unwrap();
    assert_eq!(heard.len(), 2);
    assert!(
        heard
            .iter()
            .all(|change| change.kind == ChangeKind::Integration)
    );
    // The same batch again finds nothing to exchange and writes nothing down.
    assert_eq!(operator.rewrap(batch, entry).await.unwrap(), 0);
    let left = operator
        .not_sealed_under(opening("k2"), None, 10)
        .await
        .unwrap();
    assert_eq!(left.iter().map(|row| row.id).collect::<Vec<_>>(), ids[2..]);
    let told = told(world).await;
    assert_eq!(told, ["masterkey.rewrap {\"credentials\":2}"]);
}

/// The operator's audit trail: what was done and what it led to.
async fn told(world: &World) -> Vec<String> {
    let operator = world.operator();
    let trail = operator
        .list_operator_audit(PageAsk::default(), tollgate_store::AuditFilter::default())
        .await
        .unwrap()
        .rows;
    let told = trail.iter().map(|row| {
        format!(
            "{} {}",
            row.action,
            row.after.as_deref().unwrap_or_default()
        )
    });
    told.collect()
}

pub(crate) async fn a_seal_that_was_replaced_meanwhile_stays(world: &World) {
    let acme = world.create_tenant("acme").await;
    let operator = world.operator();
    let integration = world.create_integration(&acme, "one").await;
    give(world, &acme, &integration, 1).await;
    let read = operator
        .not_sealed_under(opening("k2"), None, 10)
        .await
        .unwrap();
    let newer = give(world, &acme, &integration, 2).await;
    let batch = read.into_iter().map(|row| Rewrapped {
        sealed: sealed("k2", "stale"),
        row,
    });
    let entry = audit(None, "masterkey.rewrap");
    assert_eq!(operator.rewrap(batch.collect(), entry).await.unwrap(), 0);
    let current = world
        .tenant(&acme)
        .get_credential(id_of(&integration))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(current.id, newer);
    assert_eq!(current.sealed, sealed("k1", "secret 2 of one"));
}
