//! Clients of the data plane: whole answers, and streams that can be cut at any event.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// The longest that one answer may take before the test fails.
const ANSWER: Duration = Duration::from_secs(90);

/// An answer that did not come, or not whole; the text says why.
#[derive(Debug, Clone)]
pub struct Broken(pub String);

/// A pool of connections.
#[derive(Debug, Clone)]
pub struct Http(Client<HttpConnector, Full<Bytes>>);

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// What comes next in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// An event, as its lines without the empty one.
    Event(String),
    /// A clean end.
    End,
    /// The connection broke.
    Cut,
}

/// An answer that is read event by event; dropping it cuts the connection.
#[derive(Debug)]
pub struct Stream {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    body: Incoming,
    unread: Vec<u8>,
}

/// A client that presents an access key.
#[derive(Debug, Clone)]
pub struct Caller {
    http: Http,
    /// The gateway's URL, without a path.
    pub url: String,
    /// The key.
    pub key: String,
}

impl Default for Http {
    fn default() -> Self {
        Self::new()
    }
}

impl Http {
    /// A pool without connections.
    pub fn new() -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        Self(Client::builder(TokioExecutor::new()).build(tcp))
    }

    /// Sends a request and reads its whole answer.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, Broken> {
        let exchange = async {
            let response = self
                .0
                .request(request)
                .await
                .map_err(|error| broken(&error))?;
            let (head, body) = response.into_parts();
            let body = body
                .collect()
                .await
                .map_err(|error| broken(&error))?
                .to_bytes();
            Ok(Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
            })
        };
        tokio::time::timeout(ANSWER, exchange)
            .await
            .expect("an answer takes for ever")
    }

    /// Sends a request and reads the head of its answer.
    pub async fn open(&self, request: Request<Full<Bytes>>) -> Result<Stream, Broken> {
        let head = tokio::time::timeout(ANSWER, self.0.request(request)).await;
        let response = head
            .expect("an answer takes for ever")
            .map_err(|error| broken(&error))?;
        let (head, body) = response.into_parts();
        Ok(Stream {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            unread: Vec::new(),
        })
    }

    /// A POST of JSON.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, Broken> {
        self.send(request(Method::POST, url, headers, body)).await
    }

    /// A GET.
    pub async fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer, Broken> {
        self.send(request(Method::GET, url, headers, "")).await
    }
}

/// A request with JSON in its body, if it has one.
pub(crate) fn request(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let body = body.into();
    let mut request = Request::builder().method(method).uri(url);
    let is_said = headers
        .iter()
        .any(|(name, _)| CONTENT_TYPE.as_str() == *name);
    if !body.is_empty() && !is_said {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body)).unwrap()
}

fn broken(error: &dyn std::error::Error) -> Broken {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Broken(text)
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{} is not JSON ({error}): {}", self.status, self.text())
        })
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The code of an error in OpenAI's dialect, or what our own member says in any.
    pub fn code(&self) -> String {
        let json: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let codes = [
            &json["error"]["code"],
            &json["error"]["tollgate"]["code"],
            &json["tollgate"]["code"],
        ];
        codes
            .iter()
            .find_map(|code| code.as_str())
            .unwrap_or_default()
            .to_owned()
    }

    /// The member about limits, wherever the dialect has it.
    pub fn tollgate(&self) -> Value {
        let json = self.json();
        let places = [&json["error"]["tollgate"], &json["tollgate"]];
        places
            .into_iter()
            .find(|place| place.is_object())
            .cloned()
            .unwrap_or_default()
    }
}

impl Stream {
    /// A header's value; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The next event.
    pub async fn next(&mut self) -> Next {
        loop {
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Next::Event(String::from_utf8(event).unwrap().trim().to_owned());
            }
            let frame = tokio::time::timeout(ANSWER, self.body.frame()).await;
            match frame.expect("a stream takes for ever") {
                Some(Ok(frame)) => {
                    self.unread.extend(frame.into_data().unwrap_or_default());
                }
                Some(Err(_)) => return Next::Cut,
                None => {
                    assert!(
                        self.unread.is_empty(),
                        "a stream ends in the middle of an event"
                    );
                    return Next::End;
                }
            }
        }
    }

    /// The rest of it as a whole answer: for a refusal, which is no stream.
    pub async fn whole(self) -> Result<Answer, Broken> {
        let rest = tokio::time::timeout(ANSWER, self.body.collect()).await;
        let rest = rest
            .expect("an answer takes for ever")
            .map_err(|error| broken(&error))?;
        Ok(Answer {
            status: self.status,
            headers: self.headers,
            body: [&self.unread, &rest.to_bytes()[..]].concat().into(),
        })
    }

    /// The rest of it: the events, and how it ended.
    pub async fn rest(mut self) -> (Vec<String>, Next) {
        let mut events = Vec::new();
        loop {
            match self.next().await {
                Next::Event(event) => events.push(event),
                end @ (Next::End | Next::Cut) => return (events, end),
            }
        }
    }
}

impl Caller {
    /// A client of a gateway with connections of its own.
    pub fn new(url: &str, key: &str) -> Self {
        Self {
            http: Http::new(),
            url: url.to_owned(),
            key: key.to_owned(),
        }
    }

    /// The same client of another gateway.
    #[must_use]
    pub fn at(&self, url: &str) -> Self {
        Self {
            url: url.to_owned(),
            ..self.clone()
        }
    }

    /// The same client with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..self.clone()
        }
    }

    fn request(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Request<Full<Bytes>> {
        let bearer = format!("Bearer {}", self.key);
        let mut all = vec![("authorization", bearer.as_str())];
        if path.starts_with("/v1/messages") {
            all.push(("anthropic-version", "2023-06-01"));
        }
        all.extend(headers);
        let body = body.into();
        let method = if body.is_empty() {
            Method::GET
        } else {
            Method::POST
        };
        request(method, &format!("{}{path}", self.url), &all, body)
    }

    /// A request whose answer may not come.
    pub async fn attempt(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, Broken> {
        self.http.send(self.request(path, headers, body)).await
    }

    /// A POST, with headers of its own.
    pub async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let answer = self.attempt(path, headers, body).await;
        answer.unwrap_or_else(|broken| panic!("{path}: {}", broken.0))
    }

    /// A GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.post(path, &[], "").await
    }

    /// A chat call.
    pub async fn chat(&self, body: &Value) -> Answer {
        self.post("/v1/chat/completions", &[], body.to_string())
            .await
    }

    /// A call whose answer is streamed, if the body asks for it.
    pub async fn open(&self, path: &str, body: &Value) -> Stream {
        let opened = self.try_open(path, body).await;
        opened.unwrap_or_else(|broken| panic!("{path}: {}", broken.0))
    }

    /// A streamed call whose answer may not come.
    pub async fn try_open(&self, path: &str, body: &Value) -> Result<Stream, Broken> {
        self.http
            .open(self.request(path, &[], body.to_string()))
            .await
    }

    /// A request with headers as they are given and no key.
    pub async fn bare(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let body = body.into();
        let method = if body.is_empty() {
            Method::GET
        } else {
            Method::POST
        };
        let request = request(method, &format!("{}{path}", self.url), headers, body);
        self.http
            .send(request)
            .await
            .unwrap_or_else(|broken| panic!("{path}: {}", broken.0))
    }
}
