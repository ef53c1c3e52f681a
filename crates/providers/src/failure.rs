//! What went wrong at a provider, and whether the call can have cost something all the same.

use http::StatusCode;

/// The kind of a provider's failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// It refused the stored credential: the caller's own key is fine.
    CredentialRefused,
    /// It knows the stored credential, which may not do this.
    AccessDenied,
    /// Too many requests of this account.
    RateLimited,
    /// Too many requests of everyone.
    Overloaded,
    /// The request is at fault.
    BadRequest,
    /// No such model or path.
    NotFound,
    /// The request is too large.
    TooLarge,
    /// No answer in time.
    Timeout,
    /// It pointed elsewhere, where no credential is sent.
    Redirect,
    /// It failed.
    ServerError,
}

/// Whether a failed call can have cost something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Billed {
    /// It cannot.
    No,
    /// It can: the provider may have done the work before something failed.
    Maybe,
}

/// A failure of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Failure {
    /// What kind it is.
    pub kind: FailureKind,
    /// Whether the call can have cost something.
    pub billed: Billed,
}

impl Failure {
    /// What an answer's status means; nothing for a success.
    ///
    /// A provider does not charge for what it answers with an error of its own. Timeouts and bad
    /// gateways are answers of something before it, behind which the work may have been done.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Option<Self> {
        let kind = match status.as_u16() {
            200..300 => return None,
            300..400 => FailureKind::Redirect,
            401 | 403 => FailureKind::CredentialRefused,
            404 | 405 => FailureKind::NotFound,
            408 | 504 | 522 | 524 => FailureKind::Timeout,
            413 => FailureKind::TooLarge,
            429 => FailureKind::RateLimited,
            503 | 529 => FailureKind::Overloaded,
            400..500 => FailureKind::BadRequest,
            _ => FailureKind::ServerError,
        };
        let between = kind == FailureKind::Timeout || matches!(status.as_u16(), 499 | 502 | 520);
        Some(Self {
            kind,
            billed: if between { Billed::Maybe } else { Billed::No },
        })
    }

    /// The code that stands in the ledger.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self.kind {
            FailureKind::CredentialRefused => "upstream_auth_failed",
            FailureKind::AccessDenied => "upstream_access_denied",
            FailureKind::RateLimited => "upstream_rate_limited",
            FailureKind::Overloaded => "upstream_overloaded",
            FailureKind::BadRequest => "upstream_bad_request",
            FailureKind::NotFound => "upstream_not_found",
            FailureKind::TooLarge => "upstream_too_large",
            FailureKind::Timeout => "upstream_timeout",
            FailureKind::Redirect => "upstream_redirect",
            FailureKind::ServerError => "upstream_error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_meaning() {
        let table = [
            (302, "upstream_redirect", Billed::No),
            (400, "upstream_bad_request", Billed::No),
            (401, "upstream_auth_failed", Billed::No),
            (404, "upstream_not_found", Billed::No),
            (408, "upstream_timeout", Billed::Maybe),
            (413, "upstream_too_large", Billed::No),
            (429, "upstream_rate_limited", Billed::No),
            (500, "upstream_error", Billed::No),
            (502, "upstream_error", Billed::Maybe),
            (503, "upstream_overloaded", Billed::No),
            (504, "upstream_timeout", Billed::Maybe),
            (529, "upstream_overloaded", Billed::No),
        ];
        for (status, code, billed) in table {
            let failure = Failure::of_status(StatusCode::from_u16(status).unwrap()).unwrap();
            assert_eq!((failure.code(), failure.billed), (code, billed), "{status}");
        }
        assert_eq!(Failure::of_status(StatusCode::CREATED), None);
    }
}
