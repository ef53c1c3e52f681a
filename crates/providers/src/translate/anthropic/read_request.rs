//! A caller's request in Anthropic's words.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::translate::Untranslatable;
use crate::translate::conversation::{
    Cached, Call, Choice, Conversation, Fate, Image, Outcome, Part, Picture, Role, Schema, Tool,
};
use crate::translate::members::{Members, items_of, text_of};

/// What may be left out where it only says what is so anyway.
const USUAL: [(&str, &[&str]); 2] = [
    ("speed", &[r#""standard""#]),
    ("inference_geo", &[r#""global""#]),
];

/// Reads the body of `POST /v1/messages`.
pub(in crate::translate) fn read(text: &str) -> Result<Conversation<'_>, Untranslatable> {
    let mut asked = Members::read(text, String::new())?;
    let mut told = Conversation {
        model: asked.text("model")?,
        output_max: asked.whole("max_tokens")?,
        temperature: asked.number("temperature")?,
        top_p: asked.number("top_p")?,
        streams: asked.flag("stream")?.unwrap_or(false),
        ..Conversation::default()
    };
    if told.output_max.is_none() {
        let param = asked.at("max_tokens");
        return Err(Untranslatable::wrong(param, "a whole number"));
    }
    told.system = system(&mut asked)?;
    let messages = asked.objects("messages")?;
    if messages.is_empty() {
        let param = asked.at("messages");
        return Err(Untranslatable::wrong(param, "a list of messages"));
    }
    for message in messages {
        read_message(message, &mut told)?;
    }
    told.stops = stops(&mut asked)?;
    for tool in asked.objects("tools")? {
        told.tools.push(read_tool(tool)?);
    }
    read_choice(&mut asked, &mut told)?;
    read_output(&mut asked, &mut told)?;
    if let Some(mut metadata) = asked.object("metadata")? {
        told.user = metadata.text("user_id")?;
        metadata.finish()?;
    }
    let tier = asked.text("service_tier")?;
    told.usual_tier = match tier.as_deref() {
        None | Some("auto") => false,
        Some("standard_only") => true,
        Some(_) => return Err(Untranslatable::no_counterpart(asked.at("service_tier"))),
    };
    if let Some(mut thinking) = asked.object("thinking")? {
        thinking.leave_out_when("type", &[r#""disabled""#])?;
        thinking.finish()?;
    }
    for (name, harmless) in USUAL {
        asked.leave_out_when(name, harmless)?;
    }
    if cached(&mut asked)?.is_some() {
        told.caches_at = Some("cache_control");
    }
    asked.finish()?;
    Ok(told)
}

fn read_message<'a>(
    mut message: Members<'a>,
    told: &mut Conversation<'a>,
) -> Result<(), Untranslatable> {
    let role = match &*message.needed_text("role")? {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => return Err(Untranslatable::no_counterpart(message.at("role"))),
    };
    let parts = content(&mut message, role)?;
    told.say(role, parts);
    message.finish()
}

/// The content of a message: a text, or blocks of the kinds that its speaker has.
fn content<'a>(message: &mut Members<'a>, role: Role) -> Result<Vec<Part<'a>>, Untranslatable> {
    let mut parts = Vec::new();
    for block in blocks(message, "content")? {
        let block = match block {
            Block::Text(text) => {
                parts.extend(Part::text(text));
                continue;
            }
            Block::Members(block) => block,
        };
        read_block(block, role, &mut parts)?;
    }
    Ok(parts)
}

/// What a content is made of.
enum Block<'a> {
    /// The content is a text alone.
    Text(Cow<'a, str>),
    Members(Members<'a>),
}

fn blocks<'a>(of: &mut Members<'a>, name: &str) -> Result<Vec<Block<'a>>, Untranslatable> {
    let at = of.at(name);
    let Some(raw) = of.take(name)? else {
        return Ok(Vec::new());
    };
    if let Some(text) = text_of(raw) {
        return Ok(vec![Block::Text(text)]);
    }
    let items =
        items_of(raw).ok_or_else(|| Untranslatable::wrong(at.clone(), "a text or a list"))?;
    let blocks = items.into_iter().enumerate();
    blocks
        .map(|(place, raw)| Members::read(raw.get(), format!("{at}[{place}]")).map(Block::Members))
        .collect()
}

fn read_block<'a>(
    mut block: Members<'a>,
    role: Role,
    parts: &mut Vec<Part<'a>>,
) -> Result<(), Untranslatable> {
    let kind = block.needed_text("type")?;
    let read = match (&*kind, role) {
        ("text", _) => text(&mut block)?,
        ("image", Role::User) => Some(Part::Image(image(&mut block)?)),
        ("tool_use", Role::Assistant) => Some(Part::Call(Call {
            id: block.needed_text("id")?,
            name: block.needed_text("name")?,
            input: input(&mut block)?,
        })),
        ("tool_result", Role::User) => Some(Part::Outcome(outcome(&mut block)?)),
        _ => return Err(Untranslatable::no_counterpart(block.at("type"))),
    };
    parts.extend(read);
    parts.extend(cached(&mut block)?.map(Part::Cached));
    // Of an earlier answer: that the model itself called the tool.
    if &*kind == "tool_use" {
        block.leave_out_when("caller", &[r#"{"type":"direct"}"#])?;
    }
    block.finish()
}

/// Whether what stands up to here is to be kept in a cache.
fn cached(of: &mut Members<'_>) -> Result<Option<Cached>, Untranslatable> {
    let Some(mut control) = of.object("cache_control")? else {
        return Ok(None);
    };
    control.leave_out_when("type", &[r#""ephemeral""#])?;
    let cached = match control.text("ttl")?.as_deref() {
        None | Some("5m") => Cached::Minutes,
        Some("1h") => Cached::Hour,
        Some(_) => return Err(Untranslatable::no_counterpart(control.at("ttl"))),
    };
    control.finish()?;
    Ok(Some(cached))
}

fn text<'a>(block: &mut Members<'a>) -> Result<Option<Part<'a>>, Untranslatable> {
    let text = block.needed_text("text")?;
    // Of earlier answers, for their reader.
    block.leave_out(&["citations"])?;
    Ok(Part::text(text))
}

fn input<'a>(block: &mut Members<'a>) -> Result<Cow<'a, RawValue>, Untranslatable> {
    let missing = Untranslatable::wrong(block.at("input"), "an object");
    block.verbatim("input")?.map(Cow::Borrowed).ok_or(missing)
}

