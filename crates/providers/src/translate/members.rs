//! The members of a JSON object, each as its own text: what nobody took is known, and refused.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Untranslatable;

/// The most members of an object that are looked at: more than any vendor knows.
const MEMBERS_MAX: usize = 256;

/// The most items of a list that are looked at.
const ITEMS_MAX: usize = 100_000;

/// The members of one object of a request, and where it stands there.
#[derive(Debug)]
pub(super) struct Members<'a> {
    path: String,
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Members<'a> {
    /// Reads an object.
    pub(super) fn read(text: &'a str, path: String) -> Result<Self, Untranslatable> {
        match serde_json::from_str::<Listed<'a>>(text) {
            Ok(Listed(members)) => Ok(Self { path, members }),
            Err(_) => Err(Untranslatable::wrong(path, "an object of a few members")),
        }
    }

    /// Where a member of this object stands in the request.
    pub(super) fn at(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// Takes a member; `null` is as good as absent.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<&'a RawValue>, Untranslatable> {
        let mut found = None;
        while let Some(place) = self.members.iter().position(|(known, _)| known == name) {
            let (_, raw) = self.members.remove(place);
            if found.replace(raw).is_some() {
                return Err(Untranslatable::wrong(self.at(name), "there once"));
            }
        }
        Ok(found.filter(|raw| raw.get() != "null"))
    }

    /// Takes a text.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, Untranslatable> {
        let Some(raw) = self.take(name)? else {
            return Ok(None);
        };
        let text = text_of(raw).ok_or_else(|| Untranslatable::wrong(self.at(name), "a text"))?;
        Ok(Some(text))
    }

    /// Takes a text that has to be there.
    pub(super) fn needed_text(&mut self, name: &str) -> Result<Cow<'a, str>, Untranslatable> {
        self.text(name)?
            .ok_or_else(|| Untranslatable::wrong(self.at(name), "a text"))
    }

    /// Takes true or false.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Untranslatable> {
        match self.take(name)?.map(RawValue::get) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(Untranslatable::wrong(self.at(name), "true or false")),
        }
    }

    /// Takes a whole number.
    pub(super) fn whole(&mut self, name: &str) -> Result<Option<u64>, Untranslatable> {
        let Some(raw) = self.take(name)? else {
            return Ok(None);
        };
        let number = raw.get().parse();
        number
            .map(Some)
            .map_err(|_unreadable| Untranslatable::wrong(self.at(name), "a whole number"))
    }

    /// Takes a number, which goes on as it is written.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<&'a RawValue>, Untranslatable> {
        let Some(raw) = self.take(name)? else {
            return Ok(None);
        };
        if raw.get().parse::<f64>().is_ok() {
            Ok(Some(raw))
        } else {
            Err(Untranslatable::wrong(self.at(name), "a number"))
        }
    }

    /// Takes a list.
    pub(super) fn items(
        &mut self,
        name: &str,
    ) -> Result<Option<Vec<&'a RawValue>>, Untranslatable> {
        let Some(raw) = self.take(name)? else {
            return Ok(None);
        };
        let items = items_of(raw);
        items
            .map(Some)
            .ok_or_else(|| Untranslatable::wrong(self.at(name), "a list of up to 100000 items"))
    }

    /// Takes a list of objects.
    pub(super) fn objects(&mut self, name: &str) -> Result<Vec<Self>, Untranslatable> {
        let items = self.items(name)?.unwrap_or_default();
        let path = self.at(name);
        let members = items.into_iter().enumerate();
        members
            .map(|(place, raw)| Self::read(raw.get(), format!("{path}[{place}]")))
            .collect()
    }

    /// Takes an object, to take it apart.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Self>, Untranslatable> {
        let path = self.at(name);
        self.take(name)?
            .map(|raw| Self::read(raw.get(), path))
            .transpose()
    }

    /// Takes an object, which goes on as it is written.
    pub(super) fn verbatim(&mut self, name: &str) -> Result<Option<&'a RawValue>, Untranslatable> {
        match self.take(name)? {
            Some(raw) if raw.get().starts_with('{') => Ok(Some(raw)),
            None => Ok(None),
            Some(_) => Err(Untranslatable::wrong(self.at(name), "an object")),
        }
    }

    /// Takes members that may be left out without a loss, whatever they say.
    pub(super) fn leave_out(&mut self, names: &[&str]) -> Result<(), Untranslatable> {
        for name in names {
            self.take(name)?;
        }
        Ok(())
    }

    /// Takes a member that may be left out where it only says what is so anyway.
    pub(super) fn leave_out_when(
        &mut self,
        name: &str,
        harmless: &[&str],
    ) -> Result<(), Untranslatable> {
        let Some(raw) = self.take(name)? else {
            return Ok(());
        };
        // What is looked for has no space of its own.
        let plain = raw.get().bytes().filter(|byte| !byte.is_ascii_whitespace());
        if harmless.iter().any(|usual| plain.clone().eq(usual.bytes())) {
            Ok(())
        } else {
            Err(Untranslatable::no_counterpart(self.at(name)))
        }
    }

    /// Refuses what is left, by name.
    pub(super) fn finish(self) -> Result<(), Untranslatable> {
        let left = self
            .members
            .iter()
            .find(|(_, raw)| raw.get() != "null")
            .map(|(name, _)| self.at(name));
        left.map_or(Ok(()), |param| Err(Untranslatable::no_counterpart(param)))
    }
}

