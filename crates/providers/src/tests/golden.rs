//! Golden cases: `golden/<provider>/<case>/` holds a caller's `request.json`, the settings in
//! `case.json`, the provider's `response.json` or `response.sse`, and in `expected.snap` what we
//! hold, what we send, what we read, and what the caller gets. A new case is recorded by running
//! the test with `INSTA_UPDATE=always`, and then read.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use http::HeaderMap;
use serde::Deserialize;
use tollgate_core::config::IntegrationConfig;

use super::*;
use crate::{AnswerShape, End, ErrorBody, MeterPlan, Observed};

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Case {
    method: String,
    path: String,
    model: Option<String>,
    status: u16,
    config: IntegrationConfig,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            method: "POST".to_owned(),
            path: String::new(),
            model: None,
            status: 200,
            config: IntegrationConfig::default(),
        }
    }
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path()).filter(|it| it.is_dir()).collect();
    folders.sort();
    folders
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap()
}

/// Headers in order, secrets as such.
fn write_headers(text: &mut String, headers: &HeaderMap) {
    let mut lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| match value.to_str() {
            Ok(shown) if !value.is_sensitive() => format!("{name}: {shown}"),
            _ => format!("{name}: (secret)"),
        })
        .collect();
    lines.sort();
    writeln!(text, "{}", lines.join("\n")).unwrap();
}

fn write_reading(text: &mut String, seen: &Observed) {
    writeln!(text, "usage: {}", serde_json::to_string(&seen.usage).unwrap()).unwrap();
    writeln!(text, "input: {}", serde_json::to_string(&seen.input).unwrap()).unwrap();
    writeln!(text, "counted output: {}", seen.counted_output).unwrap();
    writeln!(text, "model: {}", seen.model.as_deref().unwrap_or("-")).unwrap();
    writeln!(text, "complete: {}, finished: {}", seen.complete, seen.finish_seen).unwrap();
    writeln!(text, "error: {}, invalid: {:?}", seen.error_seen, seen.invalid_usage).unwrap();
}

/// Sends the request, answers it, and writes down everything that can be seen.
fn played(provider_type: CusProviderType, folder: &Path) -> String {
    let case: Case =
        serde_json::from_slice(&fs::read(folder.join("case.json")).unwrap()).unwrap();
    let provider = provider(provider_type);
    let method = case.method.parse().unwrap();
    let matched = Operation::route(&method, &case.path, &HeaderMap::new()).unwrap();
    let request = fs::read(folder.join("request.json")).map(Bytes::from).ok();
    let facts = request.as_ref().map(|body| RequestFacts::read(matched.operation, body).unwrap());
    let asked = facts.as_ref().and_then(|facts| facts.model()).map(|model| case.config.model(model));
    let model = case.model.as_deref().or(asked);
    let secret = Secret::new(r#"{"api_key":"sk-canary"}"#.to_owned());
    let endpoint = provider.endpoint(&case.config, &UrlPolicy::default()).unwrap();
    let outbound = provider.prepare(&PrepareCall {
        operation: matched.operation,
        call_id: &"call-1".parse::<CallId>().unwrap(),
        headers: &HeaderMap::new(),
        query: None,
        endpoint: &endpoint,
        config: &case.config,
        credential: Some(&secret),
        model,
        prices: None,
        body: request.as_ref().zip(facts.as_ref()),
    });
    let outbound = outbound.unwrap();
    let mut text = String::new();
    if let Some(facts) = &facts {
        let ask = facts.ask(&case.config, None).unwrap();
        writeln!(text, "=== held\nin {}, out {}", ask.worst.tokens_in(), ask.worst.tokens_out()).unwrap();
    }
    writeln!(text, "=== sent\n{} {}", outbound.method, outbound.uri).unwrap();
    write_headers(&mut text, &outbound.headers);
    let body = String::from_utf8(outbound.body.clone().into_pieces().concat()).unwrap();
    writeln!(text, "\n{}", body.trim_end()).unwrap();
    let status = StatusCode::from_u16(case.status).unwrap();
    if let Some(failure) = provider.classify(status) {
        writeln!(text, "=== failed\n{} {:?}", failure.code(), failure.billed).unwrap();
        let error = ErrorBody {
            status: StatusCode::BAD_GATEWAY,
            error_type: None,
            code: failure.code(),
            message: "the provider refused",
            param: None,
            tollgate: None,
            request_id: "req_1",
        };
        let body = if failure.passes_through() {
            fs::read(folder.join("response.json")).unwrap().into()
        } else {
            matched.dialect.error_body(&error)
        };
        writeln!(text, "{}", String::from_utf8_lossy(&body).trim_end()).unwrap();
        return text;
    }
    let streamed = folder.join("response.sse");
    let (shape, answer) = if streamed.exists() {
        (AnswerShape::Stream, fs::read(streamed).unwrap())
    } else {
        (AnswerShape::Whole, fs::read(folder.join("response.json")).unwrap())
    };
    let bounds = facts.as_ref().map_or(crate::Bounds::NONE, RequestFacts::bounds);
    let plan = MeterPlan { usage_chunk: outbound.usage_chunk, bounds };
    let mut meter = provider.meter(matched.operation, shape, plan);
    let mut passed = Vec::new();
    let mut out = |bytes: Bytes| passed.extend_from_slice(&bytes);
    for chunk in answer.chunks(50) {
        meter.push(&Bytes::copy_from_slice(chunk), &mut out);
    }
    let seen = meter.finish(End::Clean, &mut out);
    writeln!(text, "=== read").unwrap();
    write_reading(&mut text, &seen);
    let passed = if passed == answer { "(unchanged)\n".into() } else { String::from_utf8_lossy(&passed) };
    writeln!(text, "=== passed on\n{passed}").unwrap();
    text
}

#[test]
fn every_golden_case_is_sent_read_and_answered_as_recorded() {
    let mut cases = 0;
    for folder in folders(&golden()) {
        let provider_type = name(&folder).parse().unwrap();
        for case in folders(&folder) {
            cases += 1;
            let mut settings = insta::Settings::clone_current();
            settings.set_snapshot_path(&case);
            settings.set_prepend_module_to_snapshot(false);
            settings.set_omit_expression(true);
            settings.bind(|| insta::assert_snapshot!("expected", played(provider_type, &case)));
        }
    }
    assert!(cases >= 18, "{cases} cases were found");
}
