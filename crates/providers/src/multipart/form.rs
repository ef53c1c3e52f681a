//! What was found in a form: the fields that decide, and how much there is of the others.

use std::ops::Range;

use super::part::Part;
use crate::request::RequestError;

/// Fields that decide about a call, so that they may stand in a form once.
pub(super) const DECIDING: [&str; 4] = ["model", "stream", "n", "partial_images"];

/// A field that decides, as it stands in the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) text: Box<str>,
    /// Where it stands, counted from the form's first byte.
    pub(crate) place: Range<u64>,
}

/// What was found in a form so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form {
    pub(super) values: [Option<Value>; DECIDING.len()],
    /// How many parts have begun.
    pub(super) parts: u32,
    /// How many of them are files.
    pub(super) files: u64,
    /// Bytes of fields that are not files.
    pub(super) text_bytes: u64,
    /// Bytes of files.
    pub(super) file_bytes: u64,
    pub(super) is_closed: bool,
}

impl Form {
    /// A field that decides, once the whole of it was seen.
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        let at = DECIDING.iter().position(|known| *known == name)?;
        self.values.get(at)?.as_ref()
    }

    /// Whether the form names its model.
    #[must_use]
    pub fn names_model(&self) -> bool {
        self.value("model").is_some()
    }

    /// How many files the form has.
    pub(crate) const fn files(&self) -> u64 {
        self.files
    }

    /// Bytes of the fields that are not files.
    #[must_use]
    pub const fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    /// Takes note of a part that begins.
    pub(super) fn begin(&mut self, part: &Part<'_>) -> Result<Kind, RequestError> {
        // A reader of lists takes `model[]` for `model`, another one does not.
        let bare = part.name.split('[').next().unwrap_or(part.name);
        let deciding = DECIDING.iter().position(|name| *name == bare);
        let Some(at) = deciding else {
            return Ok(if part.is_file {
                self.files = self.files.saturating_add(1);
                Kind::File
            } else {
                Kind::Text
            });
        };
        let name = DECIDING.get(at).copied().unwrap_or_default();
        if part.is_file || part.name != bare {
            return Err(RequestError::Wrong {
                param: name,
                expected: "a plain field of the form, neither a file nor a list",
            });
        }
        if self.value(name).is_some() {
            return Err(RequestError::Duplicate(name));
        }
        Ok(Kind::Deciding(at))
    }

    /// Whether its last boundary was seen: only then can a reader know all of it.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.is_closed
    }
}

/// What a part is to a scanner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Text,
    /// A field that decides, by its place in [`DECIDING`].
    Deciding(usize),
}
