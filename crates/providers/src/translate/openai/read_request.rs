//! A caller's request in OpenAI's words.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::translate::Untranslatable;
use crate::translate::conversation::{
    Call, Choice, Conversation, Fate, Image, Outcome, Part, Picture, Role, Schema, Tool,
};
use crate::translate::members::{Members, items_of, text_of};

/// What may be left out where it only says what is so anyway.
const USUAL: [(&str, &[&str]); 10] = [
    ("n", &["1"]),
    ("logprobs", &["false"]),
    ("top_logprobs", &["0"]),
    ("frequency_penalty", &["0", "0.0"]),
    ("presence_penalty", &["0", "0.0"]),
    ("logit_bias", &["{}"]),
    ("store", &["false"]),
    ("metadata", &["{}"]),
    ("modalities", &[r#"["text"]"#]),
    ("service_tier", &[r#""auto""#, r#""default""#]),
];

/// What only helps a provider to find its own caches again.
const HINTS: [&str; 3] = [
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
];

/// Reads the body of `POST /v1/chat/completions`.
pub(in crate::translate) fn read(text: &str) -> Result<Conversation<'_>, Untranslatable> {
    let mut asked = Members::read(text, String::new())?;
    let mut told = Conversation {
        model: asked.text("model")?,
        temperature: asked.number("temperature")?,
        top_p: asked.number("top_p")?,
        streams: asked.flag("stream")?.unwrap_or(false),
        ..Conversation::default()
    };
    for message in needed_messages(&mut asked)? {
        read_message(message, &mut told)?;
    }
    let maxima = [
        asked.whole("max_completion_tokens")?,
        asked.whole("max_tokens")?,
    ];
    told.output_max = maxima.into_iter().flatten().max();
    told.stops = stops(&mut asked)?;
    let user = asked.text("user")?;
    told.user = asked.text("safety_identifier")?.or(user);
    if let Some(mut options) = asked.object("stream_options")? {
        told.wants_usage = options.flag("include_usage")?.unwrap_or(false);
        options.leave_out(&["include_obfuscation"])?;
        options.finish()?;
    }
    for tool in asked.objects("tools")? {
        told.tools.push(read_tool(tool)?);
    }
    told.choice = choice(&mut asked)?;
    if asked.flag("parallel_tool_calls")? == Some(false) {
        told.one_call_at = Some("parallel_tool_calls");
    }
    told.schema = schema(&mut asked)?;
    for (name, harmless) in USUAL {
        asked.leave_out_when(name, harmless)?;
    }
    asked.leave_out(&HINTS)?;
    asked.finish()?;
    Ok(told)
}

fn needed_messages<'a>(asked: &mut Members<'a>) -> Result<Vec<Members<'a>>, Untranslatable> {
    let messages = asked.objects("messages")?;
    if messages.is_empty() {
        return Err(Untranslatable::wrong(
            asked.at("messages"),
            "a list of messages",
        ));
    }
    Ok(messages)
}

fn read_message<'a>(
    mut message: Members<'a>,
    told: &mut Conversation<'a>,
) -> Result<(), Untranslatable> {
    let role = message.needed_text("role")?;
    match &*role {
        "system" | "developer" => told
            .system
            .extend(texts(&mut message)?.into_iter().map(Part::Text)),
        "user" => {
            let parts = content(&mut message)?;
            told.say(Role::User, parts);
        }
        "assistant" => {
            let parts = assistant(&mut message)?;
            told.say(Role::Assistant, parts);
        }
        "tool" => {
            let outcome = Outcome {
                id: message.needed_text("tool_call_id")?,
                parts: texts(&mut message)?.into_iter().map(Part::Text).collect(),
                fate: Fate::Done,
            };
            // The call's id says which tool it was.
            message.leave_out(&["name"])?;
            told.say(Role::User, vec![Part::Outcome(outcome)]);
        }
        _ => return Err(Untranslatable::no_counterpart(message.at("role"))),
    }
    message.finish()
}

