//! Any server that speaks OpenAI's dialect, or Anthropic's: a local one, or another company's.

use cus_models::CusProviderType;
use tollgate_core::config::IntegrationConfig;
use tollgate_vault::Secret;

use crate::anthropic;
use crate::credential::{self, CredentialError};
use crate::dialect::Dialect;
use crate::edit::CapMember;
use crate::face::Face;
use crate::openai;
use crate::operation::{self, Operation};
use crate::provider::{
    Description, Field, FieldKind, Outbound, PrepareCall, PrepareError, Presence, ProbeCall,
    Provider,
};
use crate::translate::Translation;
use crate::url::{Endpoint, UrlError, UrlPolicy};

/// A server of one's own.
#[derive(Debug)]
pub(crate) struct Custom;

/// The same, speaking Anthropic's dialect.
#[derive(Debug)]
pub(crate) struct CustomMessages;

/// Where the server is.
const BASE_URL: Field = Field {
    hint: "where the server is, with its path, for example `https://llm.example/v1`",
    presence: Presence::Required,
    ..openai::BASE_URL
};

/// Whose words it speaks.
const DIALECT: Field = Field {
    name: "dialect",
    title: "Dialect",
    hint: "`openai`, or `anthropic` for a server that serves `/v1/messages`",
    kind: FieldKind::Text,
    presence: Presence::Optional,
};

static DESCRIPTION: Description = Description {
    provider_type: CusProviderType::Custom,
    title: "OpenAI-compatible",
    dialect: Dialect::OpenAi,
    faces: &[Face::OpenAi],
    default_url: None,
    credential: Presence::Optional,
    credential_fields: &[openai::API_KEY],
    config_fields: &[
        BASE_URL,
        DIALECT,
        openai::ALIASES,
        openai::PRICES,
        openai::HARD_CAP,
        openai::OUTPUT_TOKENS,
        openai::ON_DISCONNECT,
        openai::RETRIES,
        openai::RETRY_WAIT,
        openai::FALLBACK,
    ],
    operations: operation::OPENAI,
};

static SPEAKING_MESSAGES: Description = Description {
    provider_type: CusProviderType::Custom,
    title: "Anthropic-compatible",
    dialect: Dialect::Anthropic,
    faces: &[Face::Anthropic],
    default_url: None,
    credential: Presence::Optional,
    credential_fields: &[openai::API_KEY],
    config_fields: &[
        BASE_URL,
        DIALECT,
        openai::ALIASES,
        openai::PRICES,
        openai::ON_DISCONNECT,
        openai::RETRIES,
        openai::RETRY_WAIT,
        openai::FALLBACK,
    ],
    operations: anthropic::OPERATIONS,
};

impl Provider for Custom {
    fn describe(&self) -> &'static Description {
        &DESCRIPTION
    }

    fn endpoint(
        &self,
        config: &IntegrationConfig,
        policy: &UrlPolicy,
    ) -> Result<Endpoint, UrlError> {
        openai::endpoint(&DESCRIPTION, config, policy)
    }

    fn check_credential(&self, credential: &Secret) -> Result<(), CredentialError> {
        credential::api_key(credential, "").map(drop)
    }

    fn prepare(&self, call: &PrepareCall<'_>) -> Result<Outbound, PrepareError> {
        // The name that every compatible server knows.
        openai::prepare(&DESCRIPTION, call, CapMember::MaxTokens)
    }

    fn translation(
        &self,
        face: Face,
        operation: Operation,
        _config: &IntegrationConfig,
    ) -> Option<Translation> {
        let translation = Translation::between(face, operation, &DESCRIPTION)?;
        Some(translation.with_cap(CapMember::MaxTokens))
    }

    fn probe(&self, call: &ProbeCall<'_>) -> Result<Outbound, PrepareError> {
        openai::probe(self, call, Face::OpenAi)
    }
}

impl Provider for CustomMessages {
    fn describe(&self) -> &'static Description {
        &SPEAKING_MESSAGES
    }

    fn endpoint(
        &self,
        config: &IntegrationConfig,
        policy: &UrlPolicy,
    ) -> Result<Endpoint, UrlError> {
        anthropic::endpoint(&SPEAKING_MESSAGES, config, policy)
    }

    fn check_credential(&self, credential: &Secret) -> Result<(), CredentialError> {
        credential::api_key(credential, "").map(drop)
    }

    fn prepare(&self, call: &PrepareCall<'_>) -> Result<Outbound, PrepareError> {
        anthropic::prepare(&SPEAKING_MESSAGES, call)
    }

    fn probe(&self, call: &ProbeCall<'_>) -> Result<Outbound, PrepareError> {
        openai::probe(self, call, Face::Anthropic)
    }
}
