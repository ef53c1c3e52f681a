//! What is secret: sealing, key rings, references, the only plaintext type.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`secret`] | [`Secret`], the only type that holds a plaintext |
//! | [`keyring`] | [`KeyRing`], the master keys and the pepper, ready for use |
//! | [`keyfile`] | the text that a key ring is read from, and what it refuses |
//! | [`seal`] | sealing, opening and re-wrapping a credential |
//! | [`sealed`] | the bytes of a sealed credential |
//! | [`answer`] | sealing answers that are kept for a repeated request |
//! | [`access_key`] | minting access keys, and the digest that they are found by |
//! | [`audit`] | the key that chains the audit trail |
//! | [`fingerprint`] | what may be shown of a secret |
//! | [`mod@reference`] | where a credential is: `encrypted://`, `env://`, `vault://` |
//!
//! Two kinds of key never mix. *Master keys* wrap the data keys of sealed credentials and can be
//! rotated at any time. The *pepper* keys the hashes of access keys, fingerprints and the audit trail;
//! it stays the same for the life of an installation, because a hash cannot be re-wrapped.
//!
//! Nothing here reads a file, the environment or a clock.
#![cfg_attr(not(test), deny(clippy::as_conversions, clippy::indexing_slicing))]

pub mod access_key;
pub mod answer;
pub mod audit;
pub mod error;
pub mod fingerprint;
pub mod keyfile;
pub mod keyring;
pub mod reference;
pub mod seal;
pub mod sealed;
pub mod secret;

#[cfg(test)]
mod samples;

pub use access_key::MintedKey;
pub use audit::AuditKey;
pub use error::{Unresolved, VaultError};
pub use keyfile::{KeyFileProblem, KeyFileText};
pub use keyring::{KeyRing, MasterKeyId};
pub use reference::CredentialRef;
pub use seal::Binding;
pub use sealed::{OPENING_LENGTH, Sealed};
pub use secret::Secret;
