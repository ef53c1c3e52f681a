//! What is asked of things that the simulated provider keeps: none of it is billed, but for the
//! calls of a batch, when it is set off.

use bytes::Bytes;
use http::{Method, StatusCode, header::HOST};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{Decision, Inquiry, read};
use crate::simulate::{
    answer::{Answer, Call, Refusal, Stamp},
    anthropic::Message,
    journal::Entry,
    openai::{
        chat::Chat, completions::Completion, embeddings::Embedding, responses::ResponseRequest,
    },
    shelf::Kept,
    world::World,
};

/// The input of a batch, a line for each call.
#[derive(Deserialize)]
struct Line<'a> {
    custom_id: String,
    url: String,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// A batch of OpenAI's.
#[derive(Deserialize)]
struct NewBatch {
    input_file_id: String,
    endpoint: String,
}

/// A batch of Anthropic's.
#[derive(Deserialize)]
struct NewMessageBatch<'a> {
    #[serde(borrow)]
    requests: Vec<NewMessage<'a>>,
}

#[derive(Deserialize)]
struct NewMessage<'a> {
    custom_id: String,
    #[serde(borrow)]
    params: &'a RawValue,
}

impl Inquiry<'_> {
    /// What is asked of things that are kept.
    pub(super) fn kept(&self, path: &str, body: &Bytes) -> Option<Result<Decision, Refusal>> {
        let method = &self.head.method;
        let tail = |prefix: &str| {
            let tail = path.strip_prefix(prefix)?;
            tail.strip_prefix('/').or(tail.is_empty().then_some(""))
        };
        if let Some(tail) = tail("/v1/responses").filter(|tail| !tail.is_empty()) {
            return Some(self.response(method, tail));
        }
        if let Some(tail) = tail("/v1/messages/batches") {
            return Some(self.message_batch(method, tail, body));
        }
        // A form that is put there is taken elsewhere.
        if let Some(tail) = tail("/v1/files").filter(|_| method != Method::POST) {
            return Some(self.file(method, tail));
        }
        tail("/v1/batches").map(|tail| self.batch(method, tail, body))
    }

    /// A response that is kept.
    fn response(&self, method: &Method, tail: &str) -> Result<Decision, Refusal> {
        let (id, act) = tail.split_once('/').unwrap_or((tail, ""));
        let kept = &self.world.shelf;
        self.free(|| match (method, act) {
            (&Method::GET, "") | (&Method::POST, "cancel") => {
                kept.look(id).ok_or_else(|| missing(id))
            }
            (&Method::GET, "input_items") => {
                kept.look(id).map(|_| list(&[])).ok_or_else(|| missing(id))
            }
            (&Method::DELETE, "") if kept.forget(id) => Ok(deleted(id, "response.deleted")),
            _ => Err(missing(id)),
        })
    }

    /// Files: read and deleted.
    fn file(&self, method: &Method, tail: &str) -> Result<Decision, Refusal> {
        let (id, act) = tail.split_once('/').unwrap_or((tail, ""));
        let kept = &self.world.shelf;
        self.free(|| match (method, id, act) {
            (&Method::GET, "", "") => Ok(list(&kept.all("file-"))),
            (&Method::GET, _, "") => kept.look(id).ok_or_else(|| missing(id)),
            (&Method::GET, _, "content") => kept
                .look(&format!("{id}/content"))
                .ok_or_else(|| missing(id)),
            (&Method::DELETE, _, "") if kept.forget(id) => {
                kept.forget(&format!("{id}/content"));
                Ok(deleted(id, "file"))
            }
            _ => Err(missing(id)),
        })
    }

    /// Batches: done as soon as they are set off, but told so when they are asked for again.
    fn batch(&self, method: &Method, tail: &str, body: &Bytes) -> Result<Decision, Refusal> {
        let (id, act) = tail.split_once('/').unwrap_or((tail, ""));
        let kept = &self.world.shelf;
        self.free(|| match (method, id, act) {
            (&Method::POST, "", "") => self.set_off(body),
            (&Method::GET, "", "") => Ok(list(&kept.all("batch_"))),
            (&Method::GET, _, "") | (&Method::POST, _, "cancel") => {
                kept.look(id).ok_or_else(|| missing(id))
            }
            _ => Err(missing(id)),
        })
    }

    /// Batches of messages.
    fn message_batch(
        &self,
        method: &Method,
        tail: &str,
        body: &Bytes,
    ) -> Result<Decision, Refusal> {
        let (id, act) = tail.split_once('/').unwrap_or((tail, ""));
        let kept = &self.world.shelf;
        self.free(|| match (method, id, act) {
            (&Method::POST, "", "") => self.set_off_messages(body),
            (&Method::GET, "", "") => {
                let data = kept.all("msgbatch_").join(",");
                Ok(format!(
                    r#"{{"data":[{data}],"has_more":false,"first_id":null,"last_id":null}}"#
                ))
            }
            (&Method::GET, _, "") | (&Method::POST, _, "cancel") => {
                kept.look(id).ok_or_else(|| missing(id))
            }
            (&Method::GET, _, "results") => kept
                .look(&format!("{id}/results"))
                .ok_or_else(|| missing(id)),
            (&Method::DELETE, _, "") if kept.forget(id) => Ok(deleted(id, "message_batch_deleted")),
            _ => Err(missing(id)),
        })
    }

    fn set_off(&self, body: &Bytes) -> Result<String, Refusal> {
        let new: NewBatch = read(body)?;
        let input = format!("{}/content", new.input_file_id);
        let input = self
            .world
            .shelf
            .look(&input)
            .ok_or_else(|| missing(&new.input_file_id))?;
        let mut results = String::new();
        let mut count = 0_u64;
        for text in input.lines().filter(|line| !line.trim().is_empty()) {
            let line: Line<'_> = serde_json::from_str(text)
                .map_err(|error| Refusal::request(format!("a line cannot be read: {error}")))?;
            let stamp = self.stamp_of(count);
            let said = match line.url.as_str() {
                "/v1/chat/completions" => self.said::<Chat<'_>>(line.body, &stamp),
                "/v1/completions" => self.said::<Completion<'_>>(line.body, &stamp),
                "/v1/embeddings" => self.said::<Embedding<'_>>(line.body, &stamp),
                "/v1/responses" => self.said::<ResponseRequest<'_>>(line.body, &stamp),
                other => Err(Refusal::request(format!("{other} cannot be batched"))),
            }?;
            let result = json!({
                "id": format!("batch_req_{}", stamp.id), "custom_id": line.custom_id,
                "response": { "status_code": 200, "request_id": stamp.request_id(), "body": said },
                "error": null,
            });
            results.push_str(&result.to_string());
            results.push('\n');
            count += 1;
        }
        let output: Value =
            serde_json::from_str(&keep_file(self.world, self.stamp, "batch_output", results))
                .unwrap_or_default();
        let id = format!("batch_{}", self.stamp.id);
        let told = |status: &str, output: &Value| {
            json!({
                "id": id, "object": "batch", "endpoint": new.endpoint, "errors": null,
                "input_file_id": new.input_file_id, "completion_window": "24h", "status": status,
                "output_file_id": output, "error_file_id": null, "created_at": self.stamp.created,
                "request_counts": { "total": count, "completed": count, "failed": 0 },
            })
            .to_string()
        };
        let early = told("validating", &Value::Null);
        let whole = told("completed", output.get("id").unwrap_or(&Value::Null));
        self.world.shelf.keep(id.clone(), Kept::done(whole));
        Ok(early)
    }

    fn set_off_messages(&self, body: &Bytes) -> Result<String, Refusal> {
        let new: NewMessageBatch<'_> = read(body)?;
        let mut results = String::new();
        let mut count = 0_u64;
        for request in &new.requests {
            let stamp = self.stamp_of(count);
            let message = self.said::<Message<'_>>(request.params, &stamp)?;
            let result = json!({
                "custom_id": request.custom_id,
                "result": { "type": "succeeded", "message": message },
            });
            results.push_str(&result.to_string());
            results.push('\n');
            count += 1;
        }
        let id = format!("msgbatch_{}", self.stamp.id);
        let host = self.head.headers.get(HOST);
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        let told = |status: &str, ended: &Value, url: &Value, done: u64| {
            json!({
                "id": id, "type": "message_batch", "processing_status": status,
                "request_counts": {
                    "processing": count - done, "succeeded": done, "errored": 0, "canceled": 0,
                    "expired": 0,
                },
                "created_at": self.stamp.time.to_string(), "ended_at": ended,
                "expires_at": self.stamp.time.to_string(), "archived_at": null,
                "cancel_initiated_at": null, "results_url": url,
            })
            .to_string()
        };
        let early = told("in_progress", &Value::Null, &Value::Null, 0);
        let ended = json!(self.stamp.time.to_string());
        let url = json!(format!("http://{host}/v1/messages/batches/{id}/results"));
        let whole = told("ended", &ended, &url, count);
        let kept = &self.world.shelf;
        kept.keep(format!("{id}/results"), Kept::done(results));
        kept.keep(id.clone(), Kept::done(whole));
        Ok(early)
    }

    /// One call of a batch: billed, and answered as a call of its own would be.
    fn said<'a, C: Call<'a>>(&self, body: &'a RawValue, stamp: &Stamp) -> Result<Value, Refusal> {
        let call: C = serde_json::from_str(body.get())
            .map_err(|error| Refusal::request(format!("a call cannot be read: {error}")))?;
        call.check(&self.terms)?;
        let tokens = call.tokens(&self.terms);
        let entry = Entry {
            time: stamp.time,
            request_id: &stamp.request_id(),
            client_request_id: None,
            model: call.model(),
            tokens_in: tokens.input,
            tokens_out: tokens.output,
            path: self.head.uri.path(),
        };
        let written = self.world.journal.append(&entry);
        written.map_err(|error| {
            let message = format!("the journal cannot be written: {error}");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message)
        })?;
        let Answer::Whole(text) = call.answer(stamp, &self.terms) else {
            return Err(Refusal::request("a call of a batch cannot be streamed"));
        };
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// A stamp of its own for a call of a batch.
    fn stamp_of(&self, place: u64) -> Stamp {
        Stamp {
            id: format!("{}-{place}", self.stamp.id),
            ..self.stamp.clone()
        }
    }
}

/// Keeps a file; what is told of it.
pub(super) fn keep_file(world: &World, stamp: &Stamp, purpose: &str, content: String) -> String {
    let id = format!("file-{}{}", stamp.id, purpose.len());
    let told = json!({
        "id": id, "object": "file", "bytes": content.len(), "created_at": stamp.created,
        "filename": format!("{purpose}.jsonl"), "purpose": purpose, "status": "processed",
        "status_details": null, "expires_at": null,
    });
    let kept = &world.shelf;
    kept.keep(format!("{id}/content"), Kept::done(content));
    kept.keep(id, Kept::done(told.to_string()));
    told.to_string()
}

fn missing(id: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("there is no '{id}'"))
}

fn list(data: &[String]) -> String {
    let data = data.join(",");
    format!(
        r#"{{"object":"list","data":[{data}],"first_id":null,"last_id":null,"has_more":false}}"#
    )
}

fn deleted(id: &str, object: &str) -> String {
    format!(r#"{{"id":"{id}","object":"{object}","type":"{object}","deleted":true}}"#)
}
