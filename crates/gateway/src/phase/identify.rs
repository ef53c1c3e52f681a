//! Phase one: who calls. The one place where a caller's key is taken from a request.

use std::sync::Arc;

use http::HeaderMap;
use http::StatusCode;
use http::header::AUTHORIZATION;
use http::request::Parts;
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
        .map_err(|_same_words| Refused::unknown_key())?;
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
const KEY_HEADERS: [&str; 3] = ["x-api-key", "api-key", "x-tollgate-key"];

/// The key in `Authorization: Bearer` or one of [`KEY_HEADERS`]; two that differ are refused.
fn presented_key(headers: &HeaderMap) -> Result<&str, Refused> {
    let bearer = headers.get_all(AUTHORIZATION).iter().map(|value| {
        let text = value.to_str().ok()?;
        let (scheme, key) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    let api_key = KEY_HEADERS
        .iter()
        .flat_map(|name| headers.get_all(*name))
        .map(|value| value.to_str().ok());
    let mut found = None;
    for key in bearer.chain(api_key) {
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