/// The texts of a message that can have nothing else.
fn texts<'a>(message: &mut Members<'a>) -> Result<Vec<Cow<'a, str>>, Untranslatable> {
    let at = message.at("content");
    let parts = content(message)?.into_iter();
    let texts = parts.map(|part| match part {
        Part::Text(text) => Ok(text),
        Part::Image(_) | Part::Call(_) | Part::Outcome(_) | Part::Cached(_) => {
            Err(Untranslatable::wrong(at.clone(), "text alone"))
        }
    });
    texts.collect()
}

/// The content of a message: a text, or parts.
fn content<'a>(message: &mut Members<'a>) -> Result<Vec<Part<'a>>, Untranslatable> {
    let at = message.at("content");
    let Some(raw) = message.take("content")? else {
        return Ok(Vec::new());
    };
    if let Some(text) = text_of(raw) {
        return Ok(Part::text(text).into_iter().collect());
    }
    let items =
        items_of(raw).ok_or_else(|| Untranslatable::wrong(at.clone(), "a text or a list"))?;
    let mut parts = Vec::with_capacity(items.len());
    for (place, item) in items.into_iter().enumerate() {
        let part = Members::read(item.get(), format!("{at}[{place}]"))?;
        parts.extend(read_part(part)?);
    }
    Ok(parts)
}

fn read_part(mut part: Members<'_>) -> Result<Option<Part<'_>>, Untranslatable> {
    let kind = part.needed_text("type")?;
    let read = match &*kind {
        "text" => Part::text(part.needed_text("text")?),
        "refusal" => Part::text(part.needed_text("refusal")?),
        "image_url" => Some(Part::Image(image(&mut part)?)),
        _ => return Err(Untranslatable::no_counterpart(part.at("type"))),
    };
    part.finish()?;
    Ok(read)
}

fn image<'a>(part: &mut Members<'a>) -> Result<Image<'a>, Untranslatable> {
    let at = part.at("image_url.url");
    let wrong = |expected| Untranslatable::wrong(at.clone(), expected);
    let mut image = part
        .object("image_url")?
        .ok_or_else(|| wrong("an address or data of an image"))?;
    let url = image.needed_text("url")?;
    // Other providers look at every image as closely as they can.
    image.leave_out_when("detail", &[r#""auto""#, r#""high""#])?;
    image.finish()?;
    let is = |scheme: &str| {
        let beginning = url.get(..scheme.len());
        beginning.is_some_and(|it| it.eq_ignore_ascii_case(scheme))
    };
    let picture = if is("https://") || is("http://") {
        Picture::Url(url)
    } else {
        let data = match &url {
            Cow::Borrowed(url) => data_of(url).map(|(kind, data)| (kind, Cow::Borrowed(data))),
            Cow::Owned(url) => data_of(url).map(|(kind, data)| (kind, data.to_owned().into())),
        };
        let (media_type, data) = data.ok_or_else(|| {
            wrong("an https address, or base64 data of a JPEG, PNG, GIF or WebP image")
        })?;
        Picture::Data { media_type, data }
    };
    Ok(Image { at, picture })
}

fn assistant<'a>(message: &mut Members<'a>) -> Result<Vec<Part<'a>>, Untranslatable> {
    let mut parts = content(message)?;
    parts.extend(message.text("refusal")?.and_then(Part::text));
    for mut call in message.objects("tool_calls")? {
        let id = call.needed_text("id")?;
        call.leave_out_when("type", &[r#""function""#])?;
        let missing = Untranslatable::wrong(call.at("function"), "an object");
        let mut function = call.object("function")?.ok_or(missing)?;
        let name = function.needed_text("name")?;
        let at = function.at("arguments");
        let input = arguments(&function.needed_text("arguments")?)
            .ok_or_else(|| Untranslatable::wrong(at, "the text of a JSON object"))?;
        function.finish()?;
        // Some clients keep the place that a call had in a stream.
        call.leave_out(&["index"])?;
        call.finish()?;
        parts.push(Part::Call(Call { id, name, input }));
    }
    // Of earlier answers, for their reader: providers do not read them again.
    message.leave_out(&["annotations"])?;
    Ok(parts)
}

/// A call's arguments, which are JSON as a text.
fn arguments<'a>(text: &Cow<'a, str>) -> Option<Cow<'a, RawValue>> {
    let whole = match text {
        Cow::Borrowed(text) if !text.trim().is_empty() => {
            Cow::Borrowed(serde_json::from_str::<&'a RawValue>(text).ok()?)
        }
        Cow::Borrowed(_) => Cow::Borrowed(serde_json::from_str("{}").ok()?),
        Cow::Owned(text) => Cow::Owned(RawValue::from_string(text.trim().to_owned()).ok()?),
    };
    whole.get().starts_with('{').then_some(whole)
}

