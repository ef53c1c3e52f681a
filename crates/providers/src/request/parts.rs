//! What a request carries beside text, found by scanning for names instead of parsing.
//!
//! A name inside a text has its quotes escaped, so it cannot match. Someone who writes a name
//! with escaped letters (`"im\u0061ge"`) hides it from a scan, but no JSON writer does that: such
//! a body is held at the most that any request can use.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Members, RequestError};
use crate::json::{skip_space_back, value_after, values_named};
use crate::operation::Operation;

/// Who runs the tools that a request offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Tools {
    /// There are none.
    #[default]
    None,
    /// The caller.
    Caller,
    /// The provider, which adds what it finds to the input (a web search).
    Provider,
}

/// What a request carries beside text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a thing of its own that a request has or not"
)]
pub(super) struct Parts {
    /// Image parts, carried or referenced.
    pub(super) images: u64,
    /// File, document and video parts, carried or referenced.
    pub(super) files: u64,
    /// Whether input may be written to a cache at a price.
    pub(super) cache_control: bool,
    /// Whether there is audio on either side.
    pub(super) audio: bool,
    /// Whether the request has a predicted output, whose rejected tokens are billed as output.
    pub(super) prediction: bool,
    /// Whether it goes on from something that the provider keeps: an earlier answer, a
    /// conversation, a prompt.
    pub(super) stored: bool,
    /// Who runs its tools.
    pub(super) tools: Tools,
    /// Whether its provider looks at it with guardrails, which it charges apart.
    pub(super) guarded: bool,
}

struct Needles {
    image: Finder<'static>,
    url: Finder<'static>,
    input: Finder<'static>,
    file: Finder<'static>,
    document: Finder<'static>,
    upload: Finder<'static>,
    audio: Finder<'static>,
    cache_control: Finder<'static>,
    escape: Finder<'static>,
    /// How the types of tools begin that a provider runs itself.
    provider_tools: [Finder<'static>; 7],
    reference: Finder<'static>,
}

static NEEDLES: LazyLock<Needles> = LazyLock::new(|| Needles {
    image: Finder::new(b"\"image\""),
    url: Finder::new(b"_url\""),
    input: Finder::new(b"\"input_"),
    file: Finder::new(b"\"file\""),
    document: Finder::new(b"\"document\""),
    upload: Finder::new(b"\"container_upload\""),
    audio: Finder::new(b"\"audio\""),
    cache_control: Finder::new(b"\"cache_control\""),
    escape: Finder::new(b"\\u00"),
    provider_tools: [
        Finder::new(b"\"web_"),
        Finder::new(b"\"code_execution"),
        Finder::new(b"\"mcp"),
        Finder::new(b"\"file_search"),
        Finder::new(b"\"code_interpreter\""),
        Finder::new(b"\"image_generation\""),
        Finder::new(b"\"shell\""),
    ],
    reference: Finder::new(b"\"item_reference\""),
});

impl Parts {
    pub(super) fn scan(operation: Operation, members: &Members<'_>, body: &[u8]) -> Self {
        let is_chat = !matches!(
            operation,
            Operation::Embeddings
                | Operation::Completions
                | Operation::GenerateImages
                | Operation::Speech
        );
        if !is_chat || !operation.is_billed() {
            return Self::default();
        }
        let prompt = members.prompt.present();
        let is_response = operation == Operation::CreateResponse;
        let mut parts = Self {
            cache_control: NEEDLES.cache_control.find(body).is_some(),
            // Of the request itself, or an earlier answer of a message: `"audio": {"id": …}`.
            audio: members.audio.present().is_some()
                || values_named(body, &NEEDLES.audio).any(|value| value.starts_with(b"{")),
            prediction: members.prediction.present().is_some(),
            stored: is_response && (is_continued(members) || has_type(body, &NEEDLES.reference)),
            // A prompt that the provider keeps may bring tools of its own.
            tools: if is_response && prompt.is_some() {
                Tools::Provider
            } else {
                tools(members)
            },
            ..Self::default()
        };
        parts.count_types(body);
        parts.count_urls(body);
        parts.count_inputs(body);
        if hides_a_name(body) {
            parts.files = parts.files.saturating_add(1);
            parts.cache_control = true;
            parts.audio = true;
            parts.tools = Tools::Provider;
        }
        parts
    }

    /// Parts that say what they are: `"type": "image"`.
    fn count_types(&mut self, body: &[u8]) {
        let count = |finder: &Finder<'_>| {
            let typed = finder
                .find_iter(body)
                .filter(|at| is_a_type(body.get(..*at)));
            u64::try_from(typed.count()).unwrap_or(u64::MAX)
        };
        self.images = count(&NEEDLES.image);
        for finder in [&NEEDLES.file, &NEEDLES.document, &NEEDLES.upload] {
            self.files = self.files.saturating_add(count(finder));
        }
    }

