//! What may be shown of a secret: a keyed fingerprint, and its last four characters.

use aws_lc_rs::hmac;

use crate::keyring::KeyRing;
use crate::secret::Secret;

/// How much of the hash is shown, in bytes; in digits it is twice that.
const SHOWN_BYTES: usize = 8;
const LAST_CHARACTERS: usize = 4;
/// Of a shorter secret, four characters would be too much.
const SHORTEST_WITH_LAST: usize = 12;

impl KeyRing {
    /// Sixteen hexadecimal digits that tell two secrets apart. Keyed by the pepper, so that it
    /// cannot be guessed from a list of likely secrets, and the same after a rotation.
    #[must_use]
    pub fn fingerprint(&self, secret: &Secret) -> String {
        hex_mark(&self.fingerprints, secret.expose().as_bytes())
    }
}

/// The last four characters; empty for a secret of fewer than twelve.
#[must_use]
pub fn last4(secret: &Secret) -> String {
    let text = secret.expose();
    let length = text.chars().count();
    if length < SHORTEST_WITH_LAST {
        return String::new();
    }
    text.chars()
        .skip(length.saturating_sub(LAST_CHARACTERS))
        .collect()
}

/// The first sixteen hexadecimal digits of a keyed hash.
pub(crate) fn hex_mark(key: &hmac::Key, text: &[u8]) -> String {
    let tag = hmac::sign(key, text);
    let shown = tag.as_ref().iter().take(SHOWN_BYTES);
    shown
        .flat_map(|byte| [byte >> 4, byte & 0x0f])
        .map(hex_digit)
        .collect()
}

fn hex_digit(half: u8) -> char {
    char::from_digit(u32::from(half), 16).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn the_last_four_are_shown_only_of_a_secret_of_twelve_or_more() {
        assert_eq!(last4(&secret("")), "");
        assert_eq!(last4(&secret("abcdefghijk")), "");
        assert_eq!(last4(&secret("abcdefghijkl")), "ijkl");
        assert_eq!(last4(&secret("éééééééé")), "");
        assert_eq!(last4(&secret("abcdefghijké€😀z")), "é€😀z");
    }

    #[test]
    fn a_fingerprint_is_the_truncated_keyed_hash_computed_elsewhere() {
        let ring = samples::ring(&["k1"]);
        assert_eq!(ring.fingerprint(&secret("sk-canary")), "78300b86f8338090");
        assert_eq!(ring.pepper_mark(), "f2c4783669fb6038");
    }

    #[test]
    fn a_fingerprint_tells_secrets_apart_and_survives_a_rotation() {
        let ring = samples::ring(&["k1"]);
        let rotated = samples::ring(&["k2", "k1"]);
        let other = KeyRing::generate().unwrap();
        let print = ring.fingerprint(&secret("sk-one"));
        assert_eq!(print, rotated.fingerprint(&secret("sk-one")));
        assert_ne!(print, ring.fingerprint(&secret("sk-two")));
        assert_ne!(print, other.fingerprint(&secret("sk-one")));
    }
}
