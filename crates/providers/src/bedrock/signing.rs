//! AWS's signature of a request (version 4), with the crate that AWS's own SDK signs with.
//!
//! What is signed is the path as it is sent, encoded once more: so the path has to be sent as
//! AWS's own clients send it, with every reserved letter of a model's id encoded.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_lc_rs::digest;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign as sign_http};
use aws_sigv4::sign::v4::SigningParams;
use http::{HeaderName, HeaderValue};
use tollgate_core::Moment;

use crate::provider::{Outbound, PrepareError};

/// The name that the service is signed for.
const SERVICE: &str = "bedrock";

/// Signs a request for a region.
pub(super) fn sign(
    outbound: &mut Outbound,
    credentials: Credentials,
    region: &str,
    now: Moment,
) -> Result<(), PrepareError> {
    let unbuildable = PrepareError::Unbuildable;
    let identity = credentials.into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SERVICE)
        .time(SystemTime::from(now.wall))
        .settings(SigningSettings::default())
        .build()
        .or(Err(unbuildable))?;
    let uri = outbound.uri.to_string();
    // AWS wants its own headers signed, and the kind of the body may as well be.
    let signed = outbound.headers.iter().filter_map(|(name, value)| {
        let name = name.as_str();
        let own = name.starts_with("x-amz") || name == "content-type";
        Some((name, value.to_str().ok()?)).filter(|_| own)
    });
    let body = SignableBody::Precomputed(hash(outbound));
    let method = outbound.method.as_str();
    let request = SignableRequest::new(method, &uri, signed, body).or(Err(unbuildable))?;
    let (instructions, _signature) = sign_http(request, &params.into())
        .or(Err(unbuildable))?
        .into_parts();
    let (headers, _none_in_the_query) = instructions.into_parts();
    for header in headers {
        let mut value = HeaderValue::from_str(header.value()).or(Err(unbuildable))?;
        value.set_sensitive(header.sensitive() || header.name() == "authorization");
        outbound
            .headers
            .insert(HeaderName::from_static(header.name()), value);
    }
    Ok(())
}

/// The SHA-256 of the body, in hexadecimal; of its pieces, so that they are not copied together.
fn hash(outbound: &Outbound) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for piece in outbound.body.pieces() {
        context.update(piece);
    }
    let digits = |byte: &u8| [byte >> 4, byte & 15];
    let hash = context.finish();
    hash.as_ref()
        .iter()
        .flat_map(digits)
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}
