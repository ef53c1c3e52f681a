//! Re-wrapping: every credential gets a seal under the active key, in batches, while calls go on.

use std::collections::BTreeSet;

use tollgate_core::CredentialId;
use tollgate_core::role::Permission;
use tollgate_store::{Rewrapped, SealedRow};
use tollgate_vault::{Sealed, VaultError};

use super::ring::binding_of;
use super::{MasterKeys, running};
use crate::app::App;
use crate::context::Context;
use crate::error::AppError;

/// Credentials of one transaction.
const BATCH_ROWS: u16 = 50;

/// What a round of re-wrapping did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rewrap {
    /// Credentials that have a new seal.
    pub credentials: u64,
    /// Credentials that could not get one: the log names them.
    pub failed: u64,
    /// Whether it waits for other nodes, which still seal with another key.
    pub is_waiting: bool,
}

impl App {
    /// Takes over what the key file says now and re-wraps everything that is sealed under another
    /// key than the active one; safe to repeat.
    pub async fn rewrap_credentials(
        &self,
        context: &Context,
    ) -> Result<(Rewrap, MasterKeys), AppError> {
        context.must_be_allowed(Permission::ManageInstallation)?;
        self.reload_ring(context).await?;
        let done = self.rewrap_all(context).await?;
        self.tell_keys().await?;
        Ok((done, self.master_keys(context).await?))
    }

    /// One round over everything that is sealed under another key than the active one.
    pub(crate) async fn rewrap_all(&self, asker: &Context) -> Result<Rewrap, AppError> {
        let _turn = self.ring.rewrapping.lock().await;
        let operator = self.store.operator();
        let ring = self.ring.load().clone();
        let active = ring.active_id();
        let opening = Sealed::opening_of(active);
        let mut done = Rewrap::default();
        let mut after: Option<CredentialId> = None;
        loop {
            let rows = operator
                .not_sealed_under(opening.clone(), after, BATCH_ROWS)
                .await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.id);
            // Two nodes with different active keys would exchange each other's seals for ever.
            let nodes = running(&operator.list_nodes().await?)?;
            let elsewhere = nodes.iter().filter(|node| node.id != self.store.node());
            if elsewhere.into_iter().any(|node| node.keys.active != active) {
                done.is_waiting = true;
                break;
            }
            let mut batch = Vec::with_capacity(rows.len());
            for row in rows {
                let id = row.id;
                match rewrapped(&ring, row) {
                    Ok(one) => batch.push(one),
                    Err(error) => {
                        done.failed = done.failed.saturating_add(1);
                        tracing::error!(credential = %id, %error, "a credential cannot be re-wrapped");
                    }
                }
            }
            let integrations: BTreeSet<_> =
                batch.iter().map(|one| one.row.integration_id).collect();
            let mut entry = asker.audit("masterkey.rewrap", format!("masterkey/{active}"));
            entry.tenant = None;
            let credentials = operator.rewrap(batch, entry).await?;
            done.credentials = done.credentials.saturating_add(credentials);
            for id in integrations {
                self.refresh_integration(id).await?;
            }
        }
        if done.credentials > 0 {
            let credentials = done.credentials;
            tracing::info!(%active, credentials, "credentials were re-wrapped");
        }
        Ok(done)
    }
}

fn rewrapped(ring: &tollgate_vault::KeyRing, row: SealedRow) -> Result<Rewrapped, AppError> {
    let new = {
        let binding = binding_of(&row)?;
        let seal = Sealed::from_bytes(row.sealed.clone());
        seal.and_then(|sealed| ring.rewrap(&sealed, &binding))
            .map_err(|error: VaultError| AppError::internal(error))?
    };
    Ok(Rewrapped {
        row,
        sealed: new.into(),
    })
}
