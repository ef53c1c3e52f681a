//! A request in OpenAI's words, for a provider that speaks them.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{FunctionCall, ToolCall};
use crate::edit::CapMember;
use crate::translate::Untranslatable;
use crate::translate::conversation::{
    Choice, Conversation, Fate, Image, Outcome, Part, Picture, Role,
};

/// The most texts at which an output may be asked to end.
const STOPS_MAX: usize = 4;

#[derive(Serialize)]
struct Request<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'c str>,
    messages: Vec<Message<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'c RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'c RawValue>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: &'c [Cow<'c, str>],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Format<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum Message<'c> {
    System {
        content: Content<'c>,
    },
    User {
        content: Content<'c>,
    },
    Assistant {
        content: Option<Content<'c>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<ToolCall<'c>>,
    },
    Tool {
        tool_call_id: &'c str,
        content: Content<'c>,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'c> {
    Text(Cow<'c, str>),
    Parts(Vec<ContentPart<'c>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentPart<'c> {
    Text { text: Cow<'c, str> },
    ImageUrl { image_url: ImageUrl<'c> },
}

#[derive(Serialize)]
struct ImageUrl<'c> {
    url: Cow<'c, str>,
}

#[derive(Serialize)]
struct Tool<'c> {
    r#type: &'static str,
    function: Function<'c>,
}

#[derive(Serialize)]
struct Function<'c> {
    name: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'c RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ToolChoice<'c> {
    Word(&'static str),
    Function {
        r#type: &'static str,
        function: Named<'c>,
    },
}

#[derive(Serialize)]
struct Named<'c> {
    name: &'c str,
}

#[derive(Serialize)]
struct Format<'c> {
    r#type: &'static str,
    json_schema: JsonSchema<'c>,
}

#[derive(Serialize)]
struct JsonSchema<'c> {
    name: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'c str>,
    strict: bool,
    schema: &'c RawValue,
}

/// The body of `POST /chat/completions`; `cap` is what the provider calls the output maximum.
pub(in crate::translate) fn write(
    told: &Conversation<'_>,
    cap: CapMember,
) -> Result<Vec<u8>, Untranslatable> {
    check(told)?;
    let mut messages = Vec::with_capacity(told.turns.len().saturating_add(1));
    let system = texts_of(&told.system);
    if !system.is_empty() {
        messages.push(Message::System {
            content: content_of_texts(system),
        });
    }
    for turn in &told.turns {
        match turn.role {
            Role::User => push_user(&turn.parts, &mut messages)?,
            Role::Assistant => messages.push(assistant(&turn.parts)),
        }
    }
    let is_newer = cap == CapMember::MaxCompletionTokens;
    let request = Request {
        model: told.model.as_deref(),
        messages,
        max_tokens: told.output_max.filter(|_| !is_newer),
        max_completion_tokens: told.output_max.filter(|_| is_newer),
        temperature: told.temperature,
        top_p: told.top_p,
        stop: &told.stops,
        tools: told.tools.iter().map(tool).collect(),
        tool_choice: told.choice.as_ref().map(choice),
        parallel_tool_calls: told.one_call_at.map(|_| false),
        response_format: told.schema.as_ref().map(|schema| Format {
            r#type: "json_schema",
            json_schema: JsonSchema {
                name: schema.name.as_deref().unwrap_or("answer"),
                description: schema.description.as_deref(),
                strict: true,
                schema: schema.text,
            },
        }),
        user: told.user.as_deref(),
        service_tier: told.usual_tier.then_some("default"),
        stream: told.streams.then_some(true),
    };
    super::super::written(&request)
}

fn check(told: &Conversation<'_>) -> Result<(), Untranslatable> {
    if told.stops.len() > STOPS_MAX {
        let reason = "has more than 4 texts, the most that this integration's provider takes";
        return Err(Untranslatable::because("stop_sequences".to_owned(), reason));
    }
    let ends_with_answer = told.turns.last().map(|turn| turn.role) == Some(Role::Assistant);
    if ends_with_answer {
        let reason = "ends with a message of the assistant, which this integration's provider \
                      does not go on with: end with one of the user";
        return Err(Untranslatable::because("messages".to_owned(), reason));
    }
    Ok(())
}

/// Results of tools are messages of their own, before what else the user says.
fn push_user<'c>(
    parts: &'c [Part<'_>],
    messages: &mut Vec<Message<'c>>,
) -> Result<(), Untranslatable> {
    let mut said = Vec::new();
    for part in parts {
        match part {
            Part::Text(text) => said.push(ContentPart::Text {
                text: Cow::Borrowed(text),
            }),
            Part::Image(image) => said.push(image_part(image)),
            Part::Outcome(outcome) => messages.push(Message::Tool {
                tool_call_id: &outcome.id,
                content: outcome_content(outcome)?,
            }),
            Part::Call(_) | Part::Cached(_) => {}
        }
    }
    if !said.is_empty() {
        messages.push(Message::User {
            content: content_of(said),
        });
    }
    Ok(())
}

