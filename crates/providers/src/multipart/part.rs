//! The head of a part: its name, and whether it is a file.

use crate::request::RequestError;

/// What the head of a part says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'h> {
    /// The name of the field.
    pub(super) name: &'h str,
    /// Whether it has a file's name.
    pub(super) is_file: bool,
}

const BAD_LINE: RequestError =
    RequestError::Form("a part's head has a line that is not `name: value` ended by CR and LF");
const BAD_DISPOSITION: RequestError = RequestError::Form(
    "a part has not exactly one `Content-Disposition: form-data` with one plain `name`, quoted \
     and without escapes",
);
const NESTED: RequestError =
    RequestError::Form("a part has several parts itself: send each file as a part of its own");
const ENCODED: RequestError = RequestError::Form(
    "a part is encoded (`Content-Transfer-Encoding`): send its bytes as they are",
);

impl<'h> Part<'h> {
    /// Reads a head without the empty line after it.
    pub(super) fn read(head: &'h [u8]) -> Result<Self, RequestError> {
        let mut found = None;
        let mut rest = head;
        while !rest.is_empty() {
            let end = memchr::memmem::find(rest, b"\r\n").unwrap_or(rest.len());
            let (line, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = after.get(2..).unwrap_or_default();
            let (name, value) = field(line).ok_or(BAD_LINE)?;
            if name.eq_ignore_ascii_case(b"content-disposition") {
                let part = disposition(value).ok_or(BAD_DISPOSITION)?;
                if found.replace(part).is_some() {
                    return Err(BAD_DISPOSITION);
                }
            } else if name.eq_ignore_ascii_case(b"content-type") {
                let kind = value.get(..10).unwrap_or_default();
                if kind.eq_ignore_ascii_case(b"multipart/") {
                    return Err(NESTED);
                }
            } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
                let plain = [&b"binary"[..], b"8bit", b"7bit"];
                if !plain.iter().any(|it| value.eq_ignore_ascii_case(it)) {
                    return Err(ENCODED);
                }
            }
        }
        found.ok_or(BAD_DISPOSITION)
    }
}

/// A line of a head: a name, a colon, a value without spaces around it. A line that goes on with
/// the one before is none.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    if line.iter().any(is_control) {
        return None;
    }
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = line.split_at_checked(colon)?;
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if name.is_empty() || !name.iter().all(token) {
        return None;
    }
    Some((name, value.get(1..)?.trim_ascii()))
}

/// `form-data; name="…"; filename="…"`, as browsers and libraries write it.
fn disposition(value: &[u8]) -> Option<Part<'_>> {
    const KIND: &[u8] = b"form-data";
    let kind = value.get(..KIND.len())?;
    if !kind.eq_ignore_ascii_case(KIND) {
        return None;
    }
    let (mut name, mut is_file) = (None, [false; 2]);
    let mut rest = value.get(KIND.len()..)?.trim_ascii();
    while !rest.is_empty() {
        rest = rest.strip_prefix(b";")?.trim_ascii_start();
        let (attribute, value, after) = parameter(rest)?;
        rest = after.trim_ascii_start();
        let is_repeated = if attribute.eq_ignore_ascii_case(b"name") {
            name.replace(plain_name(value)?).is_some()
        } else if attribute.eq_ignore_ascii_case(b"filename") {
            std::mem::replace(&mut is_file[0], true)
        } else if attribute.eq_ignore_ascii_case(b"filename*") {
            std::mem::replace(&mut is_file[1], true)
        } else {
            // Another one may be `name*`, or mean something to some reader.
            return None;
        };
        if is_repeated {
            return None;
        }
    }
    Some(Part {
        name: name?,
        is_file: is_file.contains(&true),
    })
}

/// The next parameter: its name, its value without quotes, and what follows.
fn parameter(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let equals = memchr::memchr(b'=', text)?;
    let (name, rest) = text.split_at_checked(equals)?;
    let rest = rest.get(1..)?;
    let Some(quoted) = rest.strip_prefix(b"\"") else {
        let is_end = |byte: &u8| matches!(byte, b';' | b' ' | b'\t');
        let end = rest.iter().position(is_end).unwrap_or(rest.len());
        let (value, after) = rest.split_at_checked(end)?;
        return (!value.contains(&b'"')).then_some((name, value, after));
    };
    let end = memchr::memchr(b'"', quoted)?;
    let (value, after) = quoted.split_at_checked(end)?;
    // To some readers a backslash makes the quote a part of the value, to others it does not.
    let slashes = value
        .iter()
        .rev()
        .take_while(|byte| **byte == b'\\')
        .count();
    let is_plain = slashes.checked_rem(2) == Some(0);
    is_plain.then_some((name, value, after.get(1..)?))
}

