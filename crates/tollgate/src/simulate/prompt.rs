//! Reading requests: what is counted is counted while it is read, and no text is kept.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// The number of words in a text: what stands between white space. One word is one token.
pub(super) fn words(text: &str) -> u64 {
    let count = if text.is_ascii() {
        // The same as below for such a text, several times as fast.
        let mut in_word = false;
        text.bytes()
            .filter(|byte| {
                let was_in_word = std::mem::replace(&mut in_word, !matches!(byte, b' ' | 9..=13));
                in_word && !was_in_word
            })
            .count()
    } else {
        text.split_whitespace().count()
    };
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The number of words in a string.
#[derive(Debug, Clone, Copy, Default)]
struct Words(u64);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Count;
        impl Visitor<'_> for Count {
            type Value = Words;
            fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
                text.write_str("a string")
            }
            fn visit_str<E>(self, text: &str) -> Result<Words, E> {
                Ok(Words(words(text)))
            }
        }
        source.deserialize_str(Count)
    }
}

/// A part of a message; only the text of text parts counts.
#[derive(Deserialize)]
struct Part<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
    #[serde(default)]
    text: Option<Words>,
}

impl Part<'_> {
    fn words(&self) -> u64 {
        if matches!(&*self.kind, "text" | "input_text" | "output_text") {
            self.text.unwrap_or_default().0
        } else {
            0
        }
    }
}

/// The number of words in a message's content: a string, a list of parts, or nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Content(pub(super) u64);

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Count;
        impl<'de> Visitor<'de> for Count {
            type Value = Content;
            fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
                text.write_str("a string or a list of content parts")
            }
            fn visit_str<E>(self, text: &str) -> Result<Content, E> {
                Ok(Content(words(text)))
            }
            fn visit_unit<E>(self) -> Result<Content, E> {
                Ok(Content(0))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Content, A::Error> {
                let mut count = 0;
                while let Some(part) = parts.next_element::<Part<'de>>()? {
                    count += part.words();
                }
                Ok(Content(count))
            }
        }
        source.deserialize_any(Count)
    }
}

/// A message; who says it does not matter.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Content,
}

/// The number of words in a list of messages.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Messages(pub(super) u64);

impl<'de> Deserialize<'de> for Messages {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Count;
        impl<'de> Visitor<'de> for Count {
            type Value = Messages;
            fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
                text.write_str("a list of messages")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut messages: A) -> Result<Messages, A::Error> {
                let mut count = 0;
                while let Some(message) = messages.next_element::<Message>()? {
                    count += message.content.0;
                }
                Ok(Messages(count))
            }
        }
        source.deserialize_seq(Count)
    }
}

/// The number of words in the input of a response: a text, or a list of items.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Items(pub(super) u64);

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Count;
        impl<'de> Visitor<'de> for Count {
            type Value = Items;
            fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
                text.write_str("a string or a list of items")
            }
            fn visit_str<E>(self, text: &str) -> Result<Items, E> {
                Ok(Items(words(text)))
            }
            fn visit_unit<E>(self) -> Result<Items, E> {
                Ok(Items(0))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Items, A::Error> {
                let mut count = 0;
                while let Some(item) = items.next_element::<Message>()? {
                    count += item.content.0;
                }
                Ok(Items(count))
            }
        }
        source.deserialize_any(Count)
    }
}

/// One text of a list of prompts or inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Input {
    /// Words, or the number of tokens when it came as tokens.
    pub(super) tokens: u64,
    /// The same for the same text: what a vector is made from.
    pub(super) seed: u64,
}

/// Prompts of a completion or inputs of an embedding: a string, a list of strings, a list of tokens, a list of such lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Inputs(pub(super) Vec<Input>);

impl Inputs {
    pub(super) fn tokens(&self) -> u64 {
        self.0.iter().map(|input| input.tokens).sum()
    }
}

