//! A small client of the control plane: one request, its JSON, and what its failure means.

mod address;
mod calls;
mod download;

use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

pub use self::address::{encoded, query};
pub use self::calls::Called;
use crate::output::{Exit, Failure};
use crate::settings::environment;

/// The variable that holds the access key.
const KEY_VARIABLE: &str = "TOLLGATE_KEY";

/// Time within which the server must accept a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Time within which the server must have answered; verifying a large ledger takes long.
const ANSWER_PATIENCE: Duration = Duration::from_mins(15);

/// How often a request is sent again whose connection failed.
const REPETITIONS_MAX: u32 = 2;

/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Which control plane to ask, with which key, for which tenant.
#[derive(Debug, Clone, clap::Args)]
pub struct Remote {
    /// The control plane's URL
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "TOLLGATE_ADMIN_URL",
        default_value = "http://127.0.0.1:8081",
        help_heading = "Connection"
    )]
    pub url: String,
    /// Where the access key comes from, if not from `TOLLGATE_KEY`: - is standard input
    #[arg(
        long,
        global = true,
        value_name = "-",
        allow_hyphen_values = true,
        help_heading = "Connection"
    )]
    pub key: Option<String>,
    /// A file that holds the access key
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        conflicts_with = "key",
        help_heading = "Connection"
    )]
    pub key_file: Option<PathBuf>,
    /// The tenant to act on, with an operator's key
    #[arg(
        long,
        global = true,
        value_name = "TENANT",
        help_heading = "Connection"
    )]
    pub tenant: Option<String>,
}

/// A client of one control plane.
#[derive(Clone)]
pub struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    key: Option<HeaderValue>,
    tenant: Option<HeaderValue>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// What the control plane answered: the JSON as it came, and the same to look into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// As it came; empty when there was nothing to say.
    pub text: String,
    /// The same; null when there was nothing to say.
    pub json: Value,
}

impl Client {
    /// A client with the key that the remote's flags or the environment name.
    pub fn new(remote: &Remote) -> Result<Self, Failure> {
        let key = match (&remote.key, &remote.key_file) {
            (Some(from), _) if from != "-" => {
                // What was given is not repeated: it may be the key.
                return Err(Failure::usage(
                    "--key takes nothing but -, for standard input: others can read arguments; \
                     or set TOLLGATE_KEY, or give --key-file",
                ));
            }
            (Some(_), _) => read_secret("Access key: ")?,
            (None, Some(path)) => read_key_file(path)?,
            (None, None) => environment::read(KEY_VARIABLE).ok_or_else(|| {
                Failure::new(
                    Exit::Denied,
                    "there is no access key: set TOLLGATE_KEY, give --key-file FILE, or give it \
                     on standard input with `--key -`",
                )
            })?,
        };
        let client = Self::with_key(&remote.url, &key)?;
        match &remote.tenant {
            None => Ok(client),
            Some(tenant) => client.acting_on(tenant),
        }
    }

    /// A client with a key that is known.
    pub fn with_key(url: &str, key: &str) -> Result<Self, Failure> {
        let header = HeaderValue::try_from(format!("Bearer {}", key.trim()));
        let unfit = "the access key has characters that no key has";
        let mut header = header.map_err(|_unfit| Failure::new(Exit::Denied, unfit))?;
        header.set_sensitive(true);
        let mut client = Self::without_key(url)?;
        client.key = Some(header);
        Ok(client)
    }

