//! Providers: what an integration of each type needs, in the provider's own words.

pub(crate) mod list;
