//! A call through the gateway: its answer is handed on as it comes.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;

use super::Client;
use crate::output::{Exit, Failure};

/// Time within which an answer must begin, and each next piece of it come.
const PATIENCE: Duration = Duration::from_mins(10);

/// An answer whose body is still to be read.
#[derive(Debug)]
pub struct Called {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    body: Incoming,
}

impl Client {
    /// The same client, with the same key, of another server.
    pub fn at(&self, url: &str) -> Result<Self, Failure> {
        Ok(Self {
            pool: self.pool.clone(),
            key: self.key.clone(),
            tenant: self.tenant.clone(),
            ..Self::without_key(url)?
        })
    }

    /// The same client, acting on a tenant.
    pub fn acting_on(&self, tenant: &str) -> Result<Self, Failure> {
        let tenant = HeaderValue::try_from(tenant)
            .map_err(|_unfit| Failure::usage("--tenant has characters that no tenant's id has"))?;
        Ok(Self {
            tenant: Some(tenant),
            ..self.clone()
        })
    }

    /// Makes a call, once: whether one that broke may be made again, its caller has to know.
    pub async fn call(
        &self,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: String,
    ) -> Result<Called, Failure> {
        let mut request = self
            .addressed(Method::POST, path)
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body)));
        let asked = self.pool.request(request.map_err(Failure::usage)?);
        let answer = tokio::time::timeout(PATIENCE, asked).await;
        let answer = answer.map_err(|_elapsed| self.silent())?;
        let (head, body) = answer
            .map_err(|error| {
                let failure = self.unreachable(&error);
                let message = failure
                    .message
                    .replace("TOLLGATE_ADMIN_URL", "TOLLGATE_URL");
                Failure::new(failure.exit, message)
            })?
            .into_parts();
        Ok(Called {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    /// The host and the port that are asked.
    #[must_use]
    pub fn authority(&self) -> String {
        let uri: Option<Uri> = self.url.parse().ok();
        let authority = uri.as_ref().and_then(Uri::authority);
        authority.map_or_else(|| self.url.clone(), ToString::to_string)
    }

    fn silent(&self) -> Failure {
        let message = format!("{} did not go on in time", self.authority());
        Failure::new(Exit::Unreachable, message)
    }
}

impl Called {
    /// The next piece; nothing at the end. An answer that breaks off is a failure.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
            match frame {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => {
                    if let Ok(piece) = frame.into_data() {
                        return Ok(Some(piece));
                    }
                }
                Ok(Some(Err(_))) | Err(_) => {
                    return Err(Failure::plain(
                        "the answer broke off and is not whole; what came of it is charged",
                    ));
                }
            }
        }
    }

    /// The whole body.
    pub async fn whole(&mut self) -> Result<Vec<u8>, Failure> {
        let mut whole = Vec::new();
        while let Some(piece) = self.piece().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }

    /// A header as text; empty where it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}
