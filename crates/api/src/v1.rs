//! The resources of version 1: a file each, and under it a file for each operation.

pub(crate) mod audit;
pub(crate) mod enforcement;
pub(crate) mod integrations;
pub(crate) mod keys;
pub(crate) mod ledger;
pub(crate) mod masterkeys;
pub(crate) mod nodes;
pub(crate) mod prices;
pub(crate) mod providers;
pub(crate) mod telemetry;
pub(crate) mod tenants;
