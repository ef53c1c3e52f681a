//! Any server that speaks OpenAI's dialect: a local one, or another company's.

use cus_models::CusProviderType;
use tollgate_core::config::IntegrationConfig;
use tollgate_vault::Secret;

use crate::credential::{self, CredentialError};
use crate::dialect::Dialect;
use crate::edit::CapMember;
use crate::face::Face;
use crate::openai;
use crate::operation::Operation;
use crate::provider::{
    Description, Field, Outbound, PrepareCall, PrepareError, Presence, ProbeCall, Provider,
};
use crate::translate::Translation;
use crate::url::{Endpoint, UrlError, UrlPolicy};

/// A server of one's own.
#[derive(Debug)]
pub(crate) struct Custom;

static DESCRIPTION: Description = Description {
    provider_type: CusProviderType::Custom,
    title: "OpenAI-compatible",
    dialect: Dialect::OpenAi,
    faces: &[Face::OpenAi],
    default_url: None,
    credential: Presence::Optional,
    credential_fields: &[openai::API_KEY],
    config_fields: &[
        Field {
            hint: "where the server is, with its path, for example `https://llm.example/v1`",
            presence: Presence::Required,
            ..openai::BASE_URL
        },
        openai::ALIASES,
        openai::PRICES,
        openai::HARD_CAP,
        openai::OUTPUT_TOKENS,
    ],
    operations: openai::OPERATIONS,
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
