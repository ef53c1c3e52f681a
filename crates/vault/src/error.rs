//! Everything that can go wrong with secrets. No text here ever contains one.

use crate::keyfile::KeyFileProblem;
use crate::keyring::MasterKeyId;

/// Why the vault refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The cryptography library or its random source failed.
    #[error(
        "the cryptography library failed, so nothing was made; check the system's random source"
    )]
    CryptoFailed,
    /// The secret is empty or too long to seal.
    #[error("a credential must be 1 to {max} bytes long")]
    SecretLength {
        /// The longest that may be sealed, in bytes.
        max: usize,
    },
    /// The bytes are not a sealed credential, or one of a later version of Tollgate.
    #[error("the sealed credential is damaged or of an unknown format; enter the credential again")]
    Malformed,
    /// The key ring lacks the master key.
    #[error(
        "the credential is sealed under master key `{id}`, which the key file lacks; add it back"
    )]
    UnknownMasterKey {
        /// The master key that is missing.
        id: MasterKeyId,
    },
    /// The seal does not fit: the bytes were altered, or belong to another tenant, integration,
    /// credential or version, or the master key's bytes were replaced under the same id.
    #[error(
        "the sealed credential does not fit its place or its master key; enter the credential again"
    )]
    NotAuthentic,
    /// The key file has no master key of that id.
    #[error("the key file holds no master key `{id}`")]
    NoSuchMasterKey {
        /// The id that was asked for.
        id: MasterKeyId,
    },
    /// The master key that seals cannot be taken out of the key file.
    #[error("`{id}` is the active master key: make another one active first")]
    ActiveMasterKey {
        /// The active key.
        id: MasterKeyId,
    },
    /// The key file is not fit for use.
    #[error("the key file is not usable: {0}")]
    KeyFile(#[from] KeyFileProblem),
    /// The text is no credential reference. It is not repeated here: it may be a raw key.
    #[error(
        "a credential reference is `encrypted://<id>`, `env://NAME` or `vault://path#field`; \
         a credential itself is never a reference"
    )]
    InvalidReference,
    /// The reference is well-formed, but leads to no credential.
    #[error("the credential reference leads nowhere: {0}")]
    Unresolved(#[from] Unresolved),
}

/// Why a well-formed reference leads to no credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// The variable's name begins with none of the prefixes that the operator allows.
    #[error("the operator allows no environment variable of that name")]
    EnvNotAllowed,
    /// The variable is not set, or empty.
    #[error("the environment variable is not set or empty; set it and restart")]
    EnvUnset,
    /// References into an external vault are reserved, and not built yet.
    #[error("`vault://` references are not supported yet; enter the credential, or use `env://`")]
    VaultUnsupported,
    /// The credential is sealed in the store: it is opened with the key ring.
    #[error("a sealed credential can only be referred to by Tollgate itself")]
    Encrypted,
}
