//! Forms of several parts: recordings that are written down, pictures that are changed, files that are kept.
//!
//! A form is read while it comes and never kept: what is left of it is a digest of its fields, its length and its
//! SHA-256, which `GET /__forms` tells, so that a test can compare what arrived with what was sent.
//!
//! A kilobyte of a recording is one token of sound; a word of the prompt is one of text; a picture is
//! [`PICTURE_TOKENS_IN`] going in and [`PICTURE_TOKENS_OUT`] coming out. `whisper-1` is billed by the minute: it reports
//! seconds, one for each 16 kilobytes, and no tokens.

mod reader;

use std::collections::{BTreeMap, VecDeque};
use std::io;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use http::{Method, StatusCode, header::CONTENT_TYPE, request::Parts};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use self::reader::Reader;
use super::{
    answer::{Answer, Call, Events, Refusal, Stamp, Terms, Tokens},
    azure::Place,
    face::{Face, identify},
    prompt::words,
    text::{Json, pieces},
    world::World,
};

/// So many forms are remembered, the newest ones.
const FORMS_KEPT: usize = 1_024;

/// Tokens of a picture that is sent.
const PICTURE_TOKENS_IN: u64 = 100;

/// Tokens of a picture that is made.
const PICTURE_TOKENS_OUT: u64 = 272;

/// A picture of one point.
const PICTURE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// Where forms are sent to.
const PATHS: [&str; 5] = [
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/images/edits",
    "/v1/images/variations",
    "/v1/files",
];

/// What is left of a form when it has passed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Digest {
    path: String,
    client_request_id: Option<String>,
    content_type: String,
    bytes: u64,
    sha256: String,
    fields: BTreeMap<String, String>,
    files: u64,
    file_bytes: u64,
    file_name: String,
}

/// The forms that arrived whole, newest last.
#[derive(Debug, Default)]
pub(super) struct Forms(Mutex<VecDeque<String>>);

impl Forms {
    fn add(&self, form: String) {
        let mut forms = self.0.lock();
        if forms.len() == FORMS_KEPT {
            forms.pop_front();
        }
        forms.push_back(form);
    }

    /// All of them, as JSON text.
    pub(super) fn list(&self) -> String {
        let forms = self.0.lock();
        let all: Vec<&str> = forms.iter().map(String::as_str).collect();
        format!("[{}]", all.join(","))
    }

    /// Forgets them.
    pub(super) fn forget(&self) {
        self.0.lock().clear();
    }
}

/// Whether a request is one that a form is sent with.
pub(super) fn takes_form(head: &Parts) -> bool {
    head.method == Method::POST && Place::of(head).is_ok_and(|place| PATHS.contains(&&*place.path))
}

/// Reads a form as it comes, and gives its digest as JSON, in the place of a body. A caller whose key is refused need
/// not send its form.
pub(super) async fn receive(
    world: &World,
    head: &Parts,
    mut body: Incoming,
) -> io::Result<Result<Bytes, Refusal>> {
    if let Err(refusal) = identify(world, Face::of(head), &head.headers) {
        return Ok(Err(refusal));
    }
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let content_type = text(CONTENT_TYPE.as_str()).unwrap_or_default();
    let Some((_, boundary)) = content_type.split_once("boundary=") else {
        return Ok(Err(Refusal::request("the request is no multipart form")));
    };
    let mut reader = Reader::new(boundary.trim_matches('"'));
    let mut digest = Digest {
        path: head.uri.path().to_owned(),
        client_request_id: text("x-client-request-id").map(str::to_owned),
        content_type: content_type.to_owned(),
        ..Digest::default()
    };
    let mut hash = Context::new(&SHA256);
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(io::Error::other)?.into_data() else {
            continue;
        };
        hash.update(&piece);
        digest.bytes += u64::try_from(piece.len()).unwrap_or_default();
        reader.push(&piece);
    }
    let hex = |byte: &u8| format!("{byte:02x}");
    digest.sha256 = hash.finish().as_ref().iter().map(hex).collect();
    if !reader.is_whole() {
        return Ok(Err(Refusal::request(
            "the multipart form is cut or is none",
        )));
    }
    reader.into(&mut digest);
    let json = serde_json::to_string(&digest).unwrap_or_default();
    world.forms.add(json.clone());
    Ok(Ok(json.into()))
}

impl Digest {
    fn field(&self, name: &str) -> &str {
        self.fields
            .get(name)
            .map(String::as_str)
            .unwrap_or_default()
    }

    fn must_have_a_file(&self) -> Result<(), Refusal> {
        if self.files == 0 {
            return Err(Refusal::request("you must provide a file"));
        }
        Ok(())
    }

