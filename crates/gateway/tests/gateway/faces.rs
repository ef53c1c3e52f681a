//! Bytes in, bytes out, by every family of paths: the request reaches the provider and the answer the caller as they
//! were sent, wherever the answer is cut into pieces, but for the usage that nobody asked for.

use cus_models::CusProviderType;
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use tollgate_app::testing::MODEL;
use tollgate_core::usage::UsageSource;
use tollgate_gateway::GatewayConfig;

use crate::provider::Step;
use crate::stage::{Limited, Stage, figures};

const EVENTS: &str = "text/event-stream; charset=utf-8";

/// A stream in the spellings that its standard allows: a byte order mark, comments, fields that nobody knows, line ends
/// of three kinds, characters of several bytes.
const OPENAI: [&str; 3] = [
    "\u{feff}: hello\r\n\r\nretry: 5\ndata: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"h\u{e9}\u{20ac}\u{1f980}\"}}]}\r\rdata:{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\r\n: \u{20ac}\r\n\r\n",
    "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":11}}\r\n\r\n",
    "data: [DONE]\n\n",
];

const ANTHROPIC: &str = "event: message_start\rdata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\r\r: ping\n\nevent: content_block_delta\r\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"h\u{e9}\u{20ac}\u{1f980}\"}}\r\n\r\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

/// Binary frames of a conversation, with their checksums.
const FRAMES: &[u8] = include_bytes!("converse.frames");

/// A way to a provider, a request on it, and the answer in two versions: as it comes, and as it goes on.
struct Way {
    provider_type: CusProviderType,
    more: Value,
    path: &'static str,
    body: String,
    kind: &'static str,
    comes: Vec<u8>,
    goes_on: Vec<u8>,
}

/// A request that nothing is to be changed in; odd spacing and unknown members are the caller's own.
fn request(more: &str) -> String {
    format!(
        "{{ \"x\" : [1.50, \"\\u20ac\"],\n \"model\":\"{MODEL}\",\"max_tokens\":100,\"stream\":true,{more}\n\t\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}] }}"
    )
}

fn ways() -> Vec<Way> {
    let asked = request("\"stream_options\":{\"include_usage\":true},");
    let openai = |provider_type, more, path| Way {
        provider_type,
        more,
        path,
        body: asked.clone(),
        kind: EVENTS,
        comes: OPENAI.concat().into_bytes(),
        goes_on: OPENAI.concat().into_bytes(),
    };
    let [before, _usage, after] = OPENAI;
    let deployed = "/openai/deployments/test-model/chat/completions?api-version=2024-10-21";
    vec![
        openai(CusProviderType::OpenAi, json!({}), "/v1/chat/completions"),
        Way {
            body: request(""),
            goes_on: [before, after].concat().into_bytes(),
            ..openai(CusProviderType::OpenAi, json!({}), "/v1/chat/completions")
        },
        openai(CusProviderType::Custom, json!({}), "/v1/chat/completions"),
        openai(CusProviderType::AzureOpenAi, json!({}), deployed),
        openai(CusProviderType::AzureOpenAi, json!({}), "/openai/v1/chat/completions"),
        Way {
            provider_type: CusProviderType::Anthropic,
            more: json!({}),
            path: "/v1/messages",
            body: request(""),
            kind: EVENTS,
            comes: ANTHROPIC.as_bytes().to_vec(),
            goes_on: ANTHROPIC.as_bytes().to_vec(),
        },
        Way {
            provider_type: CusProviderType::Bedrock,
            more: json!({"region": "us-east-1"}),
            path: "/model/test-model/converse-stream",
            body: "{ \"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"hi\"}]}],\n\"inferenceConfig\":{\"maxTokens\":100} }".to_owned(),
            kind: "application/vnd.amazon.eventstream",
            comes: FRAMES.to_vec(),
            goes_on: FRAMES.to_vec(),
        },
    ]
}

/// The answer in pieces, each a chunk of its own.
fn answer(kind: &str, pieces: &[&[u8]]) -> Vec<Step> {
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut bytes = head.into_bytes();
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        bytes.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    vec![Step::Send(bytes)]
}

#[tokio::test]
async fn a_stream_by_every_family_of_paths_passes_byte_for_byte_wherever_it_is_cut() {
    for way in ways() {
        let (limits, config) = (Limited::default(), GatewayConfig::default());
        let stage = Stage::with(way.provider_type, limits, way.more, config).await;
        let cuts = (1..way.comes.len()).map(|at| {
            let (before, after) = way.comes.split_at(at);
            vec![before, after]
        });
        let single = way.comes.chunks(1).collect();
        for pieces in cuts.chain([single]) {
            stage.provider.script(answer(way.kind, &pieces));
            let mut request = stage.request(Method::POST, way.path, &way.body);
            let version = HeaderValue::from_static("2023-06-01");
            request.headers_mut().insert("anthropic-version", version);
            let said = stage.send(request).await;
            let at = (way.path, pieces[0].len());
            assert_eq!(
                (said.status, said.body.as_ref()),
                (StatusCode::OK, &*way.goes_on),
                "{at:?}"
            );
            assert_eq!(said.header("content-type"), Some(way.kind));
        }
        let seen = stage.provider.seen();
        let is_edited = way.comes != way.goes_on;
        assert!(
            seen.iter()
                .all(|seen| (seen.body == way.body.as_bytes()) != is_edited)
        );
        // The same was read of it each time; the newest rows are a sample.
        let rows = stage.rows().await;
        assert!(!rows.is_empty());
        for row in rows {
            let (tokens_in, tokens_out, _) = figures(&row);
            assert_eq!(
                (tokens_in, tokens_out, row.source),
                (9, 2, UsageSource::Provider)
            );
        }
        stage.strike().await;
    }
}
