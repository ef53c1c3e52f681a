//! Names and ids in paths: taken out where a path fits, and put in where one is written.

use std::borrow::Cow;

use super::shape::{ID, MODEL};
use crate::request::MODEL_MAX;

/// The longest id of something that a provider keeps, in bytes.
const ID_MAX: usize = 256;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named<'p> {
    /// Nothing.
    Nothing,
    /// Something that the provider keeps.
    Thing(&'p str),
    /// A model, decoded.
    Model(Cow<'p, str>),
}

/// What stands before and after the id in paths like `pattern`; none where there is no id.
pub(super) fn split_at_id(pattern: &str) -> Option<(&str, &str)> {
    // Most have none, and a search for a text would have to be begun.
    if pattern.as_bytes().contains(&b'{') {
        pattern.split_once(ID)
    } else {
        None
    }
}

/// What a path names if it is like `pattern`; none when it is another.
pub(super) fn fits<'p>(pattern: &str, path: &'p str) -> Option<Named<'p>> {
    if let Some(before) = pattern.strip_suffix(MODEL) {
        return model_id(path.strip_prefix(before)?).map(Named::Model);
    }
    let Some((before, after)) = split_at_id(pattern) else {
        return (pattern == path).then_some(Named::Nothing);
    };
    let id = path.strip_prefix(before)?.strip_suffix(after)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let is_id = !id.is_empty()
        && id.len() <= ID_MAX
        && id.bytes().all(plain)
        && id.bytes().any(|byte| byte != b'.');
    is_id.then_some(Named::Thing(id))
}

/// A model's id out of a path: no empty, `.` or `..` segment, decoded or not, and nothing that
/// an id has no use for.
pub(super) fn model_id(encoded: &str) -> Option<Cow<'_, str>> {
    let id = decoded(encoded)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-@+/ ".contains(&byte);
    let whole = id
        .split('/')
        .all(|segment| !matches!(segment, "" | "." | ".."));
    (whole && id.len() <= MODEL_MAX && id.bytes().all(plain)).then_some(id)
}

/// Undoes percent-encoding once; none when it is not well-formed.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(high.checked_mul(16)?.checked_add(low)?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// A model's id as one segment of a path.
pub(crate) fn push_encoded(path: &mut String, id: &str) {
    push_encoded_but(path, id, b"._-~:@");
}

/// The same with every reserved letter encoded, also where a segment could have it: what is signed
/// for AWS depends on how it is sent.
pub(crate) fn push_reserved_encoded(path: &mut String, id: &str) {
    push_encoded_but(path, id, b"._-~");
}

fn push_encoded_but(path: &mut String, id: &str, plain: &[u8]) {
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push('%');
            for digit in [byte >> 4, byte & 15] {
                path.extend(
                    char::from_digit(u32::from(digit), 16).map(|it| it.to_ascii_uppercase()),
                );
            }
        }
    }
}
