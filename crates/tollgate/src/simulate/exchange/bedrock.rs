//! What Bedrock is asked for: a model in the words of all, or of its maker.

use bytes::Bytes;
use http::{Method, StatusCode};

use super::{Decision, Inquiry};
use crate::simulate::{
    answer::Refusal,
    anthropic::Message,
    bedrock::{
        self,
        converse::{Converse, ConverseStream},
        invoke::{Generation, Invoke, InvokeStream},
        vector::TitanVector,
    },
    face::BEDROCK_LIST,
};

impl Inquiry<'_> {
    pub(super) fn decide_bedrock(&self, body: &Bytes) -> Result<Decision, Refusal> {
        bedrock::identify(self.world, self.head, body)?;
        let path = self.head.uri.path();
        if (&self.head.method, path) == (&Method::GET, BEDROCK_LIST) {
            return self.listed(|| Ok(r#"{"asyncInvokeSummaries":[]}"#.to_owned()));
        }
        let unknown = || Refusal::new(StatusCode::NOT_FOUND, "there is no such operation");
        let place = bedrock::Place::of(path).ok_or_else(unknown)?;
        let model = Some(place.model.as_str());
        let anthropic = place.model.contains("anthropic.");
        match (&self.head.method, place.action.as_str()) {
            (&Method::POST, "converse") => self.billed::<Converse<'_>>(body, model),
            (&Method::POST, "converse-stream") => self.billed::<ConverseStream<'_>>(body, model),
            (&Method::POST, "invoke") if anthropic => {
                self.billed::<Invoke<Message<'_>>>(body, model)
            }
            (&Method::POST, "invoke") if place.model.contains("titan-embed") => {
                self.billed::<TitanVector<'_>>(body, model)
            }
            (&Method::POST, "invoke") => self.billed::<Invoke<Generation<'_>>>(body, model),
            (&Method::POST, "invoke-with-response-stream") if anthropic => {
                self.billed::<InvokeStream<Message<'_>>>(body, model)
            }
            (&Method::POST, "invoke-with-response-stream") => {
                self.billed::<InvokeStream<Generation<'_>>>(body, model)
            }
            _ => Err(unknown()),
        }
    }
}
