//! What of a caller's request goes on to a provider besides its body: little, and by name.

use http::header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, GetAll, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::provider::{PrepareCall, PrepareError};

/// The header that tells a provider our id of the call, so that both sides' books can be joined.
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-client-request-id");

/// The headers that all dialects let through.
static USUAL: [HeaderName; 2] = [ACCEPT, USER_AGENT];

/// What a dialect lets through in addition to what all do.
#[derive(Debug)]
pub(crate) struct Forwarded {
    /// Headers by name.
    pub(crate) headers: &'static [HeaderName],
    /// Members of the query by name.
    pub(crate) query: &'static [&'static str],
    /// What stands between the endpoint's prefix and the operation.
    pub(crate) version: &'static str,
}

impl Forwarded {
    /// The headers of the request to the provider, without the credential's. Only named headers
    /// go on, and none that the caller declared to belong to its own connection.
    pub(crate) fn headers(&self, call: &PrepareCall<'_>) -> Result<HeaderMap, PrepareError> {
        let mut headers = HeaderMap::with_capacity(8);
        let bound = ConnectionBound::of(call.headers);
        for name in USUAL.iter().chain(self.headers) {
            for value in call.headers.get_all(name) {
                if !bound.contains(name.as_str()) {
                    headers.append(name, value.clone());
                }
            }
        }
        if call.operation.takes_form() {
            // It says what stands between the parts, and there is exactly one.
            let kind = call.headers.get(CONTENT_TYPE);
            headers.extend(kind.map(|kind| (CONTENT_TYPE, kind.clone())));
        } else if call.operation.has_body() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        // Usage can only be read from what is not compressed.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let id = HeaderValue::from_str(call.call_id.as_str()).or(Err(PrepareError::Unbuildable))?;
        headers.insert(CLIENT_REQUEST_ID, id);
        Ok(headers)
    }

    /// The URI of the request.
    pub(crate) fn uri(&self, call: &PrepareCall<'_>) -> Result<Uri, PrepareError> {
        let before = [call.endpoint.prefix(), self.version];
        // Exactly as long as most are, so that it is not copied again.
        let room = before.iter().map(|part| part.len()).sum::<usize>();
        let room = room.saturating_add(call.operation.path_length());
        let mut path = String::with_capacity(room);
        path.extend(before);
        call.push_path(&mut path)?;
        if let Some(query) = call.query {
            self.push_query(&mut path, query);
        }
        call.endpoint.uri(path).or(Err(PrepareError::Unbuildable))
    }

    /// Adds the members of the query that go on.
    pub(crate) fn push_query(&self, path: &mut String, query: &str) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~:-".contains(&byte);
        let mut mark = if path.contains('?') { '&' } else { '?' };
        for member in query.split('&') {
            let Some((name, value)) = member.split_once('=') else {
                continue;
            };
            if self.query.contains(&name) && value.bytes().all(plain) {
                path.push(mark);
                path.push_str(member);
                mark = '&';
            }
        }
    }
}

/// The headers that a `Connection` header names.
struct ConnectionBound<'h>(GetAll<'h, HeaderValue>);

impl<'h> ConnectionBound<'h> {
    fn of(headers: &'h HeaderMap) -> Self {
        Self(headers.get_all(CONNECTION))
    }

    fn contains(&self, name: &str) -> bool {
        let options = self.0.iter().filter_map(|value| value.to_str().ok());
        let mut names = options.flat_map(|value| value.split(','));
        names.any(|option| option.trim().eq_ignore_ascii_case(name))
    }
}
