//! What goes back to the caller: the body's three forms, and the headers that every answer has.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tollgate_app::directory::Integration;
use tollgate_core::verdict::Verdict;
use tollgate_core::{CallId, Moment, Nanos};
use tollgate_providers::{Dialect, ErrorBody};

use crate::error::{Refused, Retry};
use crate::exchange::Gateway;
use crate::ink::Ink;
use crate::phase::relay::{Broken, Relay};
use crate::timing::Timing;

/// The most characters of a request id that is taken from a caller.
const REQUEST_ID_CHARS_MAX: usize = 128;

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Pieces that are all there.
    Whole(std::collections::VecDeque<Bytes>),
    /// Pieces as the provider sends them.
    Relayed(Box<Relay>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole(pieces) => {
                Poll::Ready(pieces.pop_front().map(|piece| Ok(Frame::data(piece))))
            }
            Self::Relayed(relay) => relay
                .poll_piece(cx)
                .map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(pieces) if pieces.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(pieces) => {
                let bytes: usize = pieces.iter().map(Bytes::len).sum();
                SizeHint::with_exact(u64::try_from(bytes).unwrap_or(u64::MAX))
            }
            Self::Relayed(_) => SizeHint::default(),
        }
    }
}

/// Where an answer is written: gathers what must stand on it while the phases go on.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) now: Moment,
    pub(crate) dialect: Dialect,
    pub(crate) request_id: HeaderValue,
    call_id: Option<HeaderValue>,
    /// What the answer's headers are written with.
    ink: Ink,
    verdict: Option<Verdict>,
    /// Whether all of the request's body was read before it was decided on.
    pub(crate) has_whole_body: bool,
    integration: Option<Arc<Integration>>,
    pub(crate) timing: Timing,
    /// Which attempt of the call is under way, where there may be several.
    pub(crate) tries: Option<u32>,
}

/// Who speaks in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Gateway,
    Provider,
}

impl Origin {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Provider => "provider",
        }
    }

    /// Whether an answer says that it is of this origin.
    pub(crate) fn stands_on(self, headers: &HeaderMap) -> bool {
        headers
            .get(ORIGIN)
            .is_some_and(|value| value == self.as_str())
    }
}

impl Desk {
    pub(crate) fn open(gateway: &Gateway, headers: &HeaderMap) -> Self {
        let mut ink = Ink::new();
        Self {
            now: gateway.app.now(),
            dialect: Dialect::OpenAi,
            request_id: request_id(headers, &mut ink),
            call_id: None,
            ink,
            verdict: None,
            has_whole_body: false,
            integration: None,
            timing: Timing::start(),
            tries: None,
        }
    }

    /// Notes through which integration the call goes, for the rate headers.
    pub(crate) fn goes_through(&mut self, integration: &Arc<Integration>) {
        self.integration = Some(Arc::clone(integration));
    }

    /// Notes how the decision went.
    pub(crate) fn admitted(&mut self, call_id: &CallId, verdict: Verdict) {
        self.call_id = self.ink.text(call_id.as_str()).value();
        self.verdict = Some(verdict);
    }

    /// The call's id as text, once it was admitted.
    pub(crate) fn call_id(&self) -> &str {
        let call_id = self.call_id.as_ref();
        call_id.and_then(|id| id.to_str().ok()).unwrap_or_default()
    }

