//! Anthropic: its addresses, its headers, and nothing to edit in a body but the model's name.

use cus_models::CusProviderType;
use http::{HeaderName, HeaderValue};
use tollgate_core::config::IntegrationConfig;
use tollgate_vault::Secret;

use crate::credential::{self, CredentialError};
use crate::dialect::Dialect;
use crate::edit::{EditedBody, Edits};
use crate::face::Face;
use crate::forwarding::Forwarded;
use crate::meter::UsageChunk;
use crate::openai;
use crate::operation::{self, Operation};
use crate::provider::{
    Description, Outbound, PrepareCall, PrepareError, Presence, ProbeCall, Provider,
};
use crate::url::{Endpoint, UrlError, UrlPolicy};

/// Anthropic itself, or a server that speaks like it.
#[derive(Debug)]
pub(crate) struct Anthropic;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// What a caller that names no version is taken to speak.
const DEFAULT_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// The operations of the dialect.
pub(crate) const OPERATIONS: &[Operation] = operation::ANTHROPIC;

static DESCRIPTION: Description = Description {
    provider_type: CusProviderType::Anthropic,
    title: "Anthropic",
    dialect: Dialect::Anthropic,
    faces: &[Face::Anthropic],
    default_url: Some("https://api.anthropic.com"),
    credential: Presence::Required,
    credential_fields: &[openai::API_KEY],
    // No hard cap: every request of this dialect names its maximum.
    config_fields: &[
        openai::BASE_URL,
        openai::ALIASES,
        openai::PRICES,
        openai::ON_DISCONNECT,
        openai::RETRIES,
        openai::RETRY_WAIT,
        openai::FALLBACK,
    ],
    operations: OPERATIONS,
};

static HEADERS: [HeaderName; 2] = [VERSION, HeaderName::from_static("anthropic-beta")];

static FORWARDED: Forwarded = Forwarded {
    headers: &HEADERS,
    query: &["beta", "limit", "after_id", "before_id"],
    version: "/v1",
};

impl Provider for Anthropic {
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
        prepare(&DESCRIPTION, call)
    }

    fn probe(&self, call: &ProbeCall<'_>) -> Result<Outbound, PrepareError> {
        openai::probe(self, call, Face::Anthropic)
    }
}

/// The address in a `base_url` as Anthropic's SDKs take it: without the version. One with `/v1` at
/// its end is taken to mean the same.
pub(crate) fn endpoint(
    description: &Description,
    config: &IntegrationConfig,
    policy: &UrlPolicy,
) -> Result<Endpoint, UrlError> {
    let own = description.default_url;
    let url = config
        .base_url
        .as_deref()
        .or(own)
        .ok_or(UrlError::Missing)?;
    let endpoint = Endpoint::parse(url, policy)?;
    let prefix = endpoint.prefix().strip_suffix("/v1").map(str::to_owned);
    Ok(match prefix {
        Some(prefix) => endpoint.with_prefix(&prefix),
        None => endpoint,
    })
}

/// The request to a server that speaks the dialect.
pub(crate) fn prepare(
    description: &Description,
    call: &PrepareCall<'_>,
) -> Result<Outbound, PrepareError> {
    if !description.operations.contains(&call.operation) {
        return Err(PrepareError::Unserved(call.operation));
    }
    let uri = FORWARDED.uri(call)?;
    let mut headers = FORWARDED.headers(call)?;
    headers.entry(VERSION).or_insert(DEFAULT_VERSION);
    match call.credential {
        Some(secret) => {
            headers.insert(API_KEY, credential::api_key(secret, "")?);
        }
        None if description.credential == Presence::Required => {
            return Err(PrepareError::NoCredential);
        }
        None => {}
    }
    let body = call.body.map_or_else(EditedBody::empty, |(body, facts)| {
        let mut edits = Edits::of(facts);
        if let Some(model) = call.model {
            edits.model(facts, model);
        }
        edits.apply(body)
    });
    let method = call.operation.method();
    Ok(Outbound {
        method,
        uri,
        headers,
        body,
        usage_chunk: UsageChunk::Keep,
    })
}
