//! `POST /model/amazon.titan-embed-…/invoke`: vectors in Amazon's own words.

use std::borrow::Cow;

use serde::Deserialize;

use crate::simulate::{
    answer::{Answer, Call, Refusal, Stamp, Terms, Tokens},
    prompt::words,
    text::Json,
};

const DIMENSIONS_USUAL: u64 = 1_024;
const DIMENSIONS: [u64; 3] = [256, 512, 1_024];

/// A text whose vector is asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::simulate) struct TitanVector<'a> {
    #[serde(borrow)]
    input_text: Cow<'a, str>,
    #[serde(default)]
    dimensions: Option<u64>,
}

impl TitanVector<'_> {
    fn dimensions(&self) -> u64 {
        self.dimensions.unwrap_or(DIMENSIONS_USUAL)
    }
}

impl<'a> Call<'a> for TitanVector<'a> {
    fn model(&self) -> &'static str {
        ""
    }

    fn check(&self, _terms: &Terms) -> Result<(), Refusal> {
        if DIMENSIONS.contains(&self.dimensions()) {
            return Ok(());
        }
        Err(Refusal::request("dimensions must be 256, 512 or 1024"))
    }

    fn tokens(&self, _terms: &Terms) -> Tokens {
        Tokens {
            input: words(&self.input_text),
            output: 0,
        }
    }

    fn answer(&self, _stamp: &Stamp, terms: &Terms) -> Answer {
        let tokens = self.tokens(terms);
        let mut json = Json::default();
        json.raw(r#"{"embedding":["#);
        for at in 0..self.dimensions() {
            json.raw(if at == 0 { "0.03125" } else { ",-0.03125" });
        }
        json.raw(r#"],"inputTextTokenCount":"#).number(tokens.input);
        json.raw("}");
        Answer::Counted(json.into_string(), tokens)
    }
}
