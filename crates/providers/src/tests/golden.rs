//! Golden cases: `golden/<provider>/<case>/` holds a caller's `request.json`, the settings in
//! `case.json`, the provider's `response.json`, `response.sse` or `response.frames` (a line for each
//! frame: its event or `!` and its exception, and its payload), and in `expected.snap` what we
//! hold, what we send, what we read, and what the caller gets. A new case is recorded by running
//! the test with `INSTA_UPDATE=always`, and then read.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde::Deserialize;
use tollgate_core::Nanos;
use tollgate_core::config::IntegrationConfig;
use tollgate_core::price::book::PriceBook;
use tollgate_core::price::fees::Tariff;
use tollgate_core::price::{ModelPrices, Rates};

use super::*;
use crate::eventstream;
use crate::{
    AnswerShape, BatchResults, Bounds, End, ErrorBody, Failure, FailureKind, Matched, MeterPlan,
    Observed,
};

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Case {
    method: String,
    path: String,
    model: Option<String>,
    status: u16,
    query: Option<String>,
    /// Of the provider's answer.
    headers: BTreeMap<String, String>,
    config: IntegrationConfig,
    /// Prices of the model, from which the case's cost was worked out by hand.
    rates: Option<Rates>,
    /// The provider's total of all tokens.
    total: Option<u64>,
    /// The cost, in nano-dollars.
    cost_nanos: Option<i64>,
    /// How it was worked out.
    worked: Option<String>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            method: "POST".to_owned(),
            path: String::new(),
            model: None,
            status: 200,
            query: None,
            headers: BTreeMap::new(),
            config: IntegrationConfig::default(),
            rates: None,
            total: None,
            cost_nanos: None,
            worked: None,
        }
    }
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(of)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|it| it.is_dir())
        .collect();
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

static BOOK: LazyLock<PriceBook> = LazyLock::new(|| PriceBook::bundled().unwrap());

/// The prices of a model at its provider, at the bundled prices.
fn prices(played: &Played, model: &str) -> Arc<ModelPrices> {
    let provider_type = played.provider.describe().provider_type;
    let model = played.case.config.deployed(model);
    let at = "2026-11-01T00:00:00Z".parse().unwrap();
    BOOK.find(provider_type, model, at).unwrap()
}

/// What a feature costs is worked out by hand in the case: at the bundled prices, or at prices that
/// it names.
fn write_cost(text: &mut String, seen: &Observed, played: &Played) {
    let case = &played.case;
    let Some(expected) = case.cost_nanos else {
        return;
    };
    let (total, cost) = match &seen.results {
        Some(results) => cost_of_batch(results, played),
        None => cost_of_call(seen, played),
    };
    assert_eq!(Some(total), case.total, "the classes are not the total");
    assert_eq!(cost.get(), expected, "{:?}", case.worked);
    writeln!(text, "cost: {cost} = {}", case.worked.as_deref().unwrap()).unwrap();
}

fn cost_of_call(seen: &Observed, played: &Played) -> (u64, Nanos) {
    let usage = seen.usage.expect("no usage was read");
    let asks_for_flex = played
        .facts
        .as_ref()
        .is_some_and(RequestFacts::asks_for_flex);
    let tariff = if seen.halved && asks_for_flex {
        Tariff::Half
    } else {
        Tariff::Usual
    };
    let rates = played.case.rates.unwrap_or_else(|| {
        let asked = played.facts.as_ref().and_then(RequestFacts::model);
        let models = [
            seen.model.as_deref(),
            played.case.model.as_deref(),
            asked.map(AsRef::as_ref),
            played.matched.model.as_deref(),
        ];
        let model = models.into_iter().flatten().next().unwrap();
        let model = played.provider.booked(model);
        prices(played, model).pin_for(&usage, tariff).rates
    });
    let cost = rates.cost(&usage).unwrap();
    let cost = cost.plus(rates.fees(&seen.tools).unwrap()).unwrap();
    (usage.total(), cost)
}

fn cost_of_batch(results: &BatchResults, played: &Played) -> (u64, Nanos) {
    let costs = results.used.iter().map(|used| {
        let prices = prices(played, &used.model);
        let rates = prices.pin_for(&used.tokens, Tariff::Half).rates;
        (used.tokens.total(), rates.cost(&used.tokens).unwrap())
    });
    costs.fold((0, Nanos::ZERO), |(tokens, sum), (more, cost)| {
        (tokens + more, sum.plus(cost).unwrap())
    })
}

