//! What a meter saw of an answer: the provider's word, and what was counted beside it.

use tollgate_core::TokenUsage;
use tollgate_core::price::fees::ToolUses;

use super::batch::BatchResults;
use super::usage::{self, InvalidUsage, Reported};
use crate::json::Raw;
use crate::request::{Bounds, TEMPLATE_TOKENS};

/// The longest name of a model that is believed, in bytes.
const MODEL_MAX: usize = 100;

/// What a meter saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a thing of its own that was seen or not"
)]
pub struct Observed {
    /// What the provider says was used, in disjoint classes; none while it has not said, or when
    /// what it said cannot be.
    pub usage: Option<TokenUsage>,
    /// The input that the provider reported, without any output; known before the rest where a
    /// stream begins with it.
    pub input: Option<TokenUsage>,
    /// Tokens of the output that passed, never fewer than were delivered: of each piece of text,
    /// two ASCII letters or spaces are taken as one token and every other byte as one, and a
    /// piece as one at least. Not above what the request allowed.
    pub counted_output: u64,
    /// Whether the answer came to the end that its dialect prescribes.
    pub complete: bool,
    /// Whether the provider said why the output ended.
    pub finish_seen: bool,
    /// Whether the provider reported an error in the answer.
    pub error_seen: bool,
    /// The model that answered, as the provider calls it.
    pub model: Option<Box<str>>,
    /// Why the provider's usage is not believed.
    pub invalid_usage: Option<InvalidUsage>,
    /// How often tools were used that the provider runs and charges by use.
    pub tools: ToolUses,
    /// The results of a batch that passed, if they did.
    pub results: Option<Box<BatchResults>>,
    /// Whether the provider says that it served the call at half of its prices.
    pub halved: bool,
    /// The id of an answer that its provider still makes: its usage is known when it is asked for
    /// again. Letters, digits and `_-.` alone.
    pub pending: Option<Box<str>>,
    /// Whether the answer is of a kind whose usage its provider does not tell.
    pub unreported: bool,
    /// Whether the answer is one that could not be read: cut, compressed, not JSON, or too large
    /// to be kept. What it used is unknown, and `counted_output` says nothing.
    pub unreadable: bool,
}

impl Observed {
    /// The usage to charge when the provider's word is missing: its input where it reported that
    /// much, else `input_bound` (see `RequestFacts::input_bound`), and the output that was counted.
    /// Half a report is not believed beyond that bound, however much a whole one may say.
    #[must_use]
    pub fn counted(&self, input_bound: u64) -> TokenUsage {
        let most = input_bound.saturating_add(TEMPLATE_TOKENS);
        let input = match self.input {
            Some(input) => at_most(input, most),
            None => TokenUsage::plain(input_bound, 0),
        };
        TokenUsage {
            output: self.counted_output,
            ..input
        }
    }
}

impl Observed {
    /// Adds tokens of output that passed.
    pub(super) fn count(&mut self, tokens: u64) {
        self.counted_output = self.counted_output.saturating_add(tokens);
    }

    /// Takes the input that the provider reports before the rest; an error when it is not believed.
    pub(super) fn begin(
        &mut self,
        input: Reported<Option<TokenUsage>>,
        bounds: Bounds,
    ) -> Reported<()> {
        match input.and_then(|input| input.map(|it| usage::within(it, bounds)).transpose()) {
            Ok(input) => {
                self.input = input;
                Ok(())
            }
            Err(invalid) => {
                self.report(Err(invalid), bounds);
                Err(invalid)
            }
        }
    }

    /// Takes the provider's word, or why it is not believed; a later word replaces it.
    pub(super) fn report(&mut self, usage: Reported<Option<TokenUsage>>, bounds: Bounds) {
        match usage.and_then(|usage| usage.map(|it| usage::within(it, bounds)).transpose()) {
            Ok(None) => {}
            Ok(Some(usage)) => {
                self.usage = Some(usage);
                self.invalid_usage = None;
            }
            Err(invalid) => {
                self.usage = None;
                self.invalid_usage = Some(invalid);
            }
        }
    }

    /// Takes the model's name from a JSON string.
    pub(super) fn name_model(&mut self, model: Raw<'_>) {
        self.model = model_name(model);
    }

    /// More than the request allowed cannot have been delivered.
    pub(super) fn limit(&mut self, bounds: Bounds) {
        self.counted_output = self.counted_output.min(bounds.tokens_out);
    }
}

/// A model's name from a JSON string.
pub(super) fn model_name(model: Raw<'_>) -> Option<Box<str>> {
    let fits = |name: &str| !name.is_empty() && name.len() <= MODEL_MAX;
    if let Some(name) = model.plain_string() {
        return fits(name).then(|| name.into());
    }
    let name: String = serde_json::from_str(model.text()?).ok()?;
    (fits(&name) && !name.contains(char::is_control)).then(|| name.into())
}

/// An input of no more than `most` tokens. The kinds that usually cost more stay first.
fn at_most(input: TokenUsage, most: u64) -> TokenUsage {
    let mut left = most;
    let mut keep = |count: u64| {
        let kept = count.min(left);
        left = left.saturating_sub(kept);
        kept
    };
    TokenUsage {
        audio_input: keep(input.audio_input),
        image_input: keep(input.image_input),
        cache_write_hour: keep(input.cache_write_hour),
        cache_write: keep(input.cache_write),
        input: keep(input.input),
        cached_input: keep(input.cached_input),
        ..TokenUsage::NONE
    }
}
