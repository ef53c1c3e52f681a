//! Forms of several parts that are none, that lie, or that have too much of something.

use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_gateway::GatewayConfig;

use crate::forms::{
    AUDIO, B, begun, code, field, form, request, send, sound, stage, stage_with, told,
};
use crate::stage::Limited;

#[tokio::test]
async fn a_form_that_is_too_large_is_refused_before_it_comes_or_at_its_bound() {
    let config = GatewayConfig {
        upload_bytes_max: 1 << 20,
        ..GatewayConfig::default()
    };
    let stage = stage_with(Limited::default(), json!({}), config).await;
    for length in ["2147483648", "1048577", "9223372036854775807"] {
        let stream = begun(&stage, &format!("content-length: {length}"), b"").await;
        let answer = told(stream).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{length}: {answer}");
        assert!(answer.contains("request_too_large"), "{answer}");
    }
    let chunk = [b"10000\r\n", &vec![b'x'; 65_536][..], b"\r\n"].concat();
    let first = [field("model", "test-model"), sound(0)].concat();
    let first = [
        format!("{:x}\r\n", first.len() - 2).as_bytes(),
        &first[..first.len() - 2],
        b"\r\n",
    ]
    .concat();
    let stream = begun(&stage, "transfer-encoding: chunked", &first).await;
    let (mut reading, mut writing) = stream.into_split();
    let mut answer = Vec::new();
    let sending = async {
        // Sixty times what may come; two gigabytes more would be no different.
        for _ in 0..1_000 {
            if writing.write_all(&chunk).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = sending => {}
        read = reading.read_to_end(&mut answer) => drop(read),
    }
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 413"),
        "{answer}"
    );
    assert!(stage.provider.seen().is_empty() && stage.rows().await.is_empty());
    stage.strike().await;
}

/// Forms that are none, or of which two readers could have two opinions, and what is said of them.
fn odd_forms() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let model = || field("model", "test-model");
    let plain = form(&[model(), sound(10)]);
    let text = String::from_utf8(form(&[model(), field("x", "y")])).unwrap();
    let with = |from: &str, to: &str| text.replace(from, to).into_bytes();
    let nested = "name=\"x\"\r\nContent-Type: multipart/mixed; boundary=c\r\n";
    vec![
        ("empty", Vec::new(), "invalid_form"),
        ("cut", plain[..plain.len() - 10].to_vec(), "invalid_form"),
        ("LF", with("\r\n", "\n"), "invalid_form"),
        ("nested", with("name=\"x\"\r\n", nested), "invalid_form"),
        (
            "json",
            b"{\"model\":\"test-model\"}".to_vec(),
            "invalid_form",
        ),
        (
            "twice",
            form(&[model(), sound(5), model()]),
            "duplicate_parameter",
        ),
        ("none", form(&[sound(5)]), "missing_parameter"),
        (
            "no name",
            form(&[field("model", ""), sound(5)]),
            "invalid_parameter",
        ),
    ]
}

/// Forms with too much of something.
fn absurd_forms() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let model = || field("model", "test-model");
    let long_model = field("model", &"m".repeat(5_000));
    let long_prompt = field("prompt", &"x".repeat(2 << 20));
    let long_head = field(&"x".repeat(9_000), "");
    vec![
        ("name", form(&[long_model, sound(5)]), "invalid_parameter"),
        (
            "parts",
            form(&vec![field("x", "y"); 10_000]),
            "invalid_form",
        ),
        ("head", form(&[model(), long_head]), "invalid_form"),
        ("field", form(&[long_prompt, model()]), "invalid_form"),
    ]
}

#[tokio::test]
async fn hostile_forms_are_refused_and_the_provider_sees_none() {
    let stage = stage().await;
    for (what, body, expected) in odd_forms().into_iter().chain(absurd_forms()) {
        let said = send(&stage, AUDIO, body).await;
        let found = (said.status, code(&said));
        assert_eq!(
            found,
            (StatusCode::BAD_REQUEST, expected.to_owned()),
            "{what}"
        );
    }
    for kind in [
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/mixed; boundary=a",
    ] {
        let body = form(&[field("model", "test-model"), sound(10)]);
        let mut request = request(&stage, AUDIO, body);
        request
            .headers_mut()
            .insert("content-type", kind.parse().unwrap());
        let said = stage.send(request).await;
        let found = (said.status, code(&said));
        assert_eq!(
            found,
            (StatusCode::BAD_REQUEST, "invalid_form".to_owned()),
            "{kind}"
        );
    }
    assert!(stage.provider.seen().is_empty() && stage.rows().await.is_empty());
    stage.strike().await;
}

/// Sends all of a request before anything of the answer is read, as most clients do.
async fn all_sent(stage: &crate::stage::Stage, key: &str, body: &[u8], length: usize) -> String {
    let mut stream = tokio::net::TcpStream::connect(stage.address())
        .await
        .unwrap();
    let head = format!(
        "POST {AUDIO} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: multipart/form-data; boundary={B}\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in body.chunks(65_536) {
        let sent = stream.write_all(piece).await;
        assert!(sent.is_ok(), "the gateway hung up on one who still sends");
    }
    told(stream).await
}

#[tokio::test]
async fn a_caller_who_sends_all_before_it_reads_is_told_why_it_is_refused() {
    let limits = Limited {
        budget_cents: 1,
        ..Limited::default()
    };
    let stage = stage_with(limits, json!({}), GatewayConfig::default()).await;
    let body = form(&[field("model", "test-model"), sound(16 << 20)]);
    for (key, length, expected) in [
        ("wrong", body.len(), "HTTP/1.1 401"),
        (&*stage.key, body.len(), "HTTP/1.1 402"),
        (&*stage.key, 2 << 30, "HTTP/1.1 413"),
    ] {
        let answer = all_sent(&stage, key, &body, length).await;
        assert!(answer.starts_with(expected), "{answer}");
    }
    assert!(stage.provider.seen().is_empty());
    stage.strike().await;
}
