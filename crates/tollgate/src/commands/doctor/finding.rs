//! What one check of the doctor found.

use serde_json::{Value, json};

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// As it should be.
    Well,
    /// It works, and is weaker than it could be.
    Weak,
    /// It does not work.
    Failing,
    /// It could not be looked at.
    Skipped,
}

impl State {
    /// The word for it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Weak => "weak",
            Self::Failing => "failing",
            Self::Skipped => "skipped",
        }
    }
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) state: State,
    pub(super) detail: String,
}

impl Finding {
    pub(super) fn well(check: &'static str, detail: impl Into<String>) -> Self {
        Self {
            check,
            state: State::Well,
            detail: detail.into(),
        }
    }

    pub(super) fn weak(check: &'static str, detail: impl Into<String>) -> Self {
        Self {
            check,
            state: State::Weak,
            detail: detail.into(),
        }
    }

    pub(super) fn failing(check: &'static str, detail: impl Into<String>) -> Self {
        Self {
            check,
            state: State::Failing,
            detail: detail.into(),
        }
    }

    pub(super) fn skipped(check: &'static str, detail: impl Into<String>) -> Self {
        Self {
            check,
            state: State::Skipped,
            detail: detail.into(),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({ "check": self.check, "state": self.state.as_str(), "detail": self.detail })
    }
}
