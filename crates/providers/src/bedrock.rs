//! Amazon Bedrock: models of many makers behind one region's address, asked in Bedrock's own words
//! (`converse`) or in their maker's (`invoke`), and signed for with an account's keys.

mod signing;

use cus_models::CusProviderType;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use tollgate_core::config::IntegrationConfig;
use tollgate_core::health::Finding;
use tollgate_vault::Secret;

use crate::credential::{self, AwsCredential, CredentialError};
use crate::dialect::Dialect;
use crate::edit::{EditedBody, Edits};
use crate::face::Face;
use crate::failure::{Billed, Failure, FailureKind};
use crate::forwarding::Forwarded;
use crate::meter::UsageChunk;
use crate::openai;
use crate::operation::{self, Operation};
use crate::probe;
use crate::provider::{
    ConfigMistake, Description, Field, FieldKind, Outbound, PrepareCall, PrepareError, Presence,
    ProbeCall, Provider,
};
use crate::request::RequestFacts;
use crate::url::{Endpoint, UrlError, UrlPolicy};

/// Bedrock in one region.
#[derive(Debug)]
pub(crate) struct Bedrock;

/// A free question that is asked of the same host as calls are.
const PROBE: &str = "/async-invoke";

/// What AWS says when it does not know the credential, whatever was asked for.
const REFUSED: [&str; 8] = [
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "ExpiredTokenException",
    "MissingAuthenticationTokenException",
    "IncompleteSignatureException",
    "ExpiredToken",
];

static DESCRIPTION: Description = Description {
    provider_type: CusProviderType::Bedrock,
    title: "Amazon Bedrock",
    dialect: Dialect::Bedrock,
    faces: &[Face::Bedrock],
    default_url: None,
    credential: Presence::Required,
    credential_fields: &[
        Field {
            name: "access_key_id",
            title: "Access key id",
            hint: "of a user or a role that may invoke models; with its secret, or give api_key",
            kind: FieldKind::Text,
            presence: Presence::Optional,
        },
        Field {
            name: "secret_access_key",
            title: "Secret access key",
            hint: "the secret of the access key",
            kind: FieldKind::Secret,
            presence: Presence::Optional,
        },
        Field {
            name: "session_token",
            title: "Session token",
            hint: "of temporary keys only, to be replaced before they expire",
            kind: FieldKind::Secret,
            presence: Presence::Optional,
        },
        Field {
            hint: "a Bedrock API key, in place of an access key",
            presence: Presence::Optional,
            ..openai::API_KEY
        },
    ],
    config_fields: &[
        Field {
            name: "region",
            title: "Region",
            hint: "where the models are called, for example `us-east-1`",
            kind: FieldKind::Text,
            presence: Presence::Required,
        },
        Field {
            hint: "needed only for another address than the region's, such as a VPC endpoint",
            ..openai::BASE_URL
        },
        Field {
            name: "deployments",
            title: "Deployments",
            hint: "ARNs or ids of profiles of one's own, each with the model that it runs, for its \
                   price",
            kind: FieldKind::Map,
            presence: Presence::Optional,
        },
        openai::ALIASES,
        openai::PRICES,
        openai::HARD_CAP,
        openai::OUTPUT_TOKENS,
        openai::ON_DISCONNECT,
        openai::RETRIES,
        openai::RETRY_WAIT,
        openai::FALLBACK,
    ],
    operations: &[
        Operation::Converse,
        Operation::ConverseStream,
        Operation::Invoke,
        Operation::InvokeStream,
    ],
};

static HEADERS: [HeaderName; 6] = [
    HeaderName::from_static("x-amzn-bedrock-accept"),
    HeaderName::from_static("x-amzn-bedrock-trace"),
    HeaderName::from_static("x-amzn-bedrock-guardrailidentifier"),
    HeaderName::from_static("x-amzn-bedrock-guardrailversion"),
    HeaderName::from_static("x-amzn-bedrock-performanceconfig-latency"),
    HeaderName::from_static("x-amzn-bedrock-service-tier"),
];

static FORWARDED: Forwarded = Forwarded {
    headers: &HEADERS,
    query: &[],
    version: "",
};

