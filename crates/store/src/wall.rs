//! The second wall between tenants: on PostgreSQL a tenant's work is done as a role that row-level security binds.
//!
//! The first wall is that every statement of a [`TenantStore`](crate::TenantStore) names its tenant. Were it forgotten in
//! one of them, the database itself would still show and touch nothing that is another tenant's.

use tollgate_core::TenantId;

use crate::Store;
use crate::engine::{Purpose, Work, sql};
use crate::error::StoreError;

/// Whether the database itself keeps tenants apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowSecurity {
    /// It does, by this role.
    Standing {
        /// The role that tenants' work is done as.
        role: String,
    },
    /// It does not; the program alone does.
    Missing {
        /// The role that should be there.
        role: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The engine has nothing of the kind: SQLite, whose file belongs to one process.
    NotOffered,
}

impl Store {
    /// Whether the second wall stands.
    pub async fn row_security(&self) -> Result<RowSecurity, StoreError> {
        self.perform(Purpose::Read, |work| Box::pin(look(work)))
            .await
    }
}

/// Raises the wall, or leaves it as it is where the connecting role may not; part of every start.
pub(crate) async fn raise(work: &mut Work) -> Result<(), StoreError> {
    if !work.is_postgres() {
        return Ok(());
    }
    work.run_script(include_str!("wall/raise.sql")).await
}

/// Looks whether the wall stands.
pub(crate) async fn look(work: &mut Work) -> Result<RowSecurity, StoreError> {
    if !work.is_postgres() {
        return Ok(RowSecurity::NotOffered);
    }
    let (role, reason): (String, String) = work.fetch_one(sql(LOOK)).await?;
    Ok(if reason.is_empty() {
        RowSecurity::Standing { role }
    } else {
        RowSecurity::Missing { role, reason }
    })
}

const LOOK: &str = "SELECT name.role, CASE \
     WHEN r.oid IS NULL THEN 'there is no such role, and the connecting role may not make it' \
     WHEN r.rolsuper OR r.rolbypassrls THEN 'it may step over row-level security' \
     WHEN r.rolcanlogin THEN 'it may log in' \
     WHEN NOT CASE WHEN current_setting('server_version_num')::int >= 160000 \
         THEN pg_has_role(current_user, r.oid, 'SET') ELSE pg_has_role(current_user, r.oid, 'MEMBER') END \
         THEN 'the connecting role may not act as it' \
     WHEN NOT COALESCE(has_table_privilege(r.oid, to_regclass('cus_integrations'), 'UPDATE'), false) \
         THEN 'it has no rights on the tables: start Tollgate once more' \
     WHEN EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid) THEN 'it owns tables' \
     ELSE '' END \
     FROM (SELECT left(current_user || '_tenant', 63) AS role) AS name \
     LEFT JOIN pg_roles r ON r.rolname = name.role";

/// What begins a tenant's work behind the wall. Both values are written in hexadecimal: whatever they hold, they cannot
/// end the text that they stand in, and several statements at once take no bound values.
pub(crate) fn behind(role: &str, tenant: &TenantId) -> String {
    let (role, tenant) = (hexadecimal(role), hexadecimal(tenant.as_str()));
    format!(
        "SELECT set_config('tollgate.tenant', convert_from(decode('{tenant}', 'hex'), 'UTF8'), true), \
         set_config('role', convert_from(decode('{role}', 'hex'), 'UTF8'), true)"
    )
}

fn hexadecimal(text: &str) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    text.bytes()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0f)])
        .collect()
}

/// Switches of the tests that show that each wall holds alone.
#[cfg(any(test, feature = "testing"))]
mod testing {
    use super::Store;

    impl Store {
        /// Makes every condition on `tenant_id` in a tenant's statements true, as if each had been forgotten.
        pub fn forget_tenant_filters(&self) {
            self.engine.switches().forget_filters();
        }

        /// Does tenants' work as the connecting role, as if there were no second wall.
        pub fn take_wall_down(&self) {
            self.engine.switches().take_wall_down();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tenant_can_end_the_text_that_it_stands_in() {
        let tenant: TenantId = "a');DROP-TABLE--\\$$".parse().unwrap();
        let text = behind("x\"'_tenant", &tenant);
        assert!(
            text.contains("decode('6127293b44524f502d5441424c452d2d5c2424', 'hex')"),
            "{text}"
        );
        assert!(!text.contains("DROP") && !text.contains("x\""));
    }
}
