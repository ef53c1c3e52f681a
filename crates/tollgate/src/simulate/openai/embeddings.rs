//! `POST /v1/embeddings`: the same text always gets the same vector.

use std::borrow::Cow;

use serde::Deserialize;

use crate::simulate::{
    answer::{Answer, Call, Refusal, Stamp, Terms, Tokens},
    prompt::Inputs,
    text::Json,
};

const MAX_INPUTS: usize = 2_048;
const MAX_DIMENSIONS: u64 = 4_096;

/// The components of vectors, as text and as number: exact in both, so that both encodings agree.
const COMPONENTS: [(&str, f32); 16] = [
    ("0.00390625", 0.003_906_25),
    ("-0.00390625", -0.003_906_25),
    ("0.0078125", 0.007_812_5),
    ("-0.0078125", -0.007_812_5),
    ("0.01171875", 0.011_718_75),
    ("-0.01171875", -0.011_718_75),
    ("0.015625", 0.015_625),
    ("-0.015625", -0.015_625),
    ("0.01953125", 0.019_531_25),
    ("-0.01953125", -0.019_531_25),
    ("0.0234375", 0.023_437_5),
    ("-0.0234375", -0.023_437_5),
    ("0.02734375", 0.027_343_75),
    ("-0.02734375", -0.027_343_75),
    ("0.03125", 0.031_25),
    ("-0.03125", -0.031_25),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Float,
    Base64,
}

/// An embedding request.
#[derive(Debug, Deserialize)]
pub(in crate::simulate) struct Embedding<'a> {
    /// Absent where the path names a deployment.
    #[serde(borrow, default)]
    model: Cow<'a, str>,
    input: Inputs,
    #[serde(default)]
    encoding_format: Option<Encoding>,
    #[serde(default)]
    dimensions: Option<u64>,
}

impl Embedding<'_> {
    fn dimensions(&self) -> u64 {
        let usual = if self.model.contains("3-large") {
            3_072
        } else {
            1_536
        };
        self.dimensions.unwrap_or(usual)
    }

    fn vector(&self, json: &mut Json, seed: u64) {
        let components = components(seed, self.dimensions());
        if self.encoding_format == Some(Encoding::Base64) {
            let bytes: Vec<u8> = components
                .flat_map(|(_, component)| component.to_le_bytes())
                .collect();
            json.raw("\"").base64(&bytes).raw("\"");
            return;
        }
        json.raw("[");
        for (at, (text, _)) in components.enumerate() {
            if at > 0 {
                json.raw(",");
            }
            json.raw(text);
        }
        json.raw("]");
    }
}

fn components(seed: u64, count: u64) -> impl Iterator<Item = (&'static str, f32)> {
    let mut state = seed;
    (0..count).map(move |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963);
        let at = usize::try_from(state >> 60).unwrap_or_default();
        COMPONENTS.get(at).copied().unwrap_or_default()
    })
}

impl<'a> Call<'a> for Embedding<'a> {
    fn model(&self) -> &str {
        &self.model
    }

    fn check(&self, _terms: &Terms) -> Result<(), Refusal> {
        if self.input.0.len() > MAX_INPUTS {
            return Err(Refusal::request(format!(
                "'input' has more than {MAX_INPUTS} texts"
            )));
        }
        if !(1..=MAX_DIMENSIONS).contains(&self.dimensions()) {
            return Err(Refusal::request(format!(
                "'dimensions' must be from 1 to {MAX_DIMENSIONS}"
            )));
        }
        Ok(())
    }

    fn tokens(&self, _terms: &Terms) -> Tokens {
        Tokens {
            input: self.input.tokens(),
            output: 0,
        }
    }

    fn answer(&self, _stamp: &Stamp, terms: &Terms) -> Answer {
        let size = usize::try_from(self.dimensions()).unwrap_or_default() * 12;
        let mut json = Json::with_capacity(size * self.input.0.len() + 256);
        json.raw(r#"{"object":"list","data":["#);
        for (index, input) in (0_u64..).zip(&self.input.0) {
            if index > 0 {
                json.raw(",");
            }
            json.raw(r#"{"object":"embedding","index":"#)
                .number(index)
                .raw(r#","embedding":"#);
            self.vector(&mut json, input.seed);
            json.raw("}");
        }
        json.raw(r#"],"model":"#).string(&self.model);
        if !terms.faults.no_usage {
            json.raw(r#","usage":{"prompt_tokens":"#)
                .number(self.input.tokens());
            json.raw(r#","total_tokens":"#)
                .number(self.input.tokens())
                .raw("}");
        }
        json.raw("}");
        Answer::Whole(json.into_string())
    }
}
