//! The check of a signature (version 4), written from its documentation and not with the crate that the gateway signs with:
//! both have to mean the same.

use std::fmt::Write as _;

use aws_lc_rs::{digest, hmac};
use http::request::Parts;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use crate::simulate::clock;

/// A request may be so many seconds old, or ahead.
const SKEW_SECONDS: i64 = 300;

/// The parts of the `Authorization` header.
pub(super) struct Signed<'h> {
    pub(super) access_key_id: &'h str,
    /// Day, region, service and `aws4_request`.
    scope: &'h str,
    names: &'h str,
    signature: &'h str,
}

impl<'h> Signed<'h> {
    pub(super) fn read(text: &'h str) -> Option<Self> {
        let rest = text.strip_prefix("AWS4-HMAC-SHA256 ")?;
        let mut parts = rest.split(',').map(str::trim);
        let (access_key_id, scope) = parts.next()?.strip_prefix("Credential=")?.split_once('/')?;
        Some(Self {
            access_key_id,
            scope,
            names: parts.next()?.strip_prefix("SignedHeaders=")?,
            signature: parts.next()?.strip_prefix("Signature=")?,
        })
    }

    /// Whether the request was signed with this secret; why not.
    pub(super) fn verify(&self, head: &Parts, body: &[u8], secret: &str) -> Result<(), String> {
        let mut scope = self.scope.split('/');
        let (Some(day), Some(region), Some("bedrock"), Some("aws4_request"), None) = (
            scope.next(),
            scope.next(),
            scope.next(),
            scope.next(),
            scope.next(),
        ) else {
            return Err(format!("the scope {} is not one of Bedrock", self.scope));
        };
        let date = text(head, "x-amz-date").ok_or("there is no x-amz-date")?;
        if !date.starts_with(day) || !is_recent(date) {
            return Err(format!("the date {date} is not now, or not of the scope"));
        }
        let payload = hex(digest::digest(&digest::SHA256, body).as_ref());
        if text(head, "x-amz-content-sha256").is_some_and(|said| said != payload) {
            return Err("the body is another one than was signed".to_owned());
        }
        if !self.names.split(';').any(|name| name == "host") {
            return Err("the host is not signed".to_owned());
        }
        let canonical = self.canonical(head, &payload)?;
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let signed = format!("AWS4-HMAC-SHA256\n{date}\n{}\n{hash}", self.scope);
        let mut key = mac(format!("AWS4{secret}").as_bytes(), day);
        for part in [region, "bedrock", "aws4_request"] {
            key = mac(&key, part);
        }
        if hex(&mac(&key, &signed)) == self.signature {
            Ok(())
        } else {
            Err(format!("the canonical request is\n{canonical}"))
        }
    }

    /// The canonical request. Its path is what the path stands for, encoded twice.
    fn canonical(&self, head: &Parts, payload: &str) -> Result<String, String> {
        let mut path = Vec::new();
        for segment in head.uri.path().split('/') {
            let plain = decoded(segment).ok_or("the path is not well encoded")?;
            path.push(encoded(encoded(&plain).as_bytes()));
        }
        let mut members: Vec<&str> = head.uri.query().unwrap_or_default().split('&').collect();
        members.sort_unstable();
        let mut canonical = format!(
            "{}\n{}\n{}\n",
            head.method,
            path.join("/"),
            members.join("&")
        );
        for name in self.names.split(';') {
            let value = text(head, name).ok_or_else(|| format!("there is no {name}"))?;
            let words: Vec<&str> = value.split_whitespace().collect();
            // Writing to a string does not fail.
            writeln!(canonical, "{name}:{}", words.join(" ")).unwrap_or_default();
        }
        write!(canonical, "\n{}\n{payload}", self.names).unwrap_or_default();
        Ok(canonical)
    }
}

fn text<'p>(head: &'p Parts, name: &str) -> Option<&'p str> {
    head.headers.get(name).and_then(|value| value.to_str().ok())
}

fn is_recent(date: &str) -> bool {
    let at = DateTime::strptime("%Y%m%dT%H%M%SZ", date).and_then(|it| it.to_zoned(TimeZone::UTC));
    let now: Timestamp = clock::now().time;
    at.is_ok_and(|at| (at.timestamp().as_second() - now.as_second()).abs() <= SKEW_SECONDS)
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

/// Every byte but letters, digits and `-._~` encoded.
fn encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            write!(text, "%{byte:02X}").unwrap_or_default();
        }
        text
    })
}

/// What a percent-encoded text stands for.
pub(super) fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    Some(bytes)
}