enum Element {
    Input(Input),
    Token(u64),
}

const SEED: u64 = 0xcbf2_9ce4_8422_2325;

fn mixed(seed: u64, value: u64) -> u64 {
    (seed ^ value).wrapping_mul(0x0100_0000_01b3)
}

impl Input {
    /// This list of tokens with one more at its end.
    fn and(self, token: u64) -> Self {
        Self {
            tokens: self.tokens + 1,
            seed: mixed(self.seed, token),
        }
    }
}

fn text_input(text: &str) -> Input {
    let seed = text
        .bytes()
        .fold(SEED, |seed, byte| mixed(seed, u64::from(byte)));
    Input {
        tokens: words(text),
        seed,
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Element;
            fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
                text.write_str("a string, a token or a list of tokens")
            }
            fn visit_str<E>(self, text: &str) -> Result<Element, E> {
                Ok(Element::Input(text_input(text)))
            }
            fn visit_u64<E>(self, token: u64) -> Result<Element, E> {
                Ok(Element::Token(token))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Element, A::Error> {
                let mut input = Input {
                    tokens: 0,
                    seed: SEED,
                };
                while let Some(token) = list.next_element::<u64>()? {
                    input = Input {
                        tokens: input.tokens + 1,
                        seed: mixed(input.seed, token),
                    };
                }
                Ok(Element::Input(input))
            }
        }
        source.deserialize_any(Read)
    }
}

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Inputs;
            fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
                text.write_str("a string or a list of strings, tokens or lists of tokens")
            }
            fn visit_str<E>(self, text: &str) -> Result<Inputs, E> {
                Ok(Inputs(vec![text_input(text)]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Inputs, A::Error> {
                let mut inputs = Vec::new();
                let mut tokens = Input {
                    tokens: 0,
                    seed: SEED,
                };
                while let Some(element) = list.next_element::<Element>()? {
                    match element {
                        Element::Input(input) => inputs.push(input),
                        Element::Token(token) => tokens = tokens.and(token),
                    }
                }
                match (inputs.is_empty(), tokens.tokens) {
                    (true, 0) => Err(A::Error::custom("the list is empty")),
                    (true, _) => Ok(Inputs(vec![tokens])),
                    (false, 0) => Ok(Inputs(inputs)),
                    (false, _) => Err(A::Error::custom("tokens and texts are mixed")),
                }
            }
        }
        source.deserialize_any(Read)
    }
}

/// What a request says about which tool to use.
#[derive(Debug, Default)]
pub(super) struct ToolChoice<'a> {
    /// The mode, or the `type` of an object: `auto`, `none`, `required`, `any`, `function`, `tool`…
    pub(super) mode: Cow<'a, str>,
    /// The tool it names, if it names one.
    pub(super) name: Option<Cow<'a, str>>,
}

/// A tool's name: `{"function":{"name"}}` of OpenAI or `{"name"}` of Anthropic.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Named<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    function: Option<Function<'a>>,
}

#[derive(Debug, Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

impl Named<'_> {
    /// Whether its type begins like this.
    pub(super) fn is_a(&self, kind: &str) -> bool {
        self.kind.starts_with(kind)
    }

    fn name(&self) -> Option<&str> {
        self.function
            .as_ref()
            .map(|function| &*function.name)
            .or(self.name.as_deref())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for ToolChoice<'a> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = ToolChoice<'de>;
            fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
                text.write_str("a string or an object")
            }
            fn visit_str<E>(self, mode: &str) -> Result<ToolChoice<'de>, E> {
                Ok(ToolChoice {
                    mode: Cow::Owned(mode.to_owned()),
                    name: None,
                })
            }
            fn visit_unit<E>(self) -> Result<ToolChoice<'de>, E> {
                Ok(ToolChoice::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ToolChoice<'de>, A::Error> {
                let named = Named::deserialize(MapAccessDeserializer::new(map))?;
                let name = named.function.map(|function| function.name).or(named.name);
                Ok(ToolChoice {
                    mode: named.kind,
                    name,
                })
            }
        }
        source.deserialize_any(Read)
    }
}

