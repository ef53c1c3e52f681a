//! Where a credential is: `encrypted://<id>`, `env://NAME` or `vault://path#field`.
//!
//! Every other text is refused, raw keys above all, and no error repeats the text that it refuses.

use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tollgate_core::CredentialId;

use crate::error::{Unresolved, VaultError};
use crate::secret::Secret;

/// The longest reference, in bytes.
pub const MAX_REFERENCE_LENGTH: usize = 255;

const ENCRYPTED: &str = "encrypted://";
const ENV: &str = "env://";
const VAULT: &str = "vault://";

/// Where a credential is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CredentialRef {
    /// Sealed in the store.
    Encrypted(CredentialId),
    /// In a variable of the program's environment.
    Env(EnvName),
    /// In an external vault; reserved, resolving it is not supported yet.
    Vault(VaultField),
}

/// The name of an environment variable: `A-Z`, `0-9` and `_`, not beginning with a digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EnvName(String);

impl EnvName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name is longer than one of the prefixes and begins with it. An empty prefix
    /// allows nothing.
    #[must_use]
    pub fn is_allowed(&self, allowed_prefixes: &[String]) -> bool {
        allowed_prefixes
            .iter()
            .filter(|prefix| !prefix.is_empty())
            .any(|prefix| {
                self.0
                    .strip_prefix(prefix.as_str())
                    .is_some_and(|rest| !rest.is_empty())
            })
    }
}

/// A field of an entry in an external vault.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VaultField {
    path: String,
    field: String,
}

impl VaultField {
    /// The entry's path: segments parted by `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The field of the entry.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }
}

impl CredentialRef {
    /// Reads a reference that a user of the API wrote: only an allowed `env://`. Sealed
    /// credentials are referred to by Tollgate itself alone; `vault://` is not supported yet.
    pub fn supplied(text: &str, allowed_prefixes: &[String]) -> Result<Self, VaultError> {
        let reference: Self = text.parse()?;
        reference.env_name(allowed_prefixes)?;
        Ok(reference)
    }

    /// Resolves an `env://` reference; the program passes in how it reads its environment.
    pub fn resolve_env(
        &self,
        source: &dyn Fn(&str) -> Option<String>,
        allowed_prefixes: &[String],
    ) -> Result<Secret, VaultError> {
        let name = self.env_name(allowed_prefixes)?;
        let text = source(name.as_str()).filter(|text| !text.is_empty());
        Ok(Secret::new(text.ok_or(Unresolved::EnvUnset)?))
    }

    fn env_name(&self, allowed_prefixes: &[String]) -> Result<&EnvName, Unresolved> {
        match self {
            Self::Env(name) if name.is_allowed(allowed_prefixes) => Ok(name),
            Self::Env(_) => Err(Unresolved::EnvNotAllowed),
            Self::Vault(_) => Err(Unresolved::VaultUnsupported),
            Self::Encrypted(_) => Err(Unresolved::Encrypted),
        }
    }
}

impl FromStr for CredentialRef {
    type Err = VaultError;

    fn from_str(text: &str) -> Result<Self, VaultError> {
        read(text).ok_or(VaultError::InvalidReference)
    }
}

impl fmt::Display for CredentialRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encrypted(id) => write!(f, "{ENCRYPTED}{id}"),
            Self::Env(name) => write!(f, "{ENV}{}", name.0),
            Self::Vault(VaultField { path, field }) => write!(f, "{VAULT}{path}#{field}"),
        }
    }
}

impl Serialize for CredentialRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CredentialRef {
    /// Takes a reference as text; the error never repeats what was there instead.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let reference = String::deserialize(deserializer)
            .ok()
            .and_then(|text| read(&text));
        reference.ok_or_else(|| D::Error::custom(VaultError::InvalidReference))
    }
}

fn read(text: &str) -> Option<CredentialRef> {
    if text.len() > MAX_REFERENCE_LENGTH {
        return None;
    }
    if let Some(id) = text.strip_prefix(ENCRYPTED) {
        return read_id(id).map(CredentialRef::Encrypted);
    }
    if let Some(name) = text.strip_prefix(ENV) {
        return read_env_name(name).map(CredentialRef::Env);
    }
    text.strip_prefix(VAULT)
        .and_then(read_vault_field)
        .map(CredentialRef::Vault)
}

/// An id in its one usual spelling: small letters, with hyphens.
fn read_id(text: &str) -> Option<CredentialId> {
    let id: CredentialId = text.parse().ok()?;
    (id.to_string() == text).then_some(id)
}

fn read_env_name(text: &str) -> Option<EnvName> {
    let allowed = |byte: u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_');
    let begins_well = text
        .bytes()
        .next()
        .is_some_and(|byte| !byte.is_ascii_digit());
    (begins_well && text.bytes().all(allowed)).then(|| EnvName(text.to_owned()))
}

fn read_vault_field(text: &str) -> Option<VaultField> {
    let (path, field) = text.split_once('#')?;
    let is_segment = |segment: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        !matches!(segment, "" | "." | "..") && segment.bytes().all(allowed)
    };
    (path.split('/').all(is_segment) && is_segment(field)).then(|| VaultField {
        path: path.to_owned(),
        field: field.to_owned(),
    })
}

#[cfg(test)]
mod tests;
