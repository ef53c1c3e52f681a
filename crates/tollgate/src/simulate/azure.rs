//! Azure's addresses for what OpenAI's wire format serves: deployments with dated versions, and `/openai/v1`.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode, request::Parts};

use super::answer::Refusal;

/// The first version that knows `stream_options`.
const FIRST_WITH_STREAM_OPTIONS: &str = "2024-09-01";

/// What Azure says of each prompt and answer, when nothing was found.
pub(super) const FILTERED: &str = r#"{"hate":{"filtered":false,"severity":"safe"},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}"#;

/// Where a request is aimed at, in the words of OpenAI's own paths.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<'h> {
    /// The path as OpenAI has it: `/v1/…`.
    pub(super) path: Cow<'h, str>,
    /// The deployment that the path names.
    pub(super) deployment: Option<&'h str>,
    /// The dated version.
    version: Option<&'h str>,
}

impl<'h> Place<'h> {
    /// Reads the path and the query of a request.
    pub(super) fn of(head: &'h Parts) -> Result<Self, Refusal> {
        let path = head.uri.path();
        let Some(tail) = path.strip_prefix("/openai/") else {
            return Ok(Self {
                path: Cow::Borrowed(path),
                deployment: None,
                version: None,
            });
        };
        if tail.starts_with("v1/") {
            return Ok(Self {
                path: Cow::Owned(format!("/{tail}")),
                deployment: None,
                version: None,
            });
        }
        let missing = || Refusal::new(StatusCode::NOT_FOUND, "Resource not found").with_code("404");
        let version = version(head.uri.query()).ok_or_else(missing)?;
        let deployed = tail.strip_prefix("deployments/");
        let (deployment, tail) = match deployed.map(|rest| rest.split_once('/')) {
            Some(Some((deployment, tail))) => (Some(deployment), tail),
            Some(None) => return Err(missing()),
            None => (None, tail),
        };
        Ok(Self {
            path: Cow::Owned(format!("/v1/{tail}")),
            deployment,
            version: Some(version),
        })
    }

    /// Refuses what the version does not know.
    pub(super) fn check(&self, body: &[u8]) -> Result<(), Refusal> {
        let asks = std::str::from_utf8(body).is_ok_and(|text| text.contains("\"stream_options\""));
        match self.version {
            Some(version) if asks && version < FIRST_WITH_STREAM_OPTIONS => Err(Refusal::request(
                "Unrecognized request argument supplied: stream_options",
            )),
            _ => Ok(()),
        }
    }
}

/// The key or the token of a request, as Azure takes them.
pub(super) fn presented(headers: &HeaderMap) -> Option<&str> {
    headers.get("api-key").and_then(|value| value.to_str().ok())
}

fn version(query: Option<&str>) -> Option<&str> {
    let mut members = query?
        .split('&')
        .filter_map(|member| member.split_once('='));
    members
        .find(|(name, version)| *name == "api-version" && !version.is_empty())
        .map(|(_, version)| version)
}
