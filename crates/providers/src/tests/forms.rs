//! Forms of several parts: where they are sent, what is held for them, and what their usage costs.

use tollgate_core::money::Nanos;
use tollgate_core::price::{ModelPrices, Rates};

use super::*;
use crate::multipart::{Boundary, Form, Scanner};
use crate::{AnswerShape, Bounds, End, MeterPlan, Observed, RequestError, Seen};

fn form(parts: &[(&str, &str)]) -> Form {
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("multipart/form-data; boundary=b");
    headers.insert("content-type", kind);
    let mut scanner = Scanner::new(&Boundary::of(&headers).unwrap());
    for (name, value) in parts {
        let file = if *name == "file" { "; filename=f" } else { "" };
        let part =
            format!("--b\r\nContent-Disposition: form-data; name={name}{file}\r\n\r\n{value}\r\n");
        scanner.push(part.as_bytes()).unwrap();
    }
    scanner.push(b"--b--\r\n").unwrap();
    scanner.finish().unwrap();
    scanner.form().clone()
}

fn facts(operation: Operation, parts: &[(&str, &str)], length: u64) -> RequestFacts {
    RequestFacts::of_form(operation, &form(parts), (Seen::Whole, length)).unwrap()
}

/// The prices of gpt-4o-transcribe, and those of images of gpt-image-1, in nano-dollars a million tokens.
fn prices() -> ModelPrices {
    ModelPrices {
        version: "test".into(),
        rates: Rates {
            input: 2_500_000_000,
            output: 10_000_000_000,
            audio_input: Some(6_000_000_000),
            image_input: Some(10_000_000_000),
            image_output: Some(40_000_000_000),
            ..Rates::default()
        },
        tiers: Vec::new(),
        output_tokens_max: None,
        context_tokens: None,
    }
}

#[test]
fn forms_have_paths_of_their_own_at_every_face_that_speaks_openais_words() {
    let route = |path: &str| {
        let matched = Operation::route(&http::Method::POST, path, &HeaderMap::new())?;
        Some((
            matched.operation,
            matched.model.map(std::borrow::Cow::into_owned),
        ))
    };
    for (tail, operation) in [
        ("audio/transcriptions", Operation::Transcriptions),
        ("audio/translations", Operation::Translations),
        ("images/edits", Operation::ImageEdits),
        ("images/variations", Operation::ImageVariations),
        ("files", Operation::CreateFile),
    ] {
        assert!(operation.takes_form() && operation.has_body());
        for face in ["/v1/", "/openai/v1/"] {
            assert_eq!(
                route(&format!("{face}{tail}")),
                Some((operation, None)),
                "{face}{tail}"
            );
        }
    }
    let deployed = route("/openai/deployments/d/audio/transcriptions").unwrap();
    assert_eq!(deployed, (Operation::Transcriptions, Some("d".to_owned())));
    assert_eq!(route("/openai/files"), Some((Operation::CreateFile, None)));
    for path in [
        "/openai/audio/transcriptions",
        "/v1/audio",
        "/v1/files/",
        "/v1/audio/transcriptions/",
    ] {
        assert_eq!(route(path), None, "{path}");
    }
}

#[test]
fn what_is_held_for_a_recording_rests_on_its_bytes() {
    let config = IntegrationConfig::default();
    let parts = [
        ("model", "gpt-4o-transcribe"),
        ("prompt", "say it"),
        ("file", "x"),
    ];
    for (length, sound) in [
        (5_000, 1_000),
        (750_000, 10_000),
        (26_214_400, 349_526),
        (u64::MAX / 2, 1_050_000),
    ] {
        let facts = facts(Operation::Transcriptions, &parts, length);
        // The fields' bytes, each with the line break after it, are text.
        let text = facts.form_text_bytes();
        assert_eq!(text, 27);
        assert_eq!(facts.input_bound(None), sound + text, "{length}");
        let ask = facts.ask(&config, Some(&prices())).unwrap();
        assert_eq!(ask.worst.audio_input, sound + text);
        assert_eq!(ask.worst.tokens_out(), sound.max(4_096));
        let nanos = (sound + text) * 6_000 + sound.max(4_096) * 10_000;
        assert_eq!(ask.cost, Some(Nanos::new(i64::try_from(nanos).unwrap())));
    }
    // Where only the beginning was seen, fields that may still come are reckoned with.
    let seen = (Seen::Beginning, 750_000);
    let begun = RequestFacts::of_form(Operation::Transcriptions, &form(&parts), seen).unwrap();
    assert_eq!(begun.input_bound(None), 10_000 + 27 + 8_192);
}

