//! OpenAI's chat, on either side of a translation.

mod read_answer;
mod read_request;
mod write_answer;
mod write_request;

use serde::Serialize;

pub(super) use read_answer::Reader;
pub(super) use read_request::read;
pub(super) use write_answer::Writer;
pub(super) use write_request::write;

/// A call of a tool, as a message of the assistant's has it on either side.
#[derive(Serialize)]
struct ToolCall<'c> {
    id: &'c str,
    r#type: &'static str,
    function: FunctionCall<'c>,
}

#[derive(Serialize)]
struct FunctionCall<'c> {
    name: &'c str,
    arguments: &'c str,
}
