//! How long a provider wants to be left alone before it is asked again.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// The first wait where the provider names none; each further one is twice as long.
const USUAL_MILLIS: u64 = 250;

/// How long to wait before a provider is asked for the time after `retried` more; none where it says
/// that asking again will not help.
pub(super) fn before(retried: u32, said: &HeaderMap, now: Timestamp) -> Option<Duration> {
    if text(said, "x-should-retry") == Some("false") {
        return None;
    }
    let usual = || Duration::from_millis(USUAL_MILLIS.saturating_mul(1 << retried.min(6)));
    Some(told(said, now).unwrap_or_else(usual))
}

/// The wait that the provider asks for, if it does in a way that is understood.
fn told(said: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let millis = text(said, "retry-after-ms").and_then(|text| text.parse().ok());
    if let Some(millis) = millis {
        return Some(Duration::from_millis(millis));
    }
    let after = text(said, RETRY_AFTER.as_str())?;
    if let Ok(seconds) = after.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTimeParser::new().parse_timestamp(after).ok()?;
    let wait = at.duration_since(now);
    Some(wait.try_into().unwrap_or(Duration::ZERO))
}

fn text<'h>(said: &'h HeaderMap, name: &str) -> Option<&'h str> {
    said.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn wait(retried: u32, headers: &[(&'static str, &'static str)]) -> Option<u128> {
        let said = headers.iter().map(|(name, value)| {
            let value = HeaderValue::from_static(value);
            (HeaderName::from_static(name), value)
        });
        let now = "2026-11-23T09:00:00Z".parse().unwrap();
        before(retried, &said.collect(), now).map(|wait| wait.as_millis())
    }

    #[test]
    fn a_provider_is_left_alone_for_as_long_as_it_says() {
        assert_eq!(wait(0, &[("retry-after", "7")]), Some(7_000));
        assert_eq!(wait(3, &[("retry-after", " 0 ")]), Some(0));
        let both = [("retry-after", "7"), ("retry-after-ms", "6500")];
        assert_eq!(wait(0, &both), Some(6_500));
        let date = [("retry-after", "Mon, 23 Nov 2026 09:00:04 GMT")];
        assert_eq!(wait(0, &date), Some(4_000));
        let past = [("retry-after", "Mon, 23 Nov 2026 08:00:00 GMT")];
        assert_eq!(wait(0, &past), Some(0));
    }

    #[test]
    fn a_provider_that_names_no_time_is_given_more_each_time() {
        let waits: Vec<_> = (0..4).map(|retried| wait(retried, &[])).collect();
        assert_eq!(waits, [250, 500, 1_000, 2_000].map(Some));
        assert_eq!(wait(0, &[("retry-after", "soon")]), Some(250));
        assert_eq!(wait(u32::MAX, &[]), Some(16_000));
    }

    #[test]
    fn a_provider_that_says_that_it_will_not_help_is_not_asked_again() {
        let said = [("x-should-retry", "false"), ("retry-after", "1")];
        assert_eq!(wait(0, &said), None);
        assert_eq!(wait(0, &[("x-should-retry", "true")]), Some(250));
    }
}
