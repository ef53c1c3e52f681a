//! What every provider is: a description of itself, and the same few verbs for each.

use bytes::Bytes;
use cus_models::CusProviderType;
use http::{HeaderMap, Method, StatusCode, Uri};
use serde::Serialize;
use tollgate_core::config::IntegrationConfig;
use tollgate_core::health::Finding;
use tollgate_core::price::ModelPrices;
use tollgate_core::{CallId, Moment};
use tollgate_vault::Secret;

use crate::credential::CredentialError;
use crate::dialect::Dialect;
use crate::edit::EditedBody;
use crate::face::Face;
use crate::failure::Failure;
use crate::meter::{AnswerShape, Meter, MeterPlan, UsageChunk};
use crate::operation::Operation;
use crate::probe;
use crate::request::RequestFacts;
use crate::translate::Translation;
use crate::url::{Endpoint, UrlError, UrlPolicy};

/// A kind of provider.
pub trait Provider: Sync {
    /// What console, CLI and API draw their forms from.
    fn describe(&self) -> &'static Description;

    /// Where an integration's calls go: its `base_url`, or the provider's own address. To be
    /// made once for a revision of an integration, and not for every call.
    fn endpoint(
        &self,
        config: &IntegrationConfig,
        policy: &UrlPolicy,
    ) -> Result<Endpoint, UrlError>;

    /// Whether the settings beside the address make sense for it.
    fn check_config(&self, _config: &IntegrationConfig) -> Result<(), ConfigMistake> {
        Ok(())
    }

    /// Whether a credential is of the form that the provider needs.
    fn check_credential(&self, credential: &Secret) -> Result<(), CredentialError>;

    /// The request to the provider, with the credential in it.
    fn prepare(&self, call: &PrepareCall<'_>) -> Result<Outbound, PrepareError>;

    /// A free request that shows whether the provider can be reached with the credential.
    fn probe(&self, call: &ProbeCall<'_>) -> Result<Outbound, PrepareError>;

    /// What looks on while an answer passes.
    fn meter(&self, operation: Operation, shape: AnswerShape, plan: MeterPlan) -> Meter {
        Meter::new(self.describe().dialect, operation, shape, plan)
    }

    /// What an answer's head means; nothing for a success.
    fn classify(&self, status: StatusCode, _headers: &HeaderMap) -> Option<Failure> {
        Failure::of_status(status)
    }

    /// Whether an answer shows that the provider does not know the credential any more.
    fn disowns_credential(&self, status: StatusCode, _headers: &HeaderMap) -> bool {
        status == StatusCode::UNAUTHORIZED
    }

    /// What the answer to a probe means, after so many milliseconds.
    fn judge_probe(&self, status: StatusCode, _headers: &HeaderMap, latency_ms: i64) -> Finding {
        probe::judge(status, latency_ms)
    }

    /// How a call in another dialect's words reaches it; none where it cannot.
    fn translation(
        &self,
        face: Face,
        operation: Operation,
        _config: &IntegrationConfig,
    ) -> Option<Translation> {
        Translation::between(face, operation, self.describe())
    }

    /// What a model is called in the books: its name without what only says where it is.
    fn booked<'m>(&self, model: &'m str) -> &'m str {
        model
    }
}

/// A provider in its own words.
#[derive(Debug, Serialize)]
pub struct Description {
    /// Which provider it is.
    pub provider_type: CusProviderType,
    /// Its name for people.
    pub title: &'static str,
    /// How it speaks.
    pub dialect: Dialect,
    /// The families of paths by which callers reach it.
    pub faces: &'static [Face],
    /// Where it is, unless an integration says otherwise.
    pub default_url: Option<&'static str>,
    /// Whether an integration must have a credential.
    pub credential: Presence,
    /// The members of its credential.
    pub credential_fields: &'static [Field],
    /// The members of an integration's `config` that it reads.
    pub config_fields: &'static [Field],
    /// What it can be asked for.
    pub operations: &'static [Operation],
}

impl Description {
    /// Whether callers who come by a family of paths can ask it for this.
    #[must_use]
    pub fn serves(&self, face: Face, operation: Operation) -> bool {
        self.faces.contains(&face) && self.operations.contains(&operation)
    }
}

