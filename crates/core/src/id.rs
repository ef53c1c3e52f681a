//! Typed ids: a tenant's id cannot stand where an integration's is asked for.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
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

            /// The id's text, not copied.
            #[must_use]
            pub fn shared(&self) -> Arc<str> {
                Arc::clone(&self.0)
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
                Self(cus_models::random_uuid())
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

impl CallId {
    /// A new id that nobody else has and that sorts by its time: a version 7 UUID. Where many calls are kept, those of
    /// one time stand together.
    #[must_use]
    pub fn generate_at(now: Timestamp) -> Self {
        let id = OrderedIds::at(now).next_id();
        let mut text = Uuid::encode_buffer();
        Self((&*id.hyphenated().encode_lower(&mut text)).into())
    }
}

/// New ids in the order in which they are made: version 7 UUIDs of one moment, random but for that and counted up.
#[derive(Debug, Clone)]
pub struct OrderedIds {
    head: u128,
    count: u128,
}

impl OrderedIds {
    /// The lowest 62 bits are counted up; the two above them are the variant.
    const COUNT_BITS: u32 = 62;

    /// Ids of that moment, to the millisecond.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        let millis = u128::try_from(now.as_millisecond()).unwrap_or(0);
        let random = cus_models::random_uuid().as_u128();
        let twelve = (random >> 64) & 0xfff;
        let count = random & ((1 << Self::COUNT_BITS) - 1);
        Self {
            head: (millis & 0xffff_ffff_ffff) << 80 | 0x7 << 76 | twelve << 64 | 0b10 << 62,
            count,
        }
    }

    /// The next id.
    pub fn next_id(&mut self) -> Uuid {
        self.count = self.count.wrapping_add(1) & ((1 << Self::COUNT_BITS) - 1);
        Uuid::from_u128(self.head | self.count)
    }
}

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
    fn ordered_ids_are_version_7_uuids_that_sort_by_time_and_by_the_order_they_were_made_in() {
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        let mut earlier = OrderedIds::at(at(1_794_744_000_122));
        let mut ids = OrderedIds::at(at(1_794_744_000_123));
        let made = [earlier.next_id(), ids.next_id(), ids.next_id()];
        assert!(made.is_sorted() && made[1] != made[2], "{made:?}");
        for id in made {
            assert_eq!(id.get_version_num(), 7);
            assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        }
        assert_eq!(made[2].as_u128() >> 80, 1_794_744_000_123);
        let texts = made.map(|id| id.to_string());
        assert!(texts.is_sorted(), "as text they sort alike: {texts:?}");
        assert!(CallId::generate_at(at(5)) < CallId::generate_at(at(6)));
        assert_ne!(CallId::generate_at(at(5)), CallId::generate_at(at(5)));
    }

    #[test]
    fn generated_ids_differ() {
        assert_ne!(IntegrationId::generate(), IntegrationId::generate());
        assert_ne!(IntegrationId::generate().uuid(), Uuid::nil());
    }
}