#[test]
fn what_is_held_for_pictures_rests_on_their_number() {
    let config = IntegrationConfig::default();
    let parts = [
        ("model", "gpt-image-1"),
        ("n", "3"),
        ("file", "x"),
        ("file", "y"),
        ("partial_images", "2"),
    ];
    let ask = facts(Operation::ImageEdits, &parts, 900)
        .ask(&config, None)
        .unwrap();
    assert_eq!(ask.cost, None);
    assert_eq!(ask.worst.tokens_out(), 3 * (16_384 + 2 * 100));
    assert!(
        (20_000..20_100).contains(&ask.worst.tokens_in()),
        "{:?}",
        ask.worst
    );
    for (name, value) in [
        ("n", "11"),
        ("n", "-1"),
        ("n", "1.0"),
        ("n", "two"),
        ("partial_images", "4"),
    ] {
        let form = form(&[("model", "gpt-image-1"), (name, value)]);
        let read = RequestFacts::of_form(Operation::ImageEdits, &form, (Seen::Whole, 900));
        assert_eq!(read.unwrap_err().param(), Some(name), "{value}");
    }
    let usual = facts(Operation::ImageVariations, &[("file", "x")], 90).or_usual_model();
    assert_eq!(usual.model().map(AsRef::as_ref), Some("dall-e-2"));
    let none = facts(Operation::ImageEdits, &[("file", "x")], 90).or_usual_model();
    assert_eq!(none.required_model(), Err(RequestError::Missing("model")));
}

#[test]
fn a_form_goes_out_under_its_own_content_type_and_its_model_is_edited_in_its_place() {
    let parts = [("file", "x"), ("model", "name/alias")];
    let facts = facts(Operation::Transcriptions, &parts, 200);
    assert_eq!(facts.model_edit("name/alias"), None);
    let (place, with) = facts.model_edit("whisper-1").unwrap();
    assert_eq!(
        (place.end - place.start, &with[..]),
        (10, &b"whisper-1"[..])
    );
    let mut asked = Asked::of(CusProviderType::OpenAi, Operation::Transcriptions);
    let kind = HeaderValue::from_static("multipart/form-data; boundary=b");
    asked.headers.insert("content-type", kind.clone());
    let outbound = asked.prepare().unwrap();
    assert_eq!(outbound.headers.get("content-type"), Some(&kind));
    assert_eq!(
        outbound.uri,
        "https://api.openai.com/v1/audio/transcriptions"
    );
    assert!(outbound.body.is_empty());
}

/// What was seen of an answer, and what it costs to the nano-dollar.
fn read(operation: Operation, shape: AnswerShape, answer: &'static str) -> (Observed, i64) {
    let provider = provider(CusProviderType::OpenAi);
    let plan = MeterPlan {
        usage_chunk: UsageChunk::Keep,
        bounds: Bounds::NONE,
    };
    let mut meter = provider.meter(operation, shape, plan);
    let mut passed = Vec::new();
    let mut out = |piece: Bytes| passed.extend_from_slice(&piece);
    meter.push(&Bytes::from_static(answer.as_bytes()), &mut out);
    let observed = meter.finish(End::Clean, &mut out);
    assert_eq!(passed, answer.as_bytes());
    let cost = observed
        .usage
        .map_or(0, |usage| prices().rates.cost(&usage).unwrap().get());
    (observed, cost)
}

