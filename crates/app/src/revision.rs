//! Revisions: which state of a thing somebody saw, so that nobody overwrites what they never saw.
//!
//! A revision has two halves. The first moves with every change that somebody makes, and decides
//! whether a change may go on. The second moves with everything that is shown, so that what the
//! system notes by itself (health, a key's last use) is seen by readers and stops no editor.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;

use tollgate_core::access::AccessKey;
use tollgate_core::tenant::Tenant;

use crate::context::Context;
use crate::error::AppError;
use crate::integrations::ShownIntegration;
use crate::keys::ShownKey;
use crate::tenants::as_json;

/// One state of a thing, as text `<edited>-<shown>` in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision {
    edited: u64,
    shown: u64,
}

/// A text that is no revision of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no revision: give an ETag of an earlier answer")]
pub struct InvalidRevision;

/// What a change asks of the state that it meets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing: whatever is there is changed.
    #[default]
    None,
    /// That the thing is there.
    Exists,
    /// That nobody has changed it since one of these.
    OneOf(Vec<Revision>),
}

/// A thing that has revisions.
pub trait Revised {
    /// Its present revision.
    fn revision(&self) -> Revision;
}

impl Revision {
    fn of(edited: u64, shown: &str) -> Self {
        Self {
            edited,
            shown: hash_of(shown),
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.edited, self.shown)
    }
}

impl FromStr for Revision {
    type Err = InvalidRevision;

    fn from_str(text: &str) -> Result<Self, InvalidRevision> {
        let (edited, shown) = text.split_once('-').ok_or(InvalidRevision)?;
        let half = |digits| u64::from_str_radix(digits, 16).or(Err(InvalidRevision));
        Ok(Self {
            edited: half(edited)?,
            shown: half(shown)?,
        })
    }
}

impl Precondition {
    /// Whether a change names the states that it may meet.
    #[must_use]
    pub const fn names_states(&self) -> bool {
        matches!(self, Self::OneOf(_))
    }

    fn holds(&self, current: Revision) -> bool {
        match self {
            Self::None | Self::Exists => true,
            Self::OneOf(seen) => seen.iter().any(|one| one.edited == current.edited),
        }
    }
}

impl Context {
    /// Refuses a change of what somebody else changed since the asker saw it.
    pub fn must_match(&self, thing: &impl Revised) -> Result<(), AppError> {
        let current = thing.revision();
        if self.precondition.holds(current) {
            Ok(())
        } else {
            Err(AppError::PreconditionFailed(current))
        }
    }
}

impl Revised for ShownIntegration {
    fn revision(&self) -> Revision {
        let edited = self.record.updated_at.as_microsecond().cast_unsigned();
        Revision::of(edited, &crate::integrations::audited(self))
    }
}

impl Revised for Tenant {
    fn revision(&self) -> Revision {
        let edited = self.updated_at.as_microsecond().cast_unsigned();
        Revision::of(edited, &as_json(self))
    }
}

impl Revised for AccessKey {
    fn revision(&self) -> Revision {
        let kept = Self {
            last_used_at: None,
            ..self.clone()
        };
        Revision::of(hash_of(&as_json(&kept)), &as_json(self))
    }
}

impl Revised for ShownKey {
    /// What a key is changes with time alone, too.
    fn revision(&self) -> Revision {
        let shown = format!("{} {}", self.status.as_str(), as_json(&self.key));
        Revision {
            shown: hash_of(&shown),
            ..self.key.revision()
        }
    }
}

/// A hash that tells contents apart. Another version of the program may compute another one: then
/// a reader reads once more, and an editor is asked to look again.
fn hash_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(text: &str) -> Revision {
        text.parse().unwrap()
    }

    #[test]
    fn a_revision_is_read_as_it_is_written() {
        assert_eq!(revision("5f-a").to_string(), "5f-a");
        for text in ["", "-", "5f", "5f-", "5f-a-b", "x-1", "-1-2"] {
            assert_eq!(text.parse::<Revision>(), Err(InvalidRevision), "{text:?}");
        }
    }

    #[test]
    fn what_the_system_notes_stops_no_editor_and_what_somebody_changed_does() {
        let seen = Precondition::OneOf(vec![revision("1-1"), revision("2-1")]);
        assert!(seen.holds(revision("2-9")));
        assert!(!seen.holds(revision("3-1")));
        assert!(!Precondition::OneOf(Vec::new()).holds(revision("1-1")));
        assert!(Precondition::Exists.holds(revision("3-1")));
    }
}
