//! Key rings and bindings for the tests of this crate; their keys are published, hence refused in
//! key files.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tollgate_core::{CredentialId, IntegrationId, TenantId};
use zeroize::Zeroizing;

use crate::keyfile::Keys;
use crate::keyring::KeyRing;
use crate::seal::Binding;

const MASTERS: [&str; 2] = [
    "MgwzGgac3tkMCcS5qhN9JU+QLHYe+Kx/cLmYVUYaPLg=",
    "JkWPywCmPyt00MffdxnXDbc615Ot6TxRPAakCyHZ8Ck=",
];
const PEPPER: &str = "0IqrQL2CNbXLaBQbcCZeR28V2K/jCzcWAtXX+GBr2xM=";

fn key(text: &str) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(STANDARD.decode(text).unwrap().try_into().unwrap())
}

/// Keys of these names, the first one active. The last one listed has the first sample key, so
/// that an old key keeps its bytes when a new one is put before it.
pub(crate) fn keys(ids: &[&str]) -> Keys {
    let mut masters = Vec::new();
    for (id, text) in ids.iter().rev().zip(MASTERS) {
        masters.insert(0, (id.parse().unwrap(), key(text)));
    }
    let active = masters.remove(0);
    Keys {
        masters: (active, masters),
        pepper: key(PEPPER),
    }
}

/// A ring of these [`keys`].
pub(crate) fn ring(ids: &[&str]) -> KeyRing {
    KeyRing::from_keys(&keys(ids)).unwrap()
}

/// The bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// What a [`Binding`] borrows from and names.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) tenant: TenantId,
    pub(crate) integration: IntegrationId,
    pub(crate) credential: CredentialId,
    pub(crate) version: u32,
}

impl Place {
    /// The place of the known-answer tests.
    pub(crate) fn sample() -> Self {
        Self {
            tenant: "acme".parse().unwrap(),
            integration: "0b8f5a0e-6a0f-4f0e-9d3c-0a4c7f3f1a11".parse().unwrap(),
            credential: "5f0d9f6c-7c1e-4a55-8f0b-2f6f0f3c2b22".parse().unwrap(),
            version: 3,
        }
    }

    pub(crate) fn binding(&self) -> Binding<'_> {
        Binding {
            tenant: &self.tenant,
            integration: self.integration,
            credential: self.credential,
            version: self.version,
        }
    }
}
