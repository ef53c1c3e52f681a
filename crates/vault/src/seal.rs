//! Sealing, opening and re-wrapping a credential: envelope encryption with AES-256-GCM.
//!
//! Each credential is encrypted with a random data key of its own, and that data key with a master
//! key of the ring. Both layers authenticate where the credential belongs ([`Binding`]), so that a
//! sealed credential copied to another row opens nowhere. The secret's layer does not name the
//! master key: rotating it re-wraps the data key alone and never touches the plaintext.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use tollgate_core::{CredentialId, IntegrationId, TenantId};
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::keyring::{KEY_LENGTH, KeyRing, MasterKeyId, random_bytes};
use crate::sealed::{self, MAX_SECRET_LENGTH, NONCE_LENGTH, Parts, Sealed, WRAPPED_LENGTH};
use crate::secret::Secret;

const DATA_KEY_PURPOSE: &[u8] = b"tollgate/data-key";
const SECRET_PURPOSE: &[u8] = b"tollgate/credential";

/// Where a sealed credential belongs; it opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// The tenant that owns it.
    pub tenant: &'a TenantId,
    /// The integration that uses it.
    pub integration: IntegrationId,
    /// The credential itself.
    pub credential: CredentialId,
    /// How often it was replaced; an older sealed version does not pass for a newer one.
    pub version: u32,
}

impl KeyRing {
    /// Seals a secret of 1 to 65,536 bytes under the active master key.
    pub fn seal(&self, secret: &Secret, binding: &Binding<'_>) -> Result<Sealed, VaultError> {
        self.seal_with(secret, binding, &Draw::random()?)
    }

    /// Opens a sealed credential; fails unless the binding is the one that it was sealed with.
    pub fn open(&self, sealed: &Sealed, binding: &Binding<'_>) -> Result<Secret, VaultError> {
        let parts = sealed.parts()?;
        let key = aead_key(self.unwrap_data_key(&parts, binding)?.as_ref())?;
        let mut plaintext = Zeroizing::new(vec![0; parts.ciphertext.len()]);
        key.open_separate_gather(
            Nonce::assume_unique_for_key(*parts.nonce),
            Aad::from(associated(SECRET_PURPOSE, binding, None)),
            parts.ciphertext,
            parts.tag,
            plaintext.as_mut_slice(),
        )
        .map_err(|Unspecified| VaultError::NotAuthentic)?;
        Secret::from_utf8(plaintext).ok_or(VaultError::NotAuthentic)
    }

    /// Wraps the data key anew under the active master key, without opening the secret. Safe to
    /// repeat, and both results open as long as the ring holds both master keys.
    pub fn rewrap(&self, sealed: &Sealed, binding: &Binding<'_>) -> Result<Sealed, VaultError> {
        let parts = sealed.parts()?;
        let data_key = self.unwrap_data_key(&parts, binding)?;
        let wrap_nonce = random_bytes()?;
        let wrapped = self.wrap_data_key(&data_key, wrap_nonce, binding)?;
        let master_key_id = self.active_id();
        Parts {
            master_key_id,
            wrap_nonce: &wrap_nonce,
            wrapped: &wrapped,
            ..parts
        }
        .write()
    }

