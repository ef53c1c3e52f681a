//! The key file: the text that a [`KeyRing`] is read from, how it is made, what it refuses.
//!
//! ```text
//! # Keep this file secret, and a copy of it somewhere safe.
//! 2027:MgwzGgac3tkMCcS5qhN9JU+QLHYe+Kx/cLmYVUYaPLg=
//! 2026:JkWPywCmPyt00MffdxnXDbc615Ot6TxRPAakCyHZ8Ck=
//! pepper:0IqrQL2CNbXLaBQbcCZeR28V2K/jCzcWAtXX+GBr2xM=
//! ```
//!
//! Each line is a name, a colon and 32 bytes in base64. The first master key is the active one:
//! it seals, the others only open. A rotation adds a new key *below* the others, with the mark
//! `# next: k2` above it; moves it to the top once every node that shares the store knows it;
//! has every credential re-wrapped; and then removes the old line ([`editing`] has the steps).
//!
//! `pepper` is made once and never changes: the hashes of access keys and the fingerprints of
//! credentials are keyed by it, so that with another pepper no access key works.
//!
//! Empty lines and lines that begin with `#` are skipped. The keys above are published, and
//! refused like every other published, repeated or guessable key.

use std::fmt;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::keyring::{KEY_LENGTH, KeyRing, MasterKeyId, PEPPER, random_bytes};

pub mod editing;

/// The 32 bytes of a key, wiped when dropped. Never derive `Debug` on what holds them.
pub(crate) type KeyBytes = Zeroizing<[u8; KEY_LENGTH]>;

/// The length of a key as base64, in characters.
const TEXT_LENGTH: usize = 44;
/// What decoding needs at most, in bytes.
const DECODE_LENGTH: usize = 33;
/// 32 random bytes hold about 30 different values; fewer than this does not happen by chance.
const LEAST_DIFFERENT: usize = 16;
const GENERATED_HEADER: &str = "\
# The keys of this Tollgate. Keep the file secret, and a copy of it somewhere safe:
# without it no stored credential opens and no access key works.
# The first master key is the active one. The pepper never changes.
";

/// Keys that stand in documents, ours and others', as base64.
const PUBLISHED: [&str; 5] = [
    // The example and the tests of this crate.
    "MgwzGgac3tkMCcS5qhN9JU+QLHYe+Kx/cLmYVUYaPLg=",
    "JkWPywCmPyt00MffdxnXDbc615Ot6TxRPAakCyHZ8Ck=",
    "0IqrQL2CNbXLaBQbcCZeR28V2K/jCzcWAtXX+GBr2xM=",
    // The AES-256 key of NIST SP 800-38A.
    "YD3rEBXKcb4rc67whX13gR81LAc7YQjXLZgQowkU3/Q=",
    // The example key of several Fernet tutorials.
    "cw/0x689RpI+jtRR7oE8h/eQsKImvJapLeSbXpwF4e4=",
];

/// Why a key file is not usable. A line is named by its number, never by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileProblem {
    /// There is no master key.
    #[error("it holds no master key; `tollgate init` makes a key file")]
    NoMasterKey,
    /// There is no pepper.
    #[error("it holds no `pepper` line; restore it from your copy of the file")]
    NoPepper,
    /// The line is not a name, a colon and a key.
    #[error("line {line} is not `<id>:<key>`")]
    NotAKey {
        /// The line, counted from 1.
        line: usize,
    },
    /// The name cannot be a master key's.
    #[error("line {line}: an id is 1 to 32 characters of a-z, 0-9 and -")]
    BadId {
        /// The line, counted from 1.
        line: usize,
    },
    /// The key is not 32 bytes in base64.
    #[error("line {line}: a key is 32 random bytes in base64, as `openssl rand -base64 32` prints")]
    BadKey {
        /// The line, counted from 1.
        line: usize,
    },
    /// The key was typed or counted, not drawn at random.
    #[error("line {line}: the key is guessable; use 32 random bytes")]
    Guessable {
        /// The line, counted from 1.
        line: usize,
    },
    /// The key stands in a public document.
    #[error("line {line}: the key is an example from a public document; use 32 random bytes")]
    Published {
        /// The line, counted from 1.
        line: usize,
    },
    /// An earlier line has the same name or the same key.
    #[error("line {line} repeats the id or the key of an earlier line")]
    Repeated {
        /// The line, counted from 1.
        line: usize,
    },
}

/// The keys of a file, not yet prepared for use.
pub(crate) struct Keys {
    /// The active master key, then the others.
    pub(crate) masters: ((MasterKeyId, KeyBytes), Vec<(MasterKeyId, KeyBytes)>),
    pub(crate) pepper: KeyBytes,
}

