//! What a demonstration prints: for people what to paste, for programs one line.

use std::path::PathBuf;

use serde_json::json;

use super::demo::{Demo, TENANT};

/// What there is to tell about a running demonstration.
pub(super) struct Told {
    pub(super) url: String,
    pub(super) admin_url: String,
    pub(super) provider_url: String,
    pub(super) is_simulated: bool,
    pub(super) folder: PathBuf,
    pub(super) is_temporary: bool,
    pub(super) demo: Demo,
}

impl Told {
    /// One line of JSON, its names in their documented order.
    pub(super) fn line(&self) -> String {
        let demo = &self.demo;
        let (openai, anthropic) = (json!(demo.openai), json!(demo.anthropic));
        // Put together by hand: an object would bring the names into another order.
        let members = [
            ("url", json!(self.url).to_string()),
            ("admin_url", json!(self.admin_url).to_string()),
            ("operator_key", json!(demo.operator_key).to_string()),
            ("tenant_id", json!(TENANT).to_string()),
            ("admin_key", json!(demo.admin_key).to_string()),
            ("caller_key", json!(demo.caller_key).to_string()),
            (
                "integrations",
                format!(r#"{{"openai":{openai},"anthropic":{anthropic}}}"#),
            ),
            ("provider_url", json!(self.provider_url).to_string()),
            ("data_dir", json!(self.folder.to_string_lossy()).to_string()),
        ];
        let members = members.map(|(name, value)| format!("\"{name}\":{value}"));
        format!("{{{}}}", members.join(","))
    }

    /// What to paste.
    pub(super) fn text(&self) -> String {
        let (places, calls, commands) = (self.places(), self.calls(), self.commands());
        format!("{places}\n{calls}\n{commands}\nCtrl-C ends it.\n")
    }

    fn places(&self) -> String {
        let Self {
            url,
            admin_url,
            provider_url,
            ..
        } = self;
        let Demo {
            operator_key,
            admin_key,
            caller_key,
            ..
        } = &self.demo;
        let provider = if self.is_simulated {
            "a simulated provider"
        } else {
            "the provider"
        };
        let kept = if self.is_temporary {
            "a temporary folder, removed when this ends; keep one with --data-dir FOLDER"
        } else {
            "kept: the next start with this folder has the same keys"
        };
        let folder = self.folder.display();
        format!(
            r"
Tollgate is ready, with {provider} at {provider_url}.
  gateway        {url}
  control plane  {admin_url}
  data           {folder}
                 ({kept})

  caller key     {caller_key}
  admin key      {admin_key}
  operator key   {operator_key}
"
        )
    }

    fn calls(&self) -> String {
        let (url, caller_key) = (&self.url, &self.demo.caller_key);
        format!(
            r#"A call, with curl:

curl {url}/v1/chat/completions \
  -H "Authorization: Bearer {caller_key}" \
  -H "Content-Type: application/json" \
  -d '{{"model": "gpt-4o-mini", "max_tokens": 20, "messages": [{{"role": "user", "content": "Say hello."}}]}}'

With Python (pip install openai):

from openai import OpenAI
client = OpenAI(base_url="{url}/v1", api_key="{caller_key}")
answer = client.chat.completions.create(
    model="gpt-4o-mini",
    max_tokens=20,
    messages=[{{"role": "user", "content": "Say hello."}}],
)
print(answer.choices[0].message.content)

With Python (pip install anthropic):

from anthropic import Anthropic
client = Anthropic(base_url="{url}", api_key="{caller_key}")
answer = client.messages.create(
    model="claude-sonnet-4-6",
    max_tokens=20,
    messages=[{{"role": "user", "content": "Say hello."}}],
)
print(answer.content[0].text)
"#
        )
    }

    fn commands(&self) -> String {
        let Self { url, admin_url, .. } = self;
        let Demo {
            operator_key,
            admin_key,
            caller_key,
            openai,
            ..
        } = &self.demo;
        let tollgate = program();
        format!(
            r"A question with its cost, the books, and a budget of ten cents a month:

export TOLLGATE_URL={url} TOLLGATE_ADMIN_URL={admin_url}
TOLLGATE_KEY={caller_key} {tollgate} chat 'Say hello.'
TOLLGATE_KEY={admin_key} {tollgate} usage summary
TOLLGATE_KEY={admin_key} {tollgate} integration update {openai} --budget-cents 10
TOLLGATE_KEY={admin_key} {tollgate} integration limits {openai}
TOLLGATE_KEY={operator_key} {tollgate} ledger verify
"
        )
    }
}

/// How the program is called from anywhere.
fn program() -> String {
    let Ok(path) = std::env::current_exe() else {
        return "tollgate".to_owned();
    };
    // A name without a folder was found by PATH, and will be again.
    let typed = std::env::args_os().next().map(PathBuf::from);
    match typed {
        Some(typed) if typed.components().count() == 1 => typed.display().to_string(),
        _ => path.display().to_string(),
    }
}
