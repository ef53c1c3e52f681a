//! What a caller can ask for, and how a path says so.

mod families;
mod path;
mod shape;
mod unserved;

use std::borrow::Cow;

use http::{HeaderMap, Method};
use serde::Serialize;

use crate::dialect::Dialect;
use crate::face::Face;
use families::{BEDROCK, DEPLOYED};
use path::{Named, fits, model_id, split_at_id};
use shape::{Charge, MODEL, Verb};

pub(crate) use families::{ANTHROPIC, OPENAI};
pub(crate) use path::{push_encoded, push_reserved_encoded};

/// One kind of request that the gateway serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// OpenAI's chat.
    ChatCompletions,
    /// OpenAI's older text completion.
    Completions,
    /// Vectors for texts.
    Embeddings,
    /// The list of models.
    ListModels,
    /// One model.
    GetModel,
    /// OpenAI's newer chat, whose answers it can keep and continue.
    CreateResponse,
    /// How many input tokens a response would have.
    CountResponseTokens,
    /// A response that is kept, or is still being made.
    GetResponse,
    /// Forgets a response.
    DeleteResponse,
    /// Stops a response that is made in the background.
    CancelResponse,
    /// What a response was made from.
    ListResponseInput,
    /// Whether texts or images are harmful.
    Moderations,
    /// Images from words.
    GenerateImages,
    /// Speech from words.
    Speech,
    /// The list of files.
    ListFiles,
    /// One file.
    GetFile,
    /// Deletes a file.
    DeleteFile,
    /// What is in a file: a batch's results, for example.
    GetFileContent,
    /// Sets off a batch of calls.
    CreateBatch,
    /// The list of batches.
    ListBatches,
    /// One batch.
    GetBatch,
    /// Stops a batch.
    CancelBatch,
    /// Anthropic's chat.
    Messages,
    /// How many tokens a message would have.
    CountTokens,
    /// Sets off a batch of messages.
    CreateMessageBatch,
    /// The list of batches of messages.
    ListMessageBatches,
    /// One batch of messages.
    GetMessageBatch,
    /// Deletes a batch of messages.
    DeleteMessageBatch,
    /// Stops a batch of messages.
    CancelMessageBatch,
    /// The results of a batch of messages.
    GetMessageBatchResults,
    /// Bedrock's chat, the same for models of all makers.
    Converse,
    /// The same as a stream.
    ConverseStream,
    /// One of Bedrock's models in its maker's own words.
    Invoke,
    /// The same as a stream.
    InvokeStream,
    /// Speech written down in its own language.
    Transcriptions,
    /// Speech written down in English.
    Translations,
    /// A picture changed.
    ImageEdits,
    /// A picture made anew in the manner of another.
    ImageVariations,
    /// A file kept at the provider.
    CreateFile,
}

/// A request that the gateway serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched<'p> {
    /// What is asked for.
    pub operation: Operation,
    /// The family of paths that it came by.
    pub face: Face,
    /// The model or deployment that the path names, decoded.
    pub model: Option<Cow<'p, str>>,
    /// The id of what the provider keeps and the path names: letters, digits and `_-.` alone.
    pub thing: Option<Cow<'p, str>>,
}

impl Matched<'_> {
    /// Whose words the caller speaks, and wants to be answered in.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.face.dialect()
    }
}