impl Keys {
    pub(crate) fn read(text: &str) -> Result<Self, KeyFileProblem> {
        let mut masters: Vec<(MasterKeyId, KeyBytes)> = Vec::new();
        let mut pepper: Option<KeyBytes> = None;
        for (line, content) in (1..).zip(text.lines().map(str::trim)) {
            if is_skipped(content) {
                continue;
            }
            let (name, key) = content
                .split_once(':')
                .ok_or(KeyFileProblem::NotAKey { line })?;
            let bytes = read_key(key, line)?;
            let mut known = masters.iter().map(|(_, bytes)| bytes).chain(&pepper);
            if known.any(|known| **known == *bytes) {
                return Err(KeyFileProblem::Repeated { line });
            }
            if name == PEPPER {
                if pepper.replace(bytes).is_some() {
                    return Err(KeyFileProblem::Repeated { line });
                }
                continue;
            }
            let id = name.parse().ok().ok_or(KeyFileProblem::BadId { line })?;
            if masters.iter().any(|(known, _)| *known == id) {
                return Err(KeyFileProblem::Repeated { line });
            }
            masters.push((id, bytes));
        }
        let mut masters = masters.into_iter();
        let active = masters.next().ok_or(KeyFileProblem::NoMasterKey)?;
        let pepper = pepper.ok_or(KeyFileProblem::NoPepper)?;
        Ok(Self {
            masters: (active, masters.collect()),
            pepper,
        })
    }
}

/// The text of a key file, wiped when dropped; it can only be written out.
pub struct KeyFileText(Zeroizing<String>);

impl KeyFileText {
    /// Writes the text, for a file that only the program may read.
    pub fn write_to(&self, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(self.0.as_bytes())
    }

    /// The key ring that the text describes.
    pub fn ring(&self) -> Result<KeyRing, VaultError> {
        KeyRing::parse(&self.0)
    }
}

impl fmt::Debug for KeyFileText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFileText(…)")
    }
}

impl KeyRing {
    /// A new key file: one master key, `k1`, and a pepper.
    pub fn generate_file_text() -> Result<KeyFileText, VaultError> {
        let mut text = with_room_for(GENERATED_HEADER);
        text.push_str(GENERATED_HEADER);
        push_new_key(&mut text, "k1")?;
        push_new_key(&mut text, PEPPER)?;
        Ok(KeyFileText(text))
    }
}

fn is_skipped(line: &str) -> bool {
    line.is_empty() || line.starts_with('#')
}

fn read_key(text: &str, line: usize) -> Result<KeyBytes, KeyFileProblem> {
    if text.len() != TEXT_LENGTH {
        return Err(KeyFileProblem::BadKey { line });
    }
    let mut decoded = Zeroizing::new([0; DECODE_LENGTH]);
    let length = STANDARD
        .decode_slice(text, decoded.as_mut_slice())
        .ok()
        .ok_or(KeyFileProblem::BadKey { line })?;
    if length != KEY_LENGTH {
        return Err(KeyFileProblem::BadKey { line });
    }
    let bytes = decoded
        .first_chunk()
        .ok_or(KeyFileProblem::BadKey { line })?;
    if PUBLISHED.contains(&text) {
        return Err(KeyFileProblem::Published { line });
    }
    if !looks_random(bytes) {
        return Err(KeyFileProblem::Guessable { line });
    }
    Ok(Zeroizing::new(*bytes))
}

/// Whether the bytes could have been drawn at random: they are no typed text, no repeated pattern,
/// no counting up. Refuses fewer than one in 10¹² random keys.
fn looks_random(bytes: &[u8; KEY_LENGTH]) -> bool {
    let steps = bytes
        .iter()
        .zip(bytes.iter().skip(1))
        .map(|(from, to)| to.wrapping_sub(*from));
    let is_text = bytes
        .iter()
        .all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    let halves_repeat = bytes.first_chunk::<16>() == bytes.last_chunk::<16>();
    !is_text
        && !halves_repeat
        && count_different(bytes.iter().copied()) >= LEAST_DIFFERENT
        && count_different(steps) >= LEAST_DIFFERENT
}

fn count_different(bytes: impl Iterator<Item = u8>) -> usize {
    let mut sorted = Zeroizing::new([0; KEY_LENGTH]);
    let mut length: usize = 0;
    for (place, byte) in sorted.iter_mut().zip(bytes) {
        *place = byte;
        length = length.saturating_add(1);
    }
    let Some(sorted) = sorted.get_mut(..length) else {
        return 0;
    };
    sorted.sort_unstable();
    sorted.chunk_by(|one, next| one == next).count()
}

/// An empty text with room for the old one and two new keys, so that it never moves in memory and
/// leaves no unwiped copy behind.
fn with_room_for(old: &str) -> Zeroizing<String> {
    Zeroizing::new(String::with_capacity(old.len().saturating_add(256)))
}

fn push_new_key(text: &mut String, name: &str) -> Result<(), VaultError> {
    let bytes: KeyBytes = Zeroizing::new(random_bytes()?);
    if !looks_random(&bytes) {
        return Err(VaultError::CryptoFailed);
    }
    let mut encoded = Zeroizing::new([0; TEXT_LENGTH]);
    let written = STANDARD.encode_slice(bytes.as_slice(), encoded.as_mut_slice());
    let encoded = std::str::from_utf8(encoded.as_slice()).ok();
    let (Ok(TEXT_LENGTH), Some(encoded)) = (written, encoded) else {
        return Err(VaultError::CryptoFailed);
    };
    for part in [name, ":", encoded, "\n"] {
        text.push_str(part);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