fn assistant<'c>(parts: &'c [Part<'_>]) -> Message<'c> {
    let (mut texts, mut tool_calls) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Part::Text(text) => texts.push(Cow::Borrowed(&**text)),
            Part::Call(call) => tool_calls.push(ToolCall {
                id: &call.id,
                r#type: "function",
                function: FunctionCall {
                    name: &call.name,
                    arguments: call.input.get(),
                },
            }),
            Part::Image(_) | Part::Outcome(_) | Part::Cached(_) => {}
        }
    }
    Message::Assistant {
        content: (!texts.is_empty()).then(|| content_of_texts(texts)),
        tool_calls,
    }
}

/// What a tool gave. That it failed is said in words, since there is no member for it.
fn outcome_content<'c>(outcome: &'c Outcome<'_>) -> Result<Content<'c>, Untranslatable> {
    let mut texts = Vec::with_capacity(outcome.parts.len());
    for part in &outcome.parts {
        match part {
            Part::Text(text) => texts.push(Cow::Borrowed(&**text)),
            Part::Image(image) => return Err(Untranslatable::no_counterpart(image.at.clone())),
            Part::Call(_) | Part::Outcome(_) | Part::Cached(_) => {}
        }
    }
    if outcome.fate == Fate::Failed {
        let first = texts.first().map(|text| format!("Error: {text}"));
        let first = Cow::Owned(first.unwrap_or_else(|| "Error".to_owned()));
        match texts.first_mut() {
            Some(text) => *text = first,
            None => texts.push(first),
        }
    }
    Ok(content_of_texts(texts))
}

fn image_part<'c>(image: &'c Image<'_>) -> ContentPart<'c> {
    let url = match &image.picture {
        Picture::Url(url) => Cow::Borrowed(&**url),
        Picture::Data { media_type, data } => {
            Cow::Owned(["data:", media_type, ";base64,", data].concat())
        }
    };
    ContentPart::ImageUrl {
        image_url: ImageUrl { url },
    }
}

/// The texts among parts.
fn texts_of<'c>(parts: &'c [Part<'_>]) -> Vec<Cow<'c, str>> {
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(Cow::Borrowed(&**text)),
        Part::Image(_) | Part::Call(_) | Part::Outcome(_) | Part::Cached(_) => None,
    });
    texts.collect()
}

/// One text stands alone, which every server reads; several stay apart.
fn content_of_texts(mut texts: Vec<Cow<'_, str>>) -> Content<'_> {
    match texts.len() {
        0 => Content::Text(Cow::Borrowed("")),
        1 => Content::Text(texts.swap_remove(0)),
        _ => {
            let parts = texts.into_iter().map(|text| ContentPart::Text { text });
            Content::Parts(parts.collect())
        }
    }
}

fn content_of(mut parts: Vec<ContentPart<'_>>) -> Content<'_> {
    let alone = parts.len() == 1;
    match parts.pop() {
        Some(ContentPart::Text { text }) if alone => Content::Text(text),
        last => {
            parts.extend(last);
            Content::Parts(parts)
        }
    }
}

fn tool<'c>(tool: &'c crate::translate::conversation::Tool<'_>) -> Tool<'c> {
    Tool {
        r#type: "function",
        function: Function {
            name: &tool.name,
            description: tool.description.as_deref(),
            parameters: tool.input,
            strict: tool.strict,
        },
    }
}

fn choice<'c>(choice: &'c Choice<'_>) -> ToolChoice<'c> {
    match choice {
        Choice::Auto => ToolChoice::Word("auto"),
        Choice::Any => ToolChoice::Word("required"),
        Choice::None => ToolChoice::Word("none"),
        Choice::Tool(name) => ToolChoice::Function {
            r#type: "function",
            function: Named { name },
        },
    }
}
