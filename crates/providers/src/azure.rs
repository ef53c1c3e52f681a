//! Azure OpenAI: OpenAI's words behind a resource's own address, with deployments for models.
//!
//! A call goes where its caller aimed: with a dated `api-version` to `/openai/deployments/…`, else
//! to `/openai/v1/…`. A caller who names no version gets the integration's `api_version`.

use cus_models::CusProviderType;
use http::header::AUTHORIZATION;
use http::{HeaderName, Uri};
use tollgate_core::config::IntegrationConfig;
use tollgate_vault::Secret;

use crate::credential::{self, CredentialError, KeyOrToken};
use crate::dialect::Dialect;
use crate::edit::CapMember;
use crate::face::Face;
use crate::forwarding::Forwarded;
use crate::openai::{self, Manners, ModelPlace, StreamUsage};
use crate::operation::{self, Operation};
use crate::provider::{
    ConfigMistake, Description, Field, FieldKind, Outbound, PrepareCall, PrepareError, Presence,
    ProbeCall, Provider,
};
use crate::translate::Translation;
use crate::url::{Endpoint, UrlError, UrlPolicy};

/// A resource of Azure's.
#[derive(Debug)]
pub(crate) struct Azure;

const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// The first version that can be asked for usage in a stream, and that knows the newer name of
/// chat's maximum. Versions are days, so their order is that of their texts.
const FIRST_WITH_STREAM_USAGE: &str = "2024-09-01";

/// Where resources of Azure's are found.
const RESOURCE_HOSTS: [&str; 7] = [
    ".openai.azure.com",
    ".cognitiveservices.azure.com",
    ".services.ai.azure.com",
    ".openai.azure.us",
    ".cognitiveservices.azure.us",
    ".services.ai.azure.us",
    ".openai.azure.cn",
];

static DESCRIPTION: Description = Description {
    provider_type: CusProviderType::AzureOpenAi,
    title: "Azure OpenAI",
    dialect: Dialect::OpenAi,
    faces: &[Face::AzureDeployments, Face::AzureV1, Face::OpenAi],
    default_url: None,
    credential: Presence::Required,
    credential_fields: &[
        Field {
            hint: "a key of the resource; give this or entra_token",
            presence: Presence::Optional,
            ..openai::API_KEY
        },
        Field {
            name: "entra_token",
            title: "Entra token",
            hint: "an access token of Microsoft Entra ID, to be replaced before it expires",
            kind: FieldKind::Secret,
            presence: Presence::Optional,
        },
    ],
    config_fields: &[
        Field {
            title: "Endpoint",
            hint: "the resource's endpoint, for example `https://my-resource.openai.azure.com`",
            presence: Presence::Required,
            ..openai::BASE_URL
        },
        Field {
            name: "api_version",
            title: "API version",
            hint: "a version such as `2024-10-21` for calls that name none; without it they go to \
                   `/openai/v1`",
            kind: FieldKind::Text,
            presence: Presence::Optional,
        },
        Field {
            name: "deployments",
            title: "Deployments",
            hint: "names of deployments, each with the model that it runs, for its price",
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
    operations: operation::OPENAI,
};

/// Of the query, the version that `/openai/v1` takes.
static VERSION: Forwarded = Forwarded {
    headers: &[],
    query: &["api-version"],
    version: "",
};

impl Provider for Azure {
    fn describe(&self) -> &'static Description {
        &DESCRIPTION
    }

    /// The address of a resource, also where it was copied with the `/openai` or `/openai/v1`
    /// that an SDK wants.
    fn endpoint(
        &self,
        config: &IntegrationConfig,
        policy: &UrlPolicy,
    ) -> Result<Endpoint, UrlError> {
        let url = config.base_url.as_deref().ok_or(UrlError::Missing)?;
        let endpoint = Endpoint::parse(url, policy)?;
        let prefix = endpoint.prefix();
        let bare = prefix.strip_suffix("/v1").unwrap_or(prefix);
        let bare = bare.strip_suffix("/openai").map(str::to_owned);
        Ok(match bare {
            Some(bare) => endpoint.with_prefix(&bare),
            None => endpoint,
        })
    }

    fn check_config(&self, config: &IntegrationConfig) -> Result<(), ConfigMistake> {
        let mistake = |member, reason| Err(ConfigMistake { member, reason });
        let version = config.api_version.as_deref();
        if version.is_some_and(|version| !is_dated(version)) {
            return mistake(
                "api_version",
                "give a version such as `2024-10-21` or `2025-03-01-preview`, or leave it out for \
                 `/openai/v1`",
            );
        }
        let url = config.base_url.as_deref().unwrap_or_default();
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = host.split(':').next().unwrap_or(host).to_ascii_lowercase();
        if path.contains("deployments") {
            return mistake(
                "base_url",
                "give the resource's endpoint alone: the deployment is named by each call",
            );
        }
        // Another host may be a gateway of one's own before Azure.
        let at_azure = [".azure.com", ".azure.us", ".azure.cn"];
        let is_at_azure = at_azure.iter().any(|end| host.ends_with(end));
        let is_resource = RESOURCE_HOSTS.iter().any(|end| {
            host.strip_suffix(end)
                .is_some_and(|name| !name.is_empty() && !name.contains('.'))
        });
        if (is_at_azure && !is_resource) || host.ends_with(".openai.com") {
            return mistake(
                "base_url",
                "this is not the endpoint of an Azure OpenAI resource: it is like \
                 `https://my-resource.openai.azure.com`",
            );
        }
        Ok(())
    }

    fn check_credential(&self, credential: &Secret) -> Result<(), CredentialError> {
        credential::azure(credential).map(drop)
    }

    fn prepare(&self, call: &PrepareCall<'_>) -> Result<Outbound, PrepareError> {
        let version = version(call);
        let recent = version.is_none_or(|version| version >= FIRST_WITH_STREAM_USAGE);
        let manners = Manners {
            chat_cap: if recent {
                CapMember::MaxCompletionTokens
            } else {
                CapMember::MaxTokens
            },
            model: if version.is_some() && call.operation.is_deployed() {
                ModelPlace::Path
            } else {
                ModelPlace::Body
            },
            stream_usage: if recent {
                StreamUsage::Known
            } else {
                StreamUsage::Unknown
            },
        };
        let mut outbound = openai::unsigned(&DESCRIPTION, call, uri(call, version)?, manners)?;
        let secret = call.credential.ok_or(PrepareError::NoCredential)?;
        match credential::azure(secret)? {
            KeyOrToken::Key(key) => outbound.headers.insert(API_KEY, key),
            KeyOrToken::Token(token) => outbound.headers.insert(AUTHORIZATION, token),
        };
        Ok(outbound)
    }

    fn translation(
        &self,
        face: Face,
        operation: Operation,
        config: &IntegrationConfig,
    ) -> Option<Translation> {
        let translation = Translation::between(face, operation, &DESCRIPTION)?;
        let version = config.api_version.as_deref();
        let recent = version.is_none_or(|version| version >= FIRST_WITH_STREAM_USAGE);
        Some(if recent {
            translation
        } else {
            translation.with_cap(CapMember::MaxTokens)
        })
    }

    fn probe(&self, call: &ProbeCall<'_>) -> Result<Outbound, PrepareError> {
        openai::probe(self, call, Face::OpenAi)
    }
}

/// The dated version that a call goes out with; none where it goes to `/openai/v1`.
fn version<'c>(call: &PrepareCall<'c>) -> Option<&'c str> {
    let own = call.config.api_version.as_deref();
    match call.face {
        Face::AzureV1 => None,
        Face::AzureDeployments => asked_version(call.query).or(own),
        Face::OpenAi | Face::Anthropic | Face::Bedrock => own,
    }
    .filter(|version| is_dated(version))
}

