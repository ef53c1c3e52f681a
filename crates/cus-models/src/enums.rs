//! The four enums, with the texts that stand for them in JSON and in the database.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::invalid::Invalid;

/// Writes an enum whose values are texts: one table, from which every way in and out is made.
macro_rules! text_enum {
    (
        $(#[$doc:meta])*
        $name:ident in $field:literal {
            $(#[$first_doc:meta])* $first:ident = $first_text:literal,
            $($(#[$value_doc:meta])* $value:ident = $text:literal,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[$first_doc])* $first,
            $($(#[$value_doc])* $value,)*
        }

        impl $name {
            /// Every value, in the order of the contract.
            pub const ALL: &'static [Self] = &[Self::$first, $(Self::$value),*];

            /// The text that stands for the value in JSON and in the database.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::$first => $first_text,
                    $(Self::$value => $text,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                match text {
                    $first_text => Ok(Self::$first),
                    $($text => Ok(Self::$value),)*
                    _ => Err(Invalid::Unknown {
                        field: $field,
                        allowed: concat!($first_text $(, ", ", $text)*),
                    }),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("one of ", $first_text $(, ", ", $text)*))
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Text)
            }
        }
    };
}

text_enum! {
    /// The kinds of LLM provider that an integration connects to.
    CusProviderType in "provider_type" {
        /// OpenAI.
        OpenAi = "openai",
        /// Anthropic.
        Anthropic = "anthropic",
        /// OpenAI's models at Microsoft Azure.
        AzureOpenAi = "azure_openai",
        /// Amazon Bedrock.
        Bedrock = "bedrock",
        /// Any endpoint that speaks OpenAI's protocol.
        Custom = "custom",
    }
}

text_enum! {
    /// Where an integration is in its life.
    CusIntegrationStatus in "status" {
        /// Made and not yet enabled.
        Created = "created",
        /// Takes calls, unless it is deleted.
        Enabled = "enabled",
        /// Switched off.
        Disabled = "disabled",
        /// Out of order, and not to be enabled until the cause is gone.
        Error = "error",
    }
}

text_enum! {
    /// How an integration's provider answered when it was last asked.
    CusHealthState in "health_state" {
        /// Not asked yet.
        Unknown = "unknown",
        /// Answers well.
        Healthy = "healthy",
        /// Answers slowly or in part.
        Degraded = "degraded",
        /// Does not answer or refuses the credential.
        Failing = "failing",
    }
}

text_enum! {
    /// What the limits said about a call.
    CusPolicyResult in "policy_result" {
        /// The call went out.
        Allowed = "allowed",
        /// The call went out although it is near or past a limit.
        Warned = "warned",
        /// The call did not go out.
        Blocked = "blocked",
    }
}

#[cfg(test)]
mod tests {
    use super::{CusHealthState, CusIntegrationStatus, CusPolicyResult, CusProviderType};

    fn texts<T: Copy>(all: &[T], text: fn(T) -> &'static str) -> Vec<&'static str> {
        all.iter().map(|value| text(*value)).collect()
    }

    #[test]
    fn every_value_has_the_text_of_the_contract() {
        assert_eq!(
            texts(CusProviderType::ALL, CusProviderType::as_str),
            ["openai", "anthropic", "azure_openai", "bedrock", "custom"]
        );
        assert_eq!(
            texts(CusIntegrationStatus::ALL, CusIntegrationStatus::as_str),
            ["created", "enabled", "disabled", "error"]
        );
        assert_eq!(
            texts(CusHealthState::ALL, CusHealthState::as_str),
            ["unknown", "healthy", "degraded", "failing"]
        );
        assert_eq!(
            texts(CusPolicyResult::ALL, CusPolicyResult::as_str),
            ["allowed", "warned", "blocked"]
        );
    }

    #[test]
    fn every_text_leads_back_to_its_value() {
        for provider in CusProviderType::ALL {
            assert_eq!(provider.to_string().parse(), Ok(*provider));
            let json = serde_json::to_string(provider).unwrap();
            assert_eq!(json, format!("\"{provider}\""));
            assert_eq!(
                serde_json::from_str::<CusProviderType>(&json).unwrap(),
                *provider
            );
        }
    }

    #[test]
    fn another_text_is_refused_and_not_repeated() {
        for text in ["", "OpenAI", " openai", "openai ", "open_ai", "azure"] {
            assert!(
                text.parse::<CusProviderType>().is_err(),
                "{text:?} is accepted"
            );
        }
        let refused = serde_json::from_str::<CusIntegrationStatus>("\"weird\"").unwrap_err();
        let message = refused.to_string();
        assert!(
            message.starts_with(
                "`status` has an unknown value: give one of created, enabled, disabled, error"
            ),
            "{message}"
        );
        assert!(!message.contains("weird"), "{message}");
        assert!(serde_json::from_str::<CusPolicyResult>(r#"{"allowed":null}"#).is_err());
        assert!(serde_json::from_str::<CusPolicyResult>("null").is_err());
    }
}
