//! The one list of providers that are served. To add one: a file, and a line here.

use cus_models::CusProviderType;

use crate::anthropic::Anthropic;
use crate::azure::Azure;
use crate::bedrock::Bedrock;
use crate::custom::Custom;
use crate::dialect::Dialect;
use crate::openai::OpenAi;
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
}