/// The text of a JSON string, borrowed where it has no escapes.
pub(super) fn text_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get();
    if !text.starts_with('"') {
        return None;
    }
    match serde_json::from_str::<&str>(text) {
        Ok(plain) => Some(Cow::Borrowed(plain)),
        Err(_) => serde_json::from_str::<String>(text).ok().map(Cow::Owned),
    }
}

/// The items of a JSON list.
pub(super) fn items_of(raw: &RawValue) -> Option<Vec<&RawValue>> {
    let Items(items) = serde_json::from_str(raw.get()).ok()?;
    Some(items)
}

struct Items<'a>(Vec<&'a RawValue>);

struct Listed<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads the items of a list, or the members of an object.
struct Parts;

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_seq(Parts).map(|found| Self(found.items))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Listed<'a> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source
            .deserialize_map(Parts)
            .map(|found| Self(found.members))
    }
}

#[derive(Default)]
struct Found<'a> {
    items: Vec<&'a RawValue>,
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'de> Visitor<'de> for Parts {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found<'de>, A::Error> {
        let mut found = Found::default();
        while let Some(item) = list.next_element()? {
            if found.items.len() == ITEMS_MAX {
                return Err(A::Error::custom("too many items"));
            }
            found.items.push(item);
        }
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        let mut found = Found::default();
        while let Some((Name(name), raw)) = map.next_entry()? {
            if found.members.len() == MEMBERS_MAX {
                return Err(A::Error::custom("too many members"));
            }
            found.members.push((name, raw));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &str) -> Members<'_> {
        Members::read(text, "outer".to_owned()).unwrap()
    }

    #[test]
    fn what_nobody_took_is_refused_by_its_place_and_null_is_nothing() {
        let mut read = members(r#"{"a":"x\n","b":null,"c":{"d":1},"e":[{},{"f":2}]}"#);
        assert_eq!(read.text("a").unwrap().unwrap(), "x\n");
        let inner = read.object("c").unwrap().unwrap();
        assert_eq!(inner.finish().unwrap_err().param(), "outer.c.d");
        let mut items = read.objects("e").unwrap();
        assert_eq!(
            items.remove(1).finish().unwrap_err().param(),
            "outer.e[1].f"
        );
        assert_eq!(read.finish(), Ok(()));
        let twice = members(r#"{"a":1,"a":2}"#).take("a").unwrap_err();
        assert_eq!(twice.param(), "outer.a");
    }

    #[test]
    fn an_object_or_a_list_without_end_is_not_held() {
        let object = |count: usize| format!("{{{}}}", vec![r#""a":1"#; count].join(","));
        assert!(Members::read(&object(MEMBERS_MAX), String::new()).is_ok());
        assert!(Members::read(&object(MEMBERS_MAX + 1), String::new()).is_err());
        let list = |count: usize| format!(r#"{{"a":[{}]}}"#, vec!["1"; count].join(","));
        assert!(members(&list(ITEMS_MAX)).items("a").is_ok());
        assert!(members(&list(ITEMS_MAX + 1)).items("a").is_err());
    }

    #[test]
    fn a_member_of_another_kind_is_named() {
        for (text, taken) in [
            (r#"{"a":1}"#, members(r#"{"a":1}"#).text("a").map(drop)),
            ("flag", members(r#"{"a":"true"}"#).flag("a").map(drop)),
            ("whole", members(r#"{"a":-1}"#).whole("a").map(drop)),
            ("number", members(r#"{"a":"1"}"#).number("a").map(drop)),
            ("items", members(r#"{"a":{}}"#).items("a").map(drop)),
            ("objects", members(r#"{"a":[1]}"#).objects("a").map(drop)),
            ("verbatim", members(r#"{"a":[]}"#).verbatim("a").map(drop)),
        ] {
            let error = taken.unwrap_err();
            assert!(error.param().starts_with("outer.a"), "{text}");
            assert_eq!(error.code(), "invalid_parameter");
        }
    }
}
