//! Looking for the only one without gathering all.

use std::sync::Arc;

use super::Integration;

/// One of many, as long as there is no second.
#[derive(Debug, Default)]
pub(super) enum Several<'i> {
    #[default]
    None,
    One(&'i Arc<Integration>),
    More,
}

impl<'i> Several<'i> {
    /// Counts one more in.
    pub(super) const fn add(&mut self, one: &'i Arc<Integration>) {
        *self = match self {
            Self::None => Self::One(one),
            Self::One(_) | Self::More => Self::More,
        };
    }
}
