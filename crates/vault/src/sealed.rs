//! The bytes of a sealed credential, taken apart and put together in one place.
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | format, now 1 |
//! | 1 | algorithm, 1 = AES-256-GCM for both layers |
//! | 1 | *n*, the length of the master key's id, 1 to 32 |
//! | *n* | the master key's id |
//! | 12 | nonce of the wrapped data key |
//! | 48 | the data key, wrapped by the master key: 32 bytes and a tag of 16 |
//! | 12 | nonce of the secret |
//! | 4 | *m*, the length of what follows, big-endian |
//! | *m* | the secret, encrypted with the data key, and a tag of 16 |

use std::fmt;

use crate::error::VaultError;
use crate::keyring::MasterKeyId;

/// The format that is written, and the only one that is read so far.
pub(crate) const FORMAT: u8 = 1;
/// AES-256-GCM for both layers.
pub(crate) const AES_256_GCM: u8 = 1;
/// The length of a nonce, in bytes.
pub(crate) const NONCE_LENGTH: usize = 12;
/// The length of an authentication tag, in bytes.
pub(crate) const TAG_LENGTH: usize = 16;
/// The length of a wrapped data key with its tag, in bytes.
pub(crate) const WRAPPED_LENGTH: usize = 48;
/// The most bytes that are needed to tell the master key of something sealed.
pub const OPENING_LENGTH: usize = 35;
/// The longest secret that is sealed, in bytes.
pub const MAX_SECRET_LENGTH: usize = 64 * 1024;

/// A sealed credential: bytes that may be stored anywhere, and are worthless without the key ring.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    bytes: Vec<u8>,
    master_key_id: MasterKeyId,
}

impl Sealed {
    /// Checks the structure; whether the seal fits is only known when it is opened.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self, VaultError> {
        let bytes = bytes.into();
        let master_key_id = Parts::read(&bytes)
            .ok_or(VaultError::Malformed)?
            .master_key_id;
        Ok(Self {
            bytes,
            master_key_id,
        })
    }

    /// The bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes that everything sealed under this master key begins with.
    #[must_use]
    pub fn opening_of(id: MasterKeyId) -> Vec<u8> {
        let id = id.as_str().as_bytes();
        // An id has 32 bytes at most.
        let length = u8::try_from(id.len()).unwrap_or(u8::MAX);
        [[FORMAT, AES_256_GCM, length].as_slice(), id].concat()
    }

    /// The master key of something sealed of which the first [`OPENING_LENGTH`] bytes are there.
    #[must_use]
    pub fn master_key_in(opening: &[u8]) -> Option<MasterKeyId> {
        let (&[format, algorithm, id_length], rest) = opening.split_first_chunk::<3>()?;
        if format != FORMAT || algorithm != AES_256_GCM {
            return None;
        }
        let id = rest.get(..usize::from(id_length))?;
        std::str::from_utf8(id).ok()?.parse().ok()
    }

    /// The master key that wraps the data key: what rotation looks for.
    #[must_use]
    pub fn master_key_id(&self) -> MasterKeyId {
        self.master_key_id
    }

    pub(crate) fn parts(&self) -> Result<Parts<'_>, VaultError> {
        Parts::read(&self.bytes).ok_or(VaultError::Malformed)
    }
}

impl From<Sealed> for Vec<u8> {
    fn from(sealed: Sealed) -> Self {
        sealed.bytes
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Sealed({}, {} bytes)",
            self.master_key_id,
            self.bytes.len()
        )
    }
}

/// A sealed credential taken apart; its structure is right, its seal not yet checked.
pub(crate) struct Parts<'a> {
    pub(crate) master_key_id: MasterKeyId,
    pub(crate) wrap_nonce: &'a [u8; NONCE_LENGTH],
    pub(crate) wrapped: &'a [u8; WRAPPED_LENGTH],
    pub(crate) nonce: &'a [u8; NONCE_LENGTH],
    pub(crate) ciphertext: &'a [u8],
    pub(crate) tag: &'a [u8; TAG_LENGTH],
}

