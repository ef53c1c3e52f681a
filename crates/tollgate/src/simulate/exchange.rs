//! One request of the simulated provider: who asks, what for, what it costs, what it gets.

mod bedrock;
mod control;
mod stored;

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER},
    request::Parts,
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;

use serde::Deserialize;

use super::{
    Faults,
    answer::{Answer, AnswerBody, Call, Refusal, Stamp, Terms, Wire},
    anthropic::{self, CountTokens, Message},
    azure::Place,
    face::{ANTHROPIC_VERSION, BEDROCK_LIST, Face, identify},
    forms::{self, Picture, Recording},
    journal::Entry,
    models,
    openai::{
        self,
        chat::Chat,
        completions::Completion,
        embeddings::Embedding,
        media::{self, Images, Speech},
        responses::ResponseRequest,
    },
    world::{Billed, World},
};

/// The largest body of a request, in bytes.
const MAX_BODY: usize = 64 << 20;

/// What a request gets.
enum Decision {
    Answer(Answer),
    Silence,
}

/// Answer one request; an error ends the connection without an answer.
pub(super) async fn exchange(
    world: Arc<World>,
    request: Request<Incoming>,
) -> io::Result<Response<AnswerBody>> {
    let (head, body) = request.into_parts();
    let body = take(&world, &head, body).await?;
    if head.uri.path().starts_with("/__") {
        return Ok(control::answer(&world, &head, body));
    }
    let is_list = head.uri.path().ends_with("/models") || head.uri.path() == BEDROCK_LIST;
    let face = Face::of(&head);
    let stamp = world.stamp();
    let request_id = stamp.request_id();
    let inquiry = Inquiry {
        world: &world,
        face,
        head: &head,
        stamp: &stamp,
        terms: world.terms(if face == Face::Azure {
            Wire::Azure
        } else {
            Wire::Plain
        }),
    };
    let faults = inquiry.terms.faults;
    let decision = body.and_then(|body| inquiry.decide(&body));
    let mut latency_ms = faults.latency_ms;
    if is_list {
        latency_ms = latency_ms.saturating_add(faults.models_latency_ms);
    }
    if latency_ms > 0 {
        tokio::time::sleep(Duration::from_millis(latency_ms)).await;
    }
    let mut response = match decision {
        Ok(Decision::Answer(answer)) => answered(answer, &faults),
        Ok(Decision::Silence) => {
            world.stopped().await;
            return Err(io::Error::other(
                "the simulated provider was told not to answer",
            ));
        }
        Err(refusal) => refused(face, &refusal, &request_id),
    };
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(request_id) {
        headers.insert(face.request_id_header(), id);
    }
    if face == Face::OpenAi {
        headers.insert("openai-processing-ms", HeaderValue::from(faults.latency_ms));
    }
    Ok(response)
}

/// The body of a request, or the digest of a form.
async fn take(world: &World, head: &Parts, body: Incoming) -> io::Result<Result<Bytes, Refusal>> {
    if forms::takes_form(head) {
        return forms::receive(world, head, body).await;
    }
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => Ok(Ok(body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {MAX_BODY} bytes"),
        ))),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// A request with all that bears on its answer but the body.
struct Inquiry<'r> {
    world: &'r World,
    face: Face,
    head: &'r Parts,
    stamp: &'r Stamp,
    /// The faults of the moment it came: a change in its middle does not concern it.
    terms: Terms,
}

