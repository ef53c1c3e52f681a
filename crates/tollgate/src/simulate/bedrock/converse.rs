//! `POST /model/{id}/converse` and `/converse-stream`: Bedrock's own words for every model.

use std::borrow::Cow;

use serde::Deserialize;

use super::frames::Frames;
use crate::simulate::{
    answer::{Answer, Call, Refusal, Stamp, Terms, Tokens, check_output},
    prompt::words,
    text::{Json, pieces},
};

/// A request: the members that bear on tokens or on the shape of the answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::simulate) struct Converse<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    #[serde(borrow, default)]
    system: Vec<Block<'a>>,
    #[serde(default)]
    inference_config: Option<InferenceConfig>,
    #[serde(borrow, default)]
    tool_config: Option<ToolConfig<'a>>,
}

/// The same request, answered as a stream.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(in crate::simulate) struct ConverseStream<'a>(#[serde(borrow)] Converse<'a>);

#[derive(Debug, Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Vec<Block<'a>>,
}

#[derive(Debug, Deserialize)]
struct Block<'a> {
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InferenceConfig {
    #[serde(default)]
    max_tokens: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig<'a> {
    #[serde(borrow)]
    tools: Vec<Tool<'a>>,
    #[serde(borrow, default)]
    tool_choice: Option<ToolChoice<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tool<'a> {
    #[serde(borrow, default)]
    tool_spec: Option<Named<'a>>,
}

#[derive(Debug, Deserialize)]
struct ToolChoice<'a> {
    #[serde(default)]
    any: Option<serde::de::IgnoredAny>,
    #[serde(borrow, default)]
    tool: Option<Named<'a>>,
}

#[derive(Debug, Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