fn stops<'a>(asked: &mut Members<'a>) -> Result<Vec<Cow<'a, str>>, Untranslatable> {
    let at = asked.at("stop");
    let Some(raw) = asked.take("stop")? else {
        return Ok(Vec::new());
    };
    if let Some(text) = text_of(raw) {
        return Ok(vec![text]);
    }
    let texts = items_of(raw).and_then(|items| items.into_iter().map(text_of).collect());
    texts.ok_or_else(|| Untranslatable::wrong(at, "a text or a list of texts"))
}

fn read_tool(mut tool: Members<'_>) -> Result<Tool<'_>, Untranslatable> {
    tool.leave_out_when("type", &[r#""function""#])?;
    let missing = Untranslatable::wrong(tool.at("function"), "an object");
    let mut function = tool.object("function")?.ok_or(missing)?;
    let read = Tool {
        name: function.needed_text("name")?,
        description: function.text("description")?,
        input: function.verbatim("parameters")?,
        strict: function.flag("strict")?,
        cached: None,
    };
    function.finish()?;
    tool.finish()?;
    Ok(read)
}

fn choice<'a>(asked: &mut Members<'a>) -> Result<Option<Choice<'a>>, Untranslatable> {
    let at = asked.at("tool_choice");
    let Some(raw) = asked.take("tool_choice")? else {
        return Ok(None);
    };
    match text_of(raw).as_deref() {
        Some("auto") => return Ok(Some(Choice::Auto)),
        Some("required") => return Ok(Some(Choice::Any)),
        Some("none") => return Ok(Some(Choice::None)),
        Some(_) => return Err(Untranslatable::no_counterpart(at)),
        None => {}
    }
    let mut choice = Members::read(raw.get(), at)?;
    choice.leave_out_when("type", &[r#""function""#])?;
    let missing = Untranslatable::wrong(choice.at("function"), "an object");
    let mut function = choice.object("function")?.ok_or(missing)?;
    let name = function.needed_text("name")?;
    function.finish()?;
    choice.finish()?;
    Ok(Some(Choice::Tool(name)))
}

fn schema<'a>(asked: &mut Members<'a>) -> Result<Option<Schema<'a>>, Untranslatable> {
    let Some(mut format) = asked.object("response_format")? else {
        return Ok(None);
    };
    let kind = format.needed_text("type")?;
    let read = match &*kind {
        "text" => None,
        "json_schema" => {
            let missing = Untranslatable::wrong(format.at("json_schema"), "an object");
            let mut told = format.object("json_schema")?.ok_or(missing)?;
            let missing = Untranslatable::wrong(told.at("schema"), "an object");
            let schema = Schema {
                name: told.text("name")?,
                description: told.text("description")?,
                text: told.verbatim("schema")?.ok_or(missing)?,
            };
            // The other side always keeps to the schema, which is more than was asked for.
            told.leave_out(&["strict"])?;
            told.finish()?;
            Some(schema)
        }
        _ => return Err(Untranslatable::no_counterpart(format.at("type"))),
    };
    format.finish()?;
    Ok(read)
}

/// The type and the base64 text of an address that carries its data.
fn data_of(url: &str) -> Option<(&'static str, &str)> {
    let (kind, data) = url.split_at_checked(5).and_then(|(scheme, rest)| {
        scheme
            .eq_ignore_ascii_case("data:")
            .then(|| rest.split_once(','))?
    })?;
    let media_type = kind.strip_suffix(";base64")?;
    Some((Picture::media_type(media_type)?, data))
}
