//! Bedrock's wire format: `POST /model/{id}/…`, signed or with an API key, whole or as binary frames.

pub(super) mod converse;
pub(super) mod frames;
pub(super) mod invoke;
mod signature;
pub(super) mod vector;

use http::{StatusCode, header::AUTHORIZATION, request::Parts};

use super::{answer::Refusal, text::Json, world::World};

/// What is signed with, whatever the access key: no secret, it opens nothing but this simulation.
pub const SECRET_ACCESS_KEY: &str = "simulated-secret-access-key";

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The model's id, decoded.
    pub(super) model: String,
    /// What follows it.
    pub(super) action: String,
}

impl Place {
    /// Reads a path; none when it is none of Bedrock's.
    pub(super) fn of(path: &str) -> Option<Self> {
        let (model, action) = path.strip_prefix("/model/")?.rsplit_once('/')?;
        let model = signature::decoded(model)?;
        Some(Self {
            model: String::from_utf8(model).ok()?,
            action: action.to_owned(),
        })
    }
}

/// Checks who asks, as AWS does: a signature, or an API key.
pub(super) fn identify(world: &World, head: &Parts, body: &[u8]) -> Result<(), Refusal> {
    let refuse =
        |kind, message: &str| Err(Refusal::new(StatusCode::FORBIDDEN, message).with_code(kind));
    let text = head.headers.get(AUTHORIZATION);
    let Some(text) = text.and_then(|value| value.to_str().ok()) else {
        return refuse(
            "MissingAuthenticationTokenException",
            "Missing Authentication Token",
        );
    };
    if let Some(key) = text.strip_prefix("Bearer ") {
        return if world.accepts(key) {
            Ok(())
        } else {
            refuse(
                "AccessDeniedException",
                "Authentication failed: Please make sure your API Key is valid.",
            )
        };
    }
    let Some(signed) = signature::Signed::read(text) else {
        return refuse(
            "IncompleteSignatureException",
            "Authorization header is not one of SigV4",
        );
    };
    if !world.accepts(signed.access_key_id) {
        return refuse(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        );
    }
    match signed.verify(head, body, SECRET_ACCESS_KEY) {
        Ok(()) => Ok(()),
        Err(reason) => refuse(
            "InvalidSignatureException",
            &format!(
                "The request signature we calculated does not match the signature you provided: {reason}"
            ),
        ),
    }
}

/// The name of an error.
pub(super) fn error_type(refusal: &Refusal) -> &'static str {
    match (refusal.code, refusal.status) {
        (Some(code), StatusCode::FORBIDDEN) => code,
        (_, StatusCode::FORBIDDEN) => "AccessDeniedException",
        (_, StatusCode::NOT_FOUND) => "ResourceNotFoundException",
        (_, StatusCode::TOO_MANY_REQUESTS) => "ThrottlingException",
        (_, StatusCode::REQUEST_TIMEOUT) => "ModelTimeoutException",
        (_, StatusCode::SERVICE_UNAVAILABLE) => "ServiceUnavailableException",
        (_, status) if status.is_server_error() => "InternalServerException",
        _ => "ValidationException",
    }
}

/// An error as boto3 reads it; its name is in a header.
pub(super) fn error(refusal: &Refusal) -> String {
    let mut json = Json::with_capacity(256);
    json.raw(r#"{"message":"#).string(&refusal.message).raw("}");
    json.into_string()
}
