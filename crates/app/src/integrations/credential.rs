//! A provider's credential on its way in: checked, sealed, and from then on known by its mark.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use tollgate_core::{CredentialId, IntegrationId, TenantId};
use tollgate_providers::{Description, FieldKind, Provider};
use tollgate_store::{CredentialRow, NewCredential};
use tollgate_vault::fingerprint::last4;
use tollgate_vault::{Binding, CredentialRef, Secret};

use crate::app::App;
use crate::error::AppError;

/// A credential as somebody entered it: a JSON object of texts. It cannot be printed.
pub struct EnteredCredential {
    /// The whole object, as JSON text: what is sealed.
    whole: Secret,
    /// Its fields.
    fields: BTreeMap<String, Secret>,
}

impl fmt::Debug for EnteredCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnteredCredential(…)")
    }
}

impl<'de> Deserialize<'de> for EnteredCredential {
    /// Reads an object of texts; the error never repeats what was there instead.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const NEEDED: &str =
            "give an object whose values are texts, as `GET /providers` describes it";
        let Ok(raw) = Box::<RawValue>::deserialize(deserializer) else {
            return Err(D::Error::custom(NEEDED));
        };
        let Ok(fields) = serde_json::from_str(raw.get()) else {
            return Err(D::Error::custom(NEEDED));
        };
        Ok(Self {
            whole: Secret::new(Box::<str>::from(raw).into_string()),
            fields,
        })
    }
}

/// How a sealed credential is recognized without being seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CredentialMark {
    /// Sixteen hexadecimal digits that tell two credentials apart.
    pub fingerprint: String,
    /// The last four characters; empty for a very short secret.
    pub last4: String,
}

impl CredentialMark {
    /// The mark that is kept beside a sealed credential.
    #[must_use]
    pub fn of(row: &CredentialRow) -> Self {
        Self {
            fingerprint: row.fingerprint.clone(),
            last4: row.last4.clone(),
        }
    }
}

impl From<&NewCredential> for CredentialMark {
    fn from(new: &NewCredential) -> Self {
        Self {
            fingerprint: new.fingerprint.clone(),
            last4: new.last4.clone(),
        }
    }
}

/// Where a credential will belong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) integration: IntegrationId,
    /// How often it was replaced, from 1.
    pub(super) version: u32,
}

impl EnteredCredential {
    /// The whole object, as it is sealed.
    pub(super) const fn whole(&self) -> &Secret {
        &self.whole
    }

    /// The field that the credential is recognized by: the first secret one.
    fn recognized(&self, description: &Description) -> &Secret {
        let secret = |kind: &FieldKind| matches!(kind, FieldKind::Secret);
        let mut names = description
            .credential_fields
            .iter()
            .filter(|field| secret(&field.kind))
            .map(|field| field.name);
        names
            .find_map(|name| self.fields.get(name))
            .unwrap_or(&self.whole)
    }
}

impl App {
    /// Seals what was entered, after its provider found nothing wrong with its form.
    pub(super) fn seal_entered(
        &self,
        provider: &dyn Provider,
        entered: &EnteredCredential,
        place: Place<'_>,
    ) -> Result<NewCredential, AppError> {
        let invalid = |reason: String| AppError::Invalid {
            field: "credential",
            reason,
        };
        let checked = provider.check_credential(&entered.whole);
        checked.map_err(|error| invalid(error.to_string()))?;
        let id = CredentialId::generate();
        let binding = Binding {
            tenant: place.tenant,
            integration: place.integration,
            credential: id,
            version: place.version,
        };
        let sealed = self.ring.seal(&entered.whole, &binding);
        let sealed = sealed.map_err(|error| invalid(error.to_string()))?;
        let recognized = entered.recognized(provider.describe());
        Ok(NewCredential {
            id,
            version: i64::from(place.version),
            sealed: sealed.into(),
            fingerprint: self.ring.fingerprint(recognized),
            last4: last4(recognized),
        })
    }

    /// Reads a reference that somebody entered; a raw key is refused and not repeated.
    pub(super) fn entered_reference(&self, text: &str) -> Result<String, AppError> {
        let reference = CredentialRef::supplied(text, &self.environment.prefixes);
        reference
            .map(|reference| reference.to_string())
            .map_err(|error| AppError::Invalid {
                field: "credential_ref",
                reason: error.to_string(),
            })
    }
}
