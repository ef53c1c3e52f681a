//! What the store is given to prove its audit trail with, and what is said where it cannot keep tenants apart.

use tollgate_store::{AuditSeal, RowSecurity};
use tollgate_vault::KeyRing;

/// What to say where the database could keep tenants apart by itself and does not.
pub fn missing_wall(wall: &RowSecurity) -> Option<String> {
    match wall {
        RowSecurity::Standing { .. } | RowSecurity::NotOffered => None,
        RowSecurity::Missing { role, reason } => Some(format!(
            "row-level security is not in force, the program alone keeps tenants apart: the role {role}: {reason} \
             (docs/operations.md says what the database's administrator runs)"
        )),
    }
}

/// What chains the audit trail under the installation's own key.
pub fn audit_seal(ring: &KeyRing) -> AuditSeal {
    let key = ring.audit_key();
    AuditSeal::new(move |bytes| key.mark(bytes))
}
