//! What a request's body says that limits, routing and metering need, read in one pass.
//!
//! The body is not turned into a tree: known top-level members are taken as raw text, all others
//! are skipped without recursion. What is read is exactly what is forwarded, so a member that
//! matters and stands there twice is refused; a name in other letters (`Model`) is not ours.

mod batch;
mod bedrock;
mod form;
mod hold;
mod parts;
mod places;
mod speech;

use std::sync::Arc;

use tollgate_core::tokens::TOKENS_MAX;

use crate::json::{self, Raw, is_plain, object, skip_space};
use crate::operation::Operation;
use form::FormFacts;
use parts::Parts;
use places::{null_span, opening, usage_option};

pub use form::Seen;
pub use hold::Bounds;
pub(crate) use hold::TEMPLATE_TOKENS;
pub(crate) use places::{Opening, Places, UsageOption};

/// The most choices that one request may ask for.
const CHOICES_MAX: u64 = 1_024;

/// The longest name of a model, in bytes, with the integration's name before it.
pub(crate) const MODEL_MAX: usize = 400;

/// Why a request's body cannot be served. The text is for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The body is not a JSON object.
    #[error("the request body is not a valid JSON object: {0}")]
    Malformed(String),
    /// The body is not a form of several parts that every reader reads in the same way.
    #[error("the request body cannot be read as a form: {0}")]
    Form(&'static str),
    /// A member that decides about the call stands there more than once.
    #[error("`{0}` stands in the request body more than once; send it once")]
    Duplicate(&'static str),
    /// A member is missing.
    #[error("the request body has no `{0}`; add it")]
    Missing(&'static str),
    /// A member is of the wrong kind.
    #[error("`{param}` must be {expected}")]
    Wrong {
        /// The member.
        param: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// The request could use more than can be counted or booked.
    #[error("the request asks for more output than can be booked; lower `{0}`")]
    Unbookable(&'static str),
}

impl RequestError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "invalid_json",
            Self::Form(_) => "invalid_form",
            Self::Duplicate(_) => "duplicate_parameter",
            Self::Missing(_) => "missing_parameter",
            Self::Wrong { .. } | Self::Unbookable(_) => "invalid_parameter",
        }
    }

    /// The member of the request that is at fault.
    #[must_use]
    pub const fn param(&self) -> Option<&'static str> {
        match self {
            Self::Malformed(_) | Self::Form(_) => None,
            Self::Duplicate(param)
            | Self::Missing(param)
            | Self::Unbookable(param)
            | Self::Wrong { param, .. } => Some(param),
        }
    }
}

/// What is known of one request. It does not borrow the body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a thing of its own that a request asks for or not"
)]
pub struct RequestFacts {
    operation: Operation,
    body_length: usize,
    model: Option<Arc<str>>,
    streams: bool,
    output_maximum: Option<u64>,
    /// How many answers, each of up to the maximum.
    choices: u64,
    parts: Parts,
    /// Whether it asks for no kind of service that costs more than usual.
    standard_priced: bool,
    /// Whether it asks for the flexible kind of service.
    flex: bool,
    /// Whether it is to be answered later, and asked for again.
    background: bool,
    /// Characters to be spoken, and of what is said about how.
    spoken: u64,
    pub(crate) places: Places,
    /// What is known beside, where the body is a form of several parts.
    form: Option<FormFacts>,
}

object! {
    /// The members that matter. Duplicates are an error of the deserializer.
    Members {
        model,
        stream,
        stream_options,
        max_tokens,
        max_completion_tokens,
        max_output_tokens,
        background,
        previous_response_id,
        conversation,
        input,
        instructions,
        n,
        best_of,
        prompt,
        tools,
        functions,
        audio,
        prediction,
        web_search_options,
        mcp_servers,
        service_tier,
        speed,
        inference_geo,
    }
}

