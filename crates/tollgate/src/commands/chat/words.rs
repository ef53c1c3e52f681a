//! A conversation in the words of one vendor or the other.

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

/// The most tokens of an answer where these words need a maximum and none was given.
const USUAL_MAX_TOKENS: u64 = 1_024;

/// Whose words are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    OpenAi,
    Anthropic,
}

/// One thing that was said.
#[derive(Debug, Clone)]
pub(super) struct Said {
    role: &'static str,
    text: String,
}

/// What is wanted of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wishes<'a> {
    pub(super) model: Option<&'a str>,
    pub(super) system: Option<&'a str>,
    pub(super) max_tokens: Option<u64>,
    pub(super) streams: bool,
}

impl Said {
    pub(super) fn by_user(text: &str) -> Self {
        let text = text.to_owned();
        Self { role: "user", text }
    }

    pub(super) const fn by_model(text: String) -> Self {
        let role = "assistant";
        Self { role, text }
    }

    fn message(&self) -> Value {
        json!({ "role": self.role, "content": self.text })
    }
}

impl Words {
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::OpenAi => "/v1/chat/completions",
            Self::Anthropic => "/v1/messages",
        }
    }

    pub(super) fn headers(self) -> Vec<(HeaderName, HeaderValue)> {
        match self {
            Self::OpenAi => Vec::new(),
            Self::Anthropic => vec![(
                HeaderName::from_static("anthropic-version"),
                HeaderValue::from_static("2023-06-01"),
            )],
        }
    }

    /// The request's body.
    pub(super) fn body(self, said: &[Said], wishes: &Wishes<'_>) -> String {
        let mut messages: Vec<Value> = said.iter().map(Said::message).collect();
        let mut body = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        };
        set("model", wishes.model.map(Value::from));
        match self {
            Self::OpenAi => {
                if let Some(system) = wishes.system {
                    messages.insert(0, json!({ "role": "system", "content": system }));
                }
                set("max_tokens", wishes.max_tokens.map(Value::from));
                let usage = json!({ "include_usage": true });
                set("stream_options", wishes.streams.then_some(usage));
            }
            Self::Anthropic => {
                set("system", wishes.system.map(Value::from));
                let most = wishes.max_tokens.unwrap_or(USUAL_MAX_TOKENS);
                set("max_tokens", Some(most.into()));
            }
        }
        set("stream", wishes.streams.then_some(Value::Bool(true)));
        set("messages", Some(messages.into()));
        Value::Object(body).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_said_in_the_words_of_each() {
        let said = [
            Said::by_user("a"),
            Said::by_model("b".to_owned()),
            Said::by_user("c"),
        ];
        let wishes = Wishes {
            model: Some("m"),
            system: Some("be short"),
            max_tokens: None,
            streams: true,
        };
        let read = |words: Words, wishes| -> Value {
            serde_json::from_str(&words.body(&said, wishes)).unwrap()
        };
        let turns = json!([
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ]);
        let openai = read(Words::OpenAi, &wishes);
        assert_eq!(
            openai["messages"][0],
            json!({"role": "system", "content": "be short"})
        );
        assert_eq!(openai["messages"][3], turns[2]);
        assert_eq!(openai["stream_options"]["include_usage"], true);
        assert!(openai.get("max_tokens").is_none());
        let anthropic = read(Words::Anthropic, &wishes);
        assert_eq!(
            anthropic,
            json!({"model": "m", "system": "be short", "max_tokens": 1024, "stream": true, "messages": turns})
        );
        let plain = Wishes {
            model: None,
            system: None,
            max_tokens: Some(7),
            streams: false,
        };
        assert_eq!(
            read(Words::OpenAi, &plain),
            json!({"max_tokens": 7, "messages": turns})
        );
    }
}
