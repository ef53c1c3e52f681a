//! The simulated provider over real sockets: wire formats, and what they are billed as.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

#[path = "simulate/faults.rs"]
mod faults;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tollgate::simulate::{self, Config, Faults, Simulator};

/// A simulated provider with a client that presents keys to it.
struct Provider {
    simulator: Simulator,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// An answer, as far as it came.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    broken: bool,
}

impl Reply {
    fn json(&self) -> Value {
        assert!(!self.broken);
        serde_json::from_slice(&self.body).unwrap()
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    /// The documents of the `data:` lines, without the final `[DONE]`.
    fn events(&self) -> Vec<Value> {
        let data = self
            .text()
            .lines()
            .filter_map(|line| line.strip_prefix("data: "));
        data.filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

impl Provider {
    async fn start(config: Config) -> Self {
        let simulator = simulate::start(config).await.unwrap();
        Self {
            simulator,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    async fn with(faults: Faults) -> Self {
        Self::start(Config {
            faults,
            ..Config::default()
        })
        .await
    }

    fn request(&self, method: Method, path: &str, body: &str) -> Request<Full<Bytes>> {
        let face = if path.starts_with("/v1/messages") {
            [
                ("x-api-key", "sk-ant-1"),
                ("anthropic-version", "2023-06-01"),
            ]
        } else {
            [("authorization", "Bearer sk-1"), ("accept", "*/*")]
        };
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.simulator.url()))
            .header(face[0].0, face[0].1)
            .header(face[1].0, face[1].1)
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .unwrap()
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        let (head, mut incoming) = self.client.request(request).await.unwrap().into_parts();
        let mut reply = Reply {
            status: head.status,
            headers: head.headers,
            body: Vec::new(),
            broken: false,
        };
        while let Some(frame) = incoming.frame().await {
            let Ok(frame) = frame else {
                reply.broken = true;
                break;
            };
            reply.body.extend(frame.into_data().unwrap());
        }
        reply
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(self.request(Method::POST, path, &body.to_string()))
            .await
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path, "")).await
    }

    /// `(tokens in, tokens out)` of each billed request.
    fn billed(&self) -> Vec<(u64, u64)> {
        self.simulator
            .journal()
            .iter()
            .map(|line| (line.tokens_in, line.tokens_out))
            .collect()
    }
}

fn chat(extra: &Value) -> Value {
    let mut body = json!({"model": "gpt-4o-mini", "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "one two three"}]}]});
    body.as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    body
}

fn message(extra: &Value) -> Value {
    let mut body = json!({"model": "claude-haiku-4-5", "system": "be brief", "messages": [
        {"role": "user", "content": "one two three"}]});
    body.as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    body
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

#[tokio::test]
async fn a_chat_completion_has_exactly_the_tokens_it_was_asked_for() {
    let provider = Provider::with(Faults {
        cached_tokens: 2,
        ..Faults::default()
    })
    .await;
    let reply = provider
        .post(
            "/v1/chat/completions",
            chat(&json!({"max_tokens": 7, "n": 2})),
        )
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("openai-processing-ms"), "0");
    let answer = reply.json();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["choices"].as_array().unwrap().len(), 2);
    for choice in answer["choices"].as_array().unwrap() {
        assert_eq!(words(choice["message"]["content"].as_str().unwrap()), 7);
        assert_eq!(choice["finish_reason"], "length");
    }
    let usage = &answer["usage"];
    assert_eq!(
        (&usage["prompt_tokens"], &usage["completion_tokens"]),
        (&json!(5), &json!(14))
    );
    assert_eq!(usage["total_tokens"], 19);
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 2);
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 0);
    let usual = provider
        .post("/v1/chat/completions", chat(&json!({})))
        .await
        .json();
    assert_eq!(
        usual["usage"]["completion_tokens"],
        simulate::DEFAULT_OUTPUT_TOKENS
    );
    assert_eq!(usual["choices"][0]["finish_reason"], "stop");
    let newer = json!({"max_completion_tokens": 3, "max_tokens": 9});
    provider.post("/v1/chat/completions", chat(&newer)).await;
    assert_eq!(provider.billed(), [(5, 14), (5, 16), (5, 3)]);
}

