//! The one list of providers that are served. To add one: a file, and a line here.

use cus_models::CusProviderType;
use tollgate_core::config::{IntegrationConfig, Spoken};

use crate::anthropic::Anthropic;
use crate::azure::Azure;
use crate::bedrock::Bedrock;
use crate::custom::{Custom, CustomMessages};
use crate::dialect::Dialect;
use crate::face::Face;
use crate::openai::OpenAi;
use crate::operation::Operation;
use crate::provider::Provider;

static ALL: [&dyn Provider; 5] = [&OpenAi, &Anthropic, &Azure, &Bedrock, &Custom];

/// Every provider that is served.
#[must_use]
pub fn all() -> &'static [&'static dyn Provider] {
    &ALL
}

/// The provider of a type; none when it is not served.
#[must_use]
pub fn find(provider_type: CusProviderType) -> Option<&'static dyn Provider> {
    ALL.into_iter()
        .find(|provider| provider.describe().provider_type == provider_type)
}

/// The provider of an integration: of its type, and of the dialect that its settings say where a
/// type may speak several. None when it is not served.
#[must_use]
pub fn of(
    provider_type: CusProviderType,
    config: &IntegrationConfig,
) -> Option<&'static dyn Provider> {
    match (provider_type, config.dialect) {
        (CusProviderType::Custom, Some(Spoken::Anthropic)) => Some(&CustomMessages),
        _ => find(provider_type),
    }
}

/// Whether chats of callers of a dialect can be answered through an integration of such a provider,
/// as they are said or by a translation.
#[must_use]
pub fn can_answer(dialect: Dialect, provider: &dyn Provider, config: &IntegrationConfig) -> bool {
    let (face, operation) = match dialect {
        Dialect::OpenAi => (Face::OpenAi, Operation::ChatCompletions),
        Dialect::Anthropic => (Face::Anthropic, Operation::Messages),
        Dialect::Bedrock => (Face::Bedrock, Operation::Converse),
    };
    provider.describe().serves(face, operation)
        || provider.translation(face, operation, config).is_some()
}

/// The providers that a caller of a dialect can reach.
pub fn serving(dialect: Dialect) -> impl Iterator<Item = &'static dyn Provider> {
    ALL.into_iter()
        .filter(move |provider| provider.describe().dialect == dialect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_is_found_by_its_own_type_and_dialect() {
        for provider in all() {
            let description = provider.describe();
            let found = find(description.provider_type).unwrap();
            assert_eq!(found.describe().title, description.title);
            assert!(
                serving(description.dialect).any(|it| it.describe().title == description.title)
            );
        }
        for provider_type in CusProviderType::ALL {
            assert!(find(*provider_type).is_some(), "{provider_type}");
        }
    }

    #[test]
    fn a_server_of_ones_own_speaks_as_its_settings_say() {
        let dialect = |provider_type, dialect| {
            let config = IntegrationConfig {
                dialect,
                ..IntegrationConfig::default()
            };
            let description = of(provider_type, &config).unwrap().describe();
            assert_eq!(description.provider_type, provider_type);
            description.dialect
        };
        let custom = CusProviderType::Custom;
        assert_eq!(dialect(custom, None), Dialect::OpenAi);
        assert_eq!(dialect(custom, Some(Spoken::OpenAi)), Dialect::OpenAi);
        assert_eq!(dialect(custom, Some(Spoken::Anthropic)), Dialect::Anthropic);
        let openai = CusProviderType::OpenAi;
        assert_eq!(dialect(openai, Some(Spoken::Anthropic)), Dialect::OpenAi);
    }
}