impl RequestFacts {
    /// Reads a body. An error tells the caller what to change.
    pub fn read(operation: Operation, body: &[u8]) -> Result<Self, RequestError> {
        let text = std::str::from_utf8(body)
            .map_err(|error| malformed(&format!("{error}; JSON is UTF-8")))?;
        let noted = json::read_noting(opened(text)?, parts::may_tell);
        let (members, may_tell): (Members<'_>, bool) = noted.map_err(|error| not_read(&error))?;
        let mut places = Places {
            opening: opening(text, text),
            model: members.model.span(text),
            null_max_tokens: null_span(members.max_tokens, text),
            null_max_completion_tokens: null_span(members.max_completion_tokens, text),
            null_max_output_tokens: null_span(members.max_output_tokens, text),
            usage_option: usage_option(members.stream_options, text)?,
            ..Places::default()
        };
        let mut parts = Parts::scan(operation, &members, may_tell.then_some(body));
        let more = if operation.is_bedrocks() {
            Some(bedrock::read(text, &mut parts, &mut places)?)
        } else {
            None
        };
        let limit = |raw, name| whole(raw, name, TOKENS_MAX);
        let maxima = [
            limit(members.max_tokens, "max_tokens")?,
            limit(members.max_completion_tokens, "max_completion_tokens")?,
            limit(members.max_output_tokens, "max_output_tokens")?,
            more.as_ref().and_then(|more| more.maximum),
        ];
        Ok(Self {
            operation,
            body_length: body.len(),
            model: model(members.model)?,
            streams: operation.always_streams()
                || (operation.may_stream() && flag(members.stream, "stream")?.unwrap_or(false)),
            output_maximum: maxima.into_iter().flatten().max(),
            choices: choices(operation, &members)?,
            parts,
            standard_priced: is_standard_priced(&members)
                && more.is_none_or(|more| more.standard_priced),
            flex: members.service_tier.text() == Some(r#""flex""#),
            background: operation == Operation::CreateResponse
                && flag(members.background, "background")?.unwrap_or(false),
            spoken: speech::characters(operation, &members)?,
            places,
            form: None,
        })
    }

    /// What is asked for.
    pub const fn operation(&self) -> Operation {
        self.operation
    }

    /// The model as the caller wrote it, with a prefix or an alias still in it.
    #[must_use]
    pub const fn model(&self) -> Option<&Arc<str>> {
        self.model.as_ref()
    }

    /// The model as the caller wrote it; an error for the caller when there is none.
    pub fn required_model(&self) -> Result<&Arc<str>, RequestError> {
        self.model().ok_or(RequestError::Missing("model"))
    }

    /// Whether the answer is asked for as a stream of events.
    pub const fn streams(&self) -> bool {
        self.streams
    }

    /// Whether the caller itself asked for usage at the end of a stream.
    #[must_use]
    pub fn wants_usage(&self) -> bool {
        self.places.usage_option == UsageOption::Asked
    }

    /// Whether the answer is made in the background: the request is answered at once, and its usage
    /// is known when the answer is asked for later.
    pub const fn is_background(&self) -> bool {
        self.background
    }

    /// Whether it asks to be served at half of the usual prices, when there is room.
    pub const fn asks_for_flex(&self) -> bool {
        self.flex
    }

    /// The most output tokens that the request allows each of its answers.
    pub const fn output_maximum(&self) -> Option<u64> {
        self.output_maximum
    }
}

const WRONG_MODEL: RequestError = RequestError::Wrong {
    param: "model",
    expected: "a text of 1 to 400 bytes without control characters",
};

fn malformed(reason: &str) -> RequestError {
    RequestError::Malformed(reason.to_owned())
}

/// Reads the members of an object; a struct alone would also read an array.
fn object<'a, T: json::Members<'a>>(text: &'a str) -> Result<T, RequestError> {
    json::read(opened(text)?).map_err(|error| not_read(&error))
}

/// The text of what begins like an object.
fn opened(text: &str) -> Result<&str, RequestError> {
    if skip_space(text.as_bytes()).starts_with(b"{") {
        Ok(text)
    } else {
        Err(malformed("it does not begin with `{`"))
    }
}

fn not_read(error: &serde_json::Error) -> RequestError {
    let reason = error.to_string();
    // The deserializer has no kind of its own for this, only these words (guarded by a test).
    let name = reason
        .strip_prefix("duplicate field `")
        .and_then(|rest| rest.split('`').next());
    name.and_then(known)
        .map_or_else(|| malformed(&reason), RequestError::Duplicate)
}

/// The static name of a member that matters.
fn known(name: &str) -> Option<&'static str> {
    const NAMES: [&str; 24] = [
        "model",
        "stream",
        "stream_options",
        "include_usage",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "background",
        "previous_response_id",
        "conversation",
        "input",
        "instructions",
        "n",
        "best_of",
        "prompt",
        "tools",
        "functions",
        "audio",
        "prediction",
        "web_search_options",
        "mcp_servers",
        "service_tier",
        "speed",
        "inference_geo",
    ];
    NAMES.into_iter().find(|known| *known == name)
}

fn model(raw: Raw<'_>) -> Result<Option<Arc<str>>, RequestError> {
    if let Some(name) = raw.plain_string() {
        return named(name).map(Some);
    }
    let Some(text) = raw.present() else {
        return Ok(None);
    };
    // Borrowed when it has no escapes, so that one copy is made and not two.
    let owned: String;
    let name = if let Ok(name) = serde_json::from_str::<&str>(text) {
        name
    } else {
        owned = serde_json::from_str(text).or(Err(WRONG_MODEL))?;
        &owned
    };
    named(name).map(Some)
}

/// A model's name, of any form of body.
fn named(name: &str) -> Result<Arc<str>, RequestError> {
    let is_clean = is_plain(name.as_bytes()) || !name.contains(char::is_control);
    if is_clean && (1..=MODEL_MAX).contains(&name.len()) {
        Ok(name.into())
    } else {
        Err(WRONG_MODEL)
    }
}

fn flag(raw: Raw<'_>, param: &'static str) -> Result<Option<bool>, RequestError> {
    match raw.present() {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(RequestError::Wrong {
            param,
            expected: "true or false",
        }),
    }
}

/// A whole number up to `most`, unless absent or `null`.
fn whole(raw: Raw<'_>, param: &'static str, most: u64) -> Result<Option<u64>, RequestError> {
    let Some(text) = raw.present() else {
        return Ok(None);
    };
    number(text, param, most).map(Some)
}

/// A whole number up to `most`, from its digits.
fn number(text: &str, param: &'static str, most: u64) -> Result<u64, RequestError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(RequestError::Wrong {
            param,
            expected: "a whole number that is not negative",
        });
    }
    match text.parse() {
        Ok(number) if number <= most => Ok(number),
        _ => Err(RequestError::Unbookable(param)),
    }
}

/// How many answers a request asks for: `n` or `best_of` of each prompt.
fn choices(operation: Operation, members: &Members<'_>) -> Result<u64, RequestError> {
    let n = whole(members.n, "n", CHOICES_MAX)?.unwrap_or(1);
    if operation != Operation::Completions {
        return Ok(n.max(1));
    }
    let best_of = whole(members.best_of, "best_of", CHOICES_MAX)?.unwrap_or(1);
    let prompts = members.prompt.text().map_or(Ok(1), parts::prompts)?;
    Ok(n.max(best_of).max(1).saturating_mul(prompts.max(1)))
}

/// Whether what a request says of its service is absent, or a value that is known to cost no more.
fn is_standard_priced(members: &Members<'_>) -> bool {
    const USUAL: [&str; 6] = [
        r#""auto""#,
        r#""default""#,
        r#""standard""#,
        r#""standard_only""#,
        r#""flex""#,
        // Of `inference_geo`: anywhere, which is Anthropic's default.
        r#""global""#,
    ];
    let kinds = [members.service_tier, members.speed, members.inference_geo];
    kinds
        .iter()
        .all(|kind| kind.present().is_none_or(|value| USUAL.contains(&value)))
}

#[cfg(test)]
mod tests;