    /// A client for what needs no key.
    pub fn without_key(url: &str) -> Result<Self, Failure> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_PATIENCE));
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let url = url.trim_end_matches('/').to_owned();
        let is_usable = url.parse::<Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some()
        });
        if !is_usable {
            return Err(Failure::usage(
                "--url must be a URL, as http://127.0.0.1:8081",
            ));
        }
        Ok(Self {
            pool: Pool::builder(TokioExecutor::new()).build(connector),
            url,
            key: None,
            tenant: None,
        })
    }

    /// Asks for something.
    pub async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.ask_if(Method::GET, path, None, None).await
    }

    /// Asks for something to be made or done.
    pub async fn post(&self, path: &str, body: Option<&Value>) -> Result<Answer, Failure> {
        self.post_with(path, body.map(Value::to_string)).await
    }

    /// Asks for something to be made or done, with a body that is JSON already.
    pub async fn post_text(&self, path: &str, body: String) -> Result<Answer, Failure> {
        self.post_with(path, Some(body)).await
    }

    async fn post_with(&self, path: &str, body: Option<String>) -> Result<Answer, Failure> {
        // The same for each try: what is sent again because a connection broke is done once.
        let key = HeaderValue::try_from(cus_models::generate_uuid()).map_err(Failure::usage)?;
        let name = HeaderName::from_static("idempotency-key");
        self.ask_if(Method::POST, path, body, Some((name, key)))
            .await
    }

    /// Asks for a change of what is there now: refused if somebody else changes it meanwhile.
    pub async fn update(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        let (status, found, seen) = self.exchange(Method::GET, path, None, None).await?;
        if !status.is_success() {
            return Err(refusal(status, &found));
        }
        let condition = seen.map(|tag| (IF_MATCH, tag));
        self.ask_if(Method::PATCH, path, Some(body.to_string()), condition)
            .await
    }

    /// Asks for something to be as it is said.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        self.ask_if(Method::PUT, path, Some(body.to_string()), None)
            .await
    }

    /// Asks for something to be ended.
    pub async fn delete(&self, path: &str) -> Result<Answer, Failure> {
        self.ask_if(Method::DELETE, path, None, None).await
    }

    /// The status and the text of an answer, whatever it is.
    pub async fn probe(&self, path: &str) -> Result<(StatusCode, String), Failure> {
        let (status, body, _tag) = self.exchange(Method::GET, path, None, None).await?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    async fn ask_if(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        extra: Option<(HeaderName, HeaderValue)>,
    ) -> Result<Answer, Failure> {
        let repeats = method == Method::GET || method == Method::POST;
        let mut left = if repeats { REPETITIONS_MAX } else { 0 };
        let (status, answer, _tag) = loop {
            let asked = self.exchange(method.clone(), path, body.clone(), extra.clone());
            match asked.await {
                Err(failure) if left > 0 && failure.exit == Exit::Unreachable => left -= 1,
                asked => break asked?,
            }
        };
        if !status.is_success() {
            return Err(refusal(status, &answer));
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        if text.is_empty() {
            return Ok(Answer {
                text,
                json: Value::Null,
            });
        }
        let json = serde_json::from_str(&text).map_err(|_unfit| {
            let problem = "did not answer with JSON: is it Tollgate's control plane?";
            Failure::plain(format_args!("{} {problem}", self.url))
        })?;
        Ok(Answer { text, json })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        extra: Option<(HeaderName, HeaderValue)>,
    ) -> Result<(StatusCode, Bytes, Option<HeaderValue>), Failure> {
        let mut request = self
            .addressed(method, path)
            .header(ACCEPT, "application/json");
        if let Some((name, value)) = extra {
            request = request.header(name, value);
        }
        let bytes = match body {
            None => Bytes::new(),
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Bytes::from(body)
            }
        };
        let request = request.body(Full::new(bytes)).map_err(Failure::usage)?;
        let answering = async {
            let answer = self
                .pool
                .request(request)
                .await
                .map_err(|error| self.unreachable(&error))?;
            let status = answer.status();
            let tag = answer.headers().get(ETAG).cloned();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await;
            let body = body.map_err(|error| self.unreachable(error.as_ref()))?;
            Ok((status, body.to_bytes(), tag))
        };
        tokio::time::timeout(ANSWER_PATIENCE, answering)
            .await
            .unwrap_or_else(|_| {
                let message = format!("{} did not answer in time", self.url);
                Err(Failure::new(Exit::Unreachable, message))
            })
    }

    /// A request with its address, the key and the tenant.
    fn addressed(&self, method: Method, path: &str) -> http::request::Builder {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, key);
        }
        if let Some(tenant) = &self.tenant {
            request = request.header("x-tollgate-tenant", tenant);
        }
        request
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> Failure {
        let mut cause = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let message = format!(
            "{} cannot be reached: {cause}; is `tollgate serve` or `tollgate dev` running, and is \
             --url or TOLLGATE_ADMIN_URL right?",
            self.url
        );
        Failure::new(Exit::Unreachable, message)
    }
}