#[tokio::test]
async fn usage_is_in_a_stream_only_when_asked_for() {
    let provider = Provider::with(Faults::default()).await;
    let body = json!({"stream": true, "max_tokens": 100});
    let plain = provider.post("/v1/chat/completions", chat(&body)).await;
    assert_eq!(
        plain.header("content-type"),
        "text/event-stream; charset=utf-8"
    );
    assert!(!plain.text().contains("usage"));
    assert!(plain.text().ends_with("\n\ndata: [DONE]\n\n"));
    // Role, 64 pieces of text, finish.
    assert_eq!(plain.events().len(), 66);

    let body = json!({"stream": true, "max_tokens": 3, "stream_options": {"include_usage": true}});
    let events = provider
        .post("/v1/chat/completions", chat(&body))
        .await
        .events();
    let (last, others) = events.split_last().unwrap();
    assert_eq!(others.len(), 5);
    for event in others {
        assert_eq!(event.get("usage"), Some(&Value::Null));
        assert_eq!(event["object"], "chat.completion.chunk");
    }
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 3);
    let text: String = others
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(words(&text), 3);
    assert_eq!(provider.billed(), [(5, 100), (5, 3)]);

    let refused = provider
        .post(
            "/v1/chat/completions",
            chat(&json!({"stream_options": {"include_usage": true}})),
        )
        .await;
    assert_eq!(refused.status, 400);
}

