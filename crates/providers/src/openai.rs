//! OpenAI, and what every server that speaks like it has in common.

use cus_models::CusProviderType;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Uri};
use tollgate_core::CallId;
use tollgate_core::config::IntegrationConfig;
use tollgate_vault::Secret;

use crate::credential::{self, CredentialError};
use crate::dialect::Dialect;
use crate::edit::{CapMember, EditedBody, Edits};
use crate::face::Face;
use crate::forwarding::Forwarded;
use crate::meter::UsageChunk;
use crate::operation::{self, Operation};
use crate::provider::{
    Description, Field, FieldKind, Outbound, PrepareCall, PrepareError, Presence, ProbeCall,
    Provider,
};
use crate::url::{Endpoint, UrlError, UrlPolicy};

/// OpenAI itself.
#[derive(Debug)]
pub(crate) struct OpenAi;

/// The key of an account.
pub(crate) const API_KEY: Field = Field {
    name: "api_key",
    title: "API key",
    hint: "a key of the account that pays",
    kind: FieldKind::Secret,
    presence: Presence::Required,
};

/// Where the provider is, if not at its usual address.
pub(crate) const BASE_URL: Field = Field {
    name: "base_url",
    title: "Base URL",
    hint: "as in the official SDK; needed only for another address than the usual one",
    kind: FieldKind::Url,
    presence: Presence::Optional,
};

/// Model names of one's own.
pub(crate) const ALIASES: Field = Field {
    name: "aliases",
    title: "Aliases",
    hint: "names that callers may use, each with the provider's name of the model",
    kind: FieldKind::Map,
    presence: Presence::Optional,
};

/// Prices of one's own.
pub(crate) const PRICES: Field = Field {
    name: "prices",
    title: "Prices",
    hint: "model names, each with its nano-dollars per million tokens by class",
    kind: FieldKind::Map,
    presence: Presence::Optional,
};

/// Whether the provider is told the maximum that is held.
pub(crate) const HARD_CAP: Field = Field {
    name: "hard_cap",
    title: "Hard cap",
    hint: "write an output maximum into requests that have none, so that limits hold exactly",
    kind: FieldKind::Switch,
    presence: Presence::Optional,
};

/// The maximum of requests that name none.
pub(crate) const OUTPUT_TOKENS: Field = Field {
    name: "default_max_output_tokens",
    title: "Default output maximum",
    hint: "tokens held for a request that names no maximum",
    kind: FieldKind::Count,
    presence: Presence::Optional,
};

/// How often a call is asked again.
pub(crate) const RETRIES: Field = Field {
    name: "retries",
    title: "Retries",
    hint: "how often a call is sent again that its provider refused without billing it: 0 to 5",
    kind: FieldKind::Count,
    presence: Presence::Optional,
};

/// How long further attempts may keep a call waiting.
pub(crate) const RETRY_WAIT: Field = Field {
    name: "retry_wait_seconds",
    title: "Wait for further attempts",
    hint: "seconds that further attempts may keep a call waiting, all together: 0 to 60",
    kind: FieldKind::Count,
    presence: Presence::Optional,
};

/// Who is asked instead.
pub(crate) const FALLBACK: Field = Field {
    name: "fallback",
    title: "Fallback",
    hint: "integrations that are asked when this one's provider refuses, in order: names or ids, or \
           `{\"integration\", \"model\"}`",
    kind: FieldKind::List,
    presence: Presence::Optional,
};

/// What becomes of a call whose caller goes away.
pub(crate) const ON_DISCONNECT: Field = Field {
    name: "on_disconnect",
    title: "When a caller goes away",
    hint: "`drain`, which reads the answer to its end, or `cancel`",
    kind: FieldKind::Text,
    presence: Presence::Optional,
};

static DESCRIPTION: Description = Description {
    provider_type: CusProviderType::OpenAi,
    title: "OpenAI",
    dialect: Dialect::OpenAi,
    faces: &[Face::OpenAi],
    default_url: Some("https://api.openai.com/v1"),
    credential: Presence::Required,
    credential_fields: &[API_KEY],
    config_fields: &[
        BASE_URL,
        ALIASES,
        PRICES,
        HARD_CAP,
        OUTPUT_TOKENS,
        ON_DISCONNECT,
        RETRIES,
        RETRY_WAIT,
        FALLBACK,
    ],
    operations: operation::OPENAI,
};

/// What lists and stored things are asked with.
pub(crate) const QUERY: [&str; 9] = [
    "after",
    "before",
    "limit",
    "order",
    "purpose",
    "include[]",
    "include%5B%5D",
    "stream",
    "starting_after",
];

static HEADERS: [HeaderName; 1] = [HeaderName::from_static("openai-beta")];

/// What goes on of a request in this dialect.
pub(crate) static FORWARDED: Forwarded = Forwarded {
    headers: &HEADERS,
    query: &QUERY,
    version: "",
};