/// A setting that makes no sense for a provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ConfigMistake {
    /// The member of the settings.
    pub member: &'static str,
    /// What to give instead.
    pub reason: &'static str,
}

/// One field of a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Field {
    /// The name of the member.
    pub name: &'static str,
    /// The name for people.
    pub title: &'static str,
    /// What to enter.
    pub hint: &'static str,
    /// What kind of value it has.
    pub kind: FieldKind,
    /// Whether it has to be there.
    pub presence: Presence,
}

/// The kind of a field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// A text that is never shown again.
    Secret,
    /// A text.
    Text,
    /// An absolute URL.
    Url,
    /// True or false.
    Switch,
    /// A whole number.
    Count,
    /// Names with values.
    Map,
    /// Values in an order.
    List,
}

/// Whether something has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It has to be there.
    Required,
    /// It may be absent.
    Optional,
}

/// Everything that a request to a provider is made from.
#[derive(Clone, Copy)]
#[expect(
    missing_debug_implementations,
    reason = "it holds the caller's headers, which may be secret"
)]
pub struct PrepareCall<'a> {
    /// What is asked for.
    pub operation: Operation,
    /// The family of paths that the caller came by.
    pub face: Face,
    /// When it is sent.
    pub now: Moment,
    /// Our id of the call.
    pub call_id: &'a CallId,
    /// The caller's headers; only named ones go on.
    pub headers: &'a HeaderMap,
    /// The caller's query; only named members go on.
    pub query: Option<&'a str>,
    /// Where the provider is.
    pub endpoint: &'a Endpoint,
    /// The integration's settings.
    pub config: &'a IntegrationConfig,
    /// The provider account's secret.
    pub credential: Option<&'a Secret>,
    /// The provider's name of the model, without prefix and alias.
    pub model: Option<&'a str>,
    /// The id of what the provider keeps and the path names.
    pub thing: Option<&'a str>,
    /// What the model costs, and how much it can say.
    pub prices: Option<&'a ModelPrices>,
    /// The caller's body, and what was read from it.
    pub body: Option<(&'a Bytes, &'a RequestFacts)>,
}

impl PrepareCall<'_> {
    /// Adds the operation's path, with what it is about.
    pub(crate) fn push_path(&self, path: &mut String) -> Result<(), PrepareError> {
        let pushed = self.operation.push_path(path, self.model, self.thing);
        pushed.ok_or(PrepareError::NoModel)
    }
}

/// Everything that a free request is made from which shows whether a provider can be reached.
#[derive(Clone, Copy)]
#[expect(
    missing_debug_implementations,
    reason = "it holds a secret, which is not for printing"
)]
pub struct ProbeCall<'a> {
    /// Where the provider is.
    pub endpoint: &'a Endpoint,
    /// The integration's settings.
    pub config: &'a IntegrationConfig,
    /// The provider account's secret.
    pub credential: Option<&'a Secret>,
    /// When it is sent.
    pub now: Moment,
}

/// A request as it goes to a provider. Its length is the body's: no header says it yet.
#[derive(Debug)]
pub struct Outbound {
    /// The method.
    pub method: Method,
    /// Scheme, host, path and query.
    pub uri: Uri,
    /// All headers but `host` and `content-length`; the credential's is marked as sensitive.
    pub headers: HeaderMap,
    /// The body.
    pub body: EditedBody,
    /// What the meter has to do with the usage that was asked for on the caller's behalf.
    pub usage_chunk: UsageChunk,
}

/// Why a request cannot be made. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The provider has no such operation.
    #[error("the provider does not serve `{}`", .0.as_str())]
    Unserved(Operation),
    /// The integration has no credential, and the provider needs one.
    #[error("the integration has no credential; enter one")]
    NoCredential,
    /// The credential is not of the form that the provider needs.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// No model was named, or no id of what the provider keeps.
    #[error("what the request is about is not named")]
    NoModel,
    /// The parts do not make a request.
    #[error("the request to the provider cannot be built from its parts")]
    Unbuildable,
}