fn write_more(text: &mut String, seen: &Observed) {
    if !seen.tools.is_none() {
        let tools = serde_json::to_string(&seen.tools).unwrap();
        writeln!(text, "tools: {tools}").unwrap();
    }
    if let Some(id) = &seen.pending {
        writeln!(text, "pending: {id}").unwrap();
    }
    if seen.halved {
        writeln!(text, "at half price").unwrap();
    }
    if seen.unreported {
        writeln!(text, "usage is not told").unwrap();
    }
    if let Some(results) = &seen.results {
        for used in &results.used {
            let tokens = serde_json::to_string(&used.tokens).unwrap();
            writeln!(text, "batch: {} × {} {tokens}", used.calls, used.model).unwrap();
        }
        let mark = results
            .mark
            .map_or("none".to_owned(), |mark| format!("{mark:032x}"));
        writeln!(text, "unread: {}, mark: {mark}", results.unread).unwrap();
    }
}

fn write_reading(text: &mut String, seen: &Observed) {
    writeln!(
        text,
        "=== read\nusage: {}",
        serde_json::to_string(&seen.usage).unwrap()
    )
    .unwrap();
    writeln!(
        text,
        "input: {}",
        serde_json::to_string(&seen.input).unwrap()
    )
    .unwrap();
    writeln!(text, "counted output: {}", seen.counted_output).unwrap();
    writeln!(text, "model: {}", seen.model.as_deref().unwrap_or("-")).unwrap();
    writeln!(
        text,
        "complete: {}, finished: {}",
        seen.complete, seen.finish_seen
    )
    .unwrap();
    writeln!(
        text,
        "error: {}, invalid: {:?}",
        seen.error_seen, seen.invalid_usage
    )
    .unwrap();
}

/// A case, and what its request was read as.
struct Played {
    case: Case,
    folder: PathBuf,
    provider: &'static dyn Provider,
    matched: Matched<'static>,
    request: Option<Bytes>,
    facts: Option<RequestFacts>,
}

impl Played {
    fn open(provider_type: CusProviderType, folder: &Path) -> Self {
        let case: Case =
            serde_json::from_slice(&fs::read(folder.join("case.json")).unwrap()).unwrap();
        let method = case.method.parse().unwrap();
        let matched = Operation::route(&method, &case.path, &HeaderMap::new()).unwrap();
        let matched = Matched {
            operation: matched.operation,
            face: matched.face,
            model: matched.model.map(|model| model.into_owned().into()),
            thing: matched.thing.map(|thing| thing.into_owned().into()),
        };
        let request = fs::read(folder.join("request.json")).map(Bytes::from).ok();
        let facts = request
            .as_ref()
            .map(|body| RequestFacts::read(matched.operation, body).unwrap());
        let provider = registry::of(provider_type, &case.config).unwrap();
        Self {
            case,
            folder: folder.to_owned(),
            provider,
            matched,
            request,
            facts,
        }
    }

    fn outbound(&self) -> Outbound {
        let config = &self.case.config;
        let in_body = self.facts.as_ref().and_then(RequestFacts::model);
        let asked = self.matched.model.as_deref().or(in_body.map(AsRef::as_ref));
        let model = self
            .case
            .model
            .as_deref()
            .or(asked.map(|model| config.model(model)));
        let secret = secret_of(self.provider);
        let prepared = self.provider.prepare(&PrepareCall {
            operation: self.matched.operation,
            face: self.matched.face,
            now: now(),
            call_id: &"call-1".parse::<CallId>().unwrap(),
            headers: &HeaderMap::new(),
            query: self.case.query.as_deref(),
            endpoint: &self
                .provider
                .endpoint(config, &UrlPolicy::default())
                .unwrap(),
            config,
            credential: Some(&secret),
            model,
            thing: self.matched.thing.as_deref(),
            prices: None,
            body: self.request.as_ref().zip(self.facts.as_ref()),
        });
        prepared.unwrap()
    }

    /// What is held and sent, and what becomes of the answer.
    fn text(&self) -> String {
        let mut text = String::new();
        if let Some(facts) = &self.facts {
            let worst = facts.ask(&self.case.config, None).unwrap().worst;
            writeln!(
                text,
                "=== held\nin {}, out {}",
                worst.tokens_in(),
                worst.tokens_out()
            )
            .unwrap();
        }
        let outbound = self.outbound();
        writeln!(text, "=== sent\n{} {}", outbound.method, outbound.uri).unwrap();
        write_headers(&mut text, &outbound.headers);
        let body = String::from_utf8(outbound.body.into_pieces().concat()).unwrap();
        writeln!(text, "\n{}", body.trim_end()).unwrap();
        let status = StatusCode::from_u16(self.case.status).unwrap();
        match self.provider.classify(status, &self.answer_headers()) {
            Some(failure) => self.write_failure(&mut text, failure),
            None => self.write_answer(&mut text, outbound.usage_chunk),
        }
        text
    }

    fn answer_headers(&self) -> HeaderMap {
        let headers = self.case.headers.iter();
        let pairs = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        pairs.collect()
    }

