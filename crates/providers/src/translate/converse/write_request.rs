//! A request in Bedrock's words.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::translate::Untranslatable;
use crate::translate::conversation::{
    Cached, Choice, Conversation, Fate, Image, Part, Picture, Role,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'c> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'c>>,
    messages: Vec<Message<'c>>,
    #[serde(skip_serializing_if = "InferenceConfig::is_empty")]
    inference_config: InferenceConfig<'c>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'c>>,
}

#[derive(Serialize)]
struct Message<'c> {
    role: &'static str,
    content: Vec<Block<'c>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Block<'c> {
    Text(&'c str),
    Image(ImageBlock<'c>),
    ToolUse(ToolUse<'c>),
    ToolResult(ToolResult<'c>),
    CachePoint(CachePoint),
}

#[derive(Serialize)]
struct CachePoint {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'static str>,
}

#[derive(Serialize)]
struct ImageBlock<'c> {
    format: &'static str,
    source: Source<'c>,
}

#[derive(Serialize)]
struct Source<'c> {
    bytes: &'c str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolUse<'c> {
    #[serde(rename = "toolUseId")]
    id: &'c str,
    name: &'c str,
    input: &'c RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolResult<'c> {
    tool_use_id: &'c str,
    content: Vec<Block<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InferenceConfig<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'c RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'c RawValue>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop_sequences: &'c [Cow<'c, str>],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig<'c> {
    tools: Vec<Tool<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice<'c>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Tool<'c> {
    ToolSpec(ToolSpec<'c>),
    CachePoint(CachePoint),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolSpec<'c> {
    name: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'c str>,
    input_schema: InputSchema<'c>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
struct InputSchema<'c> {
    json: Json<'c>,
}

/// A tool has to have a schema; one that was given none takes nothing.
#[derive(Serialize)]
#[serde(untagged)]
enum Json<'c> {
    Told(&'c RawValue),
    Nothing {
        r#type: &'static str,
        properties: Nothing,
    },
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum ToolChoice<'c> {
    Auto(Nothing),
    Any(Nothing),
    Tool { name: &'c str },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutputConfig<'c> {
    text_format: TextFormat<'c>,
}

#[derive(Serialize)]
struct TextFormat<'c> {
    r#type: &'static str,
    structure: Structure<'c>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Structure<'c> {
    json_schema: JsonSchema<'c>,
}

/// The schema is JSON as a text here.
#[derive(Serialize)]
struct JsonSchema<'c> {
    schema: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'c str>,
}

impl InferenceConfig<'_> {
    const fn is_empty(&self) -> bool {
        self.max_tokens.is_none()
            && self.temperature.is_none()
            && self.top_p.is_none()
            && self.stop_sequences.is_empty()
    }
}

/// The body of `converse` and of `converse-stream`; the path names the model.
pub(in crate::translate) fn write(told: &Conversation<'_>) -> Result<Vec<u8>, Untranslatable> {
    told.check_temperature()?;
    if let Some(param) = told.one_call_at.filter(|_| !told.tools.is_empty()) {
        return Err(Untranslatable::no_counterpart(param.to_owned()));
    }
    if let Some(param) = told.caches_at {
        return Err(Untranslatable::no_counterpart(param.to_owned()));
    }
    let system = told.system.iter().map(block).collect::<Result<_, _>>()?;
    let mut messages = Vec::with_capacity(told.turns.len());
    for message in told.alternating() {
        let content: Result<_, _> = message.parts.into_iter().map(block).collect();
        messages.push(Message {
            role: match message.role {
                Role::User => "user",
                Role::Assistant => "assistant",
            },
            content: content?,
        });
    }
    let request = Request {
        system,
        messages,
        inference_config: InferenceConfig {
            max_tokens: told.output_max,
            temperature: told.temperature,
            top_p: told.top_p,
            stop_sequences: &told.stops,
        },
        tool_config: tool_config(told)?,
        output_config: told.schema.as_ref().map(|schema| OutputConfig {
            text_format: TextFormat {
                r#type: "json_schema",
                structure: Structure {
                    json_schema: JsonSchema {
                        schema: schema.text.get(),
                        name: schema.name.as_deref(),
                        description: schema.description.as_deref(),
                    },
                },
            },
        }),
    };
    super::super::written(&request)
}

fn block<'c>(part: &'c Part<'_>) -> Result<Block<'c>, Untranslatable> {
    Ok(match part {
        Part::Cached(cached) => Block::CachePoint(cache_point(*cached)),
        Part::Text(text) => Block::Text(text),
        Part::Image(image) => Block::Image(image_block(image)?),
        Part::Call(call) => Block::ToolUse(ToolUse {
            id: &call.id,
            name: &call.name,
            input: &call.input,
        }),
        Part::Outcome(outcome) => {
            let content: Result<_, _> = outcome.parts.iter().map(block).collect();
            Block::ToolResult(ToolResult {
                tool_use_id: &outcome.id,
                content: content?,
                status: (outcome.fate == Fate::Failed).then_some("error"),
            })
        }
    })
}

fn image_block<'c>(image: &'c Image<'_>) -> Result<ImageBlock<'c>, Untranslatable> {
    match &image.picture {
        Picture::Data { media_type, data } => Ok(ImageBlock {
            format: media_type.strip_prefix("image/").unwrap_or(media_type),
            source: Source { bytes: data },
        }),
        Picture::Url(_) => {
            let reason = "points to an image, and this integration's provider takes images only \
                          with their data: send it in base64";
            Err(Untranslatable::because(image.at.clone(), reason))
        }
    }
}

fn tool_config<'c>(told: &'c Conversation<'_>) -> Result<Option<ToolConfig<'c>>, Untranslatable> {
    if told.tools.is_empty() {
        return Ok(None);
    }
    let mut tools = Vec::with_capacity(told.tools.len());
    for tool in &told.tools {
        tools.push(Tool::ToolSpec(tool_spec(tool)));
        tools.extend(
            tool.cached
                .map(|cached| Tool::CachePoint(cache_point(cached))),
        );
    }
    let tool_choice = match &told.choice {
        None => None,
        Some(Choice::Auto) => Some(ToolChoice::Auto(Nothing {})),
        Some(Choice::Any) => Some(ToolChoice::Any(Nothing {})),
        Some(Choice::Tool(name)) => Some(ToolChoice::Tool { name }),
        Some(Choice::None) => {
            return Err(Untranslatable::no_counterpart("tool_choice".to_owned()));
        }
    };
    Ok(Some(ToolConfig { tools, tool_choice }))
}

fn tool_spec<'c>(tool: &'c crate::translate::conversation::Tool<'_>) -> ToolSpec<'c> {
    ToolSpec {
        name: &tool.name,
        description: tool.description.as_deref(),
        input_schema: InputSchema {
            json: tool.input.map_or(
                Json::Nothing {
                    r#type: "object",
                    properties: Nothing {},
                },
                Json::Told,
            ),
        },
        strict: tool.strict,
    }
}

const fn cache_point(cached: Cached) -> CachePoint {
    CachePoint {
        r#type: "default",
        ttl: match cached {
            Cached::Minutes => None,
            Cached::Hour => Some("1h"),
        },
    }
}
