//! Master keys are rotated while the application runs, and a key file that does not fit is not taken over.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::path::PathBuf;

use tollgate_app::masterkeys::{MasterKeyState, MasterKeys};
use tollgate_app::testing::{CANARY, World};
use tollgate_app::{AppConfig, AppError};
use tollgate_core::IntegrationId;
use tollgate_core::role::Role;
use tollgate_vault::fingerprint::last4;
use tollgate_vault::{KeyFileText, KeyRing, MasterKeyId};

/// A world that looks at its key file when it is asked to, and not by itself.
async fn calm() -> World {
    let config = AppConfig {
        ledger_gather_ms: 0,
        refresh_seconds: 3_600,
        ..AppConfig::default()
    };
    World::start_with(config).await
}

fn file_of(world: &World) -> PathBuf {
    world.folder().join("master.key")
}

fn text_of(world: &World) -> String {
    std::fs::read_to_string(file_of(world)).unwrap()
}

fn write(world: &World, text: &KeyFileText) {
    let mut bytes = Vec::new();
    text.write_to(&mut bytes).unwrap();
    std::fs::write(file_of(world), bytes).unwrap();
}

fn id(text: &str) -> MasterKeyId {
    text.parse().unwrap()
}

fn state(keys: &MasterKeys, id: &str) -> MasterKeyState {
    let found = keys.keys.iter().find(|state| state.id.as_str() == id);
    found.unwrap().clone()
}

fn opens(world: &World, integration: IntegrationId) {
    let one = world.app.directory().integration(integration).unwrap();
    let secret = world.app.open_credential(&one.snapshot()).unwrap().unwrap();
    let whole = serde_json::json!({"api_key": CANARY}).to_string();
    assert!(whole.ends_with(&last4(&secret)) && !last4(&secret).is_empty());
}

/// The code of the conflict that a re-wrapping meets; empty where it meets none.
async fn refused(world: &World) -> &'static str {
    match world.app.rewrap_credentials(&world.console()).await {
        Err(AppError::Conflict { code, .. }) => code,
        _ => "",
    }
}

/// How often the audit trail says that keys were loaded, and that credentials were re-wrapped.
async fn written_down(world: &World) -> (usize, usize) {
    let trail = world.audit(None).await;
    let times = |action: &str| trail.iter().filter(|row| row.action == action).count();
    (times("masterkey.load"), times("masterkey.rewrap"))
}

/// Adds a key and makes it active.
async fn rotate(world: &World) -> MasterKeyId {
    let (text, next) = KeyRing::file_with_next(&text_of(world)).unwrap();
    write(world, &text);
    let (_, keys) = world
        .app
        .rewrap_credentials(&world.console())
        .await
        .unwrap();
    assert!(state(&keys, next.as_str()).is_known);
    assert!(!state(&keys, next.as_str()).is_active);
    write(
        world,
        &KeyRing::file_with_active(&text_of(world), next).unwrap(),
    );
    next
}

#[tokio::test]
async fn every_credential_gets_a_seal_under_the_new_key_and_the_old_one_can_go() {
    let world = calm().await;
    let acme = world.tenant("acme").await;
    let mut integrations = Vec::new();
    for number in 0..3 {
        integrations.push(world.integration(&acme, &format!("number {number}")).await);
    }
    let before = world.app.master_keys(&world.console()).await.unwrap();
    assert_eq!(state(&before, "k1").credentials, 3);
    assert!(!state(&before, "k1").is_removable);
    let held = world.app.directory().integration(integrations[0]).unwrap();
    let early = held.snapshot();
    rotate(&world).await;
    let (done, keys) = world
        .app
        .rewrap_credentials(&world.console())
        .await
        .unwrap();
    assert_eq!(
        (done.credentials, done.failed, done.is_waiting),
        (3, 0, false)
    );
    assert_eq!(keys.active, id("k2"));
    assert_eq!(
        (
            state(&keys, "k1").credentials,
            state(&keys, "k2").credentials
        ),
        (0, 3)
    );
    assert!(state(&keys, "k1").is_removable && !state(&keys, "k2").is_removable);
    let (again, _) = world
        .app
        .rewrap_credentials(&world.console())
        .await
        .unwrap();
    assert_eq!(again.credentials, 0);
    write(
        &world,
        &KeyRing::file_without(&text_of(&world), id("k1")).unwrap(),
    );
    let (_, keys) = world
        .app
        .rewrap_credentials(&world.console())
        .await
        .unwrap();
    assert_eq!(keys.keys.len(), 1);
    for integration in integrations {
        opens(&world, integration);
    }
    // A call that took its snapshot before the rotation opens what is in the directory now.
    assert!(world.app.open_credential(&early).unwrap().is_some());
    drop(early);
    assert_eq!(written_down(&world).await, (3, 1));
    world.close().await;
}

#[tokio::test]
async fn a_rotation_goes_on_by_itself_when_the_key_file_changes() {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let integration = world.integration(&acme, "main").await;
    let next = rotate(&world).await;
    let looking = async {
        loop {
            let keys = world.app.master_keys(&world.console()).await.unwrap();
            if state(&keys, next.as_str()).credentials == 1 && state(&keys, "k1").is_removable {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let patience = std::time::Duration::from_mins(1);
    tokio::time::timeout(patience, looking).await.unwrap();
    opens(&world, integration);
    world.close().await;
}

#[tokio::test]
async fn a_key_file_that_does_not_fit_changes_nothing() {
    let world = calm().await;
    let acme = world.tenant("acme").await;
    let integration = world.integration(&acme, "main").await;
    let good = text_of(&world);
    std::fs::write(file_of(&world), "k1:rubbish\n").unwrap();
    assert_eq!(refused(&world).await, "key_file_unusable");
    write(&world, &KeyRing::generate_file_text().unwrap());
    assert_eq!(refused(&world).await, "key_file_foreign");
    let other = KeyRing::generate_file_text().unwrap();
    let mut bytes = Vec::new();
    other.write_to(&mut bytes).unwrap();
    let other = String::from_utf8(bytes).unwrap();
    let line = |text: &str, name: &str| {
        let found = text.lines().find(|line| line.starts_with(name));
        found.unwrap().to_owned()
    };
    let changed = format!("{}\n{}\n", line(&other, "k1:"), line(&good, "pepper:"));
    std::fs::write(file_of(&world), changed).unwrap();
    assert_eq!(refused(&world).await, "master_key_changed");
    let (_, other_key) = line(&other, "k1:")
        .split_once(':')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let lacking = format!("k9:{other_key}\n{}\n", line(&good, "pepper:"));
    std::fs::write(file_of(&world), lacking).unwrap();
    assert_eq!(refused(&world).await, "master_key_in_use");
    opens(&world, integration);
    let keys = world.app.master_keys(&world.console()).await.unwrap();
    assert_eq!(keys.active, id("k1"));
    std::fs::write(file_of(&world), good).unwrap();
    world
        .app
        .rewrap_credentials(&world.console())
        .await
        .unwrap();
    world.close().await;
}

#[tokio::test]
async fn only_the_operator_sees_and_rotates_master_keys() {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let admin = world.somebody(&acme, Role::Admin);
    assert!(matches!(
        world.app.master_keys(&admin).await,
        Err(AppError::Forbidden(_))
    ));
    assert!(matches!(
        world.app.rewrap_credentials(&admin).await,
        Err(AppError::Forbidden(_))
    ));
    world.close().await;
}
