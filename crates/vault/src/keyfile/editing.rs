//! The steps of a rotation as edits of the key file's text: each keeps every line that it is not about.

use zeroize::Zeroizing;

use super::{KeyFileText, is_skipped, push_new_key, with_room_for};
use crate::error::VaultError;
use crate::keyring::{KeyRing, MasterKeyId};

/// What stands before the id of the key that is to be active next. A comment, so that it is no key.
const NEXT: &str = "# next: ";

impl KeyRing {
    /// The key that was added and is to be made active, if there is one.
    #[must_use]
    pub fn next_in_file(text: &str) -> Option<MasterKeyId> {
        let marked = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(NEXT)?.trim().parse().ok())?;
        let mut masters = text.lines().filter_map(master_of);
        // A key that is on top already is next no more.
        masters
            .next()
            .filter(|active| *active != marked)
            .and_then(|_| masters.find(|id| *id == marked))
    }

    /// The key file with a new master key below the others, to be made active later. It is named
    /// `k` and the first number after those that the file uses. A file that has such a key already
    /// stays as it is.
    pub fn file_with_next(old: &str) -> Result<(KeyFileText, MasterKeyId), VaultError> {
        let ring = Self::parse(old)?;
        if let Some(next) = Self::next_in_file(old) {
            return Ok((copy_of(old), next));
        }
        let numbers = ring
            .ids()
            .filter_map(|id| id.as_str().strip_prefix('k')?.parse::<u32>().ok());
        let number = u64::from(numbers.max().unwrap_or(0)).saturating_add(1);
        let id = format!("k{number}");
        let last = old.lines().filter_map(master_of).next_back();
        let mut text = with_room_for(old);
        for line in old.lines().filter(|line| !is_mark(line)) {
            push_line(&mut text, line);
            if last.is_some() && master_of(line) == last {
                push_line(&mut text, &format!("{NEXT}{id}"));
                push_new_key(&mut text, &id)?;
            }
        }
        let id = id.parse().ok().ok_or(VaultError::CryptoFailed)?;
        Ok((KeyFileText(text), id))
    }

    /// The key file with this key on top, so that it seals from now on.
    pub fn file_with_active(old: &str, id: MasterKeyId) -> Result<KeyFileText, VaultError> {
        Self::parse(old)?;
        let is_it = |line: &&str| master_of(line) == Some(id);
        let line = old.lines().find(is_it);
        let line = line.ok_or(VaultError::NoSuchMasterKey { id })?;
        let mut text = with_room_for(old);
        let mut is_moved = false;
        for other in old.lines().filter(|line| !is_mark(line)) {
            if !is_moved && master_of(other).is_some() {
                push_line(&mut text, line);
                is_moved = true;
            }
            if master_of(other) != Some(id) {
                push_line(&mut text, other);
            }
        }
        Ok(KeyFileText(text))
    }

    /// The key file without this key. The active one cannot be taken out.
    pub fn file_without(old: &str, id: MasterKeyId) -> Result<KeyFileText, VaultError> {
        let ring = Self::parse(old)?;
        if ring.active_id() == id {
            return Err(VaultError::ActiveMasterKey { id });
        }
        if !ring.ids().any(|known| known == id) {
            return Err(VaultError::NoSuchMasterKey { id });
        }
        let mark = format!("{NEXT}{id}");
        let mut text = with_room_for(old);
        for line in old.lines() {
            if master_of(line) != Some(id) && line.trim() != mark {
                push_line(&mut text, line);
            }
        }
        Ok(KeyFileText(text))
    }
}

/// The name of the master key that a line holds.
fn master_of(line: &str) -> Option<MasterKeyId> {
    let line = line.trim();
    if is_skipped(line) {
        return None;
    }
    let (name, _) = line.split_once(':')?;
    name.parse().ok()
}

fn is_mark(line: &str) -> bool {
    line.trim().starts_with(NEXT)
}

fn copy_of(old: &str) -> KeyFileText {
    let mut text = with_room_for(old);
    text.push_str(old);
    KeyFileText(text)
}

