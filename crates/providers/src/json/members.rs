//! Objects of which a few members are looked at, each by its name, and those of objects inside of
//! them in the same pass.

use serde::{Deserialize, Deserializer};

use super::Raw;
use super::skim::{Escapes, Rest, Text, skim, unseen};

/// An object of which some members are looked at, by their names.
pub(crate) trait Members<'a>: Deserialize<'a> + Default {
    /// Passes the value of the member of this name, and keeps it if it is looked at.
    fn take(
        &mut self,
        name: &[u8],
        value: &mut Rest<'a>,
        seen: &mut impl FnMut(Text<'_>),
    ) -> Option<()>;
}

/// A member that is looked at.
pub(crate) trait Member<'a> {
    /// Passes its value and keeps it; none where one was kept before.
    fn take(&mut self, value: &mut Rest<'a>, seen: &mut impl FnMut(Text<'_>)) -> Option<()>;
}

impl<'a> Member<'a> for Raw<'a> {
    fn take(&mut self, value: &mut Rest<'a>, seen: &mut impl FnMut(Text<'_>)) -> Option<()> {
        let start = value.at();
        value.skip_value(seen)?;
        let text = value.since(start)?;
        self.0.replace(text).is_none().then_some(())
    }
}

/// A member of whose members some are looked at, if it is an object.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Nested<'a, T> {
    raw: Raw<'a>,
    /// The members, where they were found in the same pass.
    members: T,
    /// Whether they were.
    is_read: bool,
}

impl<'de: 'a, 'a, T: Default> Deserialize<'de> for Nested<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Raw::deserialize(deserializer).map(Self::from)
    }
}

impl<'a, T: Default> From<Raw<'a>> for Nested<'a, T> {
    fn from(raw: Raw<'a>) -> Self {
        Self {
            raw,
            ..Self::default()
        }
    }
}

impl<'a, T: Members<'a>> Member<'a> for Nested<'a, T> {
    fn take(&mut self, value: &mut Rest<'a>, seen: &mut impl FnMut(Text<'_>)) -> Option<()> {
        if value.peek() != Some(b'{') {
            return self.raw.take(value, seen);
        }
        let start = value.at();
        value.object(&mut self.members, seen)?;
        let text = value.since(start)?;
        self.is_read = true;
        self.raw.0.replace(text).is_none().then_some(())
    }
}

impl<'a, T: Members<'a>> Nested<'a, T> {
    /// The value as it stands there.
    pub(crate) const fn raw(&self) -> Raw<'a> {
        self.raw
    }

    /// The members; none where it is absent, `null` or no object. An error when one of them stands
    /// there twice.
    pub(crate) fn members(self) -> Result<Option<T>, serde_json::Error> {
        if self.is_read {
            return Ok(Some(self.members));
        }
        self.raw.object().map(read).transpose()
    }
}

/// Defines an object of which some members are looked at: a struct of [`Raw`] values, each called
/// like its member, or `as` its member is called; `in` which members are looked at it is [`Nested`].
macro_rules! object {
    ($(#[$about:meta])* $reach:vis $kind:ident {
        $($(#[$told:meta])* $field:ident $(as $name:literal)? $(in $inner:ident)?),+ $(,)?
    }) => {
        $(#[$about])*
        #[derive(serde::Deserialize, Default)]
        #[serde(default)]
        $reach struct $kind<'a> {
            $($(#[$told])* #[serde(borrow $(, rename = $name)?)]
            $field: $crate::json::object!(@kind 'a $($inner)?),)+
        }

        impl<'a> $crate::json::Members<'a> for $kind<'a> {
            fn take(
                &mut self,
                name: &[u8],
                value: &mut $crate::json::Rest<'a>,
                seen: &mut impl FnMut($crate::json::Text<'_>),
            ) -> Option<()> {
                $(if name == $crate::json::object!(@name $field $($name)?).as_bytes() {
                    return $crate::json::Member::take(&mut self.$field, value, seen);
                })+
                value.skip_value(seen)
            }
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
    (@kind $life:lifetime) => { $crate::json::Raw<$life> };
    (@kind $life:lifetime $inner:ident) => { $crate::json::Nested<$life, $inner<$life>> };
}

pub(crate) use object;

/// Reads the members of the object that `text` is; an error when it is none, is not JSON, or has
/// one of them twice.
pub(crate) fn read<'a, T: Members<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    skim(text, &mut unseen).map_or_else(|| serde_json::from_str(text), Ok)
}

/// Reads the members of an object, and tells whether there may be a string in it, at any depth,
/// that `is_noted`. One with a quote or a character's number in it always is.
pub(crate) fn read_noting<'a, T: Members<'a>>(
    text: &'a str,
    is_noted: impl Fn(&[u8]) -> bool,
) -> Result<(T, bool), serde_json::Error> {
    let mut noted = false;
    let members = skim(text, &mut |string: Text<'_>| {
        noted |= string.escapes == Escapes::Hiding || is_noted(string.inside);
    });
    match members {
        Some(members) => Ok((members, noted)),
        None => serde_json::from_str(text).map(|members| (members, true)),
    }
}