#[tokio::test]
async fn a_required_tool_is_called_whole_and_streamed() {
    let provider = Provider::with(Faults::default()).await;
    let tools = json!({"max_tokens": 4, "tool_choice": "required",
        "tools": [{"type": "function", "function": {"name": "look_up", "parameters": {"a": "b c"}}}]});
    let answer = provider
        .post("/v1/chat/completions", chat(&tools))
        .await
        .json();
    let call = &answer["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(call["function"]["name"], "look_up");
    let arguments = call["function"]["arguments"].as_str().unwrap();
    let arguments: Value = serde_json::from_str(arguments).unwrap();
    assert_eq!(words(arguments["text"].as_str().unwrap()), 4);

    let mut streamed = tools;
    streamed["stream"] = json!(true);
    let events = provider
        .post("/v1/chat/completions", chat(&streamed))
        .await
        .events();
    let pieces: String = events
        .iter()
        .filter_map(|event| {
            event["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str()
        })
        .collect();
    assert_eq!(serde_json::from_str::<Value>(&pieces).unwrap(), arguments);

    let tools =
        json!({"max_tokens": 4, "tools": [{"name": "look_up"}], "tool_choice": {"type": "any"}});
    let answer = provider.post("/v1/messages", message(&tools)).await.json();
    assert_eq!(answer["stop_reason"], "tool_use");
    assert_eq!(answer["content"][0]["name"], "look_up");
    assert_eq!(answer["content"][0]["input"], arguments);
    let mut streamed = tools;
    streamed["stream"] = json!(true);
    let events = provider
        .post("/v1/messages", message(&streamed))
        .await
        .events();
    let pieces: String = events
        .iter()
        .filter_map(|event| event["delta"]["partial_json"].as_str())
        .collect();
    assert_eq!(serde_json::from_str::<Value>(&pieces).unwrap(), arguments);
    // What tools are described with is not counted.
    assert_eq!(provider.billed(), [(5, 4); 4]);
}

#[tokio::test]
async fn text_completions_answer_each_prompt() {
    let provider = Provider::with(Faults::default()).await;
    let body = json!({"model": "gpt-3.5-turbo-instruct", "prompt": ["a b", "c"], "max_tokens": 2});
    let answer = provider.post("/v1/completions", body.clone()).await.json();
    assert_eq!(answer["choices"].as_array().unwrap().len(), 2);
    assert_eq!(answer["usage"]["prompt_tokens"], 3);
    assert_eq!(answer["usage"]["completion_tokens"], 4);
    let mut streamed = body;
    streamed["stream"] = json!(true);
    streamed["stream_options"] = json!({"include_usage": true});
    let events = provider.post("/v1/completions", streamed).await.events();
    let text: String = events
        .iter()
        .filter(|event| event["choices"][0]["index"] == 1)
        .map(|event| event["choices"][0]["text"].as_str().unwrap())
        .collect();
    assert_eq!(words(&text), 2);
    assert_eq!(events.last().unwrap()["usage"]["total_tokens"], 7);
    assert_eq!(provider.billed(), [(3, 4), (3, 4)]);
}

#[tokio::test]
async fn an_embedding_is_the_same_in_both_encodings() {
    let provider = Provider::with(Faults::default()).await;
    let body = json!({"model": "text-embedding-3-small", "input": ["a b c", "d"], "dimensions": 3});
    let float = provider.post("/v1/embeddings", body.clone()).await.json();
    assert_eq!(
        float["usage"],
        json!({"prompt_tokens": 4, "total_tokens": 4})
    );
    let vector: Vec<f32> = serde_json::from_value(float["data"][0]["embedding"].clone()).unwrap();
    assert_eq!(vector.len(), 3);
    assert_ne!(float["data"][0]["embedding"], float["data"][1]["embedding"]);
    let mut encoded = body;
    encoded["encoding_format"] = json!("base64");
    let base64 = provider.post("/v1/embeddings", encoded).await.json();
    let text = base64["data"][0]["embedding"].as_str().unwrap();
    assert_eq!(text.len(), 16);
    assert_eq!(decoded(text), vector);
    let usual = json!({"model": "text-embedding-3-large", "input": "a"});
    let usual = provider.post("/v1/embeddings", usual).await.json();
    assert_eq!(
        usual["data"][0]["embedding"].as_array().unwrap().len(),
        3_072
    );
    assert_eq!(provider.billed(), [(4, 0), (4, 0), (1, 0)]);
}

fn decoded(base64: &str) -> Vec<f32> {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<usize> = base64
        .chars()
        .map(|character| alphabet.find(character).unwrap())
        .flat_map(|sextet| (0..6).rev().map(move |bit| sextet >> bit & 1))
        .collect();
    let bytes: Vec<u8> = bits
        .chunks_exact(8)
        .map(|byte| {
            byte.iter()
                .fold(0, |byte, bit| byte * 2 + u8::try_from(*bit).unwrap())
        })
        .collect();
    bytes
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
        .collect()
}

#[tokio::test]
async fn a_message_counts_cached_tokens_apart_from_its_input() {
    let provider = Provider::with(Faults {
        cached_tokens: 2,
        ..Faults::default()
    })
    .await;
    let reply = provider
        .post("/v1/messages", message(&json!({"max_tokens": 6})))
        .await;
    assert!(reply.header("request-id").starts_with("req_"));
    let answer = reply.json();
    assert_eq!(words(answer["content"][0]["text"].as_str().unwrap()), 6);
    let usage = &answer["usage"];
    assert_eq!(
        (&usage["input_tokens"], &usage["output_tokens"]),
        (&json!(3), &json!(6))
    );
    assert_eq!(usage["cache_read_input_tokens"], 2);
    assert_eq!(usage["cache_creation_input_tokens"], 0);

    let streamed = json!({"max_tokens": 6, "stream": true});
    let reply = provider.post("/v1/messages", message(&streamed)).await;
    let events = reply.events();
    let names: Vec<&str> = reply
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("event: "))
        .collect();
    let mut expected = vec!["message_start", "content_block_start", "ping"];
    expected.extend(["content_block_delta"; 6]);
    expected.extend(["content_block_stop", "message_delta", "message_stop"]);
    assert_eq!(names, expected);
    assert!(
        names
            .iter()
            .zip(&events)
            .all(|(name, event)| event["type"] == *name)
    );
    assert_eq!(events[0]["message"]["usage"]["input_tokens"], 3);
    assert_eq!(events[10]["usage"]["output_tokens"], 6);
    assert_eq!(provider.billed(), [(5, 6), (5, 6)]);

    let count = provider
        .post("/v1/messages/count_tokens", message(&json!({})))
        .await
        .json();
    assert_eq!(count, json!({"input_tokens": 5}));
    assert_eq!(provider.simulator.billed(), 2);
}

#[tokio::test]
async fn keys_are_wanted_where_each_vendor_wants_them() {
    const CHAT: &str = "/v1/chat/completions";
    const MESSAGES: &str = "/v1/messages";
    const BEARER: &str = "authorization";
    const API_KEY: &str = "x-api-key";
    let config = Config {
        require_key: Some("sk-right".to_owned()),
        ..Config::default()
    };
    let strict = Provider::start(config).await;
    let open = Provider::with(Faults::default()).await;
    for (provider, path, header, key, status) in [
        (&open, CHAT, BEARER, "Bearer sk-any", 200),
        (&open, CHAT, BEARER, "Bearer bad-key-1", 401),
        (&open, CHAT, BEARER, "Bearer ", 401),
        (&open, CHAT, API_KEY, "sk-any", 401),
        (&strict, CHAT, BEARER, "Bearer sk-any", 401),
        (&strict, CHAT, BEARER, "Bearer sk-right", 200),
        (&open, MESSAGES, API_KEY, "sk-any", 200),
        (&open, MESSAGES, BEARER, "Bearer sk-any", 200),
        (&open, MESSAGES, API_KEY, "bad-key", 401),
        (&open, MESSAGES, "accept", "sk-any", 401),
        (&strict, MESSAGES, BEARER, "Bearer sk-wrong", 401),
        (&strict, MESSAGES, API_KEY, "sk-wrong", 401),
    ] {
        let request = Request::post(format!("{}{path}", provider.simulator.url()))
            .header("anthropic-version", "2023-06-01")
            .header(header, key)
            .body(Full::new(chat(&json!({})).to_string().into()))
            .unwrap();
        let reply = provider.send(request).await;
        assert_eq!(reply.status, status, "{path} {header} {key}");
        if status == 401 {
            let error = &reply.json()["error"];
            match path {
                MESSAGES => assert_eq!(error["type"], "authentication_error"),
                _ => assert_eq!(error["code"], "invalid_api_key"),
            }
            assert!(!reply.text().contains("sk-"), "{}", reply.text());
        }
    }
    assert_eq!((open.simulator.billed(), strict.simulator.billed()), (3, 1));
}

#[tokio::test]
async fn models_are_listed_in_the_callers_dialect() {
    let provider = Provider::with(Faults::default()).await;
    let list = provider.get("/v1/models").await.json();
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"][0]["object"], "model");
    assert_eq!(
        provider.get("/v1/models/gpt-4o").await.json()["id"],
        "gpt-4o"
    );
    assert_eq!(provider.get("/v1/models/unheard-of").await.status, 404);
    let mut request = provider.request(Method::GET, "/v1/models", "");
    request
        .headers_mut()
        .insert("anthropic-version", "2023-06-01".parse().unwrap());
    request
        .headers_mut()
        .insert("x-api-key", "sk-ant".parse().unwrap());
    let list = provider.send(request).await.json();
    assert_eq!(list["has_more"], false);
    assert_eq!(list["data"][0]["type"], "model");
    assert_eq!(list["data"][0]["id"], list["first_id"]);
    assert_eq!(provider.simulator.billed(), 0);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_costs_nothing() {
    let provider = Provider::with(Faults::default()).await;
    for (path, body) in [
        ("/v1/chat/completions", "{"),
        ("/v1/chat/completions", r#"{"messages":[]}"#),
        (
            "/v1/chat/completions",
            r#"{"model":"m","messages":[],"n":0}"#,
        ),
        (
            "/v1/chat/completions",
            r#"{"model":"m","messages":[],"max_tokens":1000001}"#,
        ),
        (
            "/v1/chat/completions",
            r#"{"model":"m","messages":[],"max_tokens":18446744073709551615,"n":2}"#,
        ),
        ("/v1/completions", r#"{"model":"m","prompt":[]}"#),
        (
            "/v1/embeddings",
            r#"{"model":"m","input":"a","dimensions":0}"#,
        ),
        ("/v1/messages", r#"{"model":"m"}"#),
    ] {
        let reply = provider
            .send(provider.request(Method::POST, path, body))
            .await;
        assert_eq!(reply.status, 400, "{path} {body}");
        assert_eq!(
            reply.json()["error"]["type"],
            "invalid_request_error",
            "{path} {body}"
        );
    }
    assert_eq!(provider.get("/v1/chat/completions").await.status, 404);
    assert_eq!(provider.simulator.billed(), 0);
}
