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
use crate::json::{split_string, value_after, values_named};
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
    kind: Finder<'static>,
    url: Finder<'static>,
    audio: Finder<'static>,
    cache_control: Finder<'static>,
    escape: Finder<'static>,
}

static NEEDLES: LazyLock<Needles> = LazyLock::new(|| Needles {
    kind: Finder::new(b"\"type\""),
    url: Finder::new(b"_url\""),
    audio: Finder::new(b"\"audio\""),
    cache_control: Finder::new(b"\"cache_control\""),
    escape: Finder::new(b"\\u00"),
});

/// How the types of tools begin that a provider runs itself.
const PROVIDER_TOOLS: [&[u8]; 7] = [
    b"web_",
    b"code_execution",
    b"mcp",
    b"file_search",
    b"code_interpreter\"",
    b"image_generation\"",
    b"shell\"",
];

impl Parts {
    /// What a request carries; without its body where no string in it [`may_tell`] of a part.
    pub(super) fn scan(operation: Operation, members: &Members<'_>, body: Option<&[u8]>) -> Self {
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
            audio: members.audio.present().is_some(),
            prediction: members.prediction.present().is_some(),
            stored: is_response && is_continued(members),
            // A prompt that the provider keeps may bring tools of its own.
            tools: if is_response && prompt.is_some() {
                Tools::Provider
            } else {
                tools(members)
            },
            ..Self::default()
        };
        if let Some(body) = body {
            parts.look(operation, body);
        }
        parts
    }

    fn look(&mut self, operation: Operation, body: &[u8]) {
        self.cache_control = NEEDLES.cache_control.find(body).is_some();
        // An earlier answer of a message: `"audio": {"id": …}`.
        self.audio |= values_named(body, &NEEDLES.audio).any(|value| value.starts_with(b"{"));
        self.count_types(operation, body);
        self.count_urls(body);
        if hides_a_name(body) {
            self.files = self.files.saturating_add(1);
            self.cache_control = true;
            self.audio = true;
            self.tools = Tools::Provider;
        }
    }

    /// Parts that say what they are: `"type": "image"`.
    fn count_types(&mut self, operation: Operation, body: &[u8]) {
        for kind in types(body) {
            let (kind, _) = split_string(kind);
            match kind {
                b"image" | b"input_image" => self.images = self.images.saturating_add(1),
                b"file" | b"document" | b"container_upload" | b"input_file" => {
                    self.files = self.files.saturating_add(1);
                }
                b"input_audio" => self.audio = true,
                b"item_reference" => self.stored |= operation == Operation::CreateResponse,
                _ => {}
            }
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
}

/// Whether a string may tell of a part: all that is looked for is one of these or next to one,
/// unless it hides behind an escape.
pub(super) fn may_tell(string: &[u8]) -> bool {
    matches!(
        string,
        b"type" | b"audio" | b"cache_control" | b"image_url" | b"video_url" | b"audio_url"
    )
}

/// The strings that are the value of a member called `type`, each from after its opening quote on.
fn types(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    values_named(text, &NEEDLES.kind).filter_map(|value| value.strip_prefix(b"\""))
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
    let is_providers = |kind: &[u8]| PROVIDER_TOOLS.iter().any(|name| kind.starts_with(name));
    let runs = |text: &str| types(text.as_bytes()).any(is_providers);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json;

    proptest! {
        #[test]
        fn nothing_is_missed_in_a_body_that_no_string_tells_of(
            strings in prop::collection::vec(
                "(\\\\[\"u])?(0061)?(t|text|type|audio|image|input_image|cache_control|file|image_url|video_url|audio_url|my_url|item_reference)(\\\\\")?",
                1..6,
            ),
            shape in 0..4_u8,
        ) {
            let mut body = strings.iter().fold("1".to_owned(), |inside, string| match shape {
                0 => format!("{{\"a\":{inside},\"{string}\" : {{}} }}"),
                1 => format!("[{inside},\"{string}\"]"),
                2 => format!("{{\"{string}\":{inside}}}"),
                _ => format!("{{\"b\":\"{string}\",\"c\":{inside}}}"),
            });
            body = format!("{{\"messages\":{body}}}");
            let read = json::read_noting::<Members<'_>>(&body, may_tell);
            prop_assume!(read.is_ok());
            let (members, may_tell) = read.unwrap();
            for operation in [Operation::ChatCompletions, Operation::CreateResponse] {
                let looked = Parts::scan(operation, &members, Some(body.as_bytes()));
                let gated = Parts::scan(operation, &members, may_tell.then_some(body.as_bytes()));
                prop_assert_eq!(looked, gated, "{}", body);
            }
        }
    }
}