fn image<'a>(block: &mut Members<'a>) -> Result<Image<'a>, Untranslatable> {
    let at = block.at("source");
    let missing = Untranslatable::wrong(at.clone(), "an object");
    let mut source = block.object("source")?.ok_or(missing)?;
    let kind = source.needed_text("type")?;
    let picture = match &*kind {
        "url" => Picture::Url(source.needed_text("url")?),
        "base64" => {
            let at = source.at("media_type");
            let media_type = source.needed_text("media_type")?;
            Picture::Data {
                media_type: Picture::media_type(&media_type).ok_or_else(|| {
                    Untranslatable::wrong(at, "image/jpeg, image/png, image/gif or image/webp")
                })?,
                data: source.needed_text("data")?,
            }
        }
        _ => return Err(Untranslatable::no_counterpart(source.at("type"))),
    };
    source.finish()?;
    Ok(Image { at, picture })
}

fn outcome<'a>(block: &mut Members<'a>) -> Result<Outcome<'a>, Untranslatable> {
    let id = block.needed_text("tool_use_id")?;
    let mut parts = Vec::new();
    for inner in blocks(block, "content")? {
        match inner {
            Block::Text(text) => parts.extend(Part::text(text)),
            Block::Members(mut inner) => {
                let kind = inner.needed_text("type")?;
                parts.extend(match &*kind {
                    "text" => text(&mut inner)?,
                    "image" => Some(Part::Image(image(&mut inner)?)),
                    _ => return Err(Untranslatable::no_counterpart(inner.at("type"))),
                });
                // What is kept up to the middle of a result, is kept up to its beginning or end.
                inner.leave_out(&["cache_control"])?;
                inner.finish()?;
            }
        }
    }
    let fate = match block.flag("is_error")? {
        Some(true) => Fate::Failed,
        Some(false) | None => Fate::Done,
    };
    Ok(Outcome { id, parts, fate })
}

/// The system's prompt, as one text or as blocks.
fn system<'a>(asked: &mut Members<'a>) -> Result<Vec<Part<'a>>, Untranslatable> {
    let mut parts = Vec::new();
    for block in blocks(asked, "system")? {
        match block {
            Block::Text(text) => parts.extend(Part::text(text)),
            Block::Members(mut block) => {
                block.leave_out_when("type", &[r#""text""#])?;
                parts.extend(text(&mut block)?);
                parts.extend(cached(&mut block)?.map(Part::Cached));
                block.finish()?;
            }
        }
    }
    Ok(parts)
}

fn stops<'a>(asked: &mut Members<'a>) -> Result<Vec<Cow<'a, str>>, Untranslatable> {
    let at = asked.at("stop_sequences");
    let items = asked.items("stop_sequences")?.unwrap_or_default();
    let texts: Option<Vec<_>> = items.into_iter().map(text_of).collect();
    texts.ok_or_else(|| Untranslatable::wrong(at, "a list of texts"))
}

fn read_tool(mut tool: Members<'_>) -> Result<Tool<'_>, Untranslatable> {
    tool.leave_out_when("type", &[r#""custom""#])?;
    let read = Tool {
        name: tool.needed_text("name")?,
        description: tool.text("description")?,
        input: tool.verbatim("input_schema")?,
        strict: tool.flag("strict")?,
        cached: cached(&mut tool)?,
    };
    tool.leave_out_when("defer_loading", &["false"])?;
    tool.leave_out_when("allowed_callers", &[r#"["direct"]"#])?;
    // How its input is streamed, which each provider does in its own way.
    tool.leave_out(&["eager_input_streaming"])?;
    tool.finish()?;
    Ok(read)
}

fn read_choice<'a>(
    asked: &mut Members<'a>,
    told: &mut Conversation<'a>,
) -> Result<(), Untranslatable> {
    let Some(mut choice) = asked.object("tool_choice")? else {
        return Ok(());
    };
    let kind = choice.needed_text("type")?;
    told.choice = Some(match &*kind {
        "auto" => Choice::Auto,
        "any" => Choice::Any,
        "none" => Choice::None,
        "tool" => Choice::Tool(choice.needed_text("name")?),
        _ => return Err(Untranslatable::no_counterpart(choice.at("type"))),
    });
    if choice.flag("disable_parallel_tool_use")? == Some(true) {
        told.one_call_at = Some("tool_choice.disable_parallel_tool_use");
    }
    choice.finish()
}

fn read_output<'a>(
    asked: &mut Members<'a>,
    told: &mut Conversation<'a>,
) -> Result<(), Untranslatable> {
    let Some(mut output) = asked.object("output_config")? else {
        return Ok(());
    };
    if let Some(mut format) = output.object("format")? {
        format.leave_out_when("type", &[r#""json_schema""#])?;
        let missing = Untranslatable::wrong(format.at("schema"), "an object");
        told.schema = Some(Schema {
            name: None,
            description: None,
            text: format.verbatim("schema")?.ok_or(missing)?,
        });
        format.finish()?;
    }
    output.finish()
}
