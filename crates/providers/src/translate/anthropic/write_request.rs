//! A request in Anthropic's words, for a provider that speaks them.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::translate::Untranslatable;
use crate::translate::conversation::{Choice, Conversation, Fate, Image, Part, Picture, Role};

#[derive(Serialize)]
struct Request<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'c str>,
    max_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'c>>,
    messages: Vec<Message<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'c RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'c RawValue>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop_sequences: &'c [Cow<'c, str>],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
}

#[derive(Serialize)]
struct Message<'c> {
    role: &'static str,
    content: Vec<Block<'c>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'c> {
    Text {
        text: &'c str,
    },
    Image {
        source: Source<'c>,
    },
    ToolUse {
        id: &'c str,
        name: &'c str,
        input: &'c RawValue,
    },
    ToolResult {
        tool_use_id: &'c str,
        content: Vec<Self>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Source<'c> {
    Base64 {
        media_type: &'static str,
        data: &'c str,
    },
    Url {
        url: &'c str,
    },
}

#[derive(Serialize)]
struct Tool<'c> {
    name: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'c str>,
    input_schema: InputSchema<'c>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

/// A tool has to have a schema; one that was given none takes nothing.
#[derive(Serialize)]
#[serde(untagged)]
enum InputSchema<'c> {
    Told(&'c RawValue),
    Nothing {
        r#type: &'static str,
        properties: Nothing,
    },
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct ToolChoice<'c> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'c str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    disable_parallel_tool_use: bool,
}

#[derive(Serialize)]
struct OutputConfig<'c> {
    format: Format<'c>,
}

#[derive(Serialize)]
struct Format<'c> {
    r#type: &'static str,
    schema: &'c RawValue,
}

#[derive(Serialize)]
struct Metadata<'c> {
    user_id: &'c str,
}

/// The body of `POST /v1/messages`; `output_max` is for a request that names none, since one has
/// to be there.
pub(in crate::translate) fn write(
    told: &Conversation<'_>,
    output_max: u64,
) -> Result<Vec<u8>, Untranslatable> {
    told.check_temperature()?;
    let messages = told.alternating();
    let messages = messages.into_iter().map(|message| Message {
        role: match message.role {
            Role::User => "user",
            Role::Assistant => "assistant",
        },
        content: message.parts.into_iter().filter_map(block).collect(),
    });
    let request = Request {
        model: told.model.as_deref(),
        max_tokens: told.output_max.unwrap_or(output_max),
        system: told.system.iter().filter_map(block).collect(),
        messages: messages.collect(),
        temperature: told.temperature,
        top_p: told.top_p,
        stop_sequences: &told.stops,
        tools: told.tools.iter().map(tool).collect(),
        tool_choice: choice(told),
        output_config: told.schema.as_ref().map(|schema| OutputConfig {
            format: Format {
                r#type: "json_schema",
                schema: schema.text,
            },
        }),
        metadata: told.user.as_deref().map(|user_id| Metadata { user_id }),
        stream: told.streams.then_some(true),
    };
    super::super::written(&request)
}

/// A block; no caller that is translated for has words of its own for caches.
fn block<'c>(part: &'c Part<'_>) -> Option<Block<'c>> {
    Some(match part {
        Part::Cached(_) => return None,
        Part::Text(text) => Block::Text { text },
        Part::Image(image) => Block::Image {
            source: source(image),
        },
        Part::Call(call) => Block::ToolUse {
            id: &call.id,
            name: &call.name,
            input: &call.input,
        },
        Part::Outcome(outcome) => Block::ToolResult {
            tool_use_id: &outcome.id,
            content: outcome.parts.iter().filter_map(block).collect(),
            is_error: outcome.fate == Fate::Failed,
        },
    })
}

fn source<'c>(image: &'c Image<'_>) -> Source<'c> {
    match &image.picture {
        Picture::Data { media_type, data } => Source::Base64 { media_type, data },
        Picture::Url(url) => Source::Url { url },
    }
}

fn tool<'c>(tool: &'c crate::translate::conversation::Tool<'_>) -> Tool<'c> {
    Tool {
        name: &tool.name,
        description: tool.description.as_deref(),
        input_schema: tool.input.map_or(
            InputSchema::Nothing {
                r#type: "object",
                properties: Nothing {},
            },
            InputSchema::Told,
        ),
        strict: tool.strict,
    }
}

/// Which tool to call. That only one may be called at once is said there, too, unless none may.
fn choice<'c>(told: &'c Conversation<'_>) -> Option<ToolChoice<'c>> {
    let one = told.one_call_at.is_some() && !told.tools.is_empty();
    let (r#type, name) = match &told.choice {
        None if !one => return None,
        None | Some(Choice::Auto) => ("auto", None),
        Some(Choice::Any) => ("any", None),
        Some(Choice::None) => ("none", None),
        Some(Choice::Tool(name)) => ("tool", Some(&**name)),
    };
    Some(ToolChoice {
        r#type,
        name,
        disable_parallel_tool_use: one && r#type != "none",
    })
}