fn read_key_file(path: &Path) -> Result<String, Failure> {
    let key = std::fs::read_to_string(path)
        .map_err(|error| Failure::file("read the key from", path, &error).with(Exit::Usage))?;
    if key.trim().is_empty() {
        let path = path.display();
        return Err(Failure::usage(format_args!(
            "there is no access key in {path}: the file is empty"
        )));
    }
    Ok(key)
}

/// Reads a secret from standard input, or asks for it without showing it.
pub fn read_secret(prompt: &str) -> Result<String, Failure> {
    let mut text = String::new();
    if io::stdin().is_terminal() {
        text = rpassword::prompt_password(prompt)?;
    } else {
        io::stdin().read_to_string(&mut text)?;
    }
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(Failure::usage(
            "standard input was empty where a secret was expected",
        ));
    }
    Ok(trimmed.to_owned())
}

/// What a status means to whoever ran the command.
#[must_use]
pub fn exit_of(status: StatusCode) -> Exit {
    match status.as_u16() {
        400 | 413 | 415 | 422 => Exit::Usage,
        401 | 403 => Exit::Denied,
        404 => Exit::NotFound,
        409 | 412 | 428 => Exit::Conflict,
        402 | 429 => Exit::Limit,
        502..=504 => Exit::Unreachable,
        _ => Exit::Failure,
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let detail = problem.get("detail").and_then(Value::as_str);
    let message = match detail {
        // The control plane tells every refusal with a detail.
        None if status == StatusCode::NOT_FOUND => "this is not a control plane; it is usually \
             the port after the gateway's: give its --url, or set TOLLGATE_ADMIN_URL"
            .to_owned(),
        Some(detail) if detail.contains("x-tollgate-tenant") => {
            format!("{detail} (on the command line: --tenant TENANT)")
        }
        Some(detail) => detail.to_owned(),
        None => format!("the server answered {status}"),
    };
    let request = problem.get("request_id").and_then(Value::as_str);
    let request = request.filter(|_| status.is_server_error());
    let request = request.map_or_else(String::new, |id| format!(" (request {id})"));
    Failure::new(exit_of(status), format!("{message}{request}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_the_documented_exit_code() {
        let table = [
            (400, Exit::Usage),
            (401, Exit::Denied),
            (402, Exit::Limit),
            (403, Exit::Denied),
            (404, Exit::NotFound),
            (409, Exit::Conflict),
            (412, Exit::Conflict),
            (422, Exit::Usage),
            (429, Exit::Limit),
            (500, Exit::Failure),
            (503, Exit::Unreachable),
        ];
        for (status, exit) in table {
            assert_eq!(
                exit_of(StatusCode::from_u16(status).unwrap()),
                exit,
                "{status}"
            );
        }
    }

    #[test]
    fn a_problem_is_told_in_its_own_words() {
        let body = br#"{"detail":"there is no such key","request_id":"r-1"}"#;
        let failure = refusal(StatusCode::NOT_FOUND, body);
        assert_eq!(
            failure,
            Failure::new(Exit::NotFound, "there is no such key")
        );
        let gateways = br#"{"error":{"code":"unknown_path","message":"there is no such path"}}"#;
        let failure = refusal(StatusCode::NOT_FOUND, gateways);
        assert!(failure.message.contains("not a control plane"), "{failure}");
        let failure = refusal(StatusCode::INTERNAL_SERVER_ERROR, body);
        assert_eq!(failure.message, "there is no such key (request r-1)");
        assert!(
            refusal(StatusCode::BAD_GATEWAY, b"<html>")
                .message
                .contains("502")
        );
    }

    #[test]
    fn what_is_asked_for_cannot_change_the_path() {
        assert_eq!(encoded("a/../b?c=d&é"), "a%2F..%2Fb%3Fc%3Dd%26%C3%A9");
        let asked = query(&[
            ("from", Some("2026-01-01".into())),
            ("to", None),
            ("x", Some("&".into())),
        ]);
        assert_eq!(asked, "?from=2026-01-01&x=%26");
        assert_eq!(query(&[("from", None)]), "");
    }
}