impl Inquiry<'_> {
    fn decide(&self, body: &Bytes) -> Result<Decision, Refusal> {
        if self.face == Face::Bedrock {
            return self.decide_bedrock(body);
        }
        identify(self.world, self.face, &self.head.headers)?;
        let place = Place::of(self.head)?;
        place.check(body)?;
        let path = &*place.path;
        if let Some(decision) = self.kept(path, body) {
            return decision;
        }
        if self.head.method == Method::POST
            && let Some(decision) = self.beside_chat(path, body, place.deployment)
        {
            return decision;
        }
        match (&self.head.method, path) {
            (&Method::GET, "/v1/models") => self.listed(|| {
                Ok(match self.face {
                    Face::OpenAi | Face::Azure => models::openai_list(),
                    Face::Anthropic | Face::Bedrock => models::anthropic_list(),
                })
            }),
            (&Method::GET, _) if path.starts_with("/v1/models/") => self.free(|| {
                let id = path.strip_prefix("/v1/models/").unwrap_or_default();
                match self.face {
                    Face::OpenAi | Face::Azure => models::openai_model(id),
                    Face::Anthropic | Face::Bedrock => models::anthropic_model(id),
                }
            }),
            (&Method::POST, "/v1/chat/completions") => {
                self.billed::<Chat<'_>>(body, place.deployment)
            }
            (&Method::POST, "/v1/completions") => {
                self.billed::<Completion<'_>>(body, place.deployment)
            }
            (&Method::POST, "/v1/embeddings") => {
                self.billed::<Embedding<'_>>(body, place.deployment)
            }
            (&Method::POST, "/v1/messages") => {
                versioned(self.head)?;
                self.billed::<Message<'_>>(body, place.deployment)
            }
            (&Method::POST, "/v1/messages/count_tokens") => {
                versioned(self.head)?;
                let call: CountTokens = read(body)?;
                self.free(|| Ok(call.answer()))
            }
            (method, _) => Err(Refusal::new(
                StatusCode::NOT_FOUND,
                format!("there is no {method} {path} at the simulated provider"),
            )
            .with_code("unknown_url")),
        }
    }

    /// What is made beside chats: responses, images, speech, what is written down of it, judgments.
    fn beside_chat(
        &self,
        path: &str,
        body: &Bytes,
        deployment: Option<&str>,
    ) -> Option<Result<Decision, Refusal>> {
        Some(match path {
            "/v1/audio/transcriptions" | "/v1/audio/translations" => {
                self.billed::<Recording>(body, deployment)
            }
            "/v1/images/edits" | "/v1/images/variations" => {
                self.billed::<Picture>(body, deployment)
            }
            "/v1/files" => {
                let form = read::<forms::Digest>(body);
                form.and_then(|form| self.free(|| form.kept(self.stamp)))
            }
            "/v1/responses" => self.billed::<ResponseRequest<'_>>(body, None),
            "/v1/images/generations" => self.billed::<Images<'_>>(body, deployment),
            "/v1/audio/speech" => self.billed::<Speech<'_>>(body, deployment),
            "/v1/moderations" => self.free(|| Ok(media::moderated())),
            _ => return None,
        })
    }

    /// Answer a request for the list of models, which has faults of its own.
    fn listed(
        &self,
        answer: impl FnOnce() -> Result<String, Refusal>,
    ) -> Result<Decision, Refusal> {
        self.world.listed();
        let faults = &self.terms.faults;
        if faults.models_hang {
            return Ok(Decision::Silence);
        }
        if let Some(status) = faults.models_status {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let message = "the simulated provider was told to fail this request";
            return Err(Refusal::new(status, message));
        }
        self.free(answer)
    }

    /// Answer a request that costs nothing.
    fn free(&self, answer: impl FnOnce() -> Result<String, Refusal>) -> Result<Decision, Refusal> {
        self.fail_if_told(Billed::No)?;
        if self.terms.faults.hang {
            return Ok(Decision::Silence);
        }
        Ok(Decision::Answer(Answer::Whole(answer()?)))
    }

    /// Answer a request that is billed: its line is in the journal before its answer begins.
    fn billed<'a, C: Call<'a>>(
        &self,
        body: &'a Bytes,
        deployment: Option<&str>,
    ) -> Result<Decision, Refusal> {
        let call: C = read(body)?;
        let model = deployment.unwrap_or(call.model());
        if model.is_empty() {
            return Err(Refusal::request("you must provide a model parameter"));
        }
        call.check(&self.terms)?;
        self.fail_if_told(Billed::Yes)?;
        let tokens = call.tokens(&self.terms);
        let client_request_id = self.head.headers.get("x-client-request-id");
        let entry = Entry {
            time: self.stamp.time,
            request_id: &self.stamp.request_id(),
            client_request_id: client_request_id.and_then(|value| value.to_str().ok()),
            model,
            tokens_in: tokens.input,
            tokens_out: tokens.output,
            path: self.head.uri.path(),
        };
        self.world.journal.append(&entry).map_err(|error| {
            Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("the journal cannot be written: {error}"),
            )
        })?;
        if let Some((id, kept)) = call.kept(self.stamp, &self.terms) {
            self.world.shelf.keep(id, kept);
        }
        if self.terms.faults.hang {
            return Ok(Decision::Silence);
        }
        Ok(Decision::Answer(call.answer(self.stamp, &self.terms)))
    }

    fn fail_if_told(&self, billed: Billed) -> Result<(), Refusal> {
        let faults = &self.terms.faults;
        if !self.world.next_fails(billed, faults) {
            return Ok(());
        }
        let status =
            StatusCode::from_u16(faults.error_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let message = "the simulated provider was told to fail this request";
        let mut refusal = Refusal::new(status, message);
        refusal.retry_after_s = faults.retry_after_s;
        Err(match status {
            StatusCode::TOO_MANY_REQUESTS => refusal.with_code("rate_limit_exceeded"),
            StatusCode::UNAUTHORIZED => refusal.with_code("invalid_api_key"),
            _ => refusal,
        })
    }
}

