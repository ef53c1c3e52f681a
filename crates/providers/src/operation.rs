//! What a caller can ask for, and how a path says so.

use std::borrow::Cow;

use http::{HeaderMap, Method};
use serde::Serialize;

use crate::dialect::Dialect;
use crate::face::Face;
use crate::request::MODEL_MAX;

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
    /// Anthropic's chat.
    Messages,
    /// How many tokens a message would have.
    CountTokens,
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

/// What a deployment of Azure's can be asked for; one whose tail ends another's stands after it.
const DEPLOYED: [Operation; 6] = [
    Operation::ChatCompletions,
    Operation::Completions,
    Operation::Embeddings,
    Operation::Transcriptions,
    Operation::Translations,
    Operation::ImageEdits,
];

/// What one of Bedrock's models can be asked for.
const BEDROCK: [Operation; 4] = [
    Operation::Converse,
    Operation::ConverseStream,
    Operation::Invoke,
    Operation::InvokeStream,
];

/// A request that the gateway serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched<'p> {
    /// What is asked for.
    pub operation: Operation,
    /// The family of paths that it came by.
    pub face: Face,
    /// The model or deployment that the path names, decoded.
    pub model: Option<Cow<'p, str>>,
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
    /// route. A model list is Anthropic's when the request has an `anthropic-version`.
    #[must_use]
    pub fn route<'p>(method: &Method, path: &'p str, headers: &HeaderMap) -> Option<Matched<'p>> {
        if let Some(tail) = path.strip_prefix("/v1/") {
            let lists = tail.starts_with("models");
            let anthropic = tail.starts_with("messages")
                || (lists && Dialect::of_models(headers) == Dialect::Anthropic);
            let face = if anthropic {
                Face::Anthropic
            } else {
                Face::OpenAi
            };
            return Self::at(face, method, tail);
        }
        if let Some(tail) = path.strip_prefix("/model/") {
            return Self::of_a_path(Face::Bedrock, &BEDROCK, method, tail);
        }
        let tail = path.strip_prefix("/openai/")?;
        if let Some(tail) = tail.strip_prefix("v1/") {
            return Self::at(Face::AzureV1, method, tail);
        }
        let Some(tail) = tail.strip_prefix("deployments/") else {
            // Models are listed and files are kept outside a deployment.
            return Self::at(Face::AzureDeployments, method, tail)
                .filter(|matched| !matched.operation.names_model());
        };
        Self::of_a_path(Face::AzureDeployments, &DEPLOYED, method, tail)
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
            let model = tail.strip_suffix(operation.tail())?;
            (*method == operation.method()).then_some((model, *operation))
        })?;
        Some(Matched {
            operation,
            face,
            model: Some(model_id(model)?),
        })
    }

    /// The operation behind what follows a face's prefix.
    fn at<'p>(face: Face, method: &Method, tail: &'p str) -> Option<Matched<'p>> {
        let speaks_openai = face.dialect() == Dialect::OpenAi;
        let (operation, model) = match (method, tail) {
            (&Method::POST, "chat/completions") if speaks_openai => (Self::ChatCompletions, None),
            (&Method::POST, "completions") if speaks_openai => (Self::Completions, None),
            (&Method::POST, "embeddings") if speaks_openai => (Self::Embeddings, None),
            (&Method::POST, "messages") if !speaks_openai => (Self::Messages, None),
            (&Method::POST, "messages/count_tokens") if !speaks_openai => (Self::CountTokens, None),
            (&Method::POST, _) if speaks_openai => (Self::of_form(tail)?, None),
            (&Method::GET, "models") => (Self::ListModels, None),
            (&Method::GET, _) => {
                let model = model_id(tail.strip_prefix("models/")?)?;
                (Self::GetModel, Some(model))
            }
            _ => return None,
        };
        Some(Matched {
            operation,
            face,
            model,
        })
    }

    /// The operation behind a path to which forms of several parts are sent.
    fn of_form(tail: &str) -> Option<Self> {
        const FORMS: [Operation; 5] = [
            Operation::Transcriptions,
            Operation::Translations,
            Operation::ImageEdits,
            Operation::ImageVariations,
            Operation::CreateFile,
        ];
        FORMS
            .into_iter()
            .find(|form| form.tail().strip_prefix('/') == Some(tail))
    }

    /// Whether the request's body is a form of several parts, which passes without being kept in
    /// memory.
    pub const fn takes_form(self) -> bool {
        matches!(
            self,
            Self::Transcriptions
                | Self::Translations
                | Self::ImageEdits
                | Self::ImageVariations
                | Self::CreateFile
        )
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

    /// Whether a request has to say for which model it is.
    pub const fn names_model(self) -> bool {
        self.has_body() && !matches!(self, Self::CreateFile)
    }

    /// Whether providers charge for it, so that it needs a hold and leaves a row.
    pub const fn is_billed(self) -> bool {
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
                | Self::Transcriptions
                | Self::Translations
                | Self::ImageEdits
                | Self::ImageVariations
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
                Self::Converse | Self::Invoke | Self::Translations | Self::ImageVariations
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
                | Self::Messages
                | Self::ConverseStream
                | Self::InvokeStream
                | Self::Transcriptions
                | Self::ImageEdits
        )
    }

    /// Whether the request carries a body.
    pub const fn has_body(self) -> bool {
        !matches!(self, Self::ListModels | Self::GetModel)
    }

    /// The name that stands in metrics and descriptions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::ListModels => "list_models",
            Self::GetModel => "get_model",
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
            Self::Converse => "converse",
            Self::ConverseStream => "converse_stream",
            Self::Invoke => "invoke",
            Self::InvokeStream => "invoke_stream",
            Self::Transcriptions => "transcriptions",
            Self::Translations => "translations",
            Self::ImageEdits => "image_edits",
            Self::ImageVariations => "image_variations",
            Self::CreateFile => "create_file",
        }
    }

    /// The HTTP method.
    #[must_use]
    pub const fn method(self) -> Method {
        if self.has_body() {
            Method::POST
        } else {
            Method::GET
        }
    }

    /// The path after the version, without the model of [`Self::GetModel`].
    pub(crate) const fn tail(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/chat/completions",
            Self::Completions => "/completions",
            Self::Embeddings => "/embeddings",
            Self::ListModels => "/models",
            Self::GetModel => "/models/",
            Self::Messages => "/messages",
            Self::CountTokens => "/messages/count_tokens",
            Self::Converse => "/converse",
            Self::ConverseStream => "/converse-stream",
            Self::Invoke => "/invoke",
            Self::InvokeStream => "/invoke-with-response-stream",
            Self::Transcriptions => "/audio/transcriptions",
            Self::Translations => "/audio/translations",
            Self::ImageEdits => "/images/edits",
            Self::ImageVariations => "/images/variations",
            Self::CreateFile => "/files",
        }
    }
}