#[test]
fn usage_of_forms_is_read_in_each_shape_and_costs_what_it_must() {
    use AnswerShape::{Stream, Whole};
    use Operation::{ImageEdits, Transcriptions};
    let table = [
        // 10 × 2,500 + 104 × 6,000 + 45 × 10,000
        (
            Transcriptions,
            Whole,
            r#"{"text":"Hi","usage":{"type":"tokens","input_tokens":114,"input_token_details":{"text_tokens":10,"audio_tokens":104},"output_tokens":45,"total_tokens":159}}"#,
            1_099_000,
        ),
        (
            Transcriptions,
            Stream,
            "data: {\"type\":\"transcript.text.delta\",\"delta\":\"Hi\"}\n\ndata: {\"type\":\"transcript.text.done\",\"text\":\"Hi\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":114,\"input_token_details\":{\"text_tokens\":10,\"audio_tokens\":104},\"output_tokens\":45,\"total_tokens\":159}}\n\n",
            1_099_000,
        ),
        (
            Transcriptions,
            Whole,
            r#"{"task":"transcribe","duration":4.2,"text":"Hi","usage":{"type":"duration","seconds":5}}"#,
            0,
        ),
        // 129 × 2,500 + 194 × 10,000 + 272 × 40,000
        (
            ImageEdits,
            Whole,
            r#"{"created":1,"data":[{"b64_json":"AAAA"}],"usage":{"total_tokens":595,"input_tokens":323,"output_tokens":272,"input_tokens_details":{"text_tokens":129,"image_tokens":194}}}"#,
            13_142_500,
        ),
        (
            ImageEdits,
            Stream,
            "event: image_edit.completed\ndata: {\"type\":\"image_edit.completed\",\"b64_json\":\"AAAA\",\"usage\":{\"total_tokens\":595,\"input_tokens\":323,\"output_tokens\":272,\"input_tokens_details\":{\"text_tokens\":129,\"image_tokens\":194}}}\n\n",
            13_142_500,
        ),
    ];
    for (operation, shape, answer, cost) in table {
        let (observed, found) = read(operation, shape, answer);
        assert_eq!(found, cost, "{answer}");
        assert!(
            observed.usage.is_some() && observed.complete,
            "{answer}: {observed:?}"
        );
    }
}

#[test]
fn usage_of_forms_that_cannot_be_true_is_not_believed_and_text_is_counted() {
    use Operation::Transcriptions;
    for usage in [
        r#"{"type":"tokens","input_tokens":1,"input_token_details":{"audio_tokens":2},"output_tokens":1}"#,
        r#"{"type":"tokens","input_tokens":-1,"output_tokens":1}"#,
        r#"{"type":"tokens","input_tokens":5,"output_tokens":5,"total_tokens":9}"#,
        r#"{"type":"tokens","input_tokens":5}"#,
        r#"{"type":"tokens","output_tokens":1e9,"input_tokens":5}"#,
    ] {
        let text = format!(r#"{{"text":"Hi","usage":{usage}}}"#).leak();
        let (observed, _) = read(Transcriptions, AnswerShape::Whole, text);
        assert!(observed.invalid_usage.is_some(), "{text}");
    }
    for text in [
        "Hello there\n",
        "WEBVTT\n\n00:00.000 --> 00:01.000\nHi\n",
        "",
        "\n",
    ] {
        let (observed, _) = read(Transcriptions, AnswerShape::Whole, text);
        let is_read = observed.complete && !observed.unreadable && observed.usage.is_none();
        assert!(is_read, "{text:?}: {observed:?}");
        assert_eq!(observed.counted_output > 0, !text.is_empty(), "{text:?}");
    }
    let (cut, _) = read(Transcriptions, AnswerShape::Whole, "{\"text\":\"Hi");
    assert!(cut.unreadable);
    let (pictures, _) = read(
        Operation::ImageVariations,
        AnswerShape::Whole,
        r#"{"created":1,"data":[{"url":"https://a"}]}"#,
    );
    assert!(pictures.complete && pictures.unreported && pictures.usage.is_none());
}
