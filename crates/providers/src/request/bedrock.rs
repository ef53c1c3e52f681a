//! What a request to Bedrock says that limits need: each maker has its own name for the maximum of
//! the output, and Bedrock has one for all.

use std::sync::LazyLock;

use http::HeaderMap;
use memchr::memmem::Finder;
use tollgate_core::tokens::TOKENS_MAX;

use super::parts::{Parts, Tools};
use super::{Places, RequestError, RequestFacts, null_span, object, opening, whole};
use crate::edit::Nested;
use crate::json::{Raw, values_named};
use crate::operation::Operation;

object! {
    /// The members that matter beside those that all requests have.
    Members {
        inference_config as "inferenceConfig",
        additional_model_request_fields as "additionalModelRequestFields",
        text_generation_config as "textGenerationConfig",
        max_gen_len,
        max_tokens_to_sample,
        max_tokens as "maxTokens",
        tool_config as "toolConfig",
        guardrail_config as "guardrailConfig",
        service_tier as "serviceTier",
        performance_config as "performanceConfig",
    }
}

object! {
    /// Every name of an output maximum that is known inside an object of settings.
    Maxima {
        usual as "maxTokens",
        max_tokens,
        max_new_tokens,
        max_completion_tokens,
        max_gen_len,
        max_tokens_to_sample,
        max_token_count as "maxTokenCount",
    }
}

object! {
    /// The member that says which of several kinds is wanted.
    Kind {
        r#type as "type",
        latency,
    }
}

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    /// The greatest output maximum under any name.
    pub(super) maximum: Option<u64>,
    /// Whether the usual prices apply.
    pub(super) standard_priced: bool,
}

struct Needles {
    image: Finder<'static>,
    document: Finder<'static>,
    video: Finder<'static>,
    audio: Finder<'static>,
    cache_point: Finder<'static>,
    system_tool: Finder<'static>,
}

static NEEDLES: LazyLock<Needles> = LazyLock::new(|| Needles {
    image: Finder::new(b"\"image\""),
    document: Finder::new(b"\"document\""),
    video: Finder::new(b"\"video\""),
    audio: Finder::new(b"\"audio\""),
    cache_point: Finder::new(b"\"cachePoint\""),
    system_tool: Finder::new(b"\"systemTool\""),
});

/// Reads a body; what it carries is added to `parts`, and where it can be edited to `places`.
pub(super) fn read(
    text: &str,
    parts: &mut Parts,
    places: &mut Places,
) -> Result<Found, RequestError> {
    let members: Members<'_> = object(text)?;
    let config = maxima(members.inference_config, "inferenceConfig")?;
    let more = maxima(
        members.additional_model_request_fields,
        "additionalModelRequestFields",
    )?;
    let titan = maxima(members.text_generation_config, "textGenerationConfig")?;
    let limit = |raw, name| whole(raw, name, TOKENS_MAX);
    let all = [
        greatest(&config)?,
        greatest(&more)?,
        greatest(&titan)?,
        limit(members.max_gen_len, "max_gen_len")?,
        limit(members.max_tokens_to_sample, "max_tokens_to_sample")?,
        limit(members.max_tokens, "maxTokens")?,
    ];
    places.inference = nested(members.inference_config, config.usual, text);
    places.generation = nested(members.text_generation_config, titan.max_token_count, text);
    scan(text.as_bytes(), &members, parts);
    let usual = |raw: Raw<'_>, of: fn(&Kind<'_>) -> Option<String>| -> Result<bool, RequestError> {
        const USUAL: [&str; 4] = [r#""default""#, r#""flex""#, r#""standard""#, r#""auto""#];
        let Some(text) = raw.present() else {
            return Ok(true);
        };
        // A text alone is how some makers name the tier.
        if !text.starts_with('{') {
            return Ok(USUAL.contains(&text));
        }
        let kind: Kind<'_> = object(text)?;
        Ok(of(&kind).is_none_or(|kind| USUAL.contains(&kind.as_str())))
    };
    let tier = usual(members.service_tier, |kind| {
        kind.r#type.present().map(str::to_owned)
    })?;
    let latency = usual(members.performance_config, |kind| {
        kind.latency.present().map(str::to_owned)
    })?;
    Ok(Found {
        maximum: all.into_iter().flatten().max(),
        standard_priced: tier && latency,
    })
}

