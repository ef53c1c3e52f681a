//! Forms of several parts: what the provider gets, what is booked, and what becomes of forms that
//! break off, lie or are none.

use bytes::Bytes;
use cus_models::CusProviderType;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tollgate_app::testing::World;
use tollgate_gateway::GatewayConfig;

use crate::provider::{self, Provider, Step};
use crate::stage::{Limited, Said, Setting, Stage, figures};

pub(crate) const AUDIO: &str = "/v1/audio/transcriptions";
pub(crate) const B: &str = "----boundary0123456789";

/// A field of a form.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    format!("--{B}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        .into_bytes()
}

/// A recording of so many bytes, of every value, with what looks like line breaks and boundaries.
pub(crate) fn sound(bytes: usize) -> Vec<u8> {
    let head = format!(
        "--{B}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n"
    );
    let odd = b"\r\n--\r\n------boundary\r\n";
    let data = (0..=255_u8).chain(odd.iter().copied()).cycle();
    [
        head.into_bytes(),
        data.take(bytes).collect(),
        b"\r\n".to_vec(),
    ]
    .concat()
}

pub(crate) fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), format!("--{B}--\r\n").into_bytes()].concat()
}

fn answer(sound: u64, output: u64) -> Vec<Step> {
    let text = format!(
        r#"{{"text":"hello","usage":{{"type":"tokens","input_tokens":{sound},"input_token_details":{{"text_tokens":0,"audio_tokens":{sound}}},"output_tokens":{output},"total_tokens":{}}}}}"#,
        sound + output
    );
    provider::json(200, &text)
}

pub(crate) async fn stage_with(limits: Limited, more: Value, config: GatewayConfig) -> Stage {
    let world = World::start().await;
    let config = GatewayConfig {
        spool_dir: Some(world.folder().join("spool")),
        ..config
    };
    let setting = Setting {
        limits,
        more,
        config,
        ..Setting::default()
    };
    Stage::before(Provider::start().await, world, setting).await
}

pub(crate) async fn stage() -> Stage {
    stage_with(Limited::default(), json!({}), GatewayConfig::default()).await
}

pub(crate) fn request(stage: &Stage, path: &str, body: Vec<u8>) -> Request<Full<Bytes>> {
    // Rows stand in the order of their times.
    stage.world.clock.advance_ms(1_000);
    let mut request = stage.request(Method::POST, path, "");
    let kind = format!("multipart/form-data; boundary={B}");
    request
        .headers_mut()
        .insert("content-type", kind.parse().unwrap());
    *request.body_mut() = Full::new(Bytes::from(body));
    request
}

pub(crate) async fn send(stage: &Stage, path: &str, body: Vec<u8>) -> Said {
    stage.send(request(stage, path, body)).await
}

pub(crate) fn code(said: &Said) -> String {
    let code = &said.json()["error"]["code"];
    code.as_str().unwrap_or_default().to_owned()
}

