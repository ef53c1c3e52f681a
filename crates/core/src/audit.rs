//! The audit trail: who changed what, when, from what to what. Secrets appear as fingerprints.
//!
//! The entries of a trail are chained: each bears a mark of itself and of the mark before it, so what is changed, taken
//! out, moved or cut off afterwards is noticed.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{KeyId, TenantId};

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Actor {
    /// The holder of an access key.
    Key {
        /// Which key.
        id: KeyId,
    },
    /// Tollgate itself, for example a health probe.
    System,
    /// Whoever has a shell on the machine, for example `tollgate init`.
    Console,
}

/// What is to be written down with a change, in the same transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Whose change it was; none for the operator's own.
    pub tenant: Option<TenantId>,
    /// Who did it.
    pub actor: Actor,
    /// What was done, noun and verb: `integration.enable`.
    pub action: &'static str,
    /// What it was done to: a kind and an id, `integration/4f0c…`.
    pub target: String,
    /// The target before, as JSON text without secrets.
    pub before: Option<String>,
    /// The target after, as JSON text without secrets.
    pub after: Option<String>,
    /// The request that asked for it.
    pub request_id: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// A text that names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an actor is the id of an access key, or system, or console")]
pub struct InvalidActor;

impl FromStr for Actor {
    type Err = InvalidActor;

    fn from_str(text: &str) -> Result<Self, InvalidActor> {
        match text {
            "system" => Ok(Self::System),
            "console" => Ok(Self::Console),
            id => id.parse().map(|id| Self::Key { id }).or(Err(InvalidActor)),
        }
    }
}

/// How far a trail goes: the number of its last entry and that entry's mark. Kept elsewhere, it proves later that what
/// was there then is there still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditHead {
    /// The number of the last entry, from 1.
    pub seq: i64,
    /// The mark of the last entry, 64 hexadecimal digits.
    pub hash: String,
}

/// A text that is no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a head is SEQ:HASH: a number from 1, a colon, 64 hexadecimal digits")]
pub struct InvalidAuditHead;

impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl FromStr for AuditHead {
    type Err = InvalidAuditHead;

    fn from_str(text: &str) -> Result<Self, InvalidAuditHead> {
        let (seq, hash) = text.split_once(':').ok_or(InvalidAuditHead)?;
        let seq = seq.parse().or(Err(InvalidAuditHead))?;
        let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if seq < 1 || hash.len() != 64 || !hash.bytes().all(hexadecimal) {
            return Err(InvalidAuditHead);
        }
        Ok(Self {
            seq,
            hash: hash.to_owned(),
        })
    }
}

/// What is wrong at the first bad place of a trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tampering {
    /// The entry is not the one that was written there: its mark does not fit it and what stands before it.
    Changed,
    /// There is no entry with this number, and there are later ones.
    Missing,
    /// An entry stands where none can be.
    OutOfPlace,
    /// The trail ends before this entry, which was there.
    TailCut,
    /// The trail goes on beyond what its head knows.
    PastHead,
    /// The trail has entries and no head.
    HeadLost,
    /// The head bears another mark than the last entry.
    HeadChanged,
    /// The entry is not the one that was the last when the head that was asked about was taken.
    OtherHistory,
}

impl Tampering {
    /// Every way.
    pub const ALL: [Self; 8] = [
        Self::Changed,
        Self::Missing,
        Self::OutOfPlace,
        Self::TailCut,
        Self::PastHead,
        Self::HeadLost,
        Self::HeadChanged,
        Self::OtherHistory,
    ];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::OutOfPlace => "out_of_place",
            Self::TailCut => "tail_cut",
            Self::PastHead => "past_head",
            Self::HeadLost => "head_lost",
            Self::HeadChanged => "head_changed",
            Self::OtherHistory => "other_history",
        }
    }
}

impl fmt::Display for Tampering {
    /// In words, as the end of "entry 7 …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "is not what was written there",
            Self::Missing => "is missing, and later ones are there",
            Self::OutOfPlace => "stands where none can be",
            Self::TailCut => "was there, and the trail ends before it",
            Self::PastHead => "is beyond what the trail's head knows",
            Self::HeadLost => "is the last one, and the trail has lost its head",
            Self::HeadChanged => "is the last one, and the trail's head bears another mark",
            Self::OtherHistory => "is not the one that the given head was taken at",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_as_it_was_printed() {
        let head = AuditHead {
            seq: 7,
            hash: "0f".repeat(32),
        };
        assert_eq!(head.to_string().parse(), Ok(head));
        let marks = ["0:", "-1:", "7;", "7:A", ":", ""];
        for begin in marks {
            let text = format!("{begin}{}", "0f".repeat(32));
            assert_eq!(text.parse::<AuditHead>(), Err(InvalidAuditHead), "{text}");
        }
        assert!("7:0f".parse::<AuditHead>().is_err());
    }

    #[test]
    fn an_actor_is_named_by_its_key_or_its_kind() {
        let id = KeyId::generate();
        assert_eq!(id.to_string().parse(), Ok(Actor::Key { id }));
        assert_eq!("system".parse(), Ok(Actor::System));
        assert_eq!("console".parse(), Ok(Actor::Console));
        assert_eq!("nobody".parse::<Actor>(), Err(InvalidActor));
    }
}