    /// The answer to a file that is to be kept.
    pub(super) fn kept(&self, stamp: &Stamp) -> Result<String, Refusal> {
        self.must_have_a_file()?;
        if self.field("purpose").is_empty() {
            return Err(Refusal::request("'purpose' is a required property"));
        }
        let mut json = Json::with_capacity(256);
        json.raw(r#"{"id":"file-"#).raw(&stamp.id);
        json.raw(r#"","object":"file","bytes":"#)
            .number(self.file_bytes);
        json.raw(r#","created_at":"#).number(stamp.created);
        json.raw(r#","filename":"#).string(&self.file_name);
        json.raw(r#","purpose":"#).string(self.field("purpose"));
        json.raw(r#","status":"processed"}"#);
        Ok(json.into_string())
    }
}

/// `POST /v1/audio/transcriptions` and `/v1/audio/translations`.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Recording(Digest);

impl Recording {
    fn is_by_the_minute(&self) -> bool {
        self.0.field("model").starts_with("whisper")
    }

    fn sound(&self) -> u64 {
        self.0.file_bytes.div_ceil(1_000).max(1)
    }

    fn usage(&self, json: &mut Json, terms: &Terms) {
        if self.is_by_the_minute() {
            let seconds = self.0.file_bytes.div_ceil(16_000).max(1);
            json.raw(r#"{"type":"duration","seconds":"#)
                .number(seconds)
                .raw("}");
            return;
        }
        let Tokens { input, output } = self.tokens(terms);
        json.raw(r#"{"type":"tokens","input_tokens":"#)
            .number(input);
        json.raw(r#","input_token_details":{"text_tokens":"#)
            .number(input - self.sound())
            .raw(r#","audio_tokens":"#)
            .number(self.sound());
        json.raw(r#"},"output_tokens":"#).number(output);
        json.raw(r#","total_tokens":"#)
            .number(input + output)
            .raw("}");
    }

    fn said(terms: &Terms) -> String {
        let mut text = Json::default();
        text.words(0, terms.default_output_tokens);
        text.into_string()
    }

    fn whole(&self, terms: &Terms) -> Answer {
        let said = Self::said(terms);
        let mut json = Json::with_capacity(1_024);
        match self.0.field("response_format") {
            "text" => return Answer::Plain(format!("{said}\n")),
            "srt" => return Answer::Plain(format!("1\n00:00:00,000 --> 00:00:01,000\n{said}\n\n")),
            "vtt" => {
                return Answer::Plain(format!(
                    "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n{said}\n\n"
                ));
            }
            "verbose_json" => json.raw(
                r#"{"task":"transcribe","language":"english","duration":1.0,"segments":[],"text":"#,
            ),
            _ => json.raw(r#"{"text":"#),
        };
        json.string(&said);
        if !terms.faults.no_usage {
            json.raw(r#","usage":"#);
            self.usage(&mut json, terms);
        }
        json.raw("}");
        Answer::Whole(json.into_string())
    }

    fn events(&self, terms: &Terms) -> Events {
        let mut events = Events::with_capacity(4 * 1_024);
        for (from, count) in pieces(terms.default_output_tokens) {
            let json = events.text();
            json.raw(r#"data: {"type":"transcript.text.delta","delta":""#);
            json.words(from, count).raw(r#""}"#);
            events.end();
        }
        let json = events.text();
        json.raw(r#"data: {"type":"transcript.text.done","text":"#);
        json.string(&Self::said(terms));
        if !terms.faults.no_usage {
            json.raw(r#","usage":"#);
            self.usage(json, terms);
        }
        json.raw("}");
        events.end();
        events
    }
}

impl Call<'_> for Recording {
    fn model(&self) -> &str {
        self.0.field("model")
    }

    fn check(&self, _terms: &Terms) -> Result<(), Refusal> {
        self.0.must_have_a_file()
    }

    fn tokens(&self, terms: &Terms) -> Tokens {
        if self.is_by_the_minute() {
            return Tokens {
                input: 0,
                output: 0,
            };
        }
        Tokens {
            input: self.sound() + words(self.0.field("prompt")),
            output: terms.default_output_tokens,
        }
    }

    fn answer(&self, _stamp: &Stamp, terms: &Terms) -> Answer {
        if self.0.field("stream") == "true" && !self.is_by_the_minute() {
            Answer::Events(self.events(terms))
        } else {
            self.whole(terms)
        }
    }
}

/// `POST /v1/images/edits` and `/v1/images/variations`.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Picture(Digest);

impl Picture {
    fn count(&self) -> u64 {
        self.0.field("n").parse().unwrap_or(1)
    }

    fn is_by_the_picture(&self) -> bool {
        self.model().starts_with("dall-e")
    }
}

impl Call<'_> for Picture {
    fn model(&self) -> &str {
        match self.0.field("model") {
            "" if self.0.path.ends_with("variations") => "dall-e-2",
            model => model,
        }
    }

    fn check(&self, _terms: &Terms) -> Result<(), Refusal> {
        if !(1..=10).contains(&self.count()) {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "'n' must be from 1 to 10",
            ));
        }
        self.0.must_have_a_file()
    }

    fn tokens(&self, _terms: &Terms) -> Tokens {
        if self.is_by_the_picture() {
            return Tokens {
                input: 0,
                output: 0,
            };
        }
        Tokens {
            input: words(self.0.field("prompt")) + self.0.files * PICTURE_TOKENS_IN,
            output: self.count() * PICTURE_TOKENS_OUT,
        }
    }

    fn answer(&self, stamp: &Stamp, terms: &Terms) -> Answer {
        let mut json = Json::with_capacity(1_024);
        json.raw(r#"{"created":"#)
            .number(stamp.created)
            .raw(r#","data":["#);
        for at in 0..self.count() {
            json.raw(if at > 0 { "," } else { "" });
            json.raw(r#"{"b64_json":""#).raw(PICTURE).raw(r#""}"#);
        }
        json.raw("]");
        if !terms.faults.no_usage && !self.is_by_the_picture() {
            let Tokens { input, output } = self.tokens(terms);
            let pictures = self.0.files * PICTURE_TOKENS_IN;
            json.raw(r#","usage":{"total_tokens":"#)
                .number(input + output);
            json.raw(r#","input_tokens":"#).number(input);
            json.raw(r#","output_tokens":"#).number(output);
            json.raw(r#","input_tokens_details":{"text_tokens":"#)
                .number(input - pictures);
            json.raw(r#","image_tokens":"#).number(pictures).raw("}}");
        }
        json.raw("}");
        Answer::Whole(json.into_string())
    }
}
