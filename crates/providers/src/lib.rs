//! How they speak: one file a provider; bytes in, bytes out.
//!
//! Nothing here reads or writes a socket. A request is read into [`RequestFacts`], a [`Provider`]
//! turns it into an [`Outbound`], a [`Meter`] looks on while the answer passes, and a provider's
//! refusal is put into the words of [`Failure`]. Nothing outside this crate knows a provider's
//! URLs, headers or field names, and nothing here trusts what it reads: parsers do not index,
//! do not recurse on foreign depth and do not wrap.
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::as_conversions,
        clippy::arithmetic_side_effects
    )
)]

mod anthropic;
mod azure;
mod bedrock;
mod credential;
mod custom;
mod dialect;
mod edit;
mod eventstream;
mod face;
mod failure;
mod forwarding;
mod json;
mod meter;
mod multipart;
mod openai;
mod operation;
mod probe;
mod provider;
pub mod registry;
mod request;
mod sse;
mod translate;
mod url;

pub use credential::CredentialError;
pub use dialect::{Dialect, ErrorBody};
pub use edit::EditedBody;
pub use face::Face;
pub use failure::{Billed, Failure, FailureKind};
pub use meter::{
    AnswerShape, BatchResults, BatchUsage, End, InvalidUsage, Meter, MeterPlan, Observed,
    UsageChunk,
};
pub use multipart::{Boundary, Form, Scanner};
pub use operation::{Matched, Operation};
pub use provider::{
    ConfigMistake, Description, Field, FieldKind, Outbound, PrepareCall, PrepareError, Presence,
    ProbeCall, Provider,
};
pub use request::{Bounds, RequestError, RequestFacts, Seen};
pub use translate::{Reply, Terms, Translated, Translation, Untold, Untranslatable};
pub use url::{Endpoint, Loopback, Network, NetworkError, UrlError, UrlPolicy};

#[cfg(test)]
mod tests;