impl Provider for OpenAi {
    fn describe(&self) -> &'static Description {
        &DESCRIPTION
    }

    fn endpoint(
        &self,
        config: &IntegrationConfig,
        policy: &UrlPolicy,
    ) -> Result<Endpoint, UrlError> {
        endpoint(&DESCRIPTION, config, policy)
    }

    fn check_credential(&self, credential: &Secret) -> Result<(), CredentialError> {
        credential::api_key(credential, "").map(drop)
    }

    fn prepare(&self, call: &PrepareCall<'_>) -> Result<Outbound, PrepareError> {
        // The newer name also bounds reasoning, and the older is refused by newer models.
        prepare(&DESCRIPTION, call, CapMember::MaxCompletionTokens)
    }

    fn probe(&self, call: &ProbeCall<'_>) -> Result<Outbound, PrepareError> {
        probe(self, call, Face::OpenAi)
    }
}

/// The address in a `base_url` as OpenAI's SDKs take it: with the version. Where it has no path
/// at all, `/v1` is meant; any other path is taken as it is.
pub(crate) fn endpoint(
    description: &Description,
    config: &IntegrationConfig,
    policy: &UrlPolicy,
) -> Result<Endpoint, UrlError> {
    let url = config
        .base_url
        .as_deref()
        .or(description.default_url)
        .ok_or(UrlError::Missing)?;
    let endpoint = Endpoint::parse(url, policy)?;
    Ok(if endpoint.prefix().is_empty() {
        endpoint.with_prefix("/v1")
    } else {
        endpoint
    })
}

/// What a server that speaks the dialect wants to have said in its own way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    /// What it calls the output maximum of a chat.
    pub(crate) chat_cap: CapMember,
    /// Where it looks for the model.
    pub(crate) model: ModelPlace,
    /// Whether it can be asked for usage at the end of a stream.
    pub(crate) stream_usage: StreamUsage,
}

/// Where a server looks for the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ModelPlace {
    /// In the body.
    Body,
    /// In the path; what the body says of it is not looked at.
    Path,
}

/// Whether a server can be asked for usage at the end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamUsage {
    /// It can.
    Known,
    /// It refuses requests that ask.
    Unknown,
}

/// The request to a server that speaks the dialect; `chat_cap` is what it calls chat's maximum.
pub(crate) fn prepare(
    description: &Description,
    call: &PrepareCall<'_>,
    chat_cap: CapMember,
) -> Result<Outbound, PrepareError> {
    let uri = FORWARDED.uri(call)?;
    let mut outbound = unsigned(
        description,
        call,
        uri,
        Manners {
            chat_cap,
            model: ModelPlace::Body,
            stream_usage: StreamUsage::Known,
        },
    )?;
    match call.credential {
        Some(secret) => {
            let value = credential::api_key(secret, "Bearer ")?;
            outbound.headers.insert(AUTHORIZATION, value);
        }
        None if description.credential == Presence::Required => {
            return Err(PrepareError::NoCredential);
        }
        None => {}
    }
    Ok(outbound)
}

/// The request to a server that speaks the dialect, without a credential.
pub(crate) fn unsigned(
    description: &Description,
    call: &PrepareCall<'_>,
    uri: Uri,
    manners: Manners,
) -> Result<Outbound, PrepareError> {
    if !description.operations.contains(&call.operation) {
        return Err(PrepareError::Unserved(call.operation));
    }
    let headers = FORWARDED.headers(call)?;
    let (body, usage_chunk) = body(call, manners);
    Ok(Outbound {
        method: call.operation.method(),
        uri,
        headers,
        body,
        usage_chunk,
    })
}

/// The body with the documented edits, and what becomes of the usage that it now asks for.
fn body(call: &PrepareCall<'_>, manners: Manners) -> (EditedBody, UsageChunk) {
    let Some((body, facts)) = call.body else {
        return (EditedBody::empty(), UsageChunk::Keep);
    };
    if facts.is_form() {
        // It passes beside, with no edit but the model's name.
        return (EditedBody::empty(), UsageChunk::Keep);
    }
    let mut edits = Edits::of(facts);
    if let Some(model) = call.model.filter(|_| manners.model == ModelPlace::Body) {
        edits.model(facts, model);
    }
    let mut usage_chunk = UsageChunk::Keep;
    let asks = manners.stream_usage == StreamUsage::Known
        && matches!(
            call.operation,
            Operation::ChatCompletions | Operation::Completions
        );
    if asks && facts.streams() && !facts.wants_usage() {
        edits.include_usage(&facts.places);
        usage_chunk = UsageChunk::Strip;
    }
    let cap = [
        (Operation::ChatCompletions, manners.chat_cap),
        (Operation::Completions, CapMember::MaxTokens),
        (Operation::CreateResponse, CapMember::OfResponse),
    ];
    let cap = cap.into_iter().find(|(of, _)| *of == call.operation);
    if call.config.hard_cap
        && facts.output_maximum().is_none()
        && let Some((_, member)) = cap
    {
        edits.cap(
            &facts.places,
            member,
            facts.output_allowance(call.config, call.prices),
        );
    }
    (edits.apply(body), usage_chunk)
}

/// A request for the list of models.
pub(crate) fn probe(
    provider: &dyn Provider,
    call: &ProbeCall<'_>,
    face: Face,
) -> Result<Outbound, PrepareError> {
    provider.prepare(&PrepareCall {
        operation: Operation::ListModels,
        face,
        now: call.now,
        call_id: &CallId::generate(),
        headers: &HeaderMap::new(),
        query: None,
        endpoint: call.endpoint,
        config: call.config,
        credential: call.credential,
        model: None,
        thing: None,
        prices: None,
        body: None,
    })
}
