//! Requests and answers between dialects: recorded cases, every split, round trips.

mod golden;
mod headers;
mod properties;
mod refused;

use bytes::Bytes;
use cus_models::CusProviderType;
use http::StatusCode;
use tollgate_core::config::IntegrationConfig;

use super::step::Step;
use super::*;
use crate::eventstream::{self, Frames};
use crate::meter::AnswerShape;
use crate::registry;
use crate::sse::{Event, Found, Scanner};

/// The output maximum that is written where a request names none.
const OUTPUT_MAX: u64 = 4_096;

/// How a caller's dialect reaches a provider.
fn translation(caller: Dialect, provider: CusProviderType) -> Translation {
    let (face, operation) = match caller {
        Dialect::Anthropic => (Face::Anthropic, Operation::Messages),
        Dialect::OpenAi | Dialect::Bedrock => (Face::OpenAi, Operation::ChatCompletions),
    };
    let provider = registry::find(provider).unwrap();
    provider
        .translation(face, operation, &IntegrationConfig::default())
        .unwrap()
}

fn terms() -> Terms {
    Terms {
        call_id: "call-1".to_owned(),
        model: "asked-model".to_owned(),
        request_id: "req_1".to_owned(),
        created: 1_750_000_000,
        wants_usage: true,
    }
}

/// What a caller gets of a stream that comes in these pieces, and whether it could be said.
fn streamed(translation: Translation, terms: Terms, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let mut reply = translation.reply(terms);
    let mut got = Vec::new();
    let mut out = |piece: Bytes| got.extend_from_slice(&piece);
    for piece in pieces {
        reply.push(&Bytes::copy_from_slice(piece), &mut out);
    }
    reply.finish(&mut out);
    (got, reply.is_lost())
}

/// What an answer says: its text, and its calls with their ids, names and inputs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    text: String,
    calls: Vec<(String, String, String)>,
    keys: Vec<u64>,
    usage: Option<(u64, u64)>,
    ended: bool,
    failed: bool,
}

impl Said {
    fn take(&mut self, step: Step<'_>) {
        match step {
            Step::Text(text) => self.text.push_str(&text),
            Step::CallBegin { key, id, name } => {
                self.keys.push(key);
                self.calls
                    .push((id.into_owned(), name.into_owned(), String::new()));
            }
            Step::CallInput { key, text } => {
                let place = self.keys.iter().rposition(|known| *known == key).unwrap();
                self.calls[place].2.push_str(&text);
            }
            Step::Usage(counts) => {
                let (input, output) = self.usage.unwrap_or_default();
                let later = counts.input.map_or(input, |_| counts.all_input());
                self.usage = Some((later, counts.output.unwrap_or(output)));
            }
            Step::End => self.ended = true,
            Step::Error { .. } => self.failed = true,
            Step::Begin { .. } | Step::CallEnd { .. } | Step::Stop(_) => {}
        }
    }

    /// The same, where an input of nothing is an empty one and places are nobody's concern.
    fn plain(mut self) -> Self {
        for (_, _, input) in &mut self.calls {
            if input.is_empty() {
                "{}".clone_into(input);
            }
        }
        self.keys.clear();
        self
    }
}

/// Reads an answer in a dialect's words.
fn read(dialect: Dialect, shape: AnswerShape, bytes: &[u8]) -> Said {
    let mut said = Said::default();
    let mut sink = |step: Step<'_>| said.take(step);
    match (dialect, shape) {
        (Dialect::OpenAi, AnswerShape::Stream) => {
            let mut reader = openai::Reader::default();
            events(bytes, |event| reader.event(event, &mut sink).unwrap());
        }
        (Dialect::Anthropic, AnswerShape::Stream) => {
            let mut reader = anthropic::Reader::default();
            events(bytes, |event| reader.event(event, &mut sink).unwrap());
        }
        (Dialect::Bedrock, AnswerShape::Frames) => {
            let mut reader = converse::Reader::default();
            let mut see = |found: &eventstream::Found<'_>| {
                if let eventstream::Found::Frame(frame) = found {
                    reader.frame(frame, &mut sink).unwrap();
                }
            };
            Frames::default().push(&Bytes::copy_from_slice(bytes), &mut see, &mut |_| {});
        }
        (Dialect::OpenAi, _) => openai::Reader::default().whole(bytes, &mut sink).unwrap(),
        (Dialect::Anthropic, _) => anthropic::Reader::default()
            .whole(bytes, &mut sink)
            .unwrap(),
        (Dialect::Bedrock, _) => converse::Reader::default().whole(bytes, &mut sink).unwrap(),
    }
    said.plain()
}

fn events(bytes: &[u8], mut see: impl FnMut(&Event<'_>)) {
    let mut scanner = Scanner::default();
    scanner.push(bytes, |found, _| {
        if let Found::Event(event) = found {
            see(&Event::parse(event));
        }
    });
    see(&Event::parse(scanner.rest()));
}
