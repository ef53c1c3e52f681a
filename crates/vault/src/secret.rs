//! The only type that holds a plaintext secret: it is wiped when dropped and cannot be printed.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use zeroize::{Zeroize, Zeroizing};

/// A plaintext secret, wiped from memory when it is dropped.
///
/// It can be received (also from JSON) and given to the code that needs it, and nothing else:
///
/// ```
/// let secret = tollgate_vault::Secret::new("sk-canary".to_owned());
/// assert_eq!(secret.expose(), "sk-canary");
/// assert_eq!(format!("{secret:?}"), "Secret(…)");
/// ```
///
/// No copy:
/// ```compile_fail,E0599
/// let secret = tollgate_vault::Secret::new("sk-canary".to_owned());
/// let copy = secret.clone();
/// ```
///
/// No text:
/// ```compile_fail,E0277
/// let secret = tollgate_vault::Secret::new("sk-canary".to_owned());
/// let text = format!("{secret}");
/// ```
///
/// No JSON:
/// ```compile_fail,E0277
/// let secret = tollgate_vault::Secret::new("sk-canary".to_owned());
/// let json = serde_json::to_string(&secret);
/// ```
///
/// No comparison, which would take longer the more characters agree:
/// ```compile_fail,E0369
/// let secret = tollgate_vault::Secret::new("sk-canary".to_owned());
/// let same = secret == tollgate_vault::Secret::new("sk-canary".to_owned());
/// ```
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over; the caller must hold no other copy of it.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The plaintext. Called where a provider's request is signed, and inside the vault; the list
    /// of such places is a recorded test.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The secret in these bytes, `None` (and the bytes wiped) where they are not UTF-8.
    pub(crate) fn from_utf8(mut bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        match String::from_utf8(std::mem::take(&mut *bytes)) {
            Ok(text) => Some(Self::new(text)),
            Err(rejected) => {
                rejected.into_bytes().zeroize();
                None
            }
        }
    }

    /// Gives the plaintext away, unwiped.
    pub(crate) fn into_text(mut self) -> String {
        std::mem::take(&mut *self.0)
    }
}

impl From<Zeroizing<String>> for Secret {
    fn from(text: Zeroizing<String>) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    /// Takes text only; the error never repeats what was there instead.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Ok(secret) = deserializer.deserialize_string(SecretVisitor) else {
            return Err(Error::custom("a secret must be text"));
        };
        Ok(secret)
    }
}

struct SecretVisitor;

impl Visitor<'_> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret as text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::new(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Secret, E> {
        Ok(Secret::new(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_a_secret_even_inside_other_types() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "only its Debug text matters")]
        struct Request {
            credential: Option<Secret>,
        }
        let request = Request {
            credential: Some(Secret::new("sk-canary".to_owned())),
        };
        assert_eq!(
            format!("{request:?}"),
            "Request { credential: Some(Secret(…)) }"
        );
        assert!(!format!("{request:#?}").contains("canary"));
    }

    #[test]
    fn a_secret_is_read_from_json_text_also_with_escapes() {
        let secret: Secret = serde_json::from_str(r#""a\"b\u00e9""#).unwrap();
        assert_eq!(secret.expose(), "a\"bé");
    }

    #[test]
    fn json_that_is_no_text_is_refused_without_being_repeated() {
        for json in [
            "424242",
            "4.24242",
            "true",
            "[\"canary\"]",
            "{\"canary\":1}",
            "null",
            "\"canary",
        ] {
            let error = serde_json::from_str::<Secret>(json)
                .unwrap_err()
                .to_string();
            assert!(error.contains("a secret must be text"), "{error}");
            assert!(
                !error.contains("canary") && !error.contains("4242"),
                "{error}"
            );
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_no_secret() {
        assert!(Secret::from_utf8(Zeroizing::new(vec![b'a', 0xff])).is_none());
        let secret = Secret::from_utf8(Zeroizing::new("clé".as_bytes().to_vec())).unwrap();
        assert_eq!(secret.into_text(), "clé");
    }
}
