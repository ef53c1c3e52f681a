//! The control plane as a client sees it.

use http::Method;
use serde_json::Value;

use crate::client::{Answer, Http, request};

/// A client of the control plane; an operator's names the tenant it acts on.
#[derive(Debug, Clone)]
pub struct Control {
    http: Http,
    /// The control plane's URL, without a path.
    pub url: String,
    key: String,
    tenant: Option<String>,
}

impl Control {
    /// A client with a key.
    pub fn new(url: &str, key: &str) -> Self {
        Self {
            http: Http::new(),
            url: url.to_owned(),
            key: key.to_owned(),
            tenant: None,
        }
    }

    /// The same client, acting on a tenant.
    #[must_use]
    pub fn of_tenant(&self, tenant: &str) -> Self {
        Self {
            tenant: Some(tenant.to_owned()),
            ..self.clone()
        }
    }

    /// The same client with another key and no tenant.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            tenant: None,
            ..self.clone()
        }
    }

    /// A request below `/api/v1`.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.send_with(&[], method, path, body).await
    }

    /// A change of what an answer showed: refused if it was changed since.
    pub async fn patch_seen(&self, path: &str, seen: &Answer, change: &Value) -> Answer {
        let condition = [("if-match", seen.header("etag"))];
        self.send_with(&condition, Method::PATCH, path, Some(change))
            .await
    }

    async fn send_with(
        &self,
        more: &[(&str, &str)],
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend_from_slice(more);
        if let Some(tenant) = &self.tenant {
            headers.push(("x-tollgate-tenant", tenant));
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let url = format!("{}/api/v1{path}", self.url);
        let sent = self.http.send(request(method, &url, &headers, body)).await;
        sent.unwrap_or_else(|broken| panic!("{path}: {}", broken.0))
    }

    /// A request that must succeed: its answer's JSON.
    async fn must(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let answer = self.send(method, path, body).await;
        assert!(
            answer.status < 300,
            "{path}: {} {}",
            answer.status,
            answer.text()
        );
        if answer.body.is_empty() {
            Value::Null
        } else {
            answer.json()
        }
    }

    /// A GET that must succeed.
    pub async fn get(&self, path: &str) -> Value {
        self.must(Method::GET, path, None).await
    }

    /// A POST that must succeed.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        self.must(Method::POST, path, Some(body)).await
    }

    /// A POST without a body that must succeed.
    pub async fn act(&self, path: &str) -> Value {
        self.must(Method::POST, path, None).await
    }

    /// A merge patch that must succeed, of the thing as it is now.
    pub async fn patch(&self, path: &str, change: &Value) -> Value {
        self.must(Method::PATCH, path, Some(change)).await
    }

    /// A DELETE that must succeed.
    pub async fn delete(&self, path: &str) -> Value {
        self.must(Method::DELETE, path, None).await
    }

    /// Every item of a list, page after page.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        let mark = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = self.get(&format!("{path}{mark}limit=200{cursor}")).await;
            items.extend(
                page["data"]
                    .as_array()
                    .expect("a list has data")
                    .iter()
                    .cloned(),
            );
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }
}
