//! Forms of several parts, in any pieces: what is found does not depend on the pieces, and of a form that is taken a
//! reader that forgives everything finds no other model.

use http::{HeaderMap, HeaderValue};
use tollgate_providers::{Boundary, Operation, RequestFacts, Scanner, Seen};

/// The first byte chooses the length of pieces; what follows is a form whose boundary is `b`.
pub(crate) fn check(input: &[u8]) {
    let [length, form @ ..] = input else {
        return;
    };
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("multipart/form-data; boundary=b");
    headers.insert("content-type", kind);
    let boundary = Boundary::of(&headers).expect("it has one");
    let read = |pieces: usize| {
        let mut scanner = Scanner::new(&boundary);
        for piece in form.chunks(pieces) {
            scanner.push(piece)?;
        }
        scanner.finish()?;
        Ok::<_, tollgate_providers::RequestError>(scanner.form().clone())
    };
    let whole = read(form.len().max(1));
    for pieces in [usize::from(*length).max(1), 1] {
        assert_eq!(read(pieces), whole);
    }
    let Ok(found) = whole else { return };
    assert!(found.is_closed());
    let models: Vec<Vec<u8>> = forgiven(form)
        .into_iter()
        .filter_map(|(name, value)| (name == b"model").then_some(value))
        .collect();
    assert_eq!(
        models.len(),
        usize::from(found.names_model()),
        "another reader finds others"
    );
    let length = u64::try_from(form.len()).expect("it is short");
    let Ok(facts) = RequestFacts::of_form(Operation::Transcriptions, &found, (Seen::Whole, length))
    else {
        return;
    };
    let named = facts.model().map(|model| model.as_bytes().to_vec());
    assert_eq!(models.first(), named.as_ref());
}

/// The fields of a form to a reader that takes whatever could be meant: a boundary anywhere, lines that end in any way.
fn forgiven(form: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut fields = Vec::new();
    let mut parts = split(form, b"--b").into_iter().skip(1);
    while let Some(part) = parts.next().filter(|part| !part.starts_with(b"--")) {
        let ends: [&[u8]; 4] = [b"\r\n\r\n", b"\n\n", b"\r\r", b"\n\r\n"];
        let found = ends
            .iter()
            .filter_map(|end| Some((find(part, end)?, end.len())));
        let Some((at, length)) = found.min() else {
            continue;
        };
        let (head, value) = (&part[..at], &part[at + length..]);
        let value = value.strip_suffix(b"\n").unwrap_or(value);
        let value = value.strip_suffix(b"\r").unwrap_or(value);
        for name in names(head) {
            fields.push((name, value.to_vec()));
        }
    }
    fields
}

/// Everything that is called `name` in a part's dispositions, outside of quotes.
fn names(head: &[u8]) -> Vec<Vec<u8>> {
    let lines = head.split(|byte| matches!(byte, b'\r' | b'\n'));
    let fields = lines.filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b':')?;
        Some((line[..at].trim_ascii(), &line[at + 1..]))
    });
    let dispositions = fields.filter(|(name, _)| name.eq_ignore_ascii_case(b"content-disposition"));
    dispositions
        .flat_map(|(_, value)| parameters(value))
        .filter_map(|parameter| {
            let at = parameter.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (parameter[..at].trim_ascii(), &parameter[at + 1..]);
            let bare = value
                .trim_ascii()
                .iter()
                .copied()
                .filter(|byte| *byte != b'"');
            name.eq_ignore_ascii_case(b"name").then(|| bare.collect())
        })
        .collect()
}

/// What stands between semicolons that are in no quotes.
fn parameters(value: &[u8]) -> Vec<&[u8]> {
    let mut is_quoted = false;
    let is_end = |byte: &u8| {
        is_quoted ^= *byte == b'"';
        *byte == b';' && !is_quoted
    };
    value.split(is_end).collect()
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn split<'t>(text: &'t [u8], by: &[u8]) -> Vec<&'t [u8]> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some(at) = find(rest, by) {
        parts.push(&rest[..at]);
        rest = &rest[at + by.len()..];
    }
    parts.push(rest);
    parts
}
