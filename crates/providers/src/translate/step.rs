//! An answer between two dialects: steps, the same whether it comes whole or as a stream.

use std::borrow::Cow;

use serde::Deserialize;

use crate::json::{self, Raw};

/// One step of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// The answer begins.
    Begin {
        id: Option<Cow<'a, str>>,
        model: Option<Cow<'a, str>>,
    },
    /// More of its text.
    Text(Cow<'a, str>),
    /// It begins to call a tool; `key` stands for the call in later steps.
    CallBegin {
        key: u64,
        id: Cow<'a, str>,
        name: Cow<'a, str>,
    },
    /// More of the text of a call's input, which is a JSON object.
    CallInput { key: u64, text: Cow<'a, str> },
    /// A call's input is whole.
    CallEnd { key: u64 },
    /// What was used so far.
    Usage(Counts),
    /// Why it ends.
    Stop(Stop<'a>),
    /// It is whole.
    End,
    /// The provider failed while it answered.
    Error {
        /// The provider's class of the error.
        kind: Option<Cow<'a, str>>,
        message: Cow<'a, str>,
    },
}

/// Why an answer ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop<'a> {
    /// It is said.
    EndTurn,
    /// At one of the request's texts, which is named where the provider names it.
    Sequence(Option<Cow<'a, str>>),
    /// At the request's maximum.
    MaxTokens,
    /// At the model's own maximum of input and output.
    ContextWindow,
    /// To call a tool.
    ToolUse,
    /// The provider would not say it.
    Refusal,
}

impl Stop<'_> {
    /// The same, with nothing borrowed.
    pub(super) fn into_owned(self) -> Stop<'static> {
        match self {
            Self::EndTurn => Stop::EndTurn,
            Self::Sequence(text) => Stop::Sequence(text.map(|it| Cow::Owned(it.into_owned()))),
            Self::MaxTokens => Stop::MaxTokens,
            Self::ContextWindow => Stop::ContextWindow,
            Self::ToolUse => Stop::ToolUse,
            Self::Refusal => Stop::Refusal,
        }
    }
}

/// What a provider says was used; absent where it did not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Input tokens without those of caches.
    pub(super) input: Option<u64>,
    /// Input tokens that a cache had.
    pub(super) cached: Option<u64>,
    /// Input tokens that a cache took.
    pub(super) written: Option<u64>,
    /// Output tokens, with reasoning.
    pub(super) output: Option<u64>,
    /// Those of them that were reasoning.
    pub(super) reasoning: Option<u64>,
}

impl Counts {
    /// Takes later counts; what they leave out stays.
    pub(super) fn take(&mut self, later: Self) {
        self.input = later.input.or(self.input);
        self.cached = later.cached.or(self.cached);
        self.written = later.written.or(self.written);
        self.output = later.output.or(self.output);
        self.reasoning = later.reasoning.or(self.reasoning);
    }

    /// All input tokens.
    pub(super) fn all_input(&self) -> u64 {
        [self.input, self.cached, self.written]
            .into_iter()
            .flatten()
            .fold(0, u64::saturating_add)
    }

    /// Whether the provider said anything.
    pub(super) const fn is_known(&self) -> bool {
        self.input.is_some() || self.output.is_some()
    }
}

/// An answer that cannot be said in the caller's words, because it is not what its dialect
/// prescribes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost;

/// A text of an answer, borrowed where it has no escapes.
#[derive(Debug, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// A count of an answer; one that is none is not told.
pub(super) fn count(raw: Raw<'_>) -> Option<u64> {
    raw.present()?.parse().ok()
}

/// The members of an answer or an event.
pub(super) fn parsed<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Result<T, Lost> {
    json::parsed(data).ok_or(Lost)
}

/// Says more of an answer's text; nothing where there is none.
pub(super) fn say(text: Option<Text<'_>>, sink: &mut Sink<'_>) {
    if let Some(Text(text)) = text.filter(|Text(text)| !text.is_empty()) {
        sink(Step::Text(text));
    }
}

/// The calls of tools that have begun and not ended.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<u64>);

impl Calls {
    /// Whether `key` stands for one of them.
    pub(super) fn has(&self, key: u64) -> bool {
        self.0.contains(&key)
    }

    /// Another one begins.
    pub(super) fn begin<'a>(
        &mut self,
        key: u64,
        id: Option<Text<'a>>,
        name: Option<Text<'a>>,
        sink: &mut Sink<'_>,
    ) {
        let text = |text: Option<Text<'a>>| text.map(|Text(text)| text).unwrap_or_default();
        self.0.push(key);
        sink(Step::CallBegin {
            key,
            id: text(id),
            name: text(name),
        });
    }

    /// More of the input of one of them; nothing where there is none, or no such call.
    pub(super) fn input(&self, key: u64, text: Option<Text<'_>>, sink: &mut Sink<'_>) {
        if let Some(Text(text)) = text.filter(|Text(text)| !text.is_empty())
            && self.has(key)
        {
            sink(Step::CallInput { key, text });
        }
    }

    /// One of them ends, if it is one.
    pub(super) fn end(&mut self, key: u64, sink: &mut Sink<'_>) {
        if let Some(place) = self.0.iter().position(|call| *call == key) {
            self.0.swap_remove(place);
            sink(Step::CallEnd { key });
        }
    }

    /// All of them end, in the order in which they began.
    pub(super) fn end_all(&mut self, sink: &mut Sink<'_>) {
        for key in self.0.drain(..) {
            sink(Step::CallEnd { key });
        }
    }
}

/// Where steps go.
pub(super) type Sink<'s> = dyn FnMut(Step<'_>) + 's;