    /// The shape of the answer, and its bytes.
    fn answer(&self) -> (AnswerShape, Vec<u8>) {
        let file = |name| fs::read(self.folder.join(name));
        if let Ok(answer) = file("response.sse") {
            (AnswerShape::Stream, answer)
        } else if let Ok(lines) = file("response.frames") {
            (
                AnswerShape::Frames,
                frames(&String::from_utf8(lines).unwrap()),
            )
        } else if let Ok(lines) = file("response.jsonl") {
            (AnswerShape::Whole, lines)
        } else {
            (AnswerShape::Whole, file("response.json").unwrap())
        }
    }

    fn write_failure(&self, text: &mut String, failure: Failure) {
        let is_ours = matches!(
            failure.kind,
            FailureKind::CredentialRefused | FailureKind::Redirect
        );
        let body = if is_ours {
            self.matched.dialect().error_body(&ErrorBody {
                status: StatusCode::BAD_GATEWAY,
                error_type: None,
                code: failure.code(),
                message: "the provider refused",
                param: None,
                tollgate: None,
                request_id: "req_1",
            })
        } else {
            fs::read(self.folder.join("response.json")).unwrap().into()
        };
        writeln!(text, "=== failed\n{} {:?}", failure.code(), failure.billed).unwrap();
        writeln!(text, "{}", String::from_utf8_lossy(&body).trim_end()).unwrap();
    }

    fn write_answer(&self, text: &mut String, usage_chunk: UsageChunk) {
        let (shape, answer) = self.answer();
        let bounds = self
            .facts
            .as_ref()
            .map_or(Bounds::NONE, |facts| facts.bounds(&self.case.config, None));
        let plan = MeterPlan {
            usage_chunk,
            bounds,
        };
        let mut meter = self.provider.meter(self.matched.operation, shape, plan);
        meter.head(&self.answer_headers());
        let mut passed = Vec::new();
        let mut out = |bytes: Bytes| passed.extend_from_slice(&bytes);
        for chunk in answer.chunks(50) {
            meter.push(&Bytes::copy_from_slice(chunk), &mut out);
        }
        let seen = meter.finish(End::Clean, &mut out);
        write_reading(text, &seen);
        write_more(text, &seen);
        write_cost(text, &seen, self);
        let shown = String::from_utf8_lossy(&passed);
        let passed = if passed == answer {
            "(unchanged)"
        } else {
            &shown
        };
        writeln!(text, "=== passed on\n{passed}").unwrap();
    }
}

/// An answer that is recorded, and how it is read.
pub(super) struct Recorded {
    pub(super) case: PathBuf,
    pub(super) provider: &'static dyn Provider,
    pub(super) operation: Operation,
    pub(super) shape: AnswerShape,
    pub(super) answer: Vec<u8>,
    /// Of the request that it answers.
    pub(super) usage_chunk: UsageChunk,
}

/// The answers that are recorded and passed on.
pub(super) fn recorded_answers() -> Vec<Recorded> {
    let mut recorded = Vec::new();
    for folder in folders(&golden()) {
        let provider_type = name(&folder).parse().unwrap();
        for case in folders(&folder) {
            let played = Played::open(provider_type, &case);
            let status = StatusCode::from_u16(played.case.status).unwrap();
            let headers = played.answer_headers();
            if played.provider.classify(status, &headers).is_some() {
                continue;
            }
            let (shape, answer) = played.answer();
            recorded.push(Recorded {
                provider: played.provider,
                operation: played.matched.operation,
                shape,
                answer,
                usage_chunk: played.outbound().usage_chunk,
                case,
            });
        }
    }
    recorded
}

/// Binary frames from their lines.
pub(crate) fn frames(lines: &str) -> Vec<u8> {
    lines.lines().flat_map(frame_of).collect()
}

fn frame_of(line: &str) -> Vec<u8> {
    let (name, payload) = line.split_once(' ').unwrap();
    let exception = name.strip_prefix('!');
    let (kind, message) = match exception {
        Some(_) => (":exception-type", "exception"),
        None => (":event-type", "event"),
    };
    let headers = [
        (kind, exception.unwrap_or(name)),
        (":content-type", "application/json"),
        (":message-type", message),
    ];
    if name == "chunk" {
        let bytes = STANDARD.encode(payload);
        let payload = format!(r#"{{"bytes":"{bytes}","p":"abcd"}}"#);
        return eventstream::frame(&headers, payload.as_bytes());
    }
    eventstream::frame(&headers, payload.as_bytes())
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
            settings.bind(|| {
                insta::assert_snapshot!("expected", Played::open(provider_type, &case).text());
            });
        }
    }
    assert!(cases >= 70, "{cases} cases were found");
}
