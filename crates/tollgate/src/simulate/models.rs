//! The models that a simulated provider lists. Calls may name any model: what is not listed is answered all the same.

use http::StatusCode;

use super::{answer::Refusal, text::Json};

/// So many seconds after 1970 all models of OpenAI's list were made.
const CREATED: u64 = 1_750_000_000;

const OPENAI: [&str; 7] = [
    "gpt-4o-mini",
    "gpt-4o",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-3.5-turbo-instruct",
    "text-embedding-3-small",
    "text-embedding-3-large",
];

const ANTHROPIC: [(&str, &str); 3] = [
    ("claude-opus-4-6", "Claude Opus 4.6"),
    ("claude-sonnet-4-6", "Claude Sonnet 4.6"),
    ("claude-haiku-4-5", "Claude Haiku 4.5"),
];

fn put_openai(json: &mut Json, id: &str) {
    json.raw(r#"{"id":"#)
        .string(id)
        .raw(r#","object":"model","created":"#)
        .number(CREATED);
    json.raw(r#","owned_by":"simulated"}"#);
}

fn put_anthropic(json: &mut Json, (id, name): (&str, &str)) {
    json.raw(r#"{"type":"model","id":"#)
        .string(id)
        .raw(r#","display_name":"#)
        .string(name);
    json.raw(r#","created_at":"2025-10-01T00:00:00Z","lifecycle":"active"}"#);
}

fn listed<T: Copy>(json: &mut Json, models: &[T], put: impl Fn(&mut Json, T)) {
    for (at, model) in models.iter().enumerate() {
        if at > 0 {
            json.raw(",");
        }
        put(json, *model);
    }
}

/// OpenAI's list of models.
pub(super) fn openai_list() -> String {
    let mut json = Json::default();
    json.raw(r#"{"object":"list","data":["#);
    listed(&mut json, &OPENAI, put_openai);
    json.raw("]}");
    json.into_string()
}

/// Anthropic's list of models: one page.
pub(super) fn anthropic_list() -> String {
    let mut json = Json::default();
    json.raw(r#"{"data":["#);
    listed(&mut json, &ANTHROPIC, put_anthropic);
    json.raw(r#"],"has_more":false,"first_id":"#)
        .string(ANTHROPIC[0].0);
    json.raw(r#","last_id":"#)
        .string(ANTHROPIC[ANTHROPIC.len() - 1].0)
        .raw("}");
    json.into_string()
}

/// One of OpenAI's models.
pub(super) fn openai_model(id: &str) -> Result<String, Refusal> {
    let mut json = Json::default();
    let id = OPENAI
        .iter()
        .find(|model| **model == id)
        .ok_or_else(|| unknown(id))?;
    put_openai(&mut json, id);
    Ok(json.into_string())
}

/// One of Anthropic's models.
pub(super) fn anthropic_model(id: &str) -> Result<String, Refusal> {
    let mut json = Json::default();
    let model = ANTHROPIC
        .iter()
        .find(|(model, _)| *model == id)
        .ok_or_else(|| unknown(id))?;
    put_anthropic(&mut json, *model);
    Ok(json.into_string())
}

fn unknown(id: &str) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        format!("the model '{id}' is not in the list of models"),
    )
    .with_code("model_not_found")
}