    /// The request's id as text.
    pub(crate) fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// The answer to a call that Tollgate itself refuses.
    pub(crate) fn refuse(&mut self, refused: &Refused) -> Response<Answer> {
        let refused = &refused.0;
        let body = self.dialect.error_body(&ErrorBody {
            status: refused.status,
            error_type: refused.error_type,
            code: refused.code,
            message: &refused.message,
            param: refused.param.as_deref(),
            tollgate: Some(&refused.detail),
            request_id: self.request_id(),
        });
        let mut answer = Response::new(Answer::Whole([body].into()));
        *answer.status_mut() = match refused.retry {
            Retry::Never => self.dialect.final_status(refused.status),
            Retry::ByStatus | Retry::After(_) => refused.status,
        };
        let headers = answer.headers_mut();
        if let Some(name) = self.dialect.error_header() {
            let class = self.dialect.error_type(refused.status);
            headers.insert(name, HeaderValue::from_static(class));
            headers.insert("x-tollgate-code", HeaderValue::from_static(refused.code));
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match refused.retry {
            Retry::ByStatus => {}
            Retry::Never => {
                headers.insert("x-should-retry", HeaderValue::from_static("false"));
            }
            Retry::After(millis) => {
                let seconds = millis.saturating_add(999).div_euclid(1_000).clamp(1, 60);
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
                headers.insert("retry-after-ms", HeaderValue::from(millis.clamp(1, 60_000)));
            }
        }
        if refused.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        self.dress(headers, Origin::Gateway);
        answer
    }

    /// Puts on an answer what every answer has.
    pub(crate) fn dress(&mut self, headers: &mut HeaderMap, origin: Origin) {
        headers.insert(X_REQUEST_ID, self.request_id.clone());
        headers.insert(REQUEST_ID, self.request_id.clone());
        if self.dialect == Dialect::Bedrock {
            headers.insert("x-amzn-requestid", self.request_id.clone());
        }
        if let Some(call_id) = &self.call_id {
            headers.insert(CALL_ID, call_id.clone());
        }
        if let Some(verdict) = self.verdict {
            headers.insert(VERDICT, HeaderValue::from_static(verdict.as_str()));
        }
        headers.insert(ORIGIN, HeaderValue::from_static(origin.as_str()));
        self.attempt_headers(headers);
        self.rate_headers(headers);
        self.timing.put_on(headers, &mut self.ink);
    }

    /// Says what a whole answer cost.
    pub(crate) fn price(&mut self, headers: &mut HeaderMap, cost: Nanos) {
        let nanos = u64::try_from(cost.get()).unwrap_or(0);
        if let Some(cost) = self.ink.decimal(nanos, 9).value() {
            headers.insert(COST, cost);
        }
    }

    /// Which integration answers, and after how many attempts, where that is not clear.
    fn attempt_headers(&self, headers: &mut HeaderMap) {
        let Some(tries) = self.tries else { return };
        headers.insert("x-tollgate-attempts", HeaderValue::from(tries));
        let id = self.integration.as_ref().map(|one| one.id.to_string());
        if let Some(id) = id.and_then(|id| HeaderValue::try_from(id).ok()) {
            headers.insert("x-tollgate-integration", id);
        }
    }

    fn rate_headers(&mut self, headers: &mut HeaderMap) {
        let rate = self
            .integration
            .as_ref()
            .and_then(|integration| integration.rate(self.now));
        let Some(rate) = rate else { return };
        let (limit, remaining) = match self.dialect {
            Dialect::OpenAi | Dialect::Bedrock => (RATE_LIMIT, RATE_REMAINING),
            Dialect::Anthropic => (ANTHROPIC_RATE_LIMIT, ANTHROPIC_RATE_REMAINING),
        };
        for (name, calls) in [(limit, rate.limit_rpm), (remaining, rate.remaining)] {
            let calls = u64::try_from(calls).unwrap_or(0);
            if let Some(calls) = self.ink.decimal(calls, 0).value() {
                headers.insert(name, calls);
            }
        }
    }
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const CALL_ID: HeaderName = HeaderName::from_static("x-tollgate-call-id");
/// What a whole answer cost.
const COST: HeaderName = HeaderName::from_static("x-tollgate-cost-usd");
const VERDICT: HeaderName = HeaderName::from_static("x-tollgate-verdict");
const ORIGIN: HeaderName = HeaderName::from_static("x-tollgate-origin");
const RATE_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
const RATE_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const ANTHROPIC_RATE_LIMIT: HeaderName =
    HeaderName::from_static("anthropic-ratelimit-requests-limit");
const ANTHROPIC_RATE_REMAINING: HeaderName =
    HeaderName::from_static("anthropic-ratelimit-requests-remaining");

/// The caller's own request id where it is harmless, else a new one. It is written anew, so that it
/// does not hold on to the buffer of the caller's connection.
fn request_id(headers: &HeaderMap, ink: &mut Ink) -> HeaderValue {
    let harmless = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        !bytes.is_empty() && bytes.len() <= REQUEST_ID_CHARS_MAX && bytes.iter().all(allowed)
    };
    let own = headers.get(X_REQUEST_ID).filter(harmless);
    match own.and_then(|own| own.to_str().ok()) {
        Some(own) => ink.text(own),
        None => ink.text("req_").text(&cus_models::generate_uuid()),
    }
    .value()
    .unwrap_or_else(|| HeaderValue::from_static("req"))
}
