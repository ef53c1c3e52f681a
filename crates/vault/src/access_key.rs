//! Access keys: minting one, and the digest that a presented one is found by.
//!
//! A key is `tg_<role>_`, 32 random characters and 6 of checksum, all of `0-9A-Za-z`; secret
//! scanners may look for `\btg_(operator|admin|viewer|caller)_[0-9A-Za-z]{38}\b`. The checksum is
//! the CRC-32 (as in zlib) of all that stands before it, in base 62, most significant digit first:
//! it rejects rubbish before any hash or look-up, and protects nothing. What protects is chance:
//! 32 characters are 190 random bits, of which the prefix that is kept and shown tells 24.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use crc::{CRC_32_ISO_HDLC, Crc};
use tollgate_core::access::KeyDigest;
use tollgate_core::role::Role;
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::keyring::{KeyRing, random_bytes};
use crate::secret::Secret;

const START: &str = "tg_";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_LENGTH: usize = 32;
const CHECKSUM_LENGTH: usize = 6;
/// How many random characters the prefix shows.
const SHOWN_LENGTH: usize = 4;
/// The greatest multiple of 62 that a byte reaches: bytes from here on would favor some digits.
const FAIR_BELOW: u8 = 248;
const CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// A new access key, still with its secret.
#[derive(Debug)]
pub struct MintedKey {
    secret: Secret,
    digest: KeyDigest,
    prefix: String,
}

impl MintedKey {
    /// What to store: the key itself is never kept.
    #[must_use]
    pub fn digest(&self) -> KeyDigest {
        self.digest
    }

    /// Its first characters (`tg_<role>_` and four more), to recognize it by in lists.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The key as text, to be shown to its owner once. This is the only way to it, and it gives
    /// the text away unwiped: call it where the answer is written, and nowhere else.
    #[must_use]
    pub fn reveal(self) -> String {
        self.secret.into_text()
    }
}

impl KeyRing {
    /// Mints an access key that names its role.
    pub fn mint(&self, role: Role) -> Result<MintedKey, VaultError> {
        let start_length = START
            .len()
            .saturating_add(role.as_str().len())
            .saturating_add(1);
        let room = start_length
            .saturating_add(RANDOM_LENGTH)
            .saturating_add(CHECKSUM_LENGTH);
        let mut key = Zeroizing::new(String::with_capacity(room));
        for part in [START, role.as_str(), "_"] {
            key.push_str(part);
        }
        push_random(&mut key)?;
        let prefix = key
            .chars()
            .take(start_length.saturating_add(SHOWN_LENGTH))
            .collect();
        let checksum = checksum(key.as_bytes());
        key.extend(checksum.map(char::from));
        let digest = self.keyed_digest(&key)?;
        Ok(MintedKey {
            secret: key.into(),
            digest,
            prefix,
        })
    }

    /// The digest to look a presented key up by; `None`, without hashing, for what cannot be one.
    #[must_use]
    pub fn digest(&self, presented: &str) -> Option<KeyDigest> {
        if !is_well_formed(presented) {
            return None;
        }
        self.keyed_digest(presented).ok()
    }

    fn keyed_digest(&self, key: &str) -> Result<KeyDigest, VaultError> {
        let tag = hmac::sign(&self.access_keys, key.as_bytes());
        tag.as_ref()
            .first_chunk()
            .copied()
            .map(KeyDigest)
            .ok_or(VaultError::CryptoFailed)
    }
}

/// Whether a text has the form and the checksum of an access key; nothing is allocated.
#[must_use]
pub fn is_well_formed(presented: &str) -> bool {
    let Some((body, tail)) = presented.as_bytes().split_last_chunk::<CHECKSUM_LENGTH>() else {
        return false;
    };
    let Some(random) = random_part(body) else {
        return false;
    };
    random.len() == RANDOM_LENGTH
        && random.iter().all(u8::is_ascii_alphanumeric)
        && verify_slices_are_equal(&checksum(body), tail).is_ok()
}

/// Whether two digests are the same, in a time that does not tell where they differ.
#[must_use]
pub fn is_same(one: &KeyDigest, other: &KeyDigest) -> bool {
    verify_slices_are_equal(&one.0, &other.0).is_ok()
}

/// What follows `tg_<role>_`.
fn random_part(body: &[u8]) -> Option<&[u8]> {
    let named = body.strip_prefix(START.as_bytes())?;
    Role::ALL.into_iter().find_map(|role| {
        named
            .strip_prefix(role.as_str().as_bytes())?
            .strip_prefix(b"_")
    })
}

fn push_random(key: &mut String) -> Result<(), VaultError> {
    let mut missing = RANDOM_LENGTH;
    while missing > 0 {
        let bytes = Zeroizing::new(random_bytes::<RANDOM_LENGTH>()?);
        for byte in bytes
            .iter()
            .filter(|byte| **byte < FAIR_BELOW)
            .take(missing)
        {
            key.push(char::from(digit(u32::from(*byte))));
            missing = missing.saturating_sub(1);
        }
    }
    Ok(())
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    let mut rest = CRC32.checksum(body);
    let mut digits = [b'0'; CHECKSUM_LENGTH];
    for place in digits.iter_mut().rev() {
        *place = digit(rest);
        rest /= 62;
    }
    digits
}

/// The digit of a number's remainder by 62.
fn digit(number: u32) -> u8 {
    let index = usize::try_from(number % 62).unwrap_or(0);
    DIGITS.get(index).copied().unwrap_or(b'0')
}

#[cfg(test)]
mod tests;
