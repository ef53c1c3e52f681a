//! Prices: what a model costs a tenant, who says so, and the prices that a tenant or the operator sets.

use tollgate_core::TenantId;

/// Who says what a model costs; the first that does wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PriceSource {
    /// The configuration of an integration.
    Integration,
    /// The tenant's own prices.
    Tenant,
    /// The prices that the operator set for the whole installation.
    Installation,
    /// The list that came with the program.
    Bundled,
}

impl PriceSource {
    /// Every source, the first that wins first.
    pub const ALL: [Self; 4] = [
        Self::Integration,
        Self::Tenant,
        Self::Installation,
        Self::Bundled,
    ];

    /// The name that stands in the API and in the versions of prices.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Integration => "integration",
            Self::Tenant => "tenant",
            Self::Installation => "installation",
            Self::Bundled => "bundled",
        }
    }

    /// The source of prices that a tenant has set, or the operator for all.
    #[must_use]
    pub const fn of_owner(tenant: Option<&TenantId>) -> Self {
        match tenant {
            Some(_) => Self::Tenant,
            None => Self::Installation,
        }
    }
}
