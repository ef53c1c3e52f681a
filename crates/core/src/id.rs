//! Typed ids: a tenant's id cannot stand where an integration's is asked for.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

/// An id whose text breaks the rules of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} must be 1 to {max} visible ASCII characters")]
pub struct InvalidId {
    /// What kind of id it was meant to be.
    pub kind: &'static str,
    /// The longest it may be, in characters.
    pub max: usize,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The longest such id, in characters.
            pub const MAX_LENGTH: usize = $max;

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// A new id that nobody else has: a random version 4 UUID.
            #[must_use]
            pub fn generate() -> Self {
                Self(cus_models::generate_uuid().into())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let visible = text.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
                if text.is_empty() || text.len() > $max || !visible {
                    return Err(InvalidId { kind: $kind, max: $max });
                }
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new random id.
            #[must_use]
            pub fn generate() -> Self {
                cus_models::generate_uuid().parse().unwrap_or(Self(Uuid::nil()))
            }

            /// The id's sixteen bytes.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID behind the id.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

text_id!(
    /// A tenant: a customer of whoever runs Tollgate.
    TenantId, "a tenant id", 100
);
text_id!(
    /// One call; unique within its tenant, and its idempotency key.
    CallId, "a call id", 100
);
text_id!(
    /// A session that the caller groups its calls by.
    SessionId, "a session id", 100
);
text_id!(
    /// An agent that the caller attributes its calls to.
    AgentId, "an agent id", 100
);

uuid_id!(
    /// A tenant's connection to one provider.
    IntegrationId
);
uuid_id!(
    /// An access key, never the key itself.
    KeyId
);
uuid_id!(
    /// A sealed provider credential.
    CredentialId
);
uuid_id!(
    /// A hold for a call that does not go through the gateway.
    HoldId
);
uuid_id!(
    /// One running copy of the program, with a journal of its own.
    NodeId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_id_of_the_greatest_length_is_taken_and_one_longer_is_refused() {
        assert!("x".repeat(100).parse::<TenantId>().is_ok());
        assert!("x".repeat(101).parse::<TenantId>().is_err());
        assert!("".parse::<CallId>().is_err());
    }

    #[test]
    fn a_text_id_cannot_carry_a_line_break_into_a_header() {
        assert!("a\r\nb".parse::<CallId>().is_err());
        assert!("a b".parse::<CallId>().is_err());
    }

    #[test]
    fn generated_ids_differ() {
        assert_ne!(IntegrationId::generate(), IntegrationId::generate());
        assert_ne!(IntegrationId::generate().uuid(), Uuid::nil());
    }
}
