//! What holds for any conversation and any stream.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::translate::conversation::{Conversation, Fate, Part, Picture, Role};

/// What a conversation says, message by message, where those of one speaker are one.
fn told(conversation: &Conversation<'_>) -> Vec<String> {
    let system = conversation.system.iter();
    let mut told: Vec<String> = system.map(|it| format!("S {}", shown(it))).collect();
    for message in conversation.alternating() {
        let role = if message.role == Role::User { "U" } else { "A" };
        told.extend(
            message
                .parts
                .into_iter()
                .map(|part| format!("{role} {}", shown(part))),
        );
    }
    told
}

fn shown(part: &Part<'_>) -> String {
    match part {
        Part::Text(text) => format!("text {text}"),
        Part::Cached(cached) => format!("{cached:?}"),
        Part::Image(image) => match &image.picture {
            Picture::Data { media_type, data } => format!("image {media_type} {data}"),
            Picture::Url(url) => format!("image {url}"),
        },
        Part::Call(call) => format!("call {} {} {}", call.id, call.name, call.input.get()),
        Part::Outcome(outcome) => {
            let parts: Vec<String> = outcome.parts.iter().map(shown).collect();
            let failed = outcome.fate == Fate::Failed;
            format!("outcome {} {} {failed}", outcome.id, parts.join("|"))
        }
    }
}

fn text() -> impl Strategy<Value = String> {
    "[a-z \"\\\\\n\u{e9}\u{1f980}]{1,12}"
}

/// Messages of OpenAI's dialect.
fn openai_message() -> impl Strategy<Value = Value> {
    let image = prop_oneof![
        Just("https://images.example/a.png".to_owned()),
        "[A-Za-z0-9+/]{4,8}".prop_map(|data| format!("data:image/png;base64,{data}")),
    ];
    let part = prop_oneof![
        text().prop_map(|text| json!({ "type": "text", "text": text })),
        image.prop_map(|url| json!({ "type": "image_url", "image_url": { "url": url } })),
    ];
    let call = ("[a-z]{1,4}", "[a-z]{1,4}", text()).prop_map(|(id, name, value)| {
        let arguments = json!({ "b": value, "a": 1 }).to_string();
        json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } })
    });
    prop_oneof![
        text().prop_map(|text| json!({ "role": "user", "content": text })),
        prop::collection::vec(part, 1..4)
            .prop_map(|parts| json!({ "role": "user", "content": parts })),
        (prop::option::of(text()), prop::collection::vec(call, 1..3)).prop_map(
            |(content, calls)| json!({ "role": "assistant", "content": content, "tool_calls": calls })
        ),
        text().prop_map(|text| json!({ "role": "assistant", "content": text })),
        ("[a-z]{1,4}", text())
            .prop_map(|(id, text)| json!({ "role": "tool", "tool_call_id": id, "content": text })),
        text().prop_map(|text| json!({ "role": "system", "content": text })),
    ]
}

/// Messages of Anthropic's dialect.
fn anthropic_message() -> impl Strategy<Value = Value> {
    let block = prop_oneof![
        text().prop_map(|text| json!({ "type": "text", "text": text })),
        Just(json!({ "type": "image", "source": { "type": "url", "url": "https://x/y.png" } })),
    ];
    let result = ("[a-z]{1,4}", text()).prop_map(
        |(id, text)| json!({ "type": "tool_result", "tool_use_id": id, "content": text }),
    );
    let call = ("[a-z]{1,4}", "[a-z]{1,4}", text()).prop_map(
        |(id, name, value)| json!({ "type": "tool_use", "id": id, "name": name, "input": { "b": value } }),
    );
    prop_oneof![
        text().prop_map(|text| json!({ "role": "user", "content": text })),
        (
            prop::collection::vec(result, 0..3),
            prop::collection::vec(block, 1..3)
        )
            .prop_map(|(results, blocks)| {
                let content = [results, blocks].concat();
                json!({ "role": "user", "content": content })
            }),
        (prop::option::of(text()), prop::collection::vec(call, 0..3)).prop_map(|(text, calls)| {
            let text = text.map(|text| json!({ "type": "text", "text": text }));
            let blocks: Vec<Value> = text.into_iter().chain(calls).collect();
            json!({ "role": "assistant", "content": blocks })
        }),
    ]
}