/// A model's id out of a path: no empty, `.` or `..` segment, decoded or not, and nothing that
/// an id has no use for.
fn model_id(encoded: &str) -> Option<Cow<'_, str>> {
    let id = decoded(encoded)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-@+/ ".contains(&byte);
    let whole = id
        .split('/')
        .all(|segment| !matches!(segment, "" | "." | ".."));
    (whole && id.len() <= MODEL_MAX && id.bytes().all(plain)).then_some(id)
}

/// Undoes percent-encoding once; none when it is not well-formed.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(high.checked_mul(16)?.checked_add(low)?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// A model's id as one segment of a path.
pub(crate) fn push_encoded(path: &mut String, id: &str) {
    push_encoded_but(path, id, b"._-~:@");
}

/// The same with every reserved letter encoded, also where a segment could have it: what is signed
/// for AWS depends on how it is sent.
pub(crate) fn push_reserved_encoded(path: &mut String, id: &str) {
    push_encoded_but(path, id, b"._-~");
}

fn push_encoded_but(path: &mut String, id: &str, plain: &[u8]) {
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push('%');
            for digit in [byte >> 4, byte & 15] {
                path.extend(
                    char::from_digit(u32::from(digit), 16).map(|it| it.to_ascii_uppercase()),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route<'p>(method: &Method, path: &'p str) -> Option<Matched<'p>> {
        Operation::route(method, path, &HeaderMap::new())
    }

    #[test]
    fn every_served_path_has_its_operation() {
        let table = [
            (
                "/v1/chat/completions",
                Operation::ChatCompletions,
                Face::OpenAi,
            ),
            ("/v1/completions", Operation::Completions, Face::OpenAi),
            ("/v1/embeddings", Operation::Embeddings, Face::OpenAi),
            ("/v1/messages", Operation::Messages, Face::Anthropic),
            (
                "/v1/messages/count_tokens",
                Operation::CountTokens,
                Face::Anthropic,
            ),
            ("/v1/models", Operation::ListModels, Face::OpenAi),
            (
                "/openai/v1/chat/completions",
                Operation::ChatCompletions,
                Face::AzureV1,
            ),
            ("/openai/v1/models", Operation::ListModels, Face::AzureV1),
            (
                "/openai/models",
                Operation::ListModels,
                Face::AzureDeployments,
            ),
        ];
        for (path, operation, face) in table {
            let method = operation.method();
            assert_eq!(
                route(&method, path),
                Some(Matched {
                    operation,
                    face,
                    model: None
                }),
                "{path}"
            );
        }
    }

    #[test]
    fn a_near_miss_is_no_route() {
        for path in [
            "/v1/chat/completions/",
            "/v1//messages",
            "/V1/messages",
            "/v1/",
            "/",
            "",
            "/openai/chat/completions",
            "/openai/deployments//chat/completions",
            "/openai/deployments/../chat/completions",
            "/openai/deployments/d/chat/completions/",
            "/openai/v1/messages",
            "/openai/v1/",
        ] {
            assert_eq!(route(&Method::POST, path), None, "{path}");
        }
        assert_eq!(route(&Method::GET, "/v1/messages"), None);
        assert_eq!(route(&Method::DELETE, "/v1/models/x"), None);
    }

    #[test]
    fn a_model_list_is_answered_in_the_dialect_of_its_header() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "anthropic-version",
            http::HeaderValue::from_static("2023-06-01"),
        );
        let matched = Operation::route(&Method::GET, "/v1/models", &headers).unwrap();
        assert_eq!(matched.dialect(), Dialect::Anthropic);
        let chat = Operation::route(&Method::POST, "/v1/chat/completions", &headers).unwrap();
        assert_eq!(chat.dialect(), Dialect::OpenAi);
    }

    #[test]
    fn a_deployment_in_the_path_is_the_model() {
        for (path, operation, deployment) in [
            ("d/chat/completions", Operation::ChatCompletions, "d"),
            ("my%20chat/completions", Operation::Completions, "my chat"),
            (
                "name/d-1/chat/completions",
                Operation::ChatCompletions,
                "name/d-1",
            ),
            ("d/embeddings", Operation::Embeddings, "d"),
        ] {
            let path = format!("/openai/deployments/{path}");
            let matched = route(&Method::POST, &path).unwrap();
            assert_eq!(
                (matched.operation, matched.face),
                (operation, Face::AzureDeployments)
            );
            assert_eq!(matched.model.as_deref(), Some(deployment));
        }
    }

    #[test]
    fn a_model_in_the_path_is_decoded_and_cannot_climb() {
        let model = |path: &str| route(&Method::GET, path)?.model.map(Cow::into_owned);
        assert_eq!(model("/v1/models/gpt-4o").as_deref(), Some("gpt-4o"));
        assert_eq!(
            model("/v1/models/meta%2Fllama-3%3A8b").as_deref(),
            Some("meta/llama-3:8b")
        );
        for path in [
            "",
            "..",
            "a/../b",
            "%2e%2e/x",
            "a%2F..%2Fb",
            "a%00",
            "a%0d%0ab",
            "%zz",
            "%e9",
            "a%3Fb",
            "a#b",
        ] {
            assert_eq!(model(&format!("/v1/models/{path}")), None, "{path}");
        }
    }

    #[test]
    fn a_model_of_bedrocks_is_named_by_the_path() {
        let arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.m-v1:0";
        let table = [
            (
                "us.amazon.m-v1:0/converse",
                Operation::Converse,
                "us.amazon.m-v1:0",
            ),
            (
                "us.amazon.m-v1%3A0/converse-stream",
                Operation::ConverseStream,
                "us.amazon.m-v1:0",
            ),
            (
                "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.anthropic.m-v1%3A0/invoke",
                Operation::Invoke,
                arn,
            ),
            (
                "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.m-v1:0/invoke-with-response-stream",
                Operation::InvokeStream,
                arn,
            ),
        ];
        for (path, operation, model) in table {
            let path = format!("/model/{path}");
            let matched = route(&Method::POST, &path).unwrap();
            assert_eq!(
                (matched.operation, matched.face),
                (operation, Face::Bedrock)
            );
            assert_eq!(matched.model.as_deref(), Some(model));
            assert_eq!(route(&Method::GET, &path), None);
        }
        for path in [
            "/model/m",
            "/model//converse",
            "/model/m/count-tokens",
            "/model/a%2F..%2Fb/invoke",
        ] {
            assert_eq!(route(&Method::POST, path), None, "{path}");
        }
    }

    #[test]
    fn an_id_is_encoded_as_one_segment() {
        let mut path = String::new();
        push_encoded(&mut path, "a/b c?é");
        assert_eq!(path, "a%2Fb%20c%3F%C3%A9");
        let mut path = String::new();
        push_reserved_encoded(&mut path, "arn:a/b.c-1:0");
        assert_eq!(path, "arn%3Aa%2Fb.c-1%3A0");
    }
}