    /// Members that carry or point to something: `"image_url":`, `"video_url":`, `"audio_url":`.
    fn count_urls(&mut self, body: &[u8]) {
        for at in NEEDLES.url.find_iter(body) {
            let after = at.saturating_add(NEEDLES.url.needle().len());
            if body.get(after..).and_then(value_after).is_none() {
                continue;
            }
            let before = body.get(..at).unwrap_or_default();
            if before.ends_with(b"\"image") {
                self.images = self.images.saturating_add(1);
            } else if before.ends_with(b"\"video") {
                self.files = self.files.saturating_add(1);
            } else if before.ends_with(b"\"audio") {
                self.files = self.files.saturating_add(1);
                self.audio = true;
            }
        }
    }

    /// Names of parts that begin with `input_`, as a type: `"type": "input_audio"`.
    fn count_inputs(&mut self, body: &[u8]) {
        for at in NEEDLES
            .input
            .find_iter(body)
            .filter(|at| is_a_type(body.get(..*at)))
        {
            let name = body.get(at.saturating_add(NEEDLES.input.needle().len())..);
            match name.unwrap_or_default() {
                [b'a', b'u', b'd', b'i', b'o', b'"', ..] => self.audio = true,
                [b'i', b'm', b'a', b'g', b'e', b'"', ..] => {
                    self.images = self.images.saturating_add(1);
                }
                [b'f', b'i', b'l', b'e', b'"', ..] => self.files = self.files.saturating_add(1),
                _ => {}
            }
        }
    }
}

/// Whether what stands `before` a string makes it the value of a member called `type`.
fn is_a_type(before: Option<&[u8]>) -> bool {
    let name = before
        .map(skip_space_back)
        .and_then(|it| it.strip_suffix(b":"));
    name.is_some_and(|it| skip_space_back(it).ends_with(b"\"type\""))
}

/// Whether an ASCII letter or underscore is written as an escape, which no JSON writer does.
fn hides_a_name(body: &[u8]) -> bool {
    NEEDLES.escape.find_iter(body).any(|at| {
        let code = body.get(at.saturating_add(NEEDLES.escape.needle().len())..);
        matches!(
            code.unwrap_or_default(),
            [b'4' | b'6', _, ..]
                | [b'5' | b'7', b'0'..=b'9' | b'a' | b'A', ..]
                | [b'5', b'f' | b'F', ..]
        )
    })
}

fn tools(members: &Members<'_>) -> Tools {
    let listed = members.tools.present();
    let runs = |text: &str| {
        NEEDLES
            .provider_tools
            .iter()
            .any(|name| has_type(text.as_bytes(), name))
    };
    let asked = members
        .web_search_options
        .present()
        .or(members.mcp_servers.present());
    if asked.is_some() || listed.is_some_and(runs) {
        Tools::Provider
    } else if listed.or(members.functions.present()).is_some() {
        Tools::Caller
    } else {
        Tools::None
    }
}

/// Whether a response goes on from what the provider keeps.
fn is_continued(members: &Members<'_>) -> bool {
    let kept = [
        members.previous_response_id,
        members.conversation,
        members.prompt,
    ];
    kept.iter().any(|it| it.present().is_some())
}

/// Whether something says that its type begins like this: a tool may be called anything.
fn has_type(text: &[u8], name: &Finder<'_>) -> bool {
    name.find_iter(text).any(|at| is_a_type(text.get(..at)))
}

/// How many prompts a `prompt` is: a text or a list of tokens is one, a list of those is many.
pub(super) fn prompts(text: &str) -> Result<u64, RequestError> {
    if !text.starts_with('[') {
        return Ok(1);
    }
    let mut items = serde_json::Deserializer::from_str(text);
    items.deserialize_seq(Prompts).or(Err(RequestError::Wrong {
        param: "prompt",
        expected: "a text or a list",
    }))
}

/// Counts the items of a list that are prompts of their own.
struct Prompts;

impl<'de> Visitor<'de> for Prompts {
    type Value = u64;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of prompts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<u64, A::Error> {
        let mut count = 0_u64;
        while let Some(item) = list.next_element::<&RawValue>()? {
            if item.get().starts_with(['"', '[']) {
                count = count.saturating_add(1);
            }
        }
        // Numbers alone are the tokens of one prompt.
        Ok(count.max(1))
    }
}
