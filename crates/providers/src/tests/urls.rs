//! The corpus of addresses that are no provider's: each row is refused, and for its reason.

use std::net::IpAddr;

use crate::{Endpoint, UrlError, UrlPolicy};

const ROWS: &str = include_str!("../../hostile/urls.txt");

/// A row's address, with what the file cannot show put in.
fn shown(text: &str) -> String {
    let mut told = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '<']) {
        let (before, mark) = rest.split_at(at);
        let (stands_for, length) = stands_for(mark);
        told.push_str(before);
        told.push_str(&stands_for);
        rest = mark.split_at(length).1;
    }
    told + rest
}

fn stands_for(text: &str) -> (String, usize) {
    if let Some(count) = text.strip_prefix('<') {
        let (count, rest) = count.split_once(' ').unwrap();
        let (what, _) = rest.split_once('>').unwrap();
        let length = count.len() + what.len() + 3;
        return (what.repeat(count.parse().unwrap()), length);
    }
    if let Some(code) = text.strip_prefix("\\u{") {
        let (code, _) = code.split_once('}').unwrap();
        let letter = u32::from_str_radix(code, 16).unwrap();
        let letter = char::from_u32(letter).unwrap();
        return (letter.to_string(), code.len() + 4);
    }
    let known = [
        ("\\n", "\n"),
        ("\\r", "\r"),
        ("\\t", "\t"),
        ("\\0", "\0"),
        ("\\\\", "\\"),
    ];
    let found = known.into_iter().find(|(mark, _)| text.starts_with(mark));
    let (_, letter) = found.unwrap_or_else(|| panic!("no such mark: {text}"));
    (letter.to_owned(), 2)
}

#[test]
fn every_address_of_the_corpus_is_refused_for_its_reason() {
    let policy = UrlPolicy::default();
    let mut count = 0;
    let mut wrong = Vec::new();
    for row in ROWS
        .lines()
        .filter(|row| !row.is_empty() && !row.starts_with('#'))
    {
        let mut columns = row.split('\t');
        let text = shown(columns.next().unwrap());
        let parsed = Endpoint::parse(&text, &policy);
        let expected = match columns.next().unwrap() {
            "malformed" => UrlError::Malformed,
            "user" => UrlError::UserInfo,
            "suffix" => UrlError::Suffix,
            "host" => UrlError::Host,
            "not_encrypted" => UrlError::NotEncrypted,
            "not_public" => UrlError::NotPublic,
            "leads" => {
                let endpoint = parsed.unwrap_or_else(|error| panic!("{row}: {error}"));
                let admitted = |address: &str| {
                    let address: IpAddr = address.parse().unwrap();
                    policy
                        .admit(endpoint.host(), endpoint.port(), address)
                        .is_ok()
                };
                let addresses = columns.next().unwrap();
                assert!(
                    !addresses.split_whitespace().all(admitted) || addresses.is_empty(),
                    "{row}"
                );
                count += 1;
                continue;
            }
            other => panic!("no such reason: {other}"),
        };
        if parsed.as_ref().err() != Some(&expected) {
            wrong.push(format!("{row}: {parsed:?}"));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 200, "the corpus has shrunk to {count}");
}
