//! Which of a provider's headers reach the caller, and why the others do not.

use http::HeaderMap;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, PROXY_AUTHENTICATE, SET_COOKIE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

/// The provider's own request id, under a name that does not hide ours.
const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-tollgate-upstream-request-id");

/// Headers of one connection, not of the answer (RFC 9110, section 7.6.1), and what must not
/// cross from a provider to a tenant's caller.
const DROPPED: [HeaderName; 9] = [
    CONNECTION,
    CONTENT_LENGTH,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    PROXY_AUTHENTICATE,
    SET_COOKIE,
    HeaderName::from_static("keep-alive"),
];

/// Prefixes of the provider account's own figures: the caller's limits are ours, not those.
const ACCOUNT_FIGURES: [&str; 2] = ["x-ratelimit-", "anthropic-ratelimit-"];

/// Takes the provider's headers over. The content's length is left to the server, which knows it
/// once the body is decided.
pub(crate) fn for_caller(mut headers: HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in DROPPED.iter().chain(&named) {
        headers.remove(name);
    }
    let ours = |name: &&HeaderName| {
        let name = name.as_str();
        name.starts_with("x-tollgate-")
            || ACCOUNT_FIGURES
                .iter()
                .any(|prefix| name.starts_with(prefix))
    };
    let hidden: Vec<HeaderName> = headers.keys().filter(ours).cloned().collect();
    for name in hidden {
        headers.remove(name);
    }
    let theirs = headers
        .remove("request-id")
        .or(headers.remove("x-request-id"));
    if let Some(id) = theirs {
        headers.insert(UPSTREAM_REQUEST_ID, id);
    }
    headers
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_belongs_to_the_connection_or_to_the_account_does_not_reach_the_caller() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("set-cookie", "a=b"),
            ("x-ratelimit-limit-requests", "5000"),
            ("x-tollgate-cost-usd", "0"),
            ("x-request-id", "theirs"),
            ("content-type", "application/json"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let passed = for_caller(headers);
        let mut names: Vec<_> = passed.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "x-tollgate-upstream-request-id"]);
    }
}