impl Converse<'_> {
    fn asked_output(&self) -> Option<u64> {
        self.inference_config
            .as_ref()
            .and_then(|config| config.max_tokens)
    }

    fn output(&self, terms: &Terms) -> u64 {
        self.asked_output().unwrap_or(terms.default_output_tokens)
    }

    /// The tool that the answer must call.
    fn tool(&self) -> Option<&str> {
        let config = self.tool_config.as_ref()?;
        let choice = config.tool_choice.as_ref()?;
        let first = config.tools.iter().find_map(|tool| tool.tool_spec.as_ref());
        let named = choice.tool.as_ref();
        let any = choice.any.as_ref().and(first);
        named.or(any).map(|tool| &*tool.name)
    }

    fn stop_reason(&self) -> &'static str {
        if self.tool().is_some() {
            r#""tool_use""#
        } else if self.asked_output().is_some() {
            r#""max_tokens""#
        } else {
            r#""end_turn""#
        }
    }

    fn usage(&self, json: &mut Json, terms: &Terms) {
        let Tokens { input, output } = self.tokens(terms);
        let cached = terms.cached(input);
        json.raw(r#"{"inputTokens":"#).number(input - cached);
        json.raw(r#","outputTokens":"#).number(output);
        json.raw(r#","totalTokens":"#).number(input + output);
        json.raw(r#","cacheReadInputTokens":"#).number(cached);
        json.raw(r#","cacheWriteInputTokens":0}"#);
    }

    fn whole(&self, stamp: &Stamp, terms: &Terms) -> String {
        let output = self.output(terms);
        let mut json = Json::with_capacity(1_024 + usize::try_from(output * 6).unwrap_or_default());
        json.raw(r#"{"metrics":{"latencyMs":"#)
            .number(terms.faults.latency_ms);
        json.raw(r#"},"output":{"message":{"content":[{"#);
        match self.tool() {
            Some(name) => {
                put_tool(&mut json, stamp, name);
                json.raw(r#","input":{"text":""#)
                    .words(0, output)
                    .raw(r#""}}"#);
            }
            None => {
                json.raw(r#""text":""#).words(0, output).raw("\"");
            }
        }
        json.raw(r#"}],"role":"assistant"}},"stopReason":"#)
            .raw(self.stop_reason());
        if !terms.faults.no_usage {
            json.raw(r#","usage":"#);
            self.usage(&mut json, terms);
        }
        json.raw("}");
        json.into_string()
    }

    fn frames(&self, stamp: &Stamp, terms: &Terms) -> Frames {
        let mut frames = Frames::default();
        frames.event("messageStart", r#"{"p":"abcdef","role":"assistant"}"#);
        let tool = self.tool();
        if let Some(name) = tool {
            let mut json = Json::default();
            json.raw(r#"{"contentBlockIndex":0,"p":"ab","start":{"#);
            put_tool(&mut json, stamp, name);
            json.raw("}}}");
            frames.event("contentBlockStart", &json.into_string());
        }
        let mut delta = |write: &dyn Fn(&mut Json)| {
            let mut json = Json::default();
            json.raw(r#"{"contentBlockIndex":0,"delta":{"#);
            json.raw(if tool.is_some() {
                r#""toolUse":{"input":""#
            } else {
                r#""text":""#
            });
            write(&mut json);
            json.raw(if tool.is_some() {
                r#""}},"p":"abcd"}"#
            } else {
                r#""},"p":"abcd"}"#
            });
            frames.event("contentBlockDelta", &json.into_string());
        };
        if tool.is_some() {
            delta(&|json| {
                json.raw(r#"{\"text\":\""#);
            });
        }
        for (from, count) in pieces(self.output(terms)) {
            delta(&|json| {
                json.words(from, count);
            });
        }
        if tool.is_some() {
            delta(&|json| {
                json.raw(r#"\"}"#);
            });
        }
        frames.event("contentBlockStop", r#"{"contentBlockIndex":0,"p":"abc"}"#);
        let stop = format!(r#"{{"p":"a","stopReason":{}}}"#, self.stop_reason());
        frames.event("messageStop", &stop);
        if !terms.faults.no_usage {
            let mut json = Json::default();
            json.raw(r#"{"metrics":{"latencyMs":"#)
                .number(terms.faults.latency_ms);
            json.raw(r#"},"p":"abcdefgh","usage":"#);
            self.usage(&mut json, terms);
            json.raw("}");
            frames.event("metadata", &json.into_string());
        }
        frames
    }
}

/// A tool block up to its input.
fn put_tool(json: &mut Json, stamp: &Stamp, name: &str) {
    json.raw(r#""toolUse":{"name":"#).string(name);
    json.raw(r#","toolUseId":"tooluse_"#)
        .raw(&stamp.id)
        .raw("\"");
}

impl<'a> Call<'a> for Converse<'a> {
    /// The path names it.
    fn model(&self) -> &'static str {
        ""
    }

    fn check(&self, terms: &Terms) -> Result<(), Refusal> {
        if self.messages.is_empty() {
            return Err(Refusal::request(
                "A conversation must start with a user message.",
            ));
        }
        check_output(self.output(terms))
    }

    fn tokens(&self, terms: &Terms) -> Tokens {
        let said = self.messages.iter().flat_map(|message| &message.content);
        let texts = said
            .chain(&self.system)
            .filter_map(|block| block.text.as_deref());
        Tokens {
            input: texts.map(words).sum(),
            output: self.output(terms),
        }
    }

    fn answer(&self, stamp: &Stamp, terms: &Terms) -> Answer {
        Answer::Whole(self.whole(stamp, terms))
    }
}

impl<'a> Call<'a> for ConverseStream<'a> {
    fn model(&self) -> &'static str {
        ""
    }

    fn check(&self, terms: &Terms) -> Result<(), Refusal> {
        self.0.check(terms)
    }

    fn tokens(&self, terms: &Terms) -> Tokens {
        self.0.tokens(terms)
    }

    fn answer(&self, stamp: &Stamp, terms: &Terms) -> Answer {
        Answer::Frames(self.0.frames(stamp, terms))
    }
}