/// An answer as its parts: texts, or calls with the pieces of their input.
#[derive(Debug, Clone)]
enum Piece {
    Text(Vec<String>),
    Call(String, Vec<String>),
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let piece = prop_oneof![
        prop::collection::vec(text(), 1..4).prop_map(Piece::Text),
        ("[a-z]{1,6}", text(), 0_usize..6).prop_map(|(name, value, cut)| {
            let input = json!({ "a": value }).to_string();
            let middle = input.char_indices().nth(cut).map_or(0, |(at, _)| at);
            let (before, after) = input.split_at(middle);
            Piece::Call(name, vec![before.to_owned(), after.to_owned()])
        }),
    ];
    prop::collection::vec(piece, 0..5)
}

/// A stream of a provider's that says these pieces.
fn stream_of(provider: Dialect, pieces: &[Piece]) -> Vec<u8> {
    match provider {
        Dialect::OpenAi => openai_stream(pieces),
        Dialect::Anthropic => anthropic_stream(pieces),
        Dialect::Bedrock => converse_stream(pieces),
    }
}

fn openai_stream(pieces: &[Piece]) -> Vec<u8> {
    let mut deltas = vec![json!({ "role": "assistant", "content": "" })];
    let mut calls = 0;
    for piece in pieces {
        match piece {
            Piece::Text(texts) => {
                deltas.extend(texts.iter().map(|text| json!({ "content": text })));
            }
            Piece::Call(name, inputs) => {
                let id = format!("call_{calls}");
                let begun = json!({ "index": calls, "id": id, "type": "function", "function": { "name": name, "arguments": "" } });
                deltas.push(json!({ "tool_calls": [begun] }));
                let more = inputs.iter().map(|text| {
                    json!({ "tool_calls": [{ "index": calls, "function": { "arguments": text } }] })
                });
                deltas.extend(more);
                calls += 1;
            }
        }
    }
    let chunk = |delta: &Value, finish: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        format!(
            "data: {}\n\n",
            json!({ "id": "c", "model": "m", "choices": [choice] })
        )
    };
    let mut text: String = deltas
        .iter()
        .map(|delta| chunk(delta, Value::Null))
        .collect();
    text.push_str(&chunk(&json!({}), json!("stop")));
    text.push_str(
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}\n\n",
    );
    text.push_str("data: [DONE]\n\n");
    text.into_bytes()
}

fn anthropic_stream(pieces: &[Piece]) -> Vec<u8> {
    let mut events = vec![
        json!({ "type": "message_start", "message": { "id": "c", "model": "m", "usage": { "input_tokens": 3, "output_tokens": 1 } } }),
    ];
    for (index, piece) in pieces.iter().enumerate() {
        let (block, deltas): (Value, Vec<Value>) = match piece {
            Piece::Text(texts) => (
                json!({ "type": "text", "text": "" }),
                texts
                    .iter()
                    .map(|text| json!({ "type": "text_delta", "text": text }))
                    .collect(),
            ),
            Piece::Call(name, inputs) => (
                json!({ "type": "tool_use", "id": format!("call_{index}"), "name": name, "input": {} }),
                inputs
                    .iter()
                    .map(|text| json!({ "type": "input_json_delta", "partial_json": text }))
                    .collect(),
            ),
        };
        events
            .push(json!({ "type": "content_block_start", "index": index, "content_block": block }));
        let deltas = deltas.into_iter();
        events.extend(
            deltas.map(
                |delta| json!({ "type": "content_block_delta", "index": index, "delta": delta }),
            ),
        );
        events.push(json!({ "type": "content_block_stop", "index": index }));
    }
    events.push(json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 5 } }));
    events.push(json!({ "type": "message_stop" }));
    let texts = events.iter().map(|event| {
        format!(
            "event: {}\ndata: {event}\n\n",
            event["type"].as_str().unwrap()
        )
    });
    texts.collect::<String>().into_bytes()
}

fn converse_stream(pieces: &[Piece]) -> Vec<u8> {
    let mut events = vec![("messageStart", json!({ "role": "assistant" }))];
    for (index, piece) in pieces.iter().enumerate() {
        let deltas: Vec<Value> = match piece {
            Piece::Text(texts) => texts.iter().map(|text| json!({ "text": text })).collect(),
            Piece::Call(name, inputs) => {
                let start =
                    json!({ "toolUse": { "toolUseId": format!("call_{index}"), "name": name } });
                events.push((
                    "contentBlockStart",
                    json!({ "contentBlockIndex": index, "start": start }),
                ));
                inputs
                    .iter()
                    .map(|text| json!({ "toolUse": { "input": text } }))
                    .collect()
            }
        };
        let deltas = deltas.into_iter();
        events.extend(deltas.map(|delta| {
            (
                "contentBlockDelta",
                json!({ "contentBlockIndex": index, "delta": delta }),
            )
        }));
        events.push(("contentBlockStop", json!({ "contentBlockIndex": index })));
    }
    events.push(("messageStop", json!({ "stopReason": "end_turn" })));
    events.push((
        "metadata",
        json!({ "usage": { "inputTokens": 3, "outputTokens": 5 } }),
    ));
    let frames = events.iter().map(|(name, payload)| {
        let headers = [(":event-type", *name), (":message-type", "event")];
        eventstream::frame(&headers, payload.to_string().as_bytes())
    });
    frames.collect::<Vec<_>>().concat()
}