impl RequestFacts {
    /// Takes in what headers say that decides about the call. Only Bedrock's do: they can ask for
    /// a dearer kind of service, or for guardrails, which are charged apart.
    pub fn heed(&mut self, headers: &HeaderMap) {
        if !self.operation.is_bedrocks() {
            return;
        }
        for name in [
            "x-amzn-bedrock-service-tier",
            "x-amzn-bedrock-performanceconfig-latency",
        ] {
            let usual = |value: &[u8]| [&b"default"[..], b"flex", b"standard"].contains(&value);
            let values = headers.get_all(name);
            self.standard_priced &= values.iter().all(|value| usual(value.as_bytes()));
        }
        self.parts.guarded |= headers.contains_key("x-amzn-bedrock-guardrailidentifier");
    }
}

impl Operation {
    /// Whether it is one of Bedrock's.
    pub(crate) const fn is_bedrocks(self) -> bool {
        matches!(
            self,
            Self::Converse | Self::ConverseStream | Self::Invoke | Self::InvokeStream
        )
    }
}

fn maxima<'a>(raw: Raw<'a>, param: &'static str) -> Result<Maxima<'a>, RequestError> {
    match raw.present() {
        None => Ok(Maxima::default()),
        Some(text) if text.starts_with('{') => object(text),
        Some(_) => Err(RequestError::Wrong {
            param,
            expected: "an object",
        }),
    }
}

fn greatest(maxima: &Maxima<'_>) -> Result<Option<u64>, RequestError> {
    let limit = |raw, name| whole(raw, name, TOKENS_MAX);
    let all = [
        limit(maxima.usual, "maxTokens")?,
        limit(maxima.max_tokens, "max_tokens")?,
        limit(maxima.max_new_tokens, "max_new_tokens")?,
        limit(maxima.max_completion_tokens, "max_completion_tokens")?,
        limit(maxima.max_gen_len, "max_gen_len")?,
        limit(maxima.max_tokens_to_sample, "max_tokens_to_sample")?,
        limit(maxima.max_token_count, "maxTokenCount")?,
    ];
    Ok(all.into_iter().flatten().max())
}

/// Where a member of an object that may be absent can be written.
fn nested(outer: Raw<'_>, inner: Raw<'_>, text: &str) -> Nested {
    match (null_span(outer, text), null_span(inner, text)) {
        (Some(span), _) => Nested::Null(span),
        (None, Some(span)) => Nested::NullMember(span),
        (None, None) => outer.object().map_or(Nested::Absent, |object| {
            Nested::Without(opening(object, text))
        }),
    }
}

/// What Bedrock's own words carry beside text. The words of makers are scanned for as ever.
fn scan(body: &[u8], members: &Members<'_>, parts: &mut Parts) {
    let count = |finder: &'static Finder<'static>| {
        let objects = values_named(body, finder).filter(|value| value.starts_with(b"{"));
        u64::try_from(objects.count()).unwrap_or(u64::MAX)
    };
    parts.images = parts.images.saturating_add(count(&NEEDLES.image));
    for finder in [&NEEDLES.document, &NEEDLES.video] {
        parts.files = parts.files.saturating_add(count(finder));
    }
    parts.audio |= count(&NEEDLES.audio) > 0;
    parts.cache_control |= NEEDLES.cache_point.find(body).is_some();
    parts.guarded |= members.guardrail_config.present().is_some();
    if let Some(tools) = members.tool_config.present() {
        let provider = NEEDLES.system_tool.find(tools.as_bytes()).is_some();
        parts.tools = if provider {
            Tools::Provider
        } else {
            Tools::Caller
        };
    }
}
