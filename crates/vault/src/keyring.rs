//! The key ring: master keys by id, one of them active, and the keys derived from the pepper.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{hkdf, hmac, rand};

use crate::audit::AuditKey;
use crate::error::VaultError;
use crate::fingerprint::hex_mark;
use crate::keyfile::{KeyBytes, Keys};
use crate::seal::aead_key;

/// The length of every key, in bytes.
pub(crate) const KEY_LENGTH: usize = 32;
const MAX_ID_LENGTH: usize = 32;
/// The line of the key file that is no master key.
pub(crate) const PEPPER: &str = "pepper";

const ACCESS_KEY_PURPOSE: &[u8] = b"tollgate/access-key";
const FINGERPRINT_PURPOSE: &[u8] = b"tollgate/fingerprint";
const REQUEST_PURPOSE: &[u8] = b"tollgate/request";
const ANSWER_PURPOSE: &[u8] = b"tollgate/answer";
const AUDIT_TRAIL_PURPOSE: &[u8] = b"tollgate/audit-trail";
const PEPPER_MARK_PURPOSE: &[u8] = b"tollgate/pepper-mark";

/// The name of a master key: 1 to 32 characters of `a-z`, `0-9` and `-`; `pepper` is taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MasterKeyId {
    characters: [u8; MAX_ID_LENGTH],
    length: u8,
}

/// A text that cannot name a master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a master key's id is 1 to 32 characters of a-z, 0-9 and -, and is not `pepper`")]
pub struct InvalidMasterKeyId;

impl MasterKeyId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let characters = self
            .characters
            .get(..usize::from(self.length))
            .unwrap_or_default();
        std::str::from_utf8(characters).unwrap_or_default()
    }
}

impl FromStr for MasterKeyId {
    type Err = InvalidMasterKeyId;

    fn from_str(text: &str) -> Result<Self, InvalidMasterKeyId> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if text.is_empty() || text == PEPPER || !text.bytes().all(allowed) {
            return Err(InvalidMasterKeyId);
        }
        let mut characters = [0; MAX_ID_LENGTH];
        let place = characters.get_mut(..text.len()).ok_or(InvalidMasterKeyId)?;
        place.copy_from_slice(text.as_bytes());
        let length = u8::try_from(text.len()).ok().ok_or(InvalidMasterKeyId)?;
        Ok(Self { characters, length })
    }
}

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKeyId({self})")
    }
}

/// One master key, prepared for use.
pub(crate) struct MasterKey {
    pub(crate) id: MasterKeyId,
    pub(crate) key: LessSafeKey,
    /// A keyed hash of its bytes: two keys of one id are the same key if their marks are.
    mark: String,
}

/// The keys of an installation, prepared for use; read once at start and shared.
pub struct KeyRing {
    active: MasterKey,
    others: Vec<MasterKey>,
    pub(crate) access_keys: hmac::Key,
    pub(crate) fingerprints: hmac::Key,
    pub(crate) requests: hmac::Key,
    pub(crate) answers: LessSafeKey,
    audit_trail: AuditKey,
    pepper_mark: String,
}

impl KeyRing {
    /// Reads a key file ([`crate::keyfile`] describes it) and refuses keys that are not real.
    pub fn parse(text: &str) -> Result<Self, VaultError> {
        Self::from_keys(&Keys::read(text)?)
    }

    /// A ring of new random keys that is kept nowhere: what it seals is lost with it.
    pub fn generate() -> Result<Self, VaultError> {
        Self::generate_file_text()?.ring()
    }

    /// The master key that seals from now on.
    #[must_use]
    pub fn active_id(&self) -> MasterKeyId {
        self.active.id
    }

    /// Every master key of the ring, the active one first.
    pub fn ids(&self) -> impl Iterator<Item = MasterKeyId> {
        self.masters().map(|master| master.id)
    }

    /// A mark of the pepper, 16 hexadecimal digits: kept beside the access keys, it tells a wrong
    /// key file from wrong access keys. It reveals nothing of the pepper.
    #[must_use]
    pub fn pepper_mark(&self) -> &str {
        &self.pepper_mark
    }