impl Operation {
    /// The operation behind a method and a path without its query; none when there is no such
    /// route. A list of models or files is Anthropic's when the request has an
    /// `anthropic-version`.
    #[must_use]
    pub fn route<'p>(method: &Method, path: &'p str, headers: &HeaderMap) -> Option<Matched<'p>> {
        if let Some(tail) = path.strip_prefix("/v1") {
            let shared = tail.starts_with("/models") || tail.starts_with("/files");
            let anthropic = tail.starts_with("/messages")
                || (shared && Dialect::of_models(headers) == Dialect::Anthropic);
            return if anthropic {
                Self::at(Face::Anthropic, ANTHROPIC, method, tail)
            } else {
                Self::at(Face::OpenAi, OPENAI, method, tail)
            };
        }
        if let Some(tail) = path.strip_prefix("/model/") {
            return Self::of_a_path(Face::Bedrock, &BEDROCK, method, tail);
        }
        let tail = path.strip_prefix("/openai")?;
        if let Some(tail) = tail.strip_prefix("/v1") {
            return Self::at(Face::AzureV1, OPENAI, method, tail);
        }
        let Some(tail) = tail.strip_prefix("/deployments/") else {
            return Self::at(Face::AzureDeployments, OPENAI, method, tail)
                .filter(|matched| !matched.operation.is_deployed());
        };
        Self::of_a_path(Face::AzureDeployments, &DEPLOYED, method, tail)
    }

    /// What is served to a dialect's callers, as they would ask for it: for people.
    #[must_use]
    pub fn served(dialect: Dialect) -> String {
        let (all, prefix): (&[Self], _) = match dialect {
            Dialect::OpenAi => (OPENAI, "/v1"),
            Dialect::Anthropic => (ANTHROPIC, "/v1"),
            Dialect::Bedrock => (&BEDROCK, "/model/{id}"),
        };
        let mut paths: Vec<&str> = all.iter().map(|operation| operation.shape().path).collect();
        paths.dedup();
        let paths: Vec<String> = paths.iter().map(|path| [prefix, path].concat()).collect();
        paths.join(", ")
    }

    /// The operation behind a path that names the model: `{model}/{operation}`. The model may be
    /// written with the integration's name and a slash before it.
    fn of_a_path<'p>(
        face: Face,
        among: &[Self],
        method: &Method,
        tail: &'p str,
    ) -> Option<Matched<'p>> {
        let (model, operation) = among.iter().find_map(|operation| {
            let model = tail.strip_suffix(operation.shape().path)?;
            (*method == operation.method()).then_some((model, *operation))
        })?;
        Some(Matched {
            operation,
            face,
            model: Some(model_id(model)?),
            thing: None,
        })
    }

    /// The operation behind what follows a face's prefix.
    fn at<'p>(face: Face, among: &[Self], method: &Method, tail: &'p str) -> Option<Matched<'p>> {
        among.iter().find_map(|operation| {
            let shape = operation.shape();
            if *method != shape.method() {
                return None;
            }
            let (model, thing) = match fits(shape.path, tail)? {
                Named::Nothing => (None, None),
                Named::Model(model) => (Some(model), None),
                Named::Thing(id) => (None, Some(Cow::Borrowed(id))),
            };
            Some(Matched {
                operation: *operation,
                face,
                model,
                thing,
            })
        })
    }

    /// Whether the request's body is a form of several parts, which passes without being kept in
    /// memory.
    pub const fn takes_form(self) -> bool {
        matches!(self.shape().verb, Verb::Form)
    }

    /// Whether what is sent is a recording.
    pub const fn is_about_sound(self) -> bool {
        matches!(self, Self::Transcriptions | Self::Translations)
    }

    /// Whether a form may go on to the provider while it comes, before all of it was seen: where
    /// its fields decide nothing, or the model alone.
    pub const fn may_flow(self) -> bool {
        self.is_about_sound() || matches!(self, Self::CreateFile)
    }

    /// Whether providers charge for it, so that it needs a hold and leaves a row.
    pub const fn is_billed(self) -> bool {
        matches!(self.shape().charge, Charge::Call)
    }

    /// Whether it sets off what is charged later: limits are asked, and nothing is held.
    pub const fn is_billed_later(self) -> bool {
        matches!(self.shape().charge, Charge::Later)
    }

    /// Whether it reads what may be the results of a batch, which are booked when they are read.
    pub const fn reads_results(self) -> bool {
        matches!(self.shape().charge, Charge::Results)
    }

    /// Whether the answer is a response of OpenAI's.
    pub(crate) const fn is_about_responses(self) -> bool {
        matches!(self, Self::CreateResponse | Self::GetResponse)
    }

    /// Whether the answer is images, made of words or of other images.
    pub(crate) const fn makes_images(self) -> bool {
        matches!(
            self,
            Self::GenerateImages | Self::ImageEdits | Self::ImageVariations
        )
    }

    /// Whether the answer is images or sound.
    pub(crate) const fn makes_media(self) -> bool {
        self.makes_images() || matches!(self, Self::Speech)
    }

    /// Whether the answer tells where the results of a batch are.
    pub(crate) const fn tells_of_results(self) -> bool {
        matches!(
            self,
            Self::CreateMessageBatch
                | Self::ListMessageBatches
                | Self::GetMessageBatch
                | Self::CancelMessageBatch
        )
    }

    /// Whether a request says all that it needs, so that it may be sent again, and to another
    /// account: it goes by nothing that a provider keeps of an earlier one.
    #[must_use]
    pub const fn may_be_repeated(self) -> bool {
        matches!(
            self,
            Self::ChatCompletions
                | Self::Completions
                | Self::Embeddings
                | Self::Messages
                | Self::Converse
                | Self::ConverseStream
                | Self::Invoke
                | Self::InvokeStream
        )
    }

    /// Whether the answer has output of its own, so that there is something to bound.
    pub const fn has_output(self) -> bool {
        self.may_stream()
            || matches!(
                self,
                Self::Converse
                    | Self::Invoke
                    | Self::GenerateImages
                    | Self::Translations
                    | Self::ImageVariations
            )
    }

    /// Whether the answer is a stream whatever the request's body says.
    pub const fn always_streams(self) -> bool {
        matches!(self, Self::ConverseStream | Self::InvokeStream)
    }

    /// Whether the answer may be a stream of events.
    pub const fn may_stream(self) -> bool {
        matches!(
            self,
            Self::ChatCompletions
                | Self::Completions
                | Self::CreateResponse
                | Self::Messages
                | Self::ConverseStream
                | Self::InvokeStream
                | Self::Transcriptions
                | Self::ImageEdits
        )
    }

    /// Whether the request carries a body that says what is asked for.
    pub const fn has_body(self) -> bool {
        matches!(self.shape().verb, Verb::Post | Verb::Form)
    }

    /// Whether the request has to name the model that it is for.
    pub const fn needs_model(self) -> bool {
        self.is_billed() || matches!(self, Self::CountTokens)
    }

    /// Whether Azure's older paths ask a deployment for it.
    pub(crate) fn is_deployed(self) -> bool {
        DEPLOYED.contains(&self)
    }

    /// The name that stands in metrics and descriptions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.shape().name
    }

    /// The HTTP method.
    #[must_use]
    pub const fn method(self) -> Method {
        self.shape().method()
    }

    /// How long the path after the version is, in bytes, where it names nothing.
    pub(crate) const fn path_length(self) -> usize {
        self.shape().path.len()
    }

    /// Adds the path after the version, or after the model of a path that names one first; none
    /// when what it is about is not named.
    pub(crate) fn push_path(
        self,
        path: &mut String,
        model: Option<&str>,
        thing: Option<&str>,
    ) -> Option<()> {
        let pattern = self.shape().path;
        if let Some(before) = pattern.strip_suffix(MODEL) {
            path.push_str(before);
            push_encoded(path, model?);
        } else if let Some((before, after)) = split_at_id(pattern) {
            path.push_str(before);
            push_encoded(path, thing?);
            path.push_str(after);
        } else {
            path.push_str(pattern);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
