//! Sealing answers that are kept for a repeated request, and the keyed hashes they are found by.
//!
//! An answer may hold a new access key, and a request may hold a provider's credential. So the
//! answer is encrypted with AES-256-GCM and a key of its own, and the request is kept as a keyed
//! hash only. Both keys come from the pepper, which never changes: a rotation of the master keys
//! touches neither. Nonces are random; with one key that is safe for 2³² answers.

use aws_lc_rs::aead::{Aad, Nonce};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::keyring::{KeyRing, random_bytes};
use crate::sealed::{NONCE_LENGTH, TAG_LENGTH};

/// The format that is written, and the only one that is read so far.
const FORMAT: u8 = 1;

impl KeyRing {
    /// A keyed hash of several texts: no two lists of texts have the same.
    pub fn request_digest(&self, parts: &[&[u8]]) -> Result<[u8; 32], VaultError> {
        let mut context = hmac::Context::with_key(&self.requests);
        for part in parts {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            context.update(&length.to_be_bytes());
            context.update(part);
        }
        let tag = context.sign();
        tag.as_ref()
            .first_chunk()
            .copied()
            .ok_or(VaultError::CryptoFailed)
    }

    /// Seals an answer; it opens for the request of this id and no other.
    pub fn seal_answer(&self, answer: &[u8], id: &[u8; 32]) -> Result<Vec<u8>, VaultError> {
        let nonce: [u8; NONCE_LENGTH] = random_bytes()?;
        let mut buffer = Zeroizing::new(answer.to_vec());
        let tag = self
            .answers
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(id),
                buffer.as_mut_slice(),
            )
            .map_err(|Unspecified| VaultError::CryptoFailed)?;
        Ok([&[FORMAT][..], &nonce, &buffer, tag.as_ref()].concat())
    }

    /// Opens an answer that was sealed for the request of this id.
    pub fn open_answer(
        &self,
        sealed: &[u8],
        id: &[u8; 32],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let (nonce, ciphertext, tag) = parts(sealed).ok_or(VaultError::Malformed)?;
        let mut plaintext = Zeroizing::new(vec![0; ciphertext.len()]);
        self.answers
            .open_separate_gather(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(id),
                ciphertext,
                tag,
                plaintext.as_mut_slice(),
            )
            .map_err(|Unspecified| VaultError::NotAuthentic)?;
        Ok(plaintext)
    }
}

fn parts(sealed: &[u8]) -> Option<(&[u8; NONCE_LENGTH], &[u8], &[u8; TAG_LENGTH])> {
    let (format, rest) = sealed.split_first()?;
    let (nonce, rest) = rest.split_first_chunk()?;
    let (ciphertext, tag) = rest.split_last_chunk()?;
    (*format == FORMAT).then_some((nonce, ciphertext, tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    const ID: [u8; 32] = [5; 32];

    #[test]
    fn an_answer_opens_after_a_rotation_and_for_its_own_request_only() {
        let ring = samples::ring(&["k1"]);
        let sealed = ring.seal_answer(b"tg_admin_canary", &ID).unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"canary"));
        let rotated = samples::ring(&["k2", "k1"]);
        let opened = rotated.open_answer(&sealed, &ID).unwrap();
        assert_eq!(opened.as_slice(), b"tg_admin_canary");
        let elsewhere = ring.open_answer(&sealed, &[6; 32]);
        assert_eq!(elsewhere.unwrap_err(), VaultError::NotAuthentic);
        let other = KeyRing::generate().unwrap().open_answer(&sealed, &ID);
        assert_eq!(other.unwrap_err(), VaultError::NotAuthentic);
    }

    #[test]
    fn an_answer_that_was_changed_or_cut_opens_nowhere() {
        let ring = samples::ring(&["k1"]);
        let sealed = ring.seal_answer(b"answer", &ID).unwrap();
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(ring.open_answer(&changed, &ID).is_err(), "{place}");
            assert!(ring.open_answer(&sealed[..place], &ID).is_err(), "{place}");
        }
        assert_ne!(ring.seal_answer(b"answer", &ID).unwrap(), sealed);
    }

    #[test]
    fn a_digest_tells_where_one_text_ends_and_the_next_begins() {
        let ring = samples::ring(&["k1"]);
        let digest = |parts: &[&[u8]]| ring.request_digest(parts).unwrap();
        assert_eq!(digest(&[b"ab", b"c"]), digest(&[b"ab", b"c"]));
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(digest(&[b"ab"]), digest(&[b"ab", b""]));
    }
}