    /// Whether the other ring has the same keys in the same order, and the same pepper.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.pepper_mark == other.pepper_mark
            && self
                .masters()
                .map(MasterKey::name)
                .eq(other.masters().map(MasterKey::name))
    }

    /// The first master key that the other ring has under the same id with other bytes.
    #[must_use]
    pub fn disagrees_with(&self, other: &Self) -> Option<MasterKeyId> {
        let differs = |mine: &&MasterKey| {
            let theirs = other.master(mine.id);
            theirs.is_some_and(|theirs| theirs.mark != mine.mark)
        };
        self.masters().find(differs).map(|master| master.id)
    }

    /// The key that chains the audit trail. It follows the pepper, so it outlives every master key.
    #[must_use]
    pub fn audit_key(&self) -> AuditKey {
        self.audit_trail.clone()
    }

    pub(crate) fn from_keys(keys: &Keys) -> Result<Self, VaultError> {
        let (first, rest) = &keys.masters;
        let mark_key = derive(&keys.pepper, PEPPER_MARK_PURPOSE)?;
        let others = rest
            .iter()
            .map(|master| MasterKey::prepare(master, &mark_key))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            active: MasterKey::prepare(first, &mark_key)?,
            others,
            access_keys: derive(&keys.pepper, ACCESS_KEY_PURPOSE)?,
            fingerprints: derive(&keys.pepper, FINGERPRINT_PURPOSE)?,
            requests: derive(&keys.pepper, REQUEST_PURPOSE)?,
            answers: derive_aead(&keys.pepper, ANSWER_PURPOSE)?,
            audit_trail: AuditKey::new(derive(&keys.pepper, AUDIT_TRAIL_PURPOSE)?),
            pepper_mark: hex_mark(&mark_key, b""),
        })
    }

    pub(crate) fn active(&self) -> &MasterKey {
        &self.active
    }

    pub(crate) fn master(&self, id: MasterKeyId) -> Option<&MasterKey> {
        self.masters().find(|master| master.id == id)
    }

    fn masters(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.active).chain(&self.others)
    }
}

impl MasterKey {
    fn prepare(
        (id, bytes): &(MasterKeyId, KeyBytes),
        mark_key: &hmac::Key,
    ) -> Result<Self, VaultError> {
        Ok(Self {
            id: *id,
            key: aead_key(bytes.as_ref())?,
            mark: hex_mark(mark_key, bytes.as_ref()),
        })
    }

    fn name(&self) -> (MasterKeyId, &str) {
        (self.id, &self.mark)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.ids().collect();
        f.debug_struct("KeyRing")
            .field("master_keys", &ids)
            .finish_non_exhaustive()
    }
}

/// Random bytes from the system's source by way of the cryptography library.
pub(crate) fn random_bytes<const LENGTH: usize>() -> Result<[u8; LENGTH], VaultError> {
    let mut bytes = [0; LENGTH];
    rand::fill(&mut bytes).map_err(|Unspecified| VaultError::CryptoFailed)?;
    Ok(bytes)
}

/// A key of its own for each purpose, by HKDF-SHA-256 without salt.
fn derive(pepper: &KeyBytes, purpose: &[u8]) -> Result<hmac::Key, VaultError> {
    hkdf::Salt::none(hkdf::HKDF_SHA256)
        .extract(pepper.as_ref())
        .expand(&[purpose], hmac::HMAC_SHA256)
        .map(hmac::Key::from)
        .map_err(|Unspecified| VaultError::CryptoFailed)
}

/// A key of its own to encrypt with, in the same way.
fn derive_aead(pepper: &KeyBytes, purpose: &[u8]) -> Result<LessSafeKey, VaultError> {
    hkdf::Salt::none(hkdf::HKDF_SHA256)
        .extract(pepper.as_ref())
        .expand(&[purpose], &AES_256_GCM)
        .map(UnboundKey::from)
        .map(LessSafeKey::new)
        .map_err(|Unspecified| VaultError::CryptoFailed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_master_key_id_keeps_its_text_and_refuses_what_it_may_not_hold() {
        for text in ["k1", "2026-11", "a", &"x".repeat(32)] {
            assert_eq!(text.parse::<MasterKeyId>().unwrap().as_str(), text);
        }
        for text in [
            "",
            "K1",
            "k_1",
            "k 1",
            "clé",
            "pepper",
            "k1\n",
            &"x".repeat(33),
        ] {
            assert_eq!(
                text.parse::<MasterKeyId>(),
                Err(InvalidMasterKeyId),
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_first_master_key_is_the_active_one() {
        let ring = samples::ring(&["new", "old"]);
        assert_eq!(ring.active_id().as_str(), "new");
        assert_eq!(
            ring.ids().map(|id| id.to_string()).collect::<Vec<_>>(),
            ["new", "old"]
        );
    }

    #[test]
    fn rings_are_compared_by_the_bytes_of_their_keys() {
        let ring = samples::ring(&["new", "old"]);
        assert!(ring.is_same_as(&samples::ring(&["new", "old"])));
        assert!(!ring.is_same_as(&samples::ring(&["old"])));
        // The sample keys are given from the last on, so that these two have the bytes of the other.
        assert!(!ring.is_same_as(&samples::ring(&["old", "new"])));
        assert_eq!(ring.disagrees_with(&samples::ring(&["old"])), None);
        let other = samples::ring(&["old", "new"]);
        assert_eq!(ring.disagrees_with(&other), Some("new".parse().unwrap()));
        assert!(
            !KeyRing::generate()
                .unwrap()
                .is_same_as(&KeyRing::generate().unwrap())
        );
    }

    #[test]
    fn the_pepper_mark_follows_the_pepper_and_not_the_master_keys() {
        let ring = samples::ring(&["one"]);
        let rotated = samples::ring(&["two", "one"]);
        assert_eq!(ring.pepper_mark(), rotated.pepper_mark());
        assert_ne!(
            ring.pepper_mark(),
            KeyRing::generate().unwrap().pepper_mark()
        );
        assert_eq!(ring.pepper_mark().len(), 16);
    }
}
