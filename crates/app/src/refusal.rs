//! The HTTP status of a refusal: the control plane tells of a call what the gateway would tell it.

use http::StatusCode;
use tollgate_core::verdict::ReasonCode;

/// The status that a call is refused with for this reason.
#[must_use]
pub const fn status_of(code: ReasonCode) -> StatusCode {
    match code {
        ReasonCode::IntegrationNotFound => StatusCode::NOT_FOUND,
        ReasonCode::BudgetExceeded | ReasonCode::TokenLimitExceeded => StatusCode::PAYMENT_REQUIRED,
        ReasonCode::BudgetHeld | ReasonCode::RateLimitExceeded => StatusCode::TOO_MANY_REQUESTS,
        ReasonCode::LimitsUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        ReasonCode::IntegrationNotEnabled
        | ReasonCode::IntegrationDisabled
        | ReasonCode::IntegrationError
        | ReasonCode::CredentialsInvalid
        | ReasonCode::ProviderUnreachable
        | ReasonCode::PriceUnknown
        | ReasonCode::BudgetWarning
        | ReasonCode::TokenWarning
        | ReasonCode::AllChecksPassed => StatusCode::FORBIDDEN,
    }
}