impl Provider for Bedrock {
    fn describe(&self) -> &'static Description {
        &DESCRIPTION
    }

    fn endpoint(
        &self,
        config: &IntegrationConfig,
        policy: &UrlPolicy,
    ) -> Result<Endpoint, UrlError> {
        if let Some(url) = config.base_url.as_deref() {
            return Endpoint::parse(url, policy);
        }
        let region = config.region.as_deref().filter(|region| is_region(region));
        let region = region.ok_or(UrlError::Missing)?;
        let end = if region.starts_with("cn-") { ".cn" } else { "" };
        let url = format!("https://bedrock-runtime.{region}.amazonaws.com{end}");
        Endpoint::parse(&url, policy)
    }

    fn check_config(&self, config: &IntegrationConfig) -> Result<(), ConfigMistake> {
        let mistake = |member, reason| Err(ConfigMistake { member, reason });
        let region = config.region.as_deref().unwrap_or_default();
        if !is_region(region) {
            return mistake("region", "give the region's code, for example `us-east-1`");
        }
        let url = config.base_url.as_deref().unwrap_or_default();
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        let at_aws = host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn");
        if at_aws && !host.split('.').any(|label| label == region) {
            return mistake(
                "base_url",
                "this address is in another region than `region` says",
            );
        }
        if at_aws && !host.contains("bedrock-runtime") {
            return mistake(
                "base_url",
                "models are called at `bedrock-runtime`, and this is another service's address",
            );
        }
        Ok(())
    }

    fn check_credential(&self, credential: &Secret) -> Result<(), CredentialError> {
        credential::aws(credential).map(drop)
    }

    fn prepare(&self, call: &PrepareCall<'_>) -> Result<Outbound, PrepareError> {
        if !DESCRIPTION.operations.contains(&call.operation) {
            return Err(PrepareError::Unserved(call.operation));
        }
        let model = call.model.ok_or(PrepareError::NoModel)?;
        let mut path = [call.endpoint.prefix(), "/model/"].concat();
        operation::push_reserved_encoded(&mut path, model);
        call.push_path(&mut path)?;
        let uri = call.endpoint.uri(path).or(Err(PrepareError::Unbuildable))?;
        let mut outbound = Outbound {
            method: Method::POST,
            uri,
            headers: FORWARDED.headers(call)?,
            body: body(call, model),
            usage_chunk: UsageChunk::Keep,
        };
        let secret = call.credential.ok_or(PrepareError::NoCredential)?;
        authorize(&mut outbound, secret, call.config, call.now)?;
        Ok(outbound)
    }

    fn probe(&self, call: &ProbeCall<'_>) -> Result<Outbound, PrepareError> {
        let path = [call.endpoint.prefix(), PROBE].concat();
        let uri: Uri = call.endpoint.uri(path).or(Err(PrepareError::Unbuildable))?;
        let mut outbound = Outbound {
            method: Method::GET,
            uri,
            headers: HeaderMap::new(),
            body: EditedBody::empty(),
            usage_chunk: UsageChunk::Keep,
        };
        let secret = call.credential.ok_or(PrepareError::NoCredential)?;
        authorize(&mut outbound, secret, call.config, call.now)?;
        Ok(outbound)
    }

    /// AWS answers 403 to a credential that it does not know and to one that may not do this.
    fn classify(&self, status: StatusCode, headers: &HeaderMap) -> Option<Failure> {
        if status == StatusCode::FORBIDDEN && !self.disowns_credential(status, headers) {
            return Some(Failure {
                kind: FailureKind::AccessDenied,
                billed: Billed::No,
            });
        }
        Failure::of_status(status)
    }

    fn disowns_credential(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let kind = headers.get("x-amzn-errortype");
        let kind = kind.and_then(|value| value.to_str().ok());
        // Behind the kind there may be the address of its description.
        let kind = kind.and_then(|kind| kind.split(':').next());
        status == StatusCode::UNAUTHORIZED
            || (status == StatusCode::FORBIDDEN && kind.is_some_and(|kind| REFUSED.contains(&kind)))
    }

    /// Keys that may invoke models need not be allowed what a probe asks: AWS knew them.
    fn judge_probe(&self, status: StatusCode, headers: &HeaderMap, latency_ms: i64) -> Finding {
        match self.classify(status, headers).map(|failure| failure.kind) {
            Some(FailureKind::AccessDenied) => probe::judge(StatusCode::OK, latency_ms),
            _ => probe::judge(status, latency_ms),
        }
    }

    /// The model or profile at the end of a resource's name.
    fn booked<'m>(&self, model: &'m str) -> &'m str {
        let resource = model
            .strip_prefix("arn:")
            .and_then(|it| it.rsplit_once('/'));
        resource.map_or(model, |(_, id)| id)
    }
}

/// Puts the credential in: an API key as a bearer, else a signature of what is there by now.
fn authorize(
    outbound: &mut Outbound,
    secret: &Secret,
    config: &IntegrationConfig,
    now: tollgate_core::Moment,
) -> Result<(), PrepareError> {
    match credential::aws(secret)? {
        AwsCredential::Token(token) => {
            outbound.headers.insert(AUTHORIZATION, token);
            Ok(())
        }
        AwsCredential::Keys(keys) => {
            let region = config.region.as_deref().ok_or(PrepareError::Unbuildable)?;
            signing::sign(outbound, *keys, region, now)
        }
    }
}

/// The body, with an output maximum written in where that is wanted and known how.
fn body(call: &PrepareCall<'_>, model: &str) -> EditedBody {
    let Some((body, facts)) = call.body else {
        return EditedBody::empty();
    };
    let mut edits = Edits::of(facts);
    if call.config.hard_cap && facts.output_maximum().is_none() {
        let most = facts.output_allowance(call.config, call.prices);
        cap(&mut edits, facts, model, most);
    }
    edits.apply(body)
}

/// Writes an output maximum in the words that the model's maker knows.
fn cap(edits: &mut Edits, facts: &RequestFacts, model: &str, most: u64) {
    let places = &facts.places;
    if !matches!(
        facts.operation(),
        Operation::Invoke | Operation::InvokeStream
    ) {
        return edits.cap_nested(("inferenceConfig", "maxTokens"), &places.inference, most);
    }
    let by = |maker: &str| model.contains(maker);
    if by("amazon.nova") {
        edits.cap_nested(("inferenceConfig", "maxTokens"), &places.inference, most);
    } else if by("amazon.titan-text") {
        let member = ("textGenerationConfig", "maxTokenCount");
        edits.cap_nested(member, &places.generation, most);
    } else if by("meta.llama") {
        edits.cap_as("max_gen_len", most);
    } else if !by("embed") && !by("stability.") && !by("rerank") && !by("amazon.") {
        edits.cap(places, crate::edit::CapMember::MaxTokens, most);
    }
}

/// Whether a text is of a region's form, such as `us-east-1` or `us-gov-west-1`.
fn is_region(text: &str) -> bool {
    let mut parts = text.split('-');
    let area = parts.next().unwrap_or_default();
    let number = parts.next_back().unwrap_or_default();
    let mut words = parts.clone();
    let is_word = |word: &str| {
        (1..=12).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    area.len() == 2
        && is_word(area)
        && (1..=2).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && (1..=2).contains(&parts.count())
        && words.all(is_word)
}

#[cfg(test)]
mod tests;