/// The name of the tool that the answer must call: only when there are tools and the choice leaves no way around them.
pub(super) fn forced_tool<'c>(
    tools: Option<&'c [Named<'_>]>,
    choice: Option<&'c ToolChoice<'_>>,
) -> Option<&'c str> {
    let first = tools?.iter().find_map(Named::name)?;
    let choice = choice?;
    match &*choice.mode {
        "required" | "any" => Some(first),
        "function" | "tool" => choice.name.as_deref().or(Some(first)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_what_stands_between_white_space() {
        for (text, count) in [
            ("", 0),
            (" \n\t", 0),
            ("a", 1),
            ("  a b\r\nc\u{b}d  ", 4),
            ("a\u{1f}b", 1),
            ("naïve\u{2003}größe x", 3),
        ] {
            assert_eq!(words(text), count, "{text:?}");
            assert_eq!(text.split_whitespace().count() as u64, count, "{text:?}");
        }
    }

    #[test]
    fn only_text_of_messages_counts() {
        let messages: Messages = serde_json::from_str(
            r#"[{"role":"system","content":"be br\u0069ef now"},
                {"role":"user","content":[{"type":"text","text":"one two"},{"type":"image_url","image_url":{"url":"a b c"}}]},
                {"role":"assistant","content":null,"tool_calls":[{"id":"x y"}]},
                {"role":"tool","content":"three"},{"role":"assistant"}]"#,
        )
        .unwrap();
        assert_eq!(messages.0, 6);
    }

    #[test]
    fn inputs_are_texts_or_tokens_but_not_both() {
        let read = |text: &str| serde_json::from_str::<Inputs>(text);
        let tokens = |text: &str| -> Vec<u64> {
            read(text)
                .unwrap()
                .0
                .iter()
                .map(|input| input.tokens)
                .collect()
        };
        assert_eq!(tokens(r#""a b""#), [2]);
        assert_eq!(tokens(r#"["a b","c"]"#), [2, 1]);
        assert_eq!(tokens("[5,6,7]"), [3]);
        assert_eq!(tokens("[[5,6],[7]]"), [2, 1]);
        for wrong in ["[]", "[1,\"a\"]", "7", "{}", "[null]"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(read("\"a b\"").unwrap(), read("\"a \\u0062\"").unwrap());
        assert_ne!(read("\"a b\"").unwrap(), read("\"a c\"").unwrap());
    }

    #[test]
    fn a_tool_is_called_only_when_the_choice_asks_for_one() {
        let forced = |tools: &str, choice: &str| -> Option<String> {
            let tools: Option<Vec<Named<'_>>> = serde_json::from_str(tools).unwrap();
            let choice: Option<ToolChoice<'_>> = serde_json::from_str(choice).unwrap();
            forced_tool(tools.as_deref(), choice.as_ref()).map(str::to_owned)
        };
        let openai = r#"[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}]"#;
        assert_eq!(forced(openai, r#""required""#).as_deref(), Some("f"));
        let named = r#"{"type":"function","function":{"name":"g"}}"#;
        assert_eq!(forced(openai, named).as_deref(), Some("g"));
        assert_eq!(forced(openai, r#""auto""#), None);
        assert_eq!(forced(openai, "null"), None);
        assert_eq!(forced("null", r#""required""#), None);
        let anthropic = r#"[{"name":"f"},{"name":"g"}]"#;
        assert_eq!(forced(anthropic, r#"{"type":"any"}"#).as_deref(), Some("f"));
        assert_eq!(
            forced(anthropic, r#"{"type":"tool","name":"g"}"#).as_deref(),
            Some("g")
        );
        assert_eq!(forced(anthropic, r#"{"type":"none"}"#), None);
    }
}
