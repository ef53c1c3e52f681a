//! Chats between dialects: what is said in other words is JSON and can be read again, and an answer is the same in any
//! pieces.

use bytes::Bytes;
use cus_models::CusProviderType;
use http::StatusCode;
use serde_json::{Map, Value};
use tollgate_providers::{Dialect, Face, Operation, RequestFacts, Terms, Translation, registry};

use crate::framing;

/// The pairs of dialects that are translated between.
const WAYS: [(Face, Operation, CusProviderType); 4] = [
    (
        Face::OpenAi,
        Operation::ChatCompletions,
        CusProviderType::Anthropic,
    ),
    (
        Face::OpenAi,
        Operation::ChatCompletions,
        CusProviderType::Bedrock,
    ),
    (
        Face::Anthropic,
        Operation::Messages,
        CusProviderType::OpenAi,
    ),
    (
        Face::Anthropic,
        Operation::Messages,
        CusProviderType::Bedrock,
    ),
];

/// The first byte chooses the dialects and what the rest is: a request, a whole answer, or, after a byte for the length
/// of pieces, a stream.
pub(crate) fn check(input: &[u8]) {
    let [choice, rest @ ..] = input else {
        return;
    };
    let (face, operation, provider) = WAYS[usize::from(choice & 3)];
    let description = registry::find(provider).expect("it is served").describe();
    let way = Translation::between(face, operation, description).expect("it is translated");
    match (choice >> 2 & 3, rest) {
        (0, body) => request(way, operation, body),
        (1, body) => whole(way, body),
        (_, [length, parts @ ..]) => {
            let answer = match description.dialect {
                Dialect::Bedrock => framing::stream(parts),
                Dialect::OpenAi | Dialect::Anthropic => parts.to_vec(),
            };
            stream(way, usize::from(*length).max(1), &answer);
        }
        _ => {}
    }
}

fn request(way: Translation, operation: Operation, body: &[u8]) {
    // The gateway reads a request before it translates it.
    let Ok(asked) = RequestFacts::read(operation, body) else {
        return;
    };
    let Ok(said) = way.request(body, 100) else {
        return;
    };
    assert_eq!(
        way.request(body, 100).as_ref(),
        Ok(&said),
        "not the same again"
    );
    let object = serde_json::from_slice::<Map<String, Value>>(&said.body);
    assert!(object.is_ok(), "said, and no JSON: {object:?}");
    if let Ok(facts) = RequestFacts::read(said.operation, &said.body) {
        assert_eq!(facts.streams(), asked.streams(), "another stream");
    }
}

fn terms() -> Terms {
    Terms {
        call_id: "call-1".to_owned(),
        model: "a-model".to_owned(),
        request_id: "req_1".to_owned(),
        created: 1_763_800_000,
        wants_usage: true,
    }
}

fn whole(way: Translation, body: &[u8]) {
    for status in [StatusCode::OK, StatusCode::BAD_REQUEST] {
        if let Ok(said) = way.reply(terms()).whole(status, body) {
            let object = serde_json::from_slice::<Map<String, Value>>(&said);
            assert!(object.is_ok(), "said, and no JSON: {object:?}");
        }
    }
}

fn stream(way: Translation, some: usize, answer: &[u8]) {
    let said = |pieces: usize| {
        let mut reply = way.reply(terms());
        let mut said = Vec::new();
        let mut out = |piece: Bytes| said.extend_from_slice(&piece);
        for piece in answer.chunks(pieces) {
            reply.push(&Bytes::copy_from_slice(piece), &mut out);
        }
        reply.finish(&mut out);
        said
    };
    let all = said(answer.len().max(1));
    for pieces in [some, 1] {
        assert_eq!(said(pieces), all, "another answer");
    }
    let text = String::from_utf8(all).expect("it is text");
    for line in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
        let data = serde_json::from_str::<Value>(line);
        assert!(
            data.is_ok() || line == "[DONE]",
            "said, and no JSON: {line}"
        );
    }
}
