//! Where the results of a batch are said to be: the provider names its own address, and the
//! official SDKs go there with the key that they have. That would carry a Tollgate key to the
//! provider, past the gateway. The address is made relative, so that they come back here.

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;

use crate::json::{split_string, value_after};

static RESULTS_URL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"results_url\""));

static PATH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"/v1/messages/batches/"));

/// The answer with the scheme and the host taken out of every `results_url`.
pub(super) fn relative(body: &Bytes) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut from = 0_usize;
    for at in RESULTS_URL.find_iter(body) {
        let after = at.saturating_add(RESULTS_URL.needle().len());
        let Some((start, url)) = string_at(body, after) else {
            continue;
        };
        let Some(host) = PATH.find(url).filter(|_| url.starts_with(b"http")) else {
            continue;
        };
        pieces.push(part(body, from, start));
        from = start.saturating_add(host);
    }
    pieces.push(part(body, from, body.len()));
    pieces
}

/// Where the text of the string begins that is the value of the member whose name ends at `after`,
/// and the text.
fn string_at(body: &[u8], after: usize) -> Option<(usize, &[u8])> {
    let rest = value_after(body.get(after..)?)?.strip_prefix(b"\"")?;
    let start = body.len().checked_sub(rest.len())?;
    Some((start, split_string(rest).0))
}

fn part(body: &Bytes, from: usize, to: usize) -> Bytes {
    body.get(from..to)
        .map_or_else(Bytes::new, |inside| body.slice_ref(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &'static str) -> String {
        let pieces = relative(&Bytes::from_static(text.as_bytes()));
        String::from_utf8(pieces.concat()).unwrap()
    }

    #[test]
    fn the_address_of_results_leads_back_to_the_gateway() {
        assert_eq!(
            edited(
                r#"{"data":[{"id":"b1","results_url":"https://api.anthropic.com/v1/messages/batches/b1/results"},{"results_url" : "http://x:1/p/v1/messages/batches/b2/results","z":1}]}"#
            ),
            r#"{"data":[{"id":"b1","results_url":"/v1/messages/batches/b1/results"},{"results_url" : "/v1/messages/batches/b2/results","z":1}]}"#
        );
        for same in [
            r#"{"results_url":null}"#,
            r#"{"results_url":"/v1/messages/batches/b/results"}"#,
            r#"{"results_url":"https://elsewhere.example/x"}"#,
            r#"{"custom_id":"\"results_url\":\"https://x/v1/messages/batches/"}"#,
            r#"{"results_url":"https"#,
            "",
        ] {
            assert_eq!(edited(same), same);
        }
    }
}
