//! What live traffic says about an integration: a refused credential takes it out of service.

use jiff::Timestamp;
use tollgate_core::IntegrationId;
use tollgate_core::audit::{Actor, AuditEntry};
use tollgate_store::IntegrationChange;

use crate::app::App;
use crate::error::AppError;

/// What an admin reads on an integration whose credential its provider refuses.
const CREDENTIAL_REFUSED: &str = "credentials_invalid: the provider refuses the credential (401)";

impl App {
    /// Takes an integration out of service because its provider refuses its credential, unless it
    /// was changed since `used`, the `updated_at` that the refused call went out with. Never
    /// fails: what cannot be written down is logged, and the next refused call tries again.
    pub async fn mark_credential_refused(&self, id: IntegrationId, used: Timestamp) {
        if let Err(error) = self.try_mark_credential_refused(id, used).await {
            tracing::warn!(%error, integration = %id, "a refused credential cannot be noted");
        }
    }

    async fn try_mark_credential_refused(
        &self,
        id: IntegrationId,
        used: Timestamp,
    ) -> Result<(), AppError> {
        let Some(known) = self.directory().integration(id) else {
            return Ok(());
        };
        // Marked by another call already, or changed since the refused call left: perhaps mended.
        let is_as_used = {
            let record = &known.snapshot().record;
            record.is_usable() && record.updated_at == used
        };
        if !is_as_used {
            return Ok(());
        }
        let store = self.store.tenant(&known.tenant_id);
        let mut integration = store.get_integration(id).await?;
        if integration.updated_at != used {
            return Ok(());
        }
        let expected = integration.updated_at;
        integration.mark_error(CREDENTIAL_REFUSED);
        let audit = AuditEntry {
            tenant: Some(known.tenant_id.clone()),
            actor: Actor::System,
            action: "integration.error",
            target: format!("integration/{id}"),
            before: None,
            after: Some(format!(r#"{{"health_message":"{CREDENTIAL_REFUSED}"}}"#)),
            request_id: None,
            at: self.now().wall,
        };
        store
            .update_integration(
                IntegrationChange {
                    integration,
                    expected,
                    credential: None,
                },
                audit,
            )
            .await?;
        self.refresh_integration(id).await
    }
}
