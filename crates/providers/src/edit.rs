//! The documented edits of a request: pieces of the caller's own bytes with small texts between.
//!
//! Nothing is serialized again, so every byte that is not edited is forwarded as it came, and a
//! body without edits is forwarded as the one piece that it is.

use std::ops::Range;

use bytes::Bytes;

use crate::request::{Opening, Places, RequestFacts, UsageOption};

/// A body as it is sent: pieces in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EditedBody {
    pieces: Vec<Bytes>,
    length: usize,
}

impl EditedBody {
    /// A body without edits.
    #[must_use]
    pub fn untouched(body: Bytes) -> Self {
        if body.is_empty() {
            return Self::empty();
        }
        Self {
            length: body.len(),
            pieces: vec![body],
        }
    }

    /// No body.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            pieces: Vec::new(),
            length: 0,
        }
    }

    /// The length of all pieces, in bytes.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether there is nothing to send.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The pieces in order; none is empty.
    #[must_use]
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// The pieces in order; none is empty.
    #[must_use]
    pub fn into_pieces(self) -> Vec<Bytes> {
        self.pieces
    }

    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.length = self.length.saturating_add(piece.len());
            self.pieces.push(piece);
        }
    }
}

impl IntoIterator for EditedBody {
    type Item = Bytes;
    type IntoIter = std::vec::IntoIter<Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.pieces.into_iter()
    }
}

/// The member that an output maximum is written into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CapMember {
    /// `max_tokens`.
    MaxTokens,
    /// `max_completion_tokens`, which also bounds reasoning.
    MaxCompletionTokens,
    /// `max_output_tokens`, of a response.
    OfResponse,
}

/// Where a member of an object inside the body can be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Nested {
    /// There is no such object.
    #[default]
    Absent,
    /// The object is `null`.
    Null(Range<usize>),
    /// The object has not the member.
    Without(Opening),
    /// The member is `null`.
    NullMember(Range<usize>),
}

/// What is to be changed in one body.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    opening: Opening,
    /// Members to stand first in the object, separated by commas.
    members: Vec<u8>,
    replaced: Vec<(Range<usize>, Bytes)>,
}

impl Edits {
    /// No edits yet, of the body that `facts` were read from.
    pub(crate) fn of(facts: &RequestFacts) -> Self {
        Self {
            opening: facts.places.opening,
            ..Self::default()
        }
    }

    /// Names another model, or names one at all.
    pub(crate) fn model(&mut self, facts: &RequestFacts, model: &str) {
        if facts.model().is_some_and(|asked| **asked == *model) {
            return;
        }
        // Writing a text into memory cannot fail.
        let value = serde_json::to_vec(model).unwrap_or_default();
        self.set("model", facts.places.model.clone(), value);
    }

    /// Asks for usage at the end of a stream.
    pub(crate) fn include_usage(&mut self, places: &Places) {
        const WHOLE: &[u8] = br#"{"include_usage":true}"#;
        match &places.usage_option {
            UsageOption::Absent => self.set("stream_options", None, WHOLE.to_vec()),
            UsageOption::Null(span) => self.replace(span.clone(), Bytes::from_static(WHOLE)),
            UsageOption::Declined(span) => self.replace(span.clone(), Bytes::from_static(b"true")),
            UsageOption::Unsaid(opening) => {
                let member: &[u8] = br#""include_usage":true,"#;
                let shown = if opening.empty {
                    member.strip_suffix(b",")
                } else {
                    Some(member)
                };
                let place = opening.at..opening.at;
                self.replace(place, Bytes::from_static(shown.unwrap_or(member)));
            }
            UsageOption::Asked => {}
        }
    }

    /// Bounds the output of each answer.
    pub(crate) fn cap(&mut self, places: &Places, member: CapMember, tokens: u64) {
        let (name, span) = match member {
            CapMember::MaxTokens => ("max_tokens", &places.null_max_tokens),
            CapMember::MaxCompletionTokens => {
                ("max_completion_tokens", &places.null_max_completion_tokens)
            }
            CapMember::OfResponse => ("max_output_tokens", &places.null_max_output_tokens),
        };
        self.set(name, span.clone(), tokens.to_string().into_bytes());
    }

    /// Bounds the output by a member of this name.
    pub(crate) fn cap_as(&mut self, name: &str, tokens: u64) {
        self.set(name, None, tokens.to_string().into_bytes());
    }

    /// Bounds the output by a member of an object inside the body.
    pub(crate) fn cap_nested(&mut self, (outer, inner): (&str, &str), place: &Nested, tokens: u64) {
        let object = format!(r#"{{"{inner}":{tokens}}}"#);
        match place {
            Nested::Absent => self.set(outer, None, object.into_bytes()),
            Nested::Null(span) => self.replace(span.clone(), object.into()),
            Nested::Without(opening) => {
                let comma = if opening.empty { "" } else { "," };
                let member = format!(r#""{inner}":{tokens}{comma}"#);
                self.replace(opening.at..opening.at, member.into());
            }
            Nested::NullMember(span) => self.replace(span.clone(), tokens.to_string().into()),
        }
    }

    /// The edited body.
    pub(crate) fn apply(mut self, body: &Bytes) -> EditedBody {
        if !self.members.is_empty() {
            if !self.opening.empty {
                self.members.push(b',');
            }
            let members = Bytes::from(std::mem::take(&mut self.members));
            self.replace(self.opening.at..self.opening.at, members);
        }
        if self.replaced.is_empty() {
            return EditedBody::untouched(body.clone());
        }
        self.replaced.sort_by_key(|(span, _)| span.start);
        let mut edited = EditedBody::empty();
        let mut from = 0;
        for (span, with) in self.replaced {
            edited.push(part(body, from..span.start));
            edited.push(with);
            from = span.end;
        }
        edited.push(part(body, from..body.len()));
        edited
    }

    /// Gives a member of the object a value: in place of its present one, or as a new member.
    fn set(&mut self, name: &str, span: Option<Range<usize>>, value: Vec<u8>) {
        if let Some(span) = span {
            return self.replace(span, Bytes::from(value));
        }
        if !self.members.is_empty() {
            self.members.push(b',');
        }
        self.members.push(b'"');
        self.members.extend_from_slice(name.as_bytes());
        self.members.extend_from_slice(b"\":");
        self.members.extend_from_slice(&value);
    }

    fn replace(&mut self, span: Range<usize>, with: Bytes) {
        self.replaced.push((span, with));
    }
}

/// A slice that is empty where `span` is not inside the body.
fn part(body: &Bytes, span: Range<usize>) -> Bytes {
    match body.get(span) {
        Some(inside) => body.slice_ref(inside),
        None => Bytes::new(),
    }
}

#[cfg(test)]
mod tests;