/// The name of a field, of which there can be no two opinions.
fn plain_name(value: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(value).ok()?;
    let is_odd = |letter: char| letter.is_control() || matches!(letter, '\\' | '%' | '"');
    (!name.is_empty() && name.trim() == name && !name.contains(is_odd)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<(&str, bool), RequestError> {
        Part::read(head.as_bytes()).map(|part| (part.name, part.is_file))
    }

    #[test]
    fn heads_are_read_as_clients_write_them() {
        for (head, expected) in [
            (
                "Content-Disposition: form-data; name=\"model\"",
                ("model", false),
            ),
            (
                "content-disposition:form-data;name=\"model\"",
                ("model", false),
            ),
            (
                "Content-Disposition: form-data; name=model",
                ("model", false),
            ),
            (
                "Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=model",
                ("model", false),
            ),
            (
                "Content-Disposition: form-data; name=\"file\"; filename=\"a b;c=\\\\d%22.mp3\"\r\nContent-Type: audio/mpeg",
                ("file", true),
            ),
            (
                "Content-Disposition: form-data; name=\"file\"; filename*=utf-8''%e2%82%ac.wav\r\nContent-Transfer-Encoding: BINARY\r\nContent-Length: 5",
                ("file", true),
            ),
            (
                "Content-Disposition: form-data; name=\"timestamp_granularities[]\"",
                ("timestamp_granularities[]", false),
            ),
            (
                "Content-Disposition: form-data; name=\"file\"; filename=\"größe.mp3\"",
                ("file", true),
            ),
            (
                "Content-Disposition: form-data; filename=\"\"; name=\"file\"",
                ("file", true),
            ),
        ] {
            assert_eq!(read(head), Ok(expected), "{head}");
        }
    }

    #[test]
    fn a_head_that_two_readers_could_read_differently_is_refused() {
        let disposition = |text: &str| format!("Content-Disposition: {text}");
        for head in [
            String::new(),
            "Content-Type: text/plain".to_owned(),
            disposition("form-data"),
            disposition("form-data; name=\"\""),
            disposition("form-data; name="),
            disposition("attachment; name=\"model\""),
            disposition("form-datax; name=\"model\""),
            disposition("form-data; name=\"model\"; name=\"prompt\""),
            disposition("form-data; name=\"model\"; NAME=\"model\""),
            disposition("form-data; name*=utf-8''model"),
            disposition("form-data; name=\"prompt\"; name*=utf-8''model"),
            disposition("form-data; name*0=mo; name*1=del"),
            disposition("form-data; name=\"mod\\el\""),
            disposition("form-data; name=\"mod%65l\""),
            disposition("form-data; name=\" model\""),
            disposition("form-data; name=\"model"),
            disposition("form-data; name=mo\"del\""),
            disposition("form-data; name=\"model\"x"),
            disposition("form-data, name=\"model\""),
            disposition("form-data; name=\"x\"; filename=\"a\\\"; name=\"model\""),
            disposition("form-data; name=\"x\"; filename=\"a\"; filename=\"b\""),
            disposition("form-data; name=\"x\"; size=4"),
            disposition("form-data; name=\"x\"\r\n name=\"model\""),
            disposition("form-data; name=\"x\"\r\n\tX: y"),
            disposition("form-data; name=\"x\"\nContent-Disposition: form-data; name=\"model\""),
            disposition("form-data; name=\"x\"\rX: y"),
            disposition("form-data; name=\"x\0\""),
            disposition("form-data; name=\"x\"\r\nContent-Disposition: form-data; name=\"model\""),
            disposition("form-data; name=\"x\"\r\nContent-Type: Multipart/Mixed; boundary=b"),
            disposition("form-data; name=\"x\"\r\nContent-Transfer-Encoding: base64"),
            disposition("form-data; name=\"x\"\r\nContent-Transfer-Encoding: quoted-printable"),
            disposition("form-data; name=\"x\"\r\nno colon"),
            disposition("form-data; name=\"x\"\r\n: empty"),
            disposition("form-data; name=\"x\"\r\nContent-Type : text/plain"),
            "Content-Disposition : form-data; name=\"x\"".to_owned(),
        ] {
            assert!(read(&head).is_err(), "{head:?}");
        }
    }
}
