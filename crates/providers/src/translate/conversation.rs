//! A request between two dialects: what both can say, with the places of what only one can.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::Untranslatable;

/// A request for an answer to a conversation.
#[derive(Debug, Default)]
pub(super) struct Conversation<'a> {
    /// The model as the caller wrote it.
    pub(super) model: Option<Cow<'a, str>>,
    /// What stands above the conversation.
    pub(super) system: Vec<Part<'a>>,
    pub(super) turns: Vec<Turn<'a>>,
    pub(super) tools: Vec<Tool<'a>>,
    pub(super) choice: Option<Choice<'a>>,
    /// Where the request says that at most one tool may be called at once.
    pub(super) one_call_at: Option<&'static str>,
    /// The most output tokens.
    pub(super) output_max: Option<u64>,
    pub(super) temperature: Option<&'a RawValue>,
    pub(super) top_p: Option<&'a RawValue>,
    /// Texts at which the output ends.
    pub(super) stops: Vec<Cow<'a, str>>,
    pub(super) streams: bool,
    /// Whether the caller asked for usage at the end of a stream.
    pub(super) wants_usage: bool,
    pub(super) schema: Option<Schema<'a>>,
    /// The caller's own name of its user.
    pub(super) user: Option<Cow<'a, str>>,
    /// Where the request says that all of it is to be kept in a cache.
    pub(super) caches_at: Option<&'static str>,
    /// Whether a tier that costs more is declined.
    pub(super) usual_tier: bool,
}

/// Who speaks in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    User,
    Assistant,
}

/// One message; it has a part at least.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) role: Role,
    pub(super) parts: Vec<Part<'a>>,
}

/// A part of a message.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// A text that is not empty.
    Text(Cow<'a, str>),
    Image(Image<'a>),
    /// The assistant calls a tool.
    Call(Call<'a>),
    /// What a tool gave.
    Outcome(Outcome<'a>),
    /// What stands before it is to be kept in a cache.
    Cached(Cached),
}

/// How long a cache is to keep what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cached {
    Minutes,
    Hour,
}

/// An image, and where it stands in the caller's request.
#[derive(Debug)]
pub(super) struct Image<'a> {
    pub(super) at: String,
    pub(super) picture: Picture<'a>,
}

/// What an image is.
#[derive(Debug)]
pub(super) enum Picture<'a> {
    /// Its bytes, in base64.
    Data {
        media_type: &'static str,
        data: Cow<'a, str>,
    },
    /// Where it is.
    Url(Cow<'a, str>),
}

/// A call of a tool.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) name: Cow<'a, str>,
    /// A JSON object.
    pub(super) input: Cow<'a, RawValue>,
}

/// What a tool gave.
#[derive(Debug)]
pub(super) struct Outcome<'a> {
    pub(super) id: Cow<'a, str>,
    /// Texts and images.
    pub(super) parts: Vec<Part<'a>>,
    pub(super) fate: Fate,
}

/// Whether a tool did what it was called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    Failed,
}

/// A tool that may be called.
#[derive(Debug)]
pub(super) struct Tool<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) description: Option<Cow<'a, str>>,
    /// A JSON schema.
    pub(super) input: Option<&'a RawValue>,
    /// Whether the input must follow the schema.
    pub(super) strict: Option<bool>,
    /// Whether the tools up to here are to be kept in a cache.
    pub(super) cached: Option<Cached>,
}

/// Which tool is to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice<'a> {
    Auto,
    Any,
    None,
    Tool(Cow<'a, str>),
}

/// The form of the answer.
#[derive(Debug)]
pub(super) struct Schema<'a> {
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) description: Option<Cow<'a, str>>,
    pub(super) text: &'a RawValue,
}

/// Messages that follow each other and are of the same speaker.
#[derive(Debug)]
pub(super) struct Merged<'c, 'a> {
    pub(super) role: Role,
    pub(super) parts: Vec<&'c Part<'a>>,
}

impl<'a> Conversation<'a> {
    /// Adds a message; one that says nothing is none.
    pub(super) fn say(&mut self, role: Role, parts: Vec<Part<'a>>) {
        if !parts.iter().all(|part| matches!(part, Part::Cached(_))) {
            self.turns.push(Turn { role, parts });
        }
    }

    /// The messages so that speakers take turns.
    pub(super) fn alternating(&self) -> Vec<Merged<'_, 'a>> {
        let mut merged: Vec<Merged<'_, 'a>> = Vec::with_capacity(self.turns.len());
        for turn in &self.turns {
            match merged.last_mut().filter(|last| last.role == turn.role) {
                Some(last) => last.parts.extend(&turn.parts),
                None => merged.push(Merged {
                    role: turn.role,
                    parts: turn.parts.iter().collect(),
                }),
            }
        }
        merged
    }

    /// Refuses a temperature that providers with a range of 0 to 1 do not take.
    pub(super) fn check_temperature(&self) -> Result<(), Untranslatable> {
        let above = |raw: &RawValue| raw.get().parse::<f64>().is_ok_and(|it| it > 1.0);
        if self.temperature.is_some_and(above) {
            let reason = "is above 1, the most that this integration's provider takes: lower it";
            return Err(Untranslatable::because("temperature".to_owned(), reason));
        }
        Ok(())
    }
}

impl Picture<'_> {
    /// The type of image that all providers read, by its name.
    pub(super) fn media_type(name: &str) -> Option<&'static str> {
        const KNOWN: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];
        let name = if name.eq_ignore_ascii_case("image/jpg") {
            "image/jpeg"
        } else {
            name
        };
        KNOWN
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(name))
    }
}

impl<'a> Part<'a> {
    /// A text, unless it is empty.
    pub(super) fn text(text: Cow<'a, str>) -> Option<Self> {
        (!text.is_empty()).then_some(Self::Text(text))
    }
}
