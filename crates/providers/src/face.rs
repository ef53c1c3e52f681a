//! The families of paths that callers come by: each is what one vendor's own clients ask for.

use serde::Serialize;

use crate::dialect::Dialect;

/// One family of paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Face {
    /// `/v1/…` in OpenAI's words.
    #[serde(rename = "openai")]
    OpenAi,
    /// `/v1/…` in Anthropic's words.
    Anthropic,
    /// `/openai/deployments/{deployment}/…?api-version=`, as Azure's older clients ask.
    AzureDeployments,
    /// `/openai/v1/…`, as Azure's newer clients ask.
    AzureV1,
    /// `/model/{id}/…`, as AWS's clients ask.
    Bedrock,
}

impl Face {
    /// Whose words are spoken there.
    #[must_use]
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::OpenAi | Self::AzureDeployments | Self::AzureV1 => Dialect::OpenAi,
            Self::Anthropic => Dialect::Anthropic,
            Self::Bedrock => Dialect::Bedrock,
        }
    }
}
