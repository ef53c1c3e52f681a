//! Who may do what: the whole authorization table in one match.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an access key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Runs Tollgate; belongs to no tenant and names the tenant it acts on.
    Operator,
    /// Administers one tenant.
    Admin,
    /// Reads one tenant's integrations and usage.
    Viewer,
    /// Makes calls for one tenant and reports usage.
    Caller,
}

/// Something that a key may be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// Create, change and delete tenants.
    ManageTenants,
    /// Create, rotate and revoke access keys.
    ManageKeys,
    /// Create, change, enable, disable and delete integrations.
    ManageIntegrations,
    /// See integrations, their limits and their health.
    ReadIntegrations,
    /// See usage.
    ReadUsage,
    /// Report usage of calls made elsewhere.
    ReportUsage,
    /// Send calls through the gateway, and ask whether one would pass.
    Call,
    /// Verify the books, rebuild roll-ups, see the state of the ledger.
    ManageLedger,
    /// See prices and models without one, and set prices for a tenant's models.
    ManagePrices,
    /// Read the audit trail and verify that nobody changed it.
    ReadAudit,
    /// Rotate master keys, retire nodes, take backups.
    ManageInstallation,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 11] = [
        Self::ManageTenants,
        Self::ManageKeys,
        Self::ManageIntegrations,
        Self::ReadIntegrations,
        Self::ReadUsage,
        Self::ReportUsage,
        Self::Call,
        Self::ManageLedger,
        Self::ManagePrices,
        Self::ReadAudit,
        Self::ManageInstallation,
    ];
}

impl fmt::Display for Permission {
    /// What it allows, for people: `manage tenants`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ManageTenants => "manage tenants",
            Self::ManageKeys => "manage access keys",
            Self::ManageIntegrations => "manage integrations",
            Self::ReadIntegrations => "see integrations",
            Self::ReadUsage => "see usage",
            Self::ReportUsage => "report usage",
            Self::Call => "make calls",
            Self::ManageLedger => "verify and rebuild the books",
            Self::ManagePrices => "see and set prices",
            Self::ReadAudit => "read the audit trail",
            Self::ManageInstallation => "manage master keys, nodes and backups",
        })
    }
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Operator, Self::Admin, Self::Viewer, Self::Caller];

    /// The name that stands in the store, the API and the CLI.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Viewer => "viewer",
            Self::Caller => "caller",
        }
    }

    /// Whether a key of this role may do it.
    #[must_use]
    pub const fn may(self, permission: Permission) -> bool {
        use Permission as P;
        match permission {
            P::ManageTenants | P::ManageLedger | P::ManageInstallation => {
                matches!(self, Self::Operator)
            }
            P::ManageKeys | P::ManageIntegrations | P::ManagePrices | P::ReadAudit => {
                matches!(self, Self::Operator | Self::Admin)
            }
            P::ReadIntegrations | P::ReadUsage => true,
            P::ReportUsage | P::Call => matches!(self, Self::Caller),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is one of operator, admin, viewer, caller")]
pub struct InvalidRole;

impl FromStr for Role {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(InvalidRole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_roles_and_permissions_is_as_recorded() {
        let row = |permission: Permission| {
            let allowed = Role::ALL.into_iter().filter(|role| role.may(permission));
            let allowed: Vec<_> = allowed.map(Role::as_str).collect();
            format!("{permission:?}: {}\n", allowed.join(" "))
        };
        let table: String = Permission::ALL.into_iter().map(row).collect();
        assert_eq!(
            table,
            "ManageTenants: operator\n\
             ManageKeys: operator admin\n\
             ManageIntegrations: operator admin\n\
             ReadIntegrations: operator admin viewer caller\n\
             ReadUsage: operator admin viewer caller\n\
             ReportUsage: caller\n\
             Call: caller\n\
             ManageLedger: operator\n\
             ManagePrices: operator admin\n\
             ReadAudit: operator admin\n\
             ManageInstallation: operator\n"
        );
    }

    #[test]
    fn a_role_reads_back_from_its_name() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }
}