/// The version that the caller's query names.
fn asked_version(query: Option<&str>) -> Option<&str> {
    let mut members = query?
        .split('&')
        .filter_map(|member| member.split_once('='));
    members
        .find(|(name, _)| *name == "api-version")
        .map(|(_, version)| version)
}

/// Whether a version is a day, with or without `-preview`: `2024-10-21`.
fn is_dated(version: &str) -> bool {
    let day = version.strip_suffix("-preview").unwrap_or(version);
    let is_day = |(place, byte): (usize, u8)| match place {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    day.len() == 10 && day.bytes().enumerate().all(is_day)
}

fn uri(call: &PrepareCall<'_>, version: Option<&str>) -> Result<Uri, PrepareError> {
    let mut path = [call.endpoint.prefix(), "/openai"].concat();
    let Some(version) = version else {
        path.push_str("/v1");
        call.push_path(&mut path)?;
        let query = call.query.unwrap_or_default();
        if call.face == Face::AzureV1 {
            VERSION.push_query(&mut path, query);
        }
        openai::FORWARDED.push_query(&mut path, query);
        return call.endpoint.uri(path).or(Err(PrepareError::Unbuildable));
    };
    if call.operation.is_deployed() {
        path.push_str("/deployments/");
        operation::push_encoded(&mut path, call.model.ok_or(PrepareError::NoModel)?);
    }
    call.push_path(&mut path)?;
    path.push_str("?api-version=");
    path.push_str(version);
    openai::FORWARDED.push_query(&mut path, call.query.unwrap_or_default());
    call.endpoint.uri(path).or(Err(PrepareError::Unbuildable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_day() {
        for version in ["2024-10-21", "2025-03-01-preview"] {
            assert!(is_dated(version), "{version}");
        }
        for version in [
            "",
            "preview",
            "v1",
            "2024-1-1",
            "2024-10-21-x",
            "2024-10-2é",
        ] {
            assert!(!is_dated(version), "{version}");
        }
        let older = "2024-08-01-preview" < FIRST_WITH_STREAM_USAGE;
        assert!(older && "2024-09-01-preview" >= FIRST_WITH_STREAM_USAGE);
    }

    #[test]
    fn an_endpoint_that_cannot_be_a_resources_is_a_mistake_and_a_gateways_is_not() {
        let check = |url: &str| {
            let config = IntegrationConfig {
                base_url: Some(url.to_owned()),
                ..IntegrationConfig::default()
            };
            Azure.check_config(&config).map_err(|error| error.member)
        };
        for url in [
            "https://res.openai.azure.com",
            "https://Res.OpenAI.azure.com:443/openai/v1/",
            "https://res.services.ai.azure.com",
            "https://res.openai.azure.us/",
            "https://llm.example.com/azure",
            "http://127.0.0.1:8080",
        ] {
            assert_eq!(check(url), Ok(()), "{url}");
        }
        for url in [
            "https://openai.azure.com",
            "https://a.b.openai.azure.com",
            "https://portal.azure.com",
            "https://api.openai.com/v1",
            "https://res.openai.azure.com/openai/deployments/d",
        ] {
            assert_eq!(check(url), Err("base_url"), "{url}");
        }
        let config = IntegrationConfig {
            api_version: Some("v1".to_owned()),
            ..IntegrationConfig::default()
        };
        assert_eq!(
            Azure.check_config(&config).unwrap_err().member,
            "api_version"
        );
    }
}
