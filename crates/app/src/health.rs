//! What live traffic says about an integration: a refused credential takes it out of service.

use tollgate_core::IntegrationId;
use tollgate_core::audit::{Actor, AuditEntry};
use tollgate_store::IntegrationChange;

use crate::app::App;
use crate::error::AppError;

/// What an admin reads on an integration whose credential its provider refuses.
const CREDENTIAL_REFUSED: &str =
    "credentials_invalid: the provider refuses the credential (401); replace it";

impl App {
    /// Takes an integration out of service because its provider refuses its credential. Never
    /// fails: what cannot be written down is logged, and the next refused call tries again.
    pub async fn mark_credential_refused(&self, id: IntegrationId) {
        if let Err(error) = self.try_mark_credential_refused(id).await {
            tracing::warn!(%error, integration = %id, "a refused credential cannot be noted");
        }
    }

    async fn try_mark_credential_refused(&self, id: IntegrationId) -> Result<(), AppError> {
        let Some(known) = self.directory().integration(id) else {
            return Ok(());
        };
        let store = self.store.tenant(&known.tenant_id);
        let mut integration = store.get_integration(id).await?;
        if !integration.is_usable() {
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