    fn seal_with(
        &self,
        secret: &Secret,
        binding: &Binding<'_>,
        draw: &Draw,
    ) -> Result<Sealed, VaultError> {
        let plaintext = secret.expose().as_bytes();
        if plaintext.is_empty() || plaintext.len() > MAX_SECRET_LENGTH {
            return Err(VaultError::SecretLength {
                max: MAX_SECRET_LENGTH,
            });
        }
        let mut buffer = Zeroizing::new(plaintext.to_vec());
        let tag = aead_key(draw.data_key.as_ref())?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(draw.nonce),
                Aad::from(associated(SECRET_PURPOSE, binding, None)),
                buffer.as_mut_slice(),
            )
            .map_err(|Unspecified| VaultError::CryptoFailed)?;
        Parts {
            master_key_id: self.active_id(),
            wrap_nonce: &draw.wrap_nonce,
            wrapped: &self.wrap_data_key(&draw.data_key, draw.wrap_nonce, binding)?,
            nonce: &draw.nonce,
            ciphertext: &buffer,
            tag: tag.as_ref().first_chunk().ok_or(VaultError::CryptoFailed)?,
        }
        .write()
    }

    fn wrap_data_key(
        &self,
        data_key: &[u8; KEY_LENGTH],
        nonce: [u8; NONCE_LENGTH],
        binding: &Binding<'_>,
    ) -> Result<[u8; WRAPPED_LENGTH], VaultError> {
        let active = self.active();
        let mut buffer = Zeroizing::new(*data_key);
        let tag = active
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated(DATA_KEY_PURPOSE, binding, Some(active.id))),
                buffer.as_mut_slice(),
            )
            .map_err(|Unspecified| VaultError::CryptoFailed)?;
        let mut wrapped = [0; WRAPPED_LENGTH];
        for (to, from) in wrapped.iter_mut().zip(buffer.iter().chain(tag.as_ref())) {
            *to = *from;
        }
        Ok(wrapped)
    }

    fn unwrap_data_key(
        &self,
        parts: &Parts<'_>,
        binding: &Binding<'_>,
    ) -> Result<Zeroizing<[u8; KEY_LENGTH]>, VaultError> {
        let id = parts.master_key_id;
        let master = self.master(id).ok_or(VaultError::UnknownMasterKey { id })?;
        let (ciphertext, tag) = parts.wrapped.split_at(KEY_LENGTH);
        let mut data_key = Zeroizing::new([0; KEY_LENGTH]);
        master
            .key
            .open_separate_gather(
                Nonce::assume_unique_for_key(*parts.wrap_nonce),
                Aad::from(associated(DATA_KEY_PURPOSE, binding, Some(id))),
                ciphertext,
                tag,
                data_key.as_mut_slice(),
            )
            .map_err(|Unspecified| VaultError::NotAuthentic)?;
        Ok(data_key)
    }
}

/// What sealing draws at random; drawn elsewhere only by known-answer tests.
struct Draw {
    data_key: Zeroizing<[u8; KEY_LENGTH]>,
    wrap_nonce: [u8; NONCE_LENGTH],
    nonce: [u8; NONCE_LENGTH],
}

impl Draw {
    fn random() -> Result<Self, VaultError> {
        Ok(Self {
            data_key: Zeroizing::new(random_bytes()?),
            wrap_nonce: random_bytes()?,
            nonce: random_bytes()?,
        })
    }
}

/// A prepared AES-256-GCM key.
pub(crate) fn aead_key(bytes: &[u8]) -> Result<LessSafeKey, VaultError> {
    UnboundKey::new(&AES_256_GCM, bytes)
        .map(LessSafeKey::new)
        .map_err(|Unspecified| VaultError::CryptoFailed)
}

/// What a layer authenticates beside its content. Every field follows its length, so that no two
/// bindings have the same bytes.
fn associated(purpose: &[u8], binding: &Binding<'_>, master: Option<MasterKeyId>) -> Vec<u8> {
    let master = master.as_ref().map_or("", MasterKeyId::as_str);
    let integration = binding.integration.uuid();
    let credential = binding.credential.uuid();
    let fields: [&[u8]; 7] = [
        purpose,
        &[sealed::FORMAT, sealed::AES_256_GCM],
        binding.tenant.as_str().as_bytes(),
        integration.as_bytes(),
        credential.as_bytes(),
        &binding.version.to_be_bytes(),
        master.as_bytes(),
    ];
    let mut bytes = Vec::with_capacity(256);
    for field in fields {
        let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}

#[cfg(test)]
mod tests;
