//! The key of the audit trail: who has only the database cannot make a mark that fits a forged entry.

use std::sync::Arc;

use aws_lc_rs::hmac;

/// Marks entries of the audit trail with HMAC-SHA-256, under a key of its own that is derived from the pepper.
#[derive(Clone)]
pub struct AuditKey(Arc<hmac::Key>);

impl AuditKey {
    pub(crate) fn new(key: hmac::Key) -> Self {
        Self(Arc::new(key))
    }

    /// The mark of these bytes.
    #[must_use]
    pub fn mark(&self, bytes: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.0, bytes);
        let mut mark = [0; 32];
        for (place, byte) in mark.iter_mut().zip(tag.as_ref()) {
            *place = *byte;
        }
        mark
    }
}

impl std::fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuditKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use crate::samples;

    #[test]
    fn a_mark_follows_the_pepper_and_the_bytes_and_not_the_master_keys() {
        let before = samples::ring(&["one"]).audit_key();
        let rotated = samples::ring(&["two", "one"]).audit_key();
        let other = crate::KeyRing::generate().unwrap().audit_key();
        assert_eq!(before.mark(b"entry"), rotated.mark(b"entry"));
        assert_ne!(before.mark(b"entry"), before.mark(b"entri"));
        assert_ne!(before.mark(b"entry"), other.mark(b"entry"));
        assert_eq!(format!("{before:?}"), "AuditKey(…)");
    }
}
