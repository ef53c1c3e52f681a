//! Callers who send what no application would: each is told so in its dialect and cut in time,
//! nothing of it reaches a provider, and everybody else is served meanwhile.

use std::time::Duration;

use cus_models::CusProviderType;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
use tokio::task::JoinSet;
use tollgate_gateway::GatewayConfig;

use crate::provider::{completion, completion_text};
use crate::stage::{Limited, Said, Stage, hello};

const CHAT: &str = "/v1/chat/completions";

async fn stage_with(config: GatewayConfig) -> Stage {
    let provider_type = CusProviderType::OpenAi;
    Stage::with(provider_type, Limited::default(), json!({}), config).await
}

fn code(said: &Said) -> String {
    let code = &said.json()["error"]["code"];
    code.as_str().unwrap_or_default().to_owned()
}

/// Sends bytes as they are, piece after piece, until the gateway has heard enough; gives its answer.
async fn raw(stage: &Stage, pieces: impl IntoIterator<Item = Vec<u8>>) -> String {
    let stream = TcpStream::connect(stage.address()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let sending = async move {
        for piece in pieces {
            if writing.write_all(&piece).await.is_err() {
                break;
            }
        }
        // Open until the gateway ends it.
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    tokio::select! {
        () = sending => {}
        // A connection that is reset has told what it had to tell.
        read = reading.read_to_end(&mut answer) => drop(read),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn head(stage: &Stage, more: &str) -> String {
    format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n{more}\r\n",
        stage.key
    )
}

/// The body of an error, and its code.
fn told(answer: &str) -> String {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let error: Value = serde_json::from_str(body).unwrap_or_default();
    error["error"]["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn a_body_that_is_said_to_be_two_gigabytes_is_refused_before_it_comes() {
    let stage = Stage::set().await;
    for length in ["2147483648", "33554433", "9223372036854775807"] {
        let head = head(&stage, &format!("content-length: {length}\r\n"));
        let answer = raw(&stage, [head.into_bytes(), b"{\"model\":".to_vec()]).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{length}: {answer}");
        assert_eq!(told(&answer), "request_too_large");
    }
    assert!(stage.provider.seen().is_empty());
    stage.strike().await;
}

#[tokio::test]
async fn a_body_without_end_is_refused_at_its_bound() {
    let stage = stage_with(GatewayConfig {
        body_bytes_max: 1 << 20,
        ..GatewayConfig::default()
    })
    .await;
    for chunk in [vec![b' '; 65_536], vec![b'['; 65_536], vec![b' '; 1]] {
        let framed = [format!("{:x}\r\n", chunk.len()).as_bytes(), &chunk, b"\r\n"].concat();
        let framed = framed.repeat(65_536 / chunk.len());
        let first = head(&stage, "transfer-encoding: chunked\r\n").into_bytes();
        // Sixty times what may come; two gigabytes more would be no different.
        let pieces = std::iter::once(first).chain(std::iter::repeat_n(framed, 1_000));
        let answer = raw(&stage, pieces).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 413"),
            "{answer}"
        );
    }
    assert!(stage.provider.seen().is_empty());
    stage.strike().await;
}

/// Sends letters one by one, from the beginning again, until they are not taken any more.
async fn drip(writing: &mut WriteHalf<'_>, letters: &[u8]) {
    let mut beat = tokio::time::interval(Duration::from_millis(100));
    for letter in letters.iter().cycle() {
        beat.tick().await;
        if writing.write_all(&[*letter]).await.is_err() {
            break;
        }
    }
}

#[tokio::test]
async fn a_head_and_a_body_that_come_a_letter_at_a_time_are_cut_while_others_are_served() {
    let stage = stage_with(GatewayConfig {
        head_seconds: 1,
        body_seconds: 1,
        ..GatewayConfig::default()
    })
    .await;
    let slow_head = head(&stage, "x-more: 1\r\n").into_bytes();
    let slow_body = head(&stage, "content-length: 100\r\n").into_bytes();
    let mut slow = JoinSet::new();
    for crowd in 0..100 {
        let mut stream = TcpStream::connect(stage.address()).await.unwrap();
        let (start, rest) = match crowd % 2 {
            0 => (Vec::new(), slow_head.clone()),
            _ => (slow_body.clone(), b"{\"model\":\"test-model\"".to_vec()),
        };
        slow.spawn(async move {
            drop(stream.write_all(&start).await);
            let mut answer = Vec::new();
            let (mut reading, mut writing) = stream.split();
            tokio::select! {
                () = drip(&mut writing, &rest) => {}
                read = reading.read_to_end(&mut answer) => drop(read),
            }
            String::from_utf8_lossy(&answer).into_owned()
        });
    }
    for _ in 0..20 {
        stage.provider.script(completion(1, 1));
        assert_eq!(stage.chat(&hello()).await.status, StatusCode::OK);
    }
    // Every one of them is cut, and those whose head had come are told why.
    while let Some(answer) = slow.join_next().await {
        let answer = answer.unwrap();
        let is_told = answer.starts_with("HTTP/1.1 408");
        assert!(is_told || answer.is_empty(), "{answer}");
    }
    assert_eq!(stage.rows_once(20).await.len(), 20);
    stage.strike().await;
}

#[tokio::test]
async fn json_that_is_absurdly_deep_or_wide_is_refused_or_passed_and_never_the_end_of_anybody() {
    let stage = Stage::set().await;
    let deep = |open: &str, close: &str| [open.repeat(100_000), close.repeat(100_000)].concat();
    for body in [
        deep("[", "]"),
        "[".repeat(100_000),
        "{\"a\":".repeat(100_000),
        "{\"model\":\"test-model\",\"messages\":".to_owned() + &"[".repeat(100_000),
        "{\"model\":".to_owned() + &deep("[", "]") + "}",
        "{\"model\":\"test-model\",\"max_tokens\":".to_owned() + &deep("[", "]") + "}",
        "{\"model\":\"test-model\",\"model\":\"dear-model\"}".to_owned(),
        "{\"model\":\"test-model\",\"mod\\u0065l\":\"dear-model\"}".to_owned(),
        "{\"model\":\"test-model\",\"max_tokens\":1,\"max_tokens\":100000}".to_owned(),
        "{\"model\":\"test-model\",\"stream\":false,\"stream\":true}".to_owned(),
        "{\"model\":\"test-model\",\"max_tokens\":1e400}".to_owned(),
        "{\"model\":\"test-model\",\"max_tokens\":18446744073709551616}".to_owned(),
        "{\"model\":\"test-model\",\"n\":1000000000}".to_owned(),
        "{\"model\":\"test-model\"} trailing".to_owned(),
        "\u{feff}{\"model\":\"test-model\"}".to_owned(),
        "\"".to_owned(),
        String::new(),
    ] {
        let said = stage.chat(&body).await;
        let start: String = body.chars().take(60).collect();
        assert_eq!(said.status, StatusCode::BAD_REQUEST, "{start}");
        assert!(!code(&said).is_empty(), "{start}");
    }
    assert!(stage.provider.seen().is_empty());
    // What the gateway need not read may be as deep as it likes: it goes on as it is.
    let body = hello().replacen('{', &format!("{{\"x\":{},", deep("[", "]")), 1);
    stage.provider.script(completion(1, 1));
    let said = stage.chat(&body).await;
    if said.status == StatusCode::OK {
        assert_eq!(stage.provider.seen()[0].body, body.as_bytes());
    } else {
        assert_eq!(said.status, StatusCode::BAD_REQUEST);
        stage.provider.unscript();
    }
    let wide = format!(
        "{{{}\"model\":\"test-model\",\"messages\":[]}}",
        "\"x\":1,".repeat(200_000)
    );
    stage.provider.script(completion(1, 1));
    assert_eq!(stage.chat(&wide).await.status, StatusCode::OK);
    stage.strike().await;
}

#[tokio::test]
async fn two_credentials_that_differ_are_refused_wherever_they_stand() {
    let stage = Stage::set().await;
    let own = stage.key.clone();
    let bearer = |key: &str| ("authorization", format!("Bearer {key}"));
    let api_key = |key: &str| ("x-api-key", key.to_owned());
    let azures = |key: &str| ("api-key", key.to_owned());
    let ours = |key: &str| ("x-tollgate-key", key.to_owned());
    let other = "tg_caller_somebody_else";
    for (headers, status) in [
        (vec![bearer(&own), api_key(other)], 400),
        (vec![bearer(other), api_key(&own)], 400),
        (vec![bearer(&own), bearer(other)], 400),
        (vec![bearer(other), bearer(&own)], 400),
        (vec![api_key(&own), api_key(other)], 400),
        (vec![bearer(&own), api_key(&own), api_key(other)], 400),
        (vec![bearer(&own), azures(other)], 400),
        (vec![bearer(other), azures(&own)], 400),
        (vec![azures(&own), api_key(other)], 400),
        (vec![azures(other), ours(&own)], 400),
        (vec![azures(&own), bearer(&own), ours(&own)], 200),
        (vec![azures(&own)], 200),
        (vec![bearer(&own), api_key(&own)], 200),
        (vec![bearer(&own), bearer(&own)], 200),
        (vec![api_key(&own)], 200),
        (vec![("authorization", format!("bEaReR  {own} "))], 200),
        (
            vec![("authorization", format!("Basic {own}")), api_key(&own)],
            401,
        ),
        (vec![("authorization", own.clone())], 401),
        (vec![("authorization", format!("Bearer {own},{own}"))], 401),
        (vec![("authorization", format!("Bearer {own}\u{e9}"))], 401),
        (vec![("authorization", "Bearer ".to_owned())], 401),
        (vec![("cookie", format!("key={own}"))], 401),
        (
            vec![("x-forwarded-authorization", format!("Bearer {own}"))],
            401,
        ),
    ] {
        let mut request = stage.request(Method::POST, CHAT, &hello());
        request.headers_mut().remove("authorization");
        for (name, value) in &headers {
            let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
            request.headers_mut().append(*name, value);
        }
        if status == 200 {
            stage.provider.script(completion(1, 1));
        }
        let said = stage.send(request).await;
        assert_eq!(said.status.as_u16(), status, "{headers:?}");
        if status == 400 {
            assert_eq!(code(&said), "conflicting_credentials");
        }
    }
    let query = format!("{CHAT}?key={own}&api_key={own}");
    let mut request = stage.request(Method::POST, &query, &hello());
    request.headers_mut().remove("authorization");
    assert_eq!(stage.send(request).await.status, StatusCode::UNAUTHORIZED);
    stage.strike().await;
}

/// What one reader takes for one request, and another for two.
#[tokio::test]
async fn a_request_within_a_request_is_never_served() {
    let stage = Stage::set().await;
    let body = hello();
    let inner = head(&stage, &format!("content-length: {}\r\n", body.len())) + &body;
    let length = inner.len() + 5;
    let chunked = format!("0\r\n\r\n{inner}");
    for more in [
        format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"),
        format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n"),
        format!("content-length: {length}\r\ntransfer-encoding: xchunked\r\n"),
        format!("content-length: {length}\r\ntransfer-encoding: chunked, identity\r\n"),
        format!("content-length: {length}\r\ntransfer-encoding : chunked\r\n"),
        format!("content-length: {length}\r\ntransfer-encoding:\x0bchunked\r\n"),
        format!("content-length: {length}\r\nx: 1\r\n transfer-encoding: chunked\r\n"),
        format!("content-length: 0\r\ncontent-length: {length}\r\n"),
        format!("content-length: 0x{length:x}\r\n"),
        format!("content-length: {length} 0\r\n"),
        format!("content-length:\r\n {length}\r\n"),
    ] {
        let bytes = head(&stage, &more) + &chunked;
        let answer = raw(&stage, [bytes.into_bytes()]).await;
        assert!(
            answer.matches("HTTP/1.1 ").count() <= 1,
            "{more:?}: {answer}"
        );
        assert!(!answer.starts_with("HTTP/1.1 2"), "{more:?}: {answer}");
        assert!(stage.provider.seen().is_empty(), "{more:?}");
    }
    stage.strike().await;
}

#[tokio::test]
async fn heads_that_are_too_long_too_many_or_not_http_are_refused_or_cut() {
    let stage = Stage::set().await;
    let length = hello().len();
    let with = |more: &str| head(&stage, &format!("content-length: {length}\r\n{more}")) + &hello();
    let get =
        |target: &str| format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    for bytes in [
        with(&format!("x-long: {}\r\n", "x".repeat(1 << 20))),
        with(&"x-more: 1\r\n".repeat(5_000)),
        with("x-bad: a\0b\r\n"),
        with("x bad: 1\r\n"),
        with(": 1\r\n"),
        get(&format!("/{}", "a".repeat(1 << 20))),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_owned(),
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03".repeat(100),
        "GET / HTTP/0.9\r\n\r\n".to_owned(),
        "GET /v1/models\r\n\r\n".to_owned(),
        "\0".repeat(100_000),
    ] {
        let answer = raw(&stage, [bytes.clone().into_bytes()]).await;
        let start: String = bytes.chars().take(40).collect();
        let is_refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(is_refused, "{start:?}: {answer}");
    }
    assert!(stage.provider.seen().is_empty());
    stage.strike().await;
}

#[tokio::test]
async fn paths_that_are_not_quite_a_path_lead_nowhere() {
    let stage = Stage::set().await;
    let length = hello().len();
    for target in [
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/./chat/completions",
        "/v1/x/../chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/completions%00",
        "/v1/chat%2fcompletions",
        "/v1/%63hat/completions",
        "/V1/chat/completions",
        "/v1/chat/completions;x",
        "/v1/chat\\completions",
        "/api/v1/integrations",
        "/metrics",
        "/livez",
        "/__faults",
        "*",
        "/",
    ] {
        for method in ["POST", "GET", "OPTIONS", "CONNECT", "TRACE", "BREW"] {
            let request = head(
                &stage,
                &format!("content-length: {length}\r\nconnection: close\r\n"),
            );
            let request =
                request.replacen(&format!("POST {CHAT}"), &format!("{method} {target}"), 1);
            let answer = raw(&stage, [(request + &hello()).into_bytes()]).await;
            let is_refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
            assert!(is_refused, "{method} {target}: {answer}");
        }
    }
    assert!(stage.provider.seen().is_empty());
    stage.strike().await;
}

#[tokio::test]
async fn an_upgrade_that_is_asked_for_is_not_made_and_the_call_is_served() {
    let stage = Stage::set().await;
    let length = hello().len();
    for upgrade in ["h2c", "websocket", "TLS/1.0"] {
        stage.provider.script(completion(1, 1));
        let more = format!(
            "content-length: {length}\r\nconnection: close, upgrade, http2-settings\r\nupgrade: {upgrade}\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
        );
        let answer = raw(&stage, [(head(&stage, &more) + &hello()).into_bytes()]).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{upgrade}: {answer}");
        assert!(answer.ends_with(&completion_text(1, 1)));
    }
    for seen in stage.provider.seen() {
        assert_eq!(seen.header("upgrade"), None);
        assert_eq!(seen.header("http2-settings"), None);
    }
    stage.strike().await;
}
