//! What stands between the parts of a form, as the request's head says it.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::request::RequestError;

/// The longest boundary, in bytes.
const BOUNDARY_MAX: usize = 70;

/// What stands between the parts of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary(Vec<u8>);

const NO_FORM: RequestError =
    RequestError::Form("the header content-type is not `multipart/form-data; boundary=…`");
const BAD_BOUNDARY: RequestError = RequestError::Form(
    "the header content-type has no boundary of 1 to 70 plain characters, or has several",
);

impl Boundary {
    /// The boundary that a request's only `Content-Type` names.
    pub fn of(headers: &HeaderMap) -> Result<Self, RequestError> {
        let mut values = headers.get_all(CONTENT_TYPE).into_iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(NO_FORM);
        };
        let text = value.to_str().map_err(|_not_text| NO_FORM)?;
        let (kind, mut rest) = text.split_once(';').unwrap_or((text, ""));
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return Err(NO_FORM);
        }
        let mut found = None;
        while !rest.trim().is_empty() {
            let (name, value, after) = parameter(rest).ok_or(BAD_BOUNDARY)?;
            rest = after;
            let is_boundary = name.eq_ignore_ascii_case("boundary");
            if name.to_ascii_lowercase().starts_with("boundary*")
                || (is_boundary && found.replace(value).is_some())
            {
                return Err(BAD_BOUNDARY);
            }
        }
        let boundary = found.ok_or(BAD_BOUNDARY)?;
        // As the standard says, and without the space, which some readers cut off.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
        if boundary.is_empty() || boundary.len() > BOUNDARY_MAX || !boundary.bytes().all(plain) {
            return Err(BAD_BOUNDARY);
        }
        Ok(Self([b"--", boundary.as_bytes()].concat()))
    }

    /// Two hyphens and the boundary: what begins every line that separates.
    pub(super) fn delimiter(&self) -> &[u8] {
        &self.0
    }
}

/// The next parameter: its name, its value, and what follows the semicolon after it.
fn parameter(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text.split_once('=')?;
    let name = name.trim_matches([' ', '\t']);
    if name.is_empty() || name.contains([';', '"', ' ', '\t']) {
        return None;
    }
    let (value, rest) = if let Some(quoted) = rest.strip_prefix('"') {
        let (value, rest) = quoted.split_once('"')?;
        if value.contains('\\') {
            return None;
        }
        let rest = rest.trim_start_matches([' ', '\t']);
        let is_over = rest.is_empty() || rest.starts_with(';');
        (value, is_over.then_some(rest)?)
    } else {
        let end = rest.find(';').unwrap_or(rest.len());
        let (value, rest) = rest.split_at_checked(end)?;
        (value.trim_matches([' ', '\t']), rest)
    };
    if value.contains(['"', ' ', '\t']) {
        return None;
    }
    Some((name, value, rest.strip_prefix(';').unwrap_or(rest)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(values: &[&str]) -> Result<String, RequestError> {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(CONTENT_TYPE, value);
        }
        Boundary::of(&headers).map(|it| String::from_utf8(it.0).unwrap())
    }

    #[test]
    fn a_boundary_is_read_as_clients_write_it() {
        for (value, boundary) in [
            ("multipart/form-data; boundary=abc", "abc"),
            (
                "multipart/form-data;boundary=\"a-b_c'()+,./:=?\"",
                "a-b_c'()+,./:=?",
            ),
            ("Multipart/Form-Data; charset=utf-8; BOUNDARY=abc", "abc"),
            (
                "multipart/form-data; boundary=abc; charset=\"utf-8\"",
                "abc",
            ),
            (
                "multipart/form-data; boundary=----formdata-undici-012345678901",
                "----formdata-undici-012345678901",
            ),
            ("multipart/form-data; boundary=\"abc\" ;", "abc"),
        ] {
            assert_eq!(
                of(&[value]).as_deref(),
                Ok(&*format!("--{boundary}")),
                "{value}"
            );
        }
    }

    #[test]
    fn a_boundary_that_two_readers_could_read_differently_is_refused() {
        let long = format!("multipart/form-data; boundary={}", "b".repeat(71));
        for value in [
            "multipart/form-data",
            "multipart/form-data; boundary",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"\"",
            "multipart/form-data; boundary=a; boundary=b",
            "multipart/form-data; boundary=a; boundary*=utf-8''b",
            "multipart/form-data; boundary*0=a; boundary*1=b",
            "multipart/form-data; boundary=\"a\\\"b\"",
            "multipart/form-data; boundary=\"ab",
            "multipart/form-data; boundary=\"a\"b",
            "multipart/form-data; boundary=a b",
            "multipart/form-data; boundary=a\"b",
            "multipart/form-data; boundary=\"a \"",
            "multipart/form-data; boundary=é",
            "multipart/form-data; x; boundary=a",
            "multipart/form-data boundary=a",
            "multipart/mixed; boundary=a",
            "application/json",
            "",
            &long,
        ] {
            assert!(of(&[value]).is_err(), "{value}");
        }
        assert!(of(&[]).is_err());
        assert!(of(&["multipart/form-data; boundary=a"; 2]).is_err());
    }
}
