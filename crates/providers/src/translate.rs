//! A caller of one dialect at a provider of another: the request is said in the provider's words,
//! and the answer in the caller's.
//!
//! The dialects meet in a form of their own, a conversation for requests and steps for answers, so
//! that each is read in one place and written in one. Nothing is dropped silently: a reader takes
//! every member of a request, or knows it as harmless to leave out, or refuses the request by the
//! member's name. Where caller and provider speak the same dialect, nothing here runs.

mod anthropic;
mod conversation;
mod converse;
mod failure;
mod members;
mod openai;
mod reply;
mod step;
mod whole;

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;
use serde::Serialize;

use crate::dialect::Dialect;
use crate::edit::CapMember;
use crate::face::Face;
use crate::operation::Operation;
use crate::provider::Description;

pub use reply::{Reply, Untold};

/// Headers of a caller's that mean something to its own dialect's providers alone.
const CALLERS: [&str; 4] = [
    "accept",
    "anthropic-version",
    "openai-beta",
    "anthropic-beta",
];

/// How a caller of one dialect reaches a provider of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    caller: Dialect,
    provider: Dialect,
    /// What the provider calls the output maximum, where it speaks OpenAI's dialect.
    cap: CapMember,
}

/// A request in the provider's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translated {
    /// What the provider is asked for.
    pub operation: Operation,
    /// The family of paths by which the provider's own callers would come.
    pub face: Face,
    /// The request's body.
    pub body: Bytes,
    /// Whether the caller asked for usage at the end of a stream.
    pub wants_usage: bool,
}

/// What an answer says that no provider of another dialect knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Our id of the call: the answer's id where the provider gives none.
    pub call_id: String,
    /// The model that was asked for, for answers that do not name theirs.
    pub model: String,
    /// The id of the request, as in the answer's headers.
    pub request_id: String,
    /// When the answer began, in seconds since 1970.
    pub created: i64,
    /// Whether the caller asked for usage at the end of a stream.
    pub wants_usage: bool,
}

/// Why a request cannot be said in the provider's words. The text is for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{param}` {reason}")]
pub struct Untranslatable {
    param: String,
    reason: Cow<'static, str>,
    code: &'static str,
}

impl Translation {
    /// How a call of this face and operation reaches a provider that does not serve it itself;
    /// none where it cannot. Chats alone are translated.
    #[must_use]
    pub fn between(face: Face, operation: Operation, provider: &Description) -> Option<Self> {
        let caller = match (face, operation) {
            (Face::OpenAi, Operation::ChatCompletions) => Dialect::OpenAi,
            (Face::Anthropic, Operation::Messages) => Dialect::Anthropic,
            _ => return None,
        };
        let translation = Self {
            caller,
            provider: provider.dialect,
            cap: CapMember::MaxCompletionTokens,
        };
        let (operation, _) = translation.operations();
        let serves = provider.operations.contains(&operation);
        (caller != provider.dialect && serves).then_some(translation)
    }

    /// The same for a provider that knows only the older name of the output maximum.
    pub(crate) fn with_cap(self, cap: CapMember) -> Self {
        Self { cap, ..self }
    }

    /// Says a request in the provider's words. `output_max` is for a request that names no output
    /// maximum, where the provider's dialect has to have one.
    pub fn request(&self, body: &[u8], output_max: u64) -> Result<Translated, Untranslatable> {
        let text = std::str::from_utf8(body)
            .map_err(|_not_text| Untranslatable::wrong("body".to_owned(), "JSON in UTF-8"))?;
        let told = match self.caller {
            Dialect::Anthropic => anthropic::read(text)?,
            Dialect::OpenAi | Dialect::Bedrock => openai::read(text)?,
        };
        if told.turns.is_empty() {
            return Err(Untranslatable::because(
                "messages".to_owned(),
                "say nothing: one has to have a content that is not empty",
            ));
        }
        let body = match self.provider {
            Dialect::OpenAi => openai::write(&told, self.cap)?,
            Dialect::Anthropic => anthropic::write(&told, output_max)?,
            Dialect::Bedrock => converse::write(&told)?,
        };
        let (whole, stream) = self.operations();
        Ok(Translated {
            operation: if told.streams { stream } else { whole },
            face: match self.provider {
                Dialect::OpenAi => Face::OpenAi,
                Dialect::Anthropic => Face::Anthropic,
                Dialect::Bedrock => Face::Bedrock,
            },
            body: body.into(),
            wants_usage: told.wants_usage,
        })
    }

    /// Leaves of the caller's headers what does not concern the dialect; refuses what asks for
    /// something that only its own dialect's providers have.
    pub fn headers(&self, headers: &mut HeaderMap) -> Result<(), Untranslatable> {
        if headers.contains_key("anthropic-beta") {
            return Err(Untranslatable::no_counterpart("anthropic-beta".to_owned()));
        }
        let bedrocks = |name: &&str| name.starts_with("x-amzn-");
        if let Some(name) = headers.keys().map(http::HeaderName::as_str).find(bedrocks) {
            return Err(Untranslatable::no_counterpart(name.to_owned()));
        }
        for name in CALLERS {
            headers.remove(name);
        }
        Ok(())
    }

    /// What says the answer in the caller's words.
    #[must_use]
    pub fn reply(&self, terms: Terms) -> Reply {
        Reply::new(self.provider, self.caller, terms)
    }

    /// What the provider is asked for, for an answer that is whole and for a stream.
    const fn operations(self) -> (Operation, Operation) {
        match self.provider {
            Dialect::OpenAi => (Operation::ChatCompletions, Operation::ChatCompletions),
            Dialect::Anthropic => (Operation::Messages, Operation::Messages),
            Dialect::Bedrock => (Operation::Converse, Operation::ConverseStream),
        }
    }
}

impl Terms {
    /// An id for an answer whose provider gives none.
    fn id(&self, prefix: &str) -> String {
        [prefix, &self.call_id].concat()
    }
}

impl Untranslatable {
    fn no_counterpart(param: String) -> Self {
        Self {
            param,
            reason: "has no counterpart in the dialect of this integration's provider, and is \
                     never left out silently: leave it out, or call an integration that speaks \
                     your own dialect"
                .into(),
            code: "unsupported_parameter",
        }
    }

    fn because(param: String, reason: &'static str) -> Self {
        Self {
            param,
            reason: reason.into(),
            code: "unsupported_parameter",
        }
    }

    fn wrong(param: String, expected: &str) -> Self {
        Self {
            param,
            reason: format!("must be {expected}").into(),
            code: "invalid_parameter",
        }
    }

    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// The member of the request that is at fault, by its place: `messages[0].content[1].type`.
    #[must_use]
    pub fn param(&self) -> &str {
        &self.param
    }
}

/// A request as JSON.
fn written(request: &impl Serialize) -> Result<Vec<u8>, Untranslatable> {
    serde_json::to_vec(request)
        .map_err(|_unwritable| Untranslatable::wrong("body".to_owned(), "a JSON object"))
}

/// Adds JSON to a text. Writing into memory cannot fail.
fn write_json(value: &impl Serialize, out: &mut Vec<u8>) {
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "{written:?}");
}

#[cfg(test)]
mod tests;