fn push_line(text: &mut Zeroizing<String>, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyfile::tests::{ONE, THREE, TWO};

    fn ids(text: &KeyFileText) -> Vec<String> {
        text.ring()
            .unwrap()
            .ids()
            .map(|id| id.to_string())
            .collect()
    }

    fn id(text: &str) -> MasterKeyId {
        text.parse().unwrap()
    }

    fn before() -> String {
        format!("# head\n\npepper:{TWO}\nk7:{ONE}\n# foot\nlast-year:{THREE}\n")
    }

    #[test]
    fn a_new_key_comes_below_the_others_and_is_marked_as_the_next() {
        let (added, next) = KeyRing::file_with_next(&before()).unwrap();
        assert_eq!(next, id("k8"));
        assert_eq!(ids(&added), ["k7", "last-year", "k8"]);
        assert_eq!(KeyRing::next_in_file(&added.0), Some(next));
        let kept: Vec<_> = added
            .0
            .lines()
            .filter(|line| !line.contains("k8"))
            .collect();
        assert_eq!(kept, before().lines().collect::<Vec<_>>());
        let (again, same) = KeyRing::file_with_next(&added.0).unwrap();
        assert_eq!((again.0.as_str(), same), (added.0.as_str(), next));
        assert!(KeyRing::file_with_next("k1:rubbish").is_err());
    }

    #[test]
    fn new_keys_are_numbered_on_from_the_greatest_number() {
        for (name, next) in [
            ("k1", "k2"),
            ("k4294967295", "k4294967296"),
            ("prod", "k1"),
            ("k", "k1"),
        ] {
            let old = format!("{name}:{ONE}\npepper:{TWO}");
            let (text, added) = KeyRing::file_with_next(&old).unwrap();
            assert_eq!(added, id(next));
            assert_eq!(ids(&text), [name, next]);
        }
    }

    #[test]
    fn the_next_key_moves_to_the_top_and_every_other_line_stays() {
        let (added, next) = KeyRing::file_with_next(&before()).unwrap();
        let active = KeyRing::file_with_active(&added.0, next).unwrap();
        assert_eq!(ids(&active), ["k8", "k7", "last-year"]);
        assert_eq!(KeyRing::next_in_file(&active.0), None);
        let kept: Vec<_> = active
            .0
            .lines()
            .filter(|line| !line.contains("k8"))
            .collect();
        assert_eq!(kept, before().lines().collect::<Vec<_>>());
        let again = KeyRing::file_with_active(&active.0, next).unwrap();
        assert_eq!(again.0.as_str(), active.0.as_str());
        let missing = KeyRing::file_with_active(&before(), id("k9")).unwrap_err();
        assert_eq!(missing, VaultError::NoSuchMasterKey { id: id("k9") });
    }

    #[test]
    fn an_old_key_can_be_taken_out_and_the_active_one_cannot() {
        let without = KeyRing::file_without(&before(), id("last-year")).unwrap();
        assert_eq!(ids(&without), ["k7"]);
        let (added, next) = KeyRing::file_with_next(&before()).unwrap();
        let without = KeyRing::file_without(&added.0, next).unwrap();
        assert_eq!(without.0.as_str(), before());
        let active = KeyRing::file_without(&before(), id("k7")).unwrap_err();
        assert_eq!(active, VaultError::ActiveMasterKey { id: id("k7") });
        let missing = KeyRing::file_without(&before(), id("k9")).unwrap_err();
        assert_eq!(missing, VaultError::NoSuchMasterKey { id: id("k9") });
    }

    #[test]
    fn a_mark_without_its_key_means_nothing() {
        let text = format!("# next: k9\nk7:{ONE}\npepper:{TWO}\n");
        assert_eq!(KeyRing::next_in_file(&text), None);
        let (_, next) = KeyRing::file_with_next(&text).unwrap();
        assert_eq!(next, id("k8"));
        let active = format!("# next: k7\nk7:{ONE}\npepper:{TWO}\n");
        assert_eq!(KeyRing::next_in_file(&active), None);
    }
}