fn versioned(head: &Parts) -> Result<(), Refusal> {
    let missing = || Refusal::request("the header 'anthropic-version' is missing");
    let version = head.headers.get(ANTHROPIC_VERSION);
    version.map(drop).ok_or_else(missing)
}

fn read<'a, C: Deserialize<'a>>(body: &'a Bytes) -> Result<C, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::request(format!("the body could not be read: {error}")))
}

fn answered(answer: Answer, faults: &Faults) -> Response<AnswerBody> {
    let (kind, length) = match &answer {
        Answer::Plain(text) => ("text/plain; charset=utf-8", Some(text.len())),
        Answer::Whole(text) | Answer::Counted(text, _) => ("application/json", Some(text.len())),
        Answer::Sound(bytes) => ("audio/mpeg", Some(bytes.len())),
        Answer::Events(_) => ("text/event-stream; charset=utf-8", None),
        Answer::Frames(_) => ("application/vnd.amazon.eventstream", None),
    };
    let counted = match &answer {
        Answer::Counted(_, tokens) => Some(*tokens),
        Answer::Whole(_)
        | Answer::Plain(_)
        | Answer::Sound(_)
        | Answer::Events(_)
        | Answer::Frames(_) => None,
    };
    let mut response = Response::new(AnswerBody::new(answer, faults));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(tokens) = counted {
        for (name, count) in [
            ("x-amzn-bedrock-input-token-count", tokens.input),
            ("x-amzn-bedrock-output-token-count", tokens.output),
        ] {
            headers.insert(name, HeaderValue::from(count));
        }
    }
    match length {
        // The length of the whole answer, also of one that will be cut.
        Some(length) => headers.insert(CONTENT_LENGTH, HeaderValue::from(length)),
        None => headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    };
    response
}

fn refused(face: Face, refusal: &Refusal, request_id: &str) -> Response<AnswerBody> {
    let text = match face {
        Face::OpenAi | Face::Azure => openai::error(refusal),
        Face::Anthropic => anthropic::error(refusal, request_id),
        Face::Bedrock => super::bedrock::error(refusal),
    };
    let mut response = json(refusal.status, text);
    if face == Face::Bedrock {
        let kind = HeaderValue::from_static(super::bedrock::error_type(refusal));
        response.headers_mut().insert("x-amzn-errortype", kind);
    }
    if let Some(seconds) = refusal.retry_after_s {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn json(status: StatusCode, text: String) -> Response<AnswerBody> {
    let length = HeaderValue::from(text.len());
    let mut response = Response::new(AnswerBody::whole(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, length);
    response
}