impl<'a> Parts<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (&[format, algorithm, id_length], rest) = bytes.split_first_chunk::<3>()?;
        if format != FORMAT || algorithm != AES_256_GCM {
            return None;
        }
        let (id, rest) = rest.split_at_checked(usize::from(id_length))?;
        let master_key_id = std::str::from_utf8(id).ok()?.parse().ok()?;
        let (wrap_nonce, rest) = rest.split_first_chunk()?;
        let (wrapped, rest) = rest.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        if usize::try_from(u32::from_be_bytes(*length)).ok()? != rest.len() {
            return None;
        }
        let (ciphertext, tag) = rest.split_last_chunk()?;
        if ciphertext.is_empty() || ciphertext.len() > MAX_SECRET_LENGTH {
            return None;
        }
        Some(Self {
            master_key_id,
            wrap_nonce,
            wrapped,
            nonce,
            ciphertext,
            tag,
        })
    }

    pub(crate) fn write(&self) -> Result<Sealed, VaultError> {
        let id = self.master_key_id.as_str().as_bytes();
        let id_length = u8::try_from(id.len()).ok().ok_or(VaultError::Malformed)?;
        let body_length = self.ciphertext.len().saturating_add(TAG_LENGTH);
        let length = u32::try_from(body_length)
            .ok()
            .ok_or(VaultError::Malformed)?;
        let bytes = [
            [FORMAT, AES_256_GCM, id_length].as_slice(),
            id,
            self.wrap_nonce,
            self.wrapped,
            self.nonce,
            &length.to_be_bytes(),
            self.ciphertext,
            self.tag,
        ]
        .concat();
        Sealed::from_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_taken_apart_or_refused_and_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            head in 0_u8..4,
        ) {
            let framed = [vec![FORMAT, AES_256_GCM, head], bytes.clone()].concat();
            for candidate in [bytes, framed] {
                match Sealed::from_bytes(candidate.clone()) {
                    Ok(sealed) => prop_assert_eq!(sealed.parts().unwrap().write().unwrap(), sealed),
                    Err(error) => prop_assert_eq!(error, VaultError::Malformed),
                }
            }
        }

        #[test]
        fn parts_that_are_put_together_come_apart_the_same(
            id in "[a-z0-9-]{1,32}",
            ciphertext in proptest::collection::vec(any::<u8>(), 1..200),
        ) {
            let parts = Parts {
                master_key_id: id.parse().unwrap(),
                wrap_nonce: &[1; NONCE_LENGTH],
                wrapped: &[2; WRAPPED_LENGTH],
                nonce: &[3; NONCE_LENGTH],
                ciphertext: &ciphertext,
                tag: &[4; TAG_LENGTH],
            };
            let sealed = parts.write().unwrap();
            let opening = Sealed::opening_of(sealed.master_key_id());
            prop_assert!(sealed.as_bytes().starts_with(&opening));
            let head = &sealed.as_bytes()[..OPENING_LENGTH];
            prop_assert_eq!(Sealed::master_key_in(head), Some(sealed.master_key_id()));
            prop_assert_eq!(Sealed::master_key_in(&opening[..opening.len() - 1]), None);
            let read = sealed.parts().unwrap();
            prop_assert_eq!(read.master_key_id.as_str(), id.as_str());
            prop_assert_eq!(read.wrap_nonce, &[1; NONCE_LENGTH]);
            prop_assert_eq!(read.wrapped, &[2; WRAPPED_LENGTH]);
            prop_assert_eq!(read.nonce, &[3; NONCE_LENGTH]);
            prop_assert_eq!(read.ciphertext, ciphertext.as_slice());
            prop_assert_eq!(read.tag, &[4; TAG_LENGTH]);
        }
    }
}
