//! Phase one: who calls. The one place where a caller's key is taken from a request.

use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use tollgate_app::directory::KeyEntry;
use tollgate_core::role::Permission;

use crate::answer::Desk;
use crate::error::Refused;
use crate::exchange::Gateway;

/// A caller whose key is live and may make calls.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) key: Arc<KeyEntry>,
}

pub(crate) fn identify(gateway: &Gateway, head: &Parts, desk: &Desk) -> Result<Caller, Refused> {
    let presented = presented_key(&head.headers)?;
    let key = gateway
        .app
        .identify(presented, desk.now)
        .map_err(|_same_words| {
            // Whoever signs with keys of AWS's own is told what to do instead.
            let signed = head.headers.get(AUTHORIZATION).is_some_and(is_signature);
            if signed {
                Refused::signed_request()
            } else {
                Refused::unknown_key()
            }
        })?;
    if !key.key.role.may(Permission::Call) {
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            "permission_denied",
            format!(
                "this key's role is {}, which cannot make calls: use a key with the role caller",
                key.key.role
            ),
        ));
    }
    Ok(Caller { key })
}

/// The headers beside `Authorization` that clients of one vendor or another bring their key in.
static KEY_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    OWN_HEADER,
];

/// The header for clients that need `Authorization` for something else.
const OWN_HEADER: HeaderName = HeaderName::from_static("x-tollgate-key");

/// How an `Authorization` begins that is a signature of AWS's.
const SIGNATURE: &[u8] = b"AWS4-HMAC-SHA256";

/// Whether an `Authorization` is a signature of AWS's clients.
fn is_signature(value: &HeaderValue) -> bool {
    value.as_bytes().starts_with(SIGNATURE)
}

/// The access key id of a signature, which is where such clients put a key of ours. What is signed
/// proves nothing to us: keys are not kept here, so that no signature can be worked out from one.
fn access_key_id(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("Credential=")?;
    rest.split_once('/').map(|(id, _)| id)
}

/// The key in `Authorization: Bearer` or one of [`KEY_HEADERS`], or the access key id that a request
/// is signed with; two that differ are refused. Beside a key in [`OWN_HEADER`] a signature is not
/// looked at.
fn presented_key(headers: &HeaderMap) -> Result<&str, Refused> {
    let has_own = headers.contains_key(OWN_HEADER);
    let in_authorization = headers
        .get_all(AUTHORIZATION)
        .iter()
        .filter(|value| !(has_own && is_signature(value)))
        .map(|value| {
            let text = value.to_str().ok()?;
            if is_signature(value) {
                return access_key_id(text);
            }
            let (scheme, key) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        });
    let api_key = KEY_HEADERS
        .iter()
        .flat_map(|name| headers.get_all(name))
        .map(|value| value.to_str().ok());
    let mut found = None;
    for key in in_authorization.chain(api_key) {
        let key = key.ok_or_else(Refused::unknown_key)?;
        if found.is_some_and(|other| other != key) {
            return Err(Refused::new(
                StatusCode::BAD_REQUEST,
                "conflicting_credentials",
                "the request carries two different keys: send one".to_owned(),
            ));
        }
        found = Some(key);
    }
    found.ok_or_else(Refused::missing_key)
}
