//! Bedrock's chat for models of all makers, on the provider's side of a translation.

mod read_answer;
mod write_request;

pub(super) use read_answer::Reader;
pub(super) use write_request::write;
