//! The phases of a call, in their order; the seventh, settle, is how a [`crate::flight`] ends.

pub(crate) mod admit;
pub(crate) mod forward;
pub(crate) mod identify;
pub(crate) mod prepare;
pub(crate) mod relay;
pub(crate) mod resolve;
pub(crate) mod settle;
