//! What a form of several parts can use at worst: audio that is written down, pictures that are
//! changed.
//!
//! A form's bytes are files, and no reader of the form can tell how long a recording is or how many
//! tiles a picture has. The bounds here are worked out from bytes and numbers of files; what they
//! rest on is said with each, and in the decision record about forms.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tollgate_core::config::IntegrationConfig;
use tollgate_core::price::ModelPrices;
use tollgate_core::tokens::TOKENS_MAX;

use super::hold::IMAGE_OUTPUT_TOKENS;
use super::parts::Parts;
use super::{Bounds, Places, RequestError, RequestFacts, named};
use crate::multipart::Form;
use crate::operation::Operation;

/// Fields beside the file that may still come after a call was decided on, in bytes.
pub(crate) const LATE_TEXT_BYTES: u64 = 8 << 10;

/// Bytes of sound for one token at least. Ten tokens are a second of sound, so that this is six
/// kilobits a second: the lowest rate of the codecs that are taken.
const SOUND_BYTES_PER_TOKEN: u64 = 75;

/// Tokens of the shortest recording: a beginning that is read in full whatever there is in it.
const SOUND_TOKENS_MIN: u64 = 1_000;

/// More tokens than any model of today reads of one recording.
const SOUND_TOKENS_MAX: u64 = 1_050_000;

/// Tokens of one picture that is to be changed: three tiles a side at high fidelity are 6,500.
const PICTURE_TOKENS_IN: u64 = 10_000;

/// Tokens of a picture's unfinished state, of which a stream may have a few.
const PARTIAL_TOKENS: u64 = 100;

/// The most pictures that one request may ask for.
const PICTURES_MAX: u64 = 10;

/// The most unfinished states that a request may ask for.
const PARTIALS_MAX: u64 = 3;

/// What is known of a form beside what every request has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FormFacts {
    /// The bytes of the whole form.
    length: u64,
    /// The most bytes of fields that are not files.
    text_bytes: u64,
    files: u64,
    partials: u64,
    /// Where the model's name stands.
    model: Option<Range<u64>>,
}

/// How much of a form was seen before it is decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// All of it.
    Whole,
    /// Its beginning; the rest follows while it is sent.
    Beginning,
}

impl RequestFacts {
    /// What a form of so many bytes says of its call.
    pub fn of_form(
        operation: Operation,
        form: &Form,
        (seen, length): (Seen, u64),
    ) -> Result<Self, RequestError> {
        let value = |name| form.value(name).map(|value| value.text.trim());
        let number = |name, most| value(name).map_or(Ok(None), |text| whole(text, name, most));
        let late = match seen {
            Seen::Whole => 0,
            Seen::Beginning => LATE_TEXT_BYTES,
        };
        let facts = FormFacts {
            length,
            text_bytes: form.text_bytes().saturating_add(late).min(length),
            files: form.files(),
            partials: number("partial_images", PARTIALS_MAX)?.unwrap_or(0),
            model: form.value("model").map(|value| value.place.clone()),
        };
        let model = form.value("model").map(|value| named(&value.text));
        Ok(Self {
            flex: false,
            background: false,
            spoken: 0,
            operation,
            body_length: usize::try_from(length).unwrap_or(usize::MAX),
            model: model.transpose()?,
            streams: operation.may_stream() && value("stream").is_some_and(says_yes),
            output_maximum: None,
            choices: number("n", PICTURES_MAX)?.unwrap_or(1).max(1),
            parts: Parts {
                audio: operation.is_about_sound(),
                ..Parts::default()
            },
            standard_priced: true,
            places: Places::default(),
            form: Some(facts),
        })
    }

    /// Whether the body is a form of several parts.
    pub const fn is_form(&self) -> bool {
        self.form.is_some()
    }

    /// The most bytes of fields beside the files that were reckoned with.
    #[must_use]
    pub fn form_text_bytes(&self) -> u64 {
        self.form.as_ref().map_or(0, |form| form.text_bytes)
    }

    /// The edit that gives a form another model: where, and what stands there then. None where it
    /// names that model, or none at all.
    #[must_use]
    pub fn model_edit(&self, model: &str) -> Option<(Range<u64>, Bytes)> {
        let place = self.form.as_ref()?.model.clone()?;
        let is_same = self.model().is_some_and(|asked| **asked == *model);
        (!is_same).then(|| (place, Bytes::copy_from_slice(model.as_bytes())))
    }

    /// The model of an operation that has only one, where the form names none.
    #[must_use]
    pub fn or_usual_model(mut self) -> Self {
        if self.operation == Operation::ImageVariations && self.model.is_none() {
            self.model = Some(Arc::from("dall-e-2"));
        }
        self
    }

    /// The most input tokens that a form can have, as it is held.
    pub(super) fn form_input(&self, form: &FormFacts) -> u64 {
        let files = if self.operation.is_about_sound() {
            sound_tokens(form.length)
        } else {
            form.files.max(1).saturating_mul(PICTURE_TOKENS_IN)
        };
        form.text_bytes.saturating_add(files).min(TOKENS_MAX)
    }

    /// The most output tokens of each answer to a form.
    pub(super) fn form_output(
        &self,
        form: &FormFacts,
        config: &IntegrationConfig,
        prices: Option<&ModelPrices>,
    ) -> u64 {
        if self.operation.is_about_sound() {
            // Nobody speaks so fast that a second has more tokens as text than as sound.
            let most = prices.and_then(|prices| prices.output_tokens_max);
            let spoken = sound_tokens(form.length).max(config.output_tokens());
            return spoken.min(most.unwrap_or(u64::MAX));
        }
        let partials = form.partials.saturating_mul(PARTIAL_TOKENS);
        IMAGE_OUTPUT_TOKENS.saturating_add(partials)
    }

    /// What the usage of a form is believed up to: more than is held, because the hold rests on
    /// what is usual of sound and pictures.
    pub(super) fn form_bounds(form: &FormFacts) -> Bounds {
        let most = form.length.max(SOUND_TOKENS_MAX);
        Bounds {
            tokens_in: most,
            tokens_out: most,
        }
    }
}

/// The most tokens of sound in so many bytes.
fn sound_tokens(bytes: u64) -> u64 {
    bytes
        .div_ceil(SOUND_BYTES_PER_TOKEN)
        .clamp(SOUND_TOKENS_MIN, SOUND_TOKENS_MAX)
}

/// Whether a field is true, in the spellings that readers of forms take for it.
fn says_yes(text: &str) -> bool {
    ["true", "1", "yes", "on", "t", "y"]
        .iter()
        .any(|yes| text.eq_ignore_ascii_case(yes))
}

/// A whole number up to `most`; an empty field is none.
fn whole(text: &str, param: &'static str, most: u64) -> Result<Option<u64>, RequestError> {
    if text.is_empty() || text == "null" {
        return Ok(None);
    }
    super::number(text, param, most).map(Some)
}
