//! The key ring that is in use, replaced as a whole when the key file says something else.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tollgate_core::access::KeyDigest;
use tollgate_core::role::Role;
use tollgate_store::SealedRow;
use tollgate_vault::{Binding, KeyRing, MintedKey, Sealed, Secret, VaultError};

use super::ToldKeys;
use crate::app::App;
use crate::context::Context;
use crate::error::AppError;

/// Reads the key file anew; the error says what is wrong with it and holds nothing of it.
pub type ReadKeys = Box<dyn Fn() -> Result<KeyRing, String> + Send + Sync>;

/// The ring in use. To look at it costs no lock; what one call does with it, it does with one ring.
pub struct LiveRing {
    ring: ArcSwap<KeyRing>,
    read: ReadKeys,
    /// Held, shared, from sealing to keeping, and alone while the ring is replaced: whoever sees
    /// the new ring also sees every row that was sealed with the old one.
    sealing: tokio::sync::RwLock<()>,
    /// What the other nodes were last told of this node's keys.
    pub(super) told: Mutex<Option<ToldKeys>>,
    /// Held by the one round of re-wrapping that is under way.
    pub(super) rewrapping: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for LiveRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.ring.load().fmt(f)
    }
}

/// Why a key file is not taken over.
fn refused(code: &'static str, message: String) -> AppError {
    AppError::Conflict { code, message }
}

impl LiveRing {
    pub(crate) fn new(ring: KeyRing, read: ReadKeys) -> Self {
        Self {
            ring: ArcSwap::from_pointee(ring),
            read,
            sealing: tokio::sync::RwLock::default(),
            told: Mutex::new(None),
            rewrapping: tokio::sync::Mutex::default(),
        }
    }

    /// The ring of this moment.
    pub(crate) fn load(&self) -> Guard<Arc<KeyRing>> {
        self.ring.load()
    }

    /// Held from sealing something until it is kept.
    pub(crate) async fn sealing(&self) -> tokio::sync::RwLockReadGuard<'_, ()> {
        self.sealing.read().await
    }

    /// Mints an access key.
    pub(crate) fn mint(&self, role: Role) -> Result<MintedKey, VaultError> {
        self.load().mint(role)
    }

    /// The digest of an access key.
    pub(crate) fn digest(&self, presented: &str) -> Option<KeyDigest> {
        self.load().digest(presented)
    }

    /// What two equal secrets have in common.
    pub(crate) fn fingerprint(&self, secret: &Secret) -> String {
        self.load().fingerprint(secret)
    }

    /// Seals under the active key.
    pub(crate) fn seal(
        &self,
        secret: &Secret,
        binding: &Binding<'_>,
    ) -> Result<Sealed, VaultError> {
        self.load().seal(secret, binding)
    }
}

impl App {
    /// Takes over what the key file says, if it is something else than the ring in use. Whether it was.
    ///
    /// A conflict if the file cannot be used, is another installation's, or lacks a key that
    /// something is sealed under; then the ring in use stays.
    pub(crate) async fn reload_ring(&self, asker: &Context) -> Result<bool, AppError> {
        let read = (self.ring.read)();
        let new = read.map_err(|problem| refused("key_file_unusable", problem))?;
        let old = self.ring.load().clone();
        if new.is_same_as(&old) {
            return Ok(false);
        }
        self.must_fit(&old, &new).await?;
        let before = self.told_keys();
        let turn = self.ring.sealing.write().await;
        self.ring.ring.store(Arc::new(new));
        drop(turn);
        let after = self.told_keys();
        let mut entry = asker.audit("masterkey.load", format!("node/{}", self.store.node()));
        // The keys are the installation's, whoever's request it was that found the file changed.
        entry.tenant = None;
        entry.before = Some(json_of(&before)?);
        entry.after = Some(json_of(&after)?);
        let active = after.active;
        let told = Some(json_of(&after)?);
        self.store
            .operator()
            .tell_master_keys(told, Some(entry))
            .await?;
        *self.ring.told.lock() = Some(after);
        tracing::info!(%active, "the key file has changed and is in use");
        Ok(true)
    }

    async fn must_fit(&self, old: &KeyRing, new: &KeyRing) -> Result<(), AppError> {
        if new.pepper_mark() != old.pepper_mark() {
            let message = "the key file has another pepper: it is not this installation's; restore the one that was there";
            return Err(refused("key_file_foreign", message.to_owned()));
        }
        if let Some(id) = new.disagrees_with(old) {
            let message = format!(
                "the key file has other bytes for the master key `{id}`: give a new key a new id"
            );
            return Err(refused("master_key_changed", message));
        }
        let has = |id| new.ids().any(|known| known == id);
        let gone: Vec<_> = old.ids().filter(|id| !has(*id)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let openings = self.store.operator().sealed_openings().await?;
        let mut needed = self.keys_in_use();
        needed.extend(
            openings
                .iter()
                .filter_map(|opening| Sealed::master_key_in(opening)),
        );
        match gone.into_iter().find(|id| needed.contains(id)) {
            None => Ok(()),
            Some(id) => Err(refused(
                "master_key_in_use",
                format!(
                    "the key file lacks the master key `{id}`, under which credentials are still sealed: put its line back"
                ),
            )),
        }
    }
}

/// Where a sealed credential belongs.
pub(super) fn binding_of(row: &SealedRow) -> Result<Binding<'_>, AppError> {
    Ok(Binding {
        tenant: &row.tenant_id,
        integration: row.integration_id,
        credential: row.id,
        version: u32::try_from(row.version).map_err(AppError::internal)?,
    })
}

pub(super) fn json_of(keys: &ToldKeys) -> Result<String, AppError> {
    serde_json::to_string(keys).map_err(AppError::internal)
}
