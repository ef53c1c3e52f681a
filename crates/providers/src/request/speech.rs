//! What a request for speech says that decides what it may cost: the characters to be spoken.

use std::borrow::Cow;

use super::{Members, RequestError};
use crate::json::Raw;
use crate::operation::Operation;

/// Tokens of sound for each character, at most: a spoken character takes less than a tenth of a
/// second, four times that at the slowest speed, and a second has 20 tokens.
pub(super) const TOKENS_PER_CHARACTER: u64 = 8;

/// How many characters are to be spoken, with those that say how; 0 for what is no speech.
pub(super) fn characters(operation: Operation, members: &Members<'_>) -> Result<u64, RequestError> {
    if operation != Operation::Speech {
        return Ok(0);
    }
    let input = text(members.input, "input")?.ok_or(RequestError::Missing("input"))?;
    let instructions = text(members.instructions, "instructions")?.unwrap_or_default();
    let count = input
        .chars()
        .count()
        .saturating_add(instructions.chars().count());
    Ok(u64::try_from(count).unwrap_or(u64::MAX))
}

#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn text<'a>(raw: Raw<'a>, param: &'static str) -> Result<Option<Cow<'a, str>>, RequestError> {
    let Some(text) = raw.present() else {
        return Ok(None);
    };
    match serde_json::from_str::<Text<'a>>(text) {
        Ok(text) => Ok(Some(text.0)),
        Err(_) => Err(RequestError::Wrong {
            param,
            expected: "a text",
        }),
    }
}
