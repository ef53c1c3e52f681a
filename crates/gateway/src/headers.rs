//! Which of a provider's headers reach the caller, and why the others do not.

use http::HeaderMap;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE,
    HeaderName, RETRY_AFTER,
};

/// The provider's own request id, under a name that does not hide ours.
const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-tollgate-upstream-request-id");

/// Headers that say something of the answer, or help to try again. Others concern the provider's
/// host, its account or one connection, and would mislead whoever calls this host.
static PASSED: [HeaderName; 18] = [
    CONTENT_TYPE,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_DISPOSITION,
    CACHE_CONTROL,
    RETRY_AFTER,
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("x-should-retry"),
    HeaderName::from_static("openai-version"),
    HeaderName::from_static("openai-processing-ms"),
    HeaderName::from_static("x-amzn-errortype"),
    HeaderName::from_static("x-amzn-bedrock-content-type"),
    HeaderName::from_static("x-amzn-bedrock-invocation-latency"),
    HeaderName::from_static("x-amzn-bedrock-input-token-count"),
    HeaderName::from_static("x-amzn-bedrock-output-token-count"),
    HeaderName::from_static("x-amzn-bedrock-cache-read-input-token-count"),
    HeaderName::from_static("x-amzn-bedrock-cache-write-input-token-count"),
    HeaderName::from_static("x-amzn-bedrock-performanceconfig-latency"),
];

/// The names under which providers give a request's id, the first that is there being the one.
static REQUEST_IDS: [HeaderName; 3] = [
    HeaderName::from_static("request-id"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-amzn-requestid"),
];

/// Takes over what the caller is to get of the provider's headers.
pub(crate) fn for_caller(headers: HeaderMap) -> HeaderMap {
    let mut passed = HeaderMap::with_capacity(16);
    if let Some(id) = REQUEST_IDS.iter().find_map(|name| headers.get(name)) {
        passed.insert(UPSTREAM_REQUEST_ID, id.clone());
    }
    // A header's second value comes without its name: only the first is taken.
    for (name, value) in headers {
        if let Some(name) = name.filter(|name| PASSED.contains(name)) {
            passed.insert(name, value);
        }
    }
    passed
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
            ("strict-transport-security", "max-age=1"),
            ("access-control-allow-origin", "*"),
            ("openai-organization", "acme"),
            ("retry-after", "3"),
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
        assert_eq!(
            names,
            [
                "content-type",
                "retry-after",
                "x-tollgate-upstream-request-id"
            ]
        );
    }
}
