//! Whose wire format a request speaks, and who asks.

use http::{HeaderMap, HeaderName, StatusCode, header::AUTHORIZATION, request::Parts};

use super::{answer::Refusal, azure, world::World};

pub(super) const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// What Bedrock can be asked for at no cost.
pub(super) const BEDROCK_LIST: &str = "/async-invoke";

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Whose wire format a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Face {
    OpenAi,
    Azure,
    Anthropic,
    Bedrock,
}

impl Face {
    pub(super) fn of(head: &Parts) -> Self {
        let path = head.uri.path();
        if path.starts_with("/openai/") {
            return Self::Azure;
        }
        if path.starts_with("/model/") || path == BEDROCK_LIST {
            return Self::Bedrock;
        }
        let anthropic = path == "/v1/messages"
            || path.starts_with("/v1/messages/")
            || (path.starts_with("/v1/models") && head.headers.contains_key(ANTHROPIC_VERSION));
        if anthropic {
            Self::Anthropic
        } else {
            Self::OpenAi
        }
    }

    pub(super) fn request_id_header(self) -> HeaderName {
        match self {
            Self::OpenAi | Self::Azure => HeaderName::from_static("x-request-id"),
            Self::Anthropic => HeaderName::from_static("request-id"),
            Self::Bedrock => HeaderName::from_static("x-amzn-requestid"),
        }
    }
}

/// Check the caller's key as the vendor would.
pub(super) fn identify(world: &World, face: Face, headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    // Anthropic's SDKs present a key in either header, by their version.
    let presented = match face {
        Face::OpenAi => bearer,
        Face::Azure => azure::presented(headers).or(bearer),
        Face::Anthropic | Face::Bedrock => text(API_KEY).or(bearer),
    };
    let refuse = |message: &str| {
        Err(Refusal::new(StatusCode::UNAUTHORIZED, message).with_code("invalid_api_key"))
    };
    match presented {
        None | Some("") => refuse(match face {
            Face::OpenAi => "the request has no key: send `Authorization: Bearer` and a key",
            Face::Azure => "the request has no key: send `api-key`, or a token as a bearer",
            Face::Anthropic | Face::Bedrock => {
                "the request has no key: send it as `x-api-key` or `Authorization: Bearer`"
            }
        }),
        Some(key) if world.accepts(key) => Ok(()),
        Some(_) => refuse("the key is not valid at the simulated provider"),
    }
}