const WAYS: [(Dialect, CusProviderType, Dialect); 4] = [
    (
        Dialect::OpenAi,
        CusProviderType::Anthropic,
        Dialect::Anthropic,
    ),
    (Dialect::OpenAi, CusProviderType::Bedrock, Dialect::Bedrock),
    (Dialect::Anthropic, CusProviderType::OpenAi, Dialect::OpenAi),
    (
        Dialect::Anthropic,
        CusProviderType::Bedrock,
        Dialect::Bedrock,
    ),
];

proptest! {
    #[test]
    fn any_conversation_keeps_all_its_messages_on_the_way_to_anthropic(
        messages in prop::collection::vec(openai_message(), 1..8),
    ) {
        let body = json!({ "model": "m", "messages": messages }).to_string();
        let before = openai::read(&body).unwrap();
        prop_assume!(!before.turns.is_empty());
        let sent = anthropic::write(&before, OUTPUT_MAX).unwrap();
        let sent = String::from_utf8(sent).unwrap();
        prop_assert_eq!(told(&anthropic::read(&sent).unwrap()), told(&before));
    }

    #[test]
    fn any_conversation_keeps_all_its_messages_on_the_way_to_openai(
        messages in prop::collection::vec(anthropic_message(), 1..8),
        system in prop::collection::vec(text(), 0..3),
    ) {
        let system: Vec<Value> = system.iter().map(|text| json!({ "type": "text", "text": text })).collect();
        let mut messages = messages;
        messages.push(json!({ "role": "user", "content": "and?" }));
        let body = json!({ "model": "m", "max_tokens": 9, "system": system, "messages": messages }).to_string();
        let before = anthropic::read(&body).unwrap();
        let sent = openai::write(&before, CapMember::MaxTokens).unwrap();
        let sent = String::from_utf8(sent).unwrap();
        prop_assert_eq!(told(&openai::read(&sent).unwrap()), told(&before));
    }

    #[test]
    fn any_stream_says_the_same_in_other_words_and_in_the_same_bytes_at_any_cut(
        pieces in pieces(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        for (caller, provider, dialect) in WAYS {
            let bytes = stream_of(dialect, &pieces);
            let whole = streamed(translation(caller, provider), terms(), &[&bytes]);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(&streamed(translation(caller, provider), terms(), &parts), &whole);
            let shape = if dialect == Dialect::Bedrock { AnswerShape::Frames } else { AnswerShape::Stream };
            let ours = read(caller, AnswerShape::Stream, &whole.0);
            prop_assert!(!whole.1 && ours.ended && ours.usage == Some((3, 5)));
            prop_assert_eq!(ours, read(dialect, shape, &bytes));
        }
    }

    #[test]
    fn any_bytes_can_be_taken_for_a_request_or_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (caller, provider, _) in WAYS {
            let way = translation(caller, provider);
            let _refused = way.request(&bytes, OUTPUT_MAX);
            let _untold = way.reply(terms()).whole(StatusCode::OK, &bytes);
            let _error = way.reply(terms()).whole(StatusCode::BAD_REQUEST, &bytes);
            let _lost = streamed(way, terms(), &[&bytes]);
        }
    }

    #[test]
    fn any_json_in_a_known_place_is_taken_or_refused(
        name in prop::sample::select(vec!["messages", "system", "tools", "tool_choice", "stop", "response_format", "output_config", "stream_options"]),
        value in "[\\[\\]{}\":,a-z0-9]{0,20}",
    ) {
        for (caller, provider, _) in WAYS {
            let body = format!(r#"{{"model":"m","max_tokens":1,"{name}":{value}}}"#);
            let _refused = translation(caller, provider).request(body.as_bytes(), OUTPUT_MAX);
        }
    }
}
