//! How a form fares on its way: said by whoever takes its pieces, asked by whoever waits for the
//! provider's answer.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use tokio::time::Instant;
use tollgate_providers::RequestError;

use crate::config::GatewayConfig;
use crate::error::Refused;

/// Why a form does not come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its caller went away, or framed it otherwise than its head says.
    Gone,
    /// Nothing of it came for too long, or it took too long altogether.
    TooSlow,
    /// It is larger than is taken.
    TooLarge,
    /// It cannot be read, or says what does not fit with what was decided on.
    Form(RequestError),
    /// There is no room to keep it, or it cannot be read again.
    NotKept,
}

/// How much of a form may have reached the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// Not its end: no provider has read a form that it could work on.
    Part,
    /// All that matters of it.
    Whole,
}

/// How a form fares on its way.
#[derive(Debug, Default)]
pub(crate) struct Passage {
    is_closed: AtomicBool,
    fault: OnceLock<Fault>,
    ended_at: OnceLock<Instant>,
}

impl Passage {
    /// The form's last boundary leaves now: from here on the provider may know all of it.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// Its last byte leaves now.
    pub(super) fn end(&self) {
        self.ended_at.get_or_init(Instant::now);
    }

    /// It breaks off; the first reason stands.
    pub(super) fn halt(&self, fault: Fault) {
        self.fault.get_or_init(|| fault);
    }

    /// Whether the provider may know all of the form.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// When its last byte left, if it has.
    pub(crate) fn ended_at(&self) -> Option<Instant> {
        self.ended_at.get().copied()
    }

    /// Why it broke off, if it did.
    pub(crate) fn fault(&self) -> Option<&Fault> {
        self.fault.get()
    }
}

impl Passage {
    /// How far it had come when it broke off, if it did.
    pub(crate) fn halted(&self) -> Option<Reached> {
        let reached = if self.is_closed() {
            Reached::Whole
        } else {
            Reached::Part
        };
        self.fault().map(|_| reached)
    }
}

impl From<RequestError> for Fault {
    fn from(error: RequestError) -> Self {
        Self::Form(error)
    }
}

impl Fault {
    /// What the caller is told.
    pub(crate) fn refused(&self, config: &GatewayConfig) -> Refused {
        match self {
            Self::Gone => Refused::new(
                StatusCode::BAD_REQUEST,
                "body_incomplete",
                "the request's body ended early, or is not framed as its head says".to_owned(),
            ),
            Self::TooSlow => Refused::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_timeout",
                format!(
                    "nothing of the request's body came for {} seconds, or not all of it within {}",
                    config.upload_idle_seconds, config.upload_seconds
                ),
            )
            .never_again(),
            Self::TooLarge => Refused::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "request_too_large",
                format!(
                    "the request's body is larger than {} bytes",
                    config.upload_bytes_max
                ),
            ),
            Self::Form(error) => Refused::request(error),
            Self::NotKept => Refused::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "spool_unavailable",
                "this node has no room on its disk to keep the form until it can be decided on; \
                 send the field `model` before the file, with a content-length, or try again"
                    .to_owned(),
            )
            .after_millis(2_000),
        }
    }
}