/// A connection on which the head of a form's request and its first bytes were sent.
pub(crate) async fn begun(stage: &Stage, framing: &str, first: &[u8]) -> TcpStream {
    stage.world.clock.advance_ms(1_000);
    let mut stream = TcpStream::connect(stage.address()).await.unwrap();
    let head = format!(
        "POST {AUDIO} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: multipart/form-data; boundary={B}\r\n{framing}\r\n\r\n",
        stage.key
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(first).await.unwrap();
    stream
}

/// The answer on a connection, as far as it comes.
pub(crate) async fn told(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let mut piece = vec![0; 16_384];
    while let Ok(read) = stream.read(&mut piece).await {
        answer.extend_from_slice(&piece[..read]);
        if read == 0 || answer.ends_with(b"}") {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

const LARGE: usize = 700_000;

#[tokio::test]
async fn a_form_reaches_the_provider_byte_for_byte_wherever_its_model_stands() {
    let stage = stage().await;
    let model = || field("model", "test-model");
    for (count, parts) in [
        vec![model(), sound(100)],
        vec![sound(100), model()],
        vec![model(), sound(LARGE), field("language", "en")],
        vec![sound(LARGE), model(), field("stream", "false")],
    ]
    .into_iter()
    .enumerate()
    {
        let body = form(&parts);
        stage.provider.script(answer(50, 7));
        let said = send(&stage, AUDIO, body.clone()).await;
        assert_eq!(said.status, StatusCode::OK, "{count}");
        assert_eq!(said.header("x-tollgate-origin"), Some("provider"));
        let seen = stage.provider.seen().pop().unwrap();
        assert!(seen.body == body, "{count}: the form arrived otherwise");
        let kind = format!("multipart/form-data; boundary={B}");
        assert_eq!(seen.header("content-type"), Some(kind.as_str()));
        let rows = stage.rows_once(count + 1).await;
        // 50 tokens at $1 and 7 at $2 a million.
        assert_eq!(figures(&rows[count]), (50, 7, 64_000), "{count}");
        assert_eq!(rows[count].usage.model, "test-model");
    }
    stage.strike().await;
}

#[tokio::test]
async fn a_form_without_a_length_is_kept_until_it_is_whole_and_goes_out_with_one() {
    let stage = stage().await;
    let body = form(&[field("model", "test-model"), sound(LARGE)]);
    let chunks: Vec<u8> = body
        .chunks(40_000)
        .flat_map(|piece| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())
        .chain(*b"0\r\n\r\n")
        .collect();
    stage.provider.script(answer(50, 7));
    let stream = begun(&stage, "transfer-encoding: chunked", &chunks).await;
    let answer = told(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = stage.provider.seen().remove(0);
    assert_eq!(
        seen.header("content-length"),
        Some(&*body.len().to_string())
    );
    assert!(seen.body == body);
    assert_eq!(figures(&stage.row().await), (50, 7, 64_000));
    stage.strike().await;
}

#[tokio::test]
async fn an_alias_is_replaced_in_a_form_and_nothing_else_is() {
    let more = json!({"aliases": {"speech": "test-model"}});
    let stage = stage_with(Limited::default(), more, GatewayConfig::default()).await;
    for named in ["speech", "main/speech", "main/test-model"] {
        for parts in [
            |model: Vec<u8>| vec![model, sound(100)],
            |model: Vec<u8>| vec![model, sound(LARGE)],
            |model: Vec<u8>| vec![sound(LARGE), model],
        ] {
            stage.provider.script(answer(1, 1));
            let said = send(&stage, AUDIO, form(&parts(field("model", named)))).await;
            assert_eq!(said.status, StatusCode::OK, "{named}: {:?}", said.body);
            let seen = stage.provider.seen().pop().unwrap();
            assert!(
                seen.body == form(&parts(field("model", "test-model"))),
                "{named}"
            );
        }
    }
    assert_eq!(stage.rows_once(9).await.len(), 9);
    stage.strike().await;
}

#[tokio::test]
async fn what_contradicts_the_decision_breaks_the_call_off_and_costs_nothing() {
    let stage = stage().await;
    let last = [
        (field("model", "dear-model"), "duplicate_parameter"),
        (field("model[]", "dear-model"), "invalid_parameter"),
        (field("prompt", &"x".repeat(20_000)), "invalid_form"),
        (format!("\n--{B}\r\n").into_bytes(), "invalid_form"),
    ];
    for (count, (more, expected)) in last.into_iter().enumerate() {
        let body = form(&[field("model", "test-model"), sound(LARGE), more]);
        let said = send(&stage, AUDIO, body).await;
        assert_eq!(code(&said), expected);
        assert_eq!(said.status, StatusCode::BAD_REQUEST);
        let rows = stage.rows_once(count + 1).await;
        let row = &rows[count];
        assert_eq!(figures(row), (0, 0, 0));
        assert_eq!(row.usage.error_code.as_deref(), Some("upload_incomplete"));
    }
    // The provider never had a whole request.
    assert!(stage.provider.seen().is_empty());
    stage.strike().await;
}

#[tokio::test]
async fn a_caller_who_goes_away_in_its_upload_is_charged_nothing() {
    let stage = stage().await;
    let body = form(&[field("model", "test-model"), sound(LARGE)]);
    let length = format!("content-length: {}", body.len());
    let stream = begun(&stage, &length, &body[..LARGE / 2]).await;
    drop(stream);
    let row = stage.row().await;
    assert_eq!(figures(&row), (0, 0, 0));
    assert_eq!(row.usage.error_code.as_deref(), Some("upload_incomplete"));
    assert!(stage.provider.seen().is_empty());
    // One that had said all that matters is charged as held: the provider may have begun.
    let stream = begun(&stage, &length, &body[..body.len() - 1]).await;
    drop(stream);
    let row = stage.rows_once(2).await.remove(1);
    assert_eq!(row.usage.error_code.as_deref(), Some("upload_incomplete"));
    assert!(row.cost.get() > 0, "{row:?}");
    stage.strike().await;
}

#[tokio::test]
async fn a_caller_who_pauses_in_its_upload_is_told_that_it_is_late() {
    let config = GatewayConfig {
        upload_idle_seconds: 1,
        ..GatewayConfig::default()
    };
    let stage = stage_with(Limited::default(), json!({}), config).await;
    let body = form(&[field("model", "test-model"), sound(LARGE)]);
    let length = format!("content-length: {}", body.len());
    for sent in [10, LARGE / 2] {
        let stream = begun(&stage, &length, &body[..sent]).await;
        let answer = told(stream).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{sent}: {answer}");
        assert!(answer.contains("body_timeout"), "{answer}");
    }
    // Only the second one had left.
    assert_eq!(figures(&stage.row().await), (0, 0, 0));
    stage.strike().await;
}

#[tokio::test]
async fn a_spent_budget_refuses_a_form_before_any_of_it_leaves() {
    let limits = Limited {
        budget_cents: 1,
        ..Limited::default()
    };
    let stage = stage_with(limits, json!({}), GatewayConfig::default()).await;
    // Nine thousand tokens of sound and as many of text are held: $0.027 at the test's prices.
    for parts in [
        vec![field("model", "test-model"), sound(LARGE)],
        vec![sound(LARGE), field("model", "test-model")],
    ] {
        let said = send(&stage, AUDIO, form(&parts)).await;
        assert_eq!(
            (said.status.as_u16(), &*code(&said)),
            (402, "budget_exceeded")
        );
    }
    // A short one fits.
    stage.provider.script(answer(10, 2));
    let said = send(
        &stage,
        AUDIO,
        form(&[field("model", "test-model"), sound(10)]),
    )
    .await;
    assert_eq!(said.status, StatusCode::OK, "{:?}", said.body);
    assert_eq!(stage.provider.seen().len(), 1);
    stage.strike().await;
}

#[tokio::test]
async fn a_form_that_finds_no_room_on_the_disk_is_refused_and_the_room_is_free_again() {
    let config = GatewayConfig {
        spool_bytes_max: 1 << 20,
        ..GatewayConfig::default()
    };
    let stage = stage_with(Limited::default(), json!({}), config).await;
    for _ in 0..3 {
        let said = send(
            &stage,
            AUDIO,
            form(&[sound(2 << 20), field("model", "test-model")]),
        )
        .await;
        assert_eq!(
            (said.status.as_u16(), &*code(&said)),
            (503, "spool_unavailable")
        );
        stage.provider.script(answer(1, 1));
        let said = send(
            &stage,
            AUDIO,
            form(&[sound(LARGE), field("model", "test-model")]),
        )
        .await;
        assert_eq!(said.status, StatusCode::OK);
        // One that needs no room has it all the same.
        stage.provider.script(answer(1, 1));
        let said = send(
            &stage,
            AUDIO,
            form(&[field("model", "test-model"), sound(2 << 20)]),
        )
        .await;
        assert_eq!(said.status, StatusCode::OK);
    }
    let left = std::fs::read_dir(stage.world.folder().join("spool")).unwrap();
    assert_eq!(left.count(), 0, "a form lies in the spool");
    stage.strike().await;
}

#[tokio::test]
async fn a_file_is_kept_for_nothing_and_leaves_no_row() {
    let stage = stage().await;
    for bytes in [10, LARGE] {
        let body = form(&[sound(bytes), field("purpose", "batch")]);
        stage
            .provider
            .script(provider::json(200, r#"{"id":"file-1","object":"file"}"#));
        let said = send(&stage, "/v1/files", body.clone()).await;
        assert_eq!(said.status, StatusCode::OK);
        assert_eq!(said.json()["id"], "file-1");
        let seen = stage.provider.seen().pop().unwrap();
        assert!(seen.body == body && seen.head.starts_with("POST /v1/files "));
    }
    assert!(stage.rows().await.is_empty());
    stage.strike().await;
}

/// A provider that reads the head of each request and no more, answers, and ends the connection.
async fn hasty(answer: &'static str) -> (std::net::SocketAddr, tokio::task::JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 512];
            drop(stream.read(&mut head).await);
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    (address, serving)
}

#[tokio::test]
async fn a_provider_that_answers_before_the_form_has_come_is_heard() {
    let answer = "HTTP/1.1 413 Too Large\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 27\r\n\r\n{\"error\":{\"message\":\"no\"}} ";
    let (address, _serving) = hasty(answer).await;
    let more = json!({"base_url": format!("http://{address}/v1")});
    let stage = stage_with(Limited::default(), more, GatewayConfig::default()).await;
    let parts = [
        vec![field("model", "test-model"), sound(8 << 20)],
        vec![sound(8 << 20), field("model", "test-model")],
    ];
    for (count, parts) in parts.into_iter().enumerate() {
        let said = send(&stage, AUDIO, form(&parts)).await;
        assert_eq!(said.status.as_u16(), 413, "{:?}", said.body);
        assert_eq!(said.header("x-tollgate-origin"), Some("provider"));
        let rows = stage.rows_once(count + 1).await;
        assert_eq!(figures(&rows[count]), (0, 0, 0));
        let code = rows[count].usage.error_code.as_deref();
        assert_eq!(code, Some("upstream_too_large"));
    }
    stage.strike().await;
}

#[tokio::test]
async fn an_upload_that_waits_to_be_asked_for_is_asked_for_once_it_may_come() {
    let stage = stage().await;
    let body = form(&[field("model", "test-model"), sound(1_000)]);
    let framing = format!("content-length: {}\r\nexpect: 100-continue", body.len());
    let mut stream = begun(&stage, &framing, b"").await;
    let mut go = vec![0; 25];
    stream.read_exact(&mut go).await.unwrap();
    assert_eq!(go, b"HTTP/1.1 100 Continue\r\n\r\n");
    stage.provider.script(answer(1, 1));
    stream.write_all(&body).await.unwrap();
    let answer = told(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // What may not come is not asked for.
    let framing = "content-length: 2147483648\r\nexpect: 100-continue";
    let answer = told(begun(&stage, framing, b"").await).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(stage.rows_once(1).await.len(), 1);
    stage.strike().await;
}

#[tokio::test]
async fn a_streamed_transcription_is_booked_as_its_last_event_says() {
    let stage = stage().await;
    let events = [
        "data: {\"type\":\"transcript.text.delta\",\"delta\":\"hello\"}\n\n",
        "data: {\"type\":\"transcript.text.done\",\"text\":\"hello\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"input_token_details\":{\"text_tokens\":4,\"audio_tokens\":10},\"output_tokens\":3,\"total_tokens\":17}}\n\n",
    ];
    let mut steps = provider::stream(&events);
    steps.push(provider::end());
    stage.provider.script(steps);
    let parts = [
        field("model", "test-model"),
        field("stream", "true"),
        sound(500),
    ];
    let said = send(&stage, AUDIO, form(&parts)).await;
    assert_eq!(said.body, events.concat());
    assert_eq!(figures(&stage.row().await), (14, 3, 20_000));
    // One that is cut before it is the vendor's error, and counted.
    let mut steps = provider::stream(&events[..1]);
    steps.push(provider::end());
    stage.provider.script(steps);
    let answer = stage.open(request(&stage, AUDIO, form(&parts))).await;
    let body = http_body_util::BodyExt::collect(answer.into_body()).await;
    assert!(body.is_err(), "a cut stream ended well");
    let row = stage.rows_once(2).await.remove(1);
    assert_eq!(row.usage.error_code.as_deref(), Some("upstream_broken"));
    stage.strike().await;
}

#[tokio::test]
async fn speech_as_plain_text_is_counted_and_by_the_minute_costs_its_request() {
    let stage = stage().await;
    let parts = || form(&[field("model", "test-model"), sound(100)]);
    let text = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\nhello\n";
    stage.provider.script(vec![Step::Send(text.into())]);
    let said = send(&stage, AUDIO, parts()).await;
    assert_eq!(&said.body[..], b"hello\n");
    let row = stage.row().await;
    assert_eq!(row.usage.error_code, None);
    assert!(
        row.usage.tokens_in >= 1_000 && row.usage.tokens_out > 0,
        "{row:?}"
    );
    let minutes = r#"{"text":"hello","usage":{"type":"duration","seconds":9}}"#;
    stage.provider.script(provider::json(200, minutes));
    assert_eq!(send(&stage, AUDIO, parts()).await.status, StatusCode::OK);
    assert_eq!(figures(&stage.rows_once(2).await[1]), (0, 0, 0));
    stage.strike().await;
}

#[tokio::test]
async fn a_deployments_name_in_the_path_is_the_model_whatever_the_form_says() {
    let world = World::start().await;
    let config = GatewayConfig {
        spool_dir: Some(world.folder().join("spool")),
        ..GatewayConfig::default()
    };
    let setting = Setting {
        provider_type: CusProviderType::AzureOpenAi,
        config,
        ..Setting::default()
    };
    let stage = Stage::before(Provider::start().await, world, setting).await;
    for parts in [
        vec![sound(LARGE)],
        vec![sound(LARGE), field("model", "else")],
        vec![field("model", "else"), sound(100)],
    ] {
        let body = form(&parts);
        stage.provider.script(answer(1, 1));
        let path = "/openai/deployments/test-model/audio/transcriptions?api-version=2024-10-21";
        let said = send(&stage, path, body.clone()).await;
        assert_eq!(said.status, StatusCode::OK, "{:?}", said.body);
        let seen = stage.provider.seen().pop().unwrap();
        assert!(seen.body == body);
        assert!(
            seen.head.starts_with(&format!("POST {path} ")),
            "{}",
            seen.head
        );
    }
    let rows = stage.rows_once(3).await;
    assert!(rows.iter().all(|row| row.usage.model == "test-model"));
    stage.strike().await;
}

#[tokio::test]
async fn a_provider_that_takes_nothing_of_a_form_is_given_up_and_nothing_is_charged() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        std::future::pending::<()>().await;
        drop(stream);
    });
    let config = GatewayConfig {
        upload_seconds: 2,
        first_byte_seconds: 1,
        ..GatewayConfig::default()
    };
    let more = json!({"base_url": format!("http://{address}/v1")});
    let stage = stage_with(Limited::default(), more, config).await;
    let parts = [field("model", "test-model"), sound(16 << 20)];
    let said = send(&stage, AUDIO, form(&parts)).await;
    assert_eq!(
        (said.status.as_u16(), &*code(&said)),
        (502, "upstream_broken")
    );
    let row = stage.row().await;
    assert_eq!(figures(&row), (0, 0, 0));
    assert_eq!(row.usage.error_code.as_deref(), Some("upstream_broken"));
    stage.strike().await;
}
