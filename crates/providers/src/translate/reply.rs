//! The answer in the caller's words: bytes of the provider's at any split in, the caller's out.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::failure::{self, Told};
use super::step::{Lost, Sink, Step};
use super::whole::Whole;
use super::{Terms, anthropic, converse, openai};
use crate::dialect::{Dialect, ErrorBody};
use crate::eventstream::{self, Frames};
use crate::meter::AnswerShape;
use crate::sse::{Event, Found, Scanner};

/// The provider's headers that say nothing of an answer in other words.
const THEIRS: [&str; 2] = ["openai-", "x-amzn-"];

/// Says one answer in the caller's words.
#[derive(Debug)]
pub struct Reply {
    caller: Dialect,
    terms: Terms,
    reader: Reader,
    writer: Writer,
    /// The class of an error, where it stands in the head of the answer.
    kind: Option<String>,
    scanner: Scanner,
    frames: Frames,
    /// Whether nothing more is to be said.
    over: bool,
    lost: bool,
}

/// An answer that cannot be said in the caller's words. The provider may have billed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Untold(&'static str);

#[derive(Debug)]
enum Reader {
    OpenAi(openai::Reader),
    Anthropic(anthropic::Reader),
    Converse(converse::Reader),
}

#[derive(Debug)]
enum Writer {
    OpenAi(openai::Writer),
    Anthropic(anthropic::Writer),
}

impl Reply {
    pub(super) fn new(provider: Dialect, caller: Dialect, terms: Terms) -> Self {
        Self {
            caller,
            terms,
            reader: match provider {
                Dialect::OpenAi => Reader::OpenAi(openai::Reader::default()),
                Dialect::Anthropic => Reader::Anthropic(anthropic::Reader::default()),
                Dialect::Bedrock => Reader::Converse(converse::Reader::default()),
            },
            writer: match caller {
                Dialect::Anthropic => Writer::Anthropic(anthropic::Writer::default()),
                // No caller of Bedrock's words is translated for.
                Dialect::OpenAi | Dialect::Bedrock => Writer::OpenAi(openai::Writer::default()),
            },
            kind: None,
            scanner: Scanner::default(),
            frames: Frames::default(),
            over: false,
            lost: false,
        }
    }

    /// Makes the headers those of the answer that the caller gets.
    pub fn head(&mut self, headers: &mut HeaderMap, shape: AnswerShape) {
        let kind = headers.get("x-amzn-errortype");
        let kind = kind.and_then(|value| value.to_str().ok()?.split(':').next());
        self.kind = kind.map(str::to_owned);
        let theirs = |name: &HeaderName| THEIRS.iter().any(|it| name.as_str().starts_with(it));
        let named: Vec<HeaderName> = headers.keys().filter(|it| theirs(it)).cloned().collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONTENT_ENCODING);
        headers.remove(CONTENT_LANGUAGE);
        let kind = if shape.is_stream() {
            "text/event-stream; charset=utf-8"
        } else {
            "application/json"
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }

    /// Takes the next bytes of a stream and hands on what the caller is to get.
    pub fn push(&mut self, piece: &Bytes, out: &mut impl FnMut(Bytes)) {
        let mut written = Vec::new();
        if let Reader::Converse(_) = self.reader {
            let mut frames = std::mem::take(&mut self.frames);
            let mut see = |found: &eventstream::Found<'_>| self.frame(found, &mut written);
            frames.push(piece, &mut see, &mut |_| {});
            self.frames = frames;
        } else {
            let mut scanner = std::mem::take(&mut self.scanner);
            scanner.push(piece, |found, _| self.found(&found, &mut written));
            self.scanner = scanner;
        }
        pass(written, out);
    }

    /// Ends a stream that the provider ended as it should.
    pub fn finish(&mut self, out: &mut impl FnMut(Bytes)) {
        let mut written = Vec::new();
        let scanner = std::mem::take(&mut self.scanner);
        // Some servers leave out the blank line after the last event.
        if !scanner.rest().is_empty() {
            self.found(&Found::Event(scanner.rest()), &mut written);
        }
        if !self.over && !self.lost {
            self.write(Step::End, &mut written);
        }
        pass(written, out);
    }

    /// Whether a stream cannot be gone on with.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        self.lost
    }

    /// An answer that is no stream, in the caller's words.
    pub fn whole(&mut self, status: StatusCode, body: &[u8]) -> Result<Bytes, Untold> {
        if !status.is_success() {
            return Ok(self.error(status, body));
        }
        let mut whole = Whole::default();
        let mut taken = Ok(());
        let mut sink = |step: Step<'_>| taken = taken.and_then(|()| whole.take(step));
        let read = match &mut self.reader {
            Reader::OpenAi(reader) => reader.whole(body, &mut sink),
            Reader::Anthropic(reader) => reader.whole(body, &mut sink),
            Reader::Converse(reader) => reader.whole(body, &mut sink),
        };
        read.and(taken)
            .or(Err(Untold("it is not what its own dialect prescribes")))?;
        let mut written = Vec::with_capacity(body.len());
        match self.writer {
            Writer::OpenAi(_) => openai::Writer::whole(&whole, &self.terms, &mut written),
            Writer::Anthropic(_) => {
                let whole = anthropic::Writer::whole(&whole, &self.terms, &mut written);
                whole.or(Err(Untold(
                    "it calls a tool with an input that is no JSON object, perhaps because the \
                     output maximum cut it off",
                )))?;
            }
        }
        Ok(written.into())
    }

    /// The provider's error, with its status and its message.
    fn error(&self, status: StatusCode, body: &[u8]) -> Bytes {
        let told = Told::read(body);
        let kind = told.kind.as_ref().or(self.kind.as_ref());
        let unsaid = || format!("the provider answered with status {}", status.as_u16());
        self.caller.error_body(&ErrorBody {
            status,
            error_type: None,
            code: kind.map_or("upstream_error", String::as_str),
            message: &told.message.unwrap_or_else(unsaid),
            param: None,
            tollgate: None,
            request_id: &self.terms.request_id,
        })
    }

    fn found(&mut self, found: &Found<'_>, written: &mut Vec<u8>) {
        let Found::Event(bytes) = found else {
            // An event that is too large to be read is no event of a chat.
            self.lost |= matches!(found, Found::TooLarge(_));
            return;
        };
        let event = Event::parse(bytes);
        self.read(written, |reader, sink| match reader {
            Reader::OpenAi(reader) => reader.event(&event, sink),
            Reader::Anthropic(reader) => reader.event(&event, sink),
            Reader::Converse(_) => Err(Lost),
        });
    }

    fn frame(&mut self, found: &eventstream::Found<'_>, written: &mut Vec<u8>) {
        let eventstream::Found::Frame(frame) = found else {
            self.lost = true;
            return;
        };
        self.read(written, |reader, sink| match reader {
            Reader::Converse(reader) => reader.frame(frame, sink),
            Reader::OpenAi(_) | Reader::Anthropic(_) => Err(Lost),
        });
    }

    /// Has one event read, and writes its steps.
    fn read(
        &mut self,
        written: &mut Vec<u8>,
        read: impl FnOnce(&mut Reader, &mut Sink<'_>) -> Result<(), Lost>,
    ) {
        if self.over || self.lost {
            return;
        }
        let mut pen = Pen {
            writer: &mut self.writer,
            caller: self.caller,
            terms: &self.terms,
            over: false,
            lost: false,
        };
        let outcome = read(&mut self.reader, &mut |step| pen.write(step, written));
        self.over = pen.over;
        self.lost = pen.lost || outcome.is_err();
    }

    fn write(&mut self, step: Step<'_>, written: &mut Vec<u8>) {
        let mut pen = Pen {
            writer: &mut self.writer,
            caller: self.caller,
            terms: &self.terms,
            over: false,
            lost: false,
        };
        pen.write(step, written);
        self.over = pen.over;
        self.lost = pen.lost;
    }
}

/// Writes steps until nothing more is to be said.
struct Pen<'p> {
    writer: &'p mut Writer,
    caller: Dialect,
    terms: &'p Terms,
    over: bool,
    lost: bool,
}

impl Pen<'_> {
    fn write(&mut self, step: Step<'_>, written: &mut Vec<u8>) {
        if self.over || self.lost {
            return;
        }
        if let Step::Error { kind, message } = &step {
            self.over = true;
            written.extend_from_slice(&self.caller.error_event(&ErrorBody {
                status: failure::status_of(kind.as_deref()),
                error_type: None,
                code: kind.as_deref().unwrap_or("upstream_error"),
                message,
                param: None,
                tollgate: None,
                request_id: &self.terms.request_id,
            }));
            return;
        }
        self.over = step == Step::End;
        let outcome = match self.writer {
            Writer::OpenAi(writer) => writer.write(step, self.terms, written),
            Writer::Anthropic(writer) => writer.write(step, self.terms, written),
        };
        self.lost = outcome.is_err();
    }
}

fn pass(written: Vec<u8>, out: &mut impl FnMut(Bytes)) {
    if !written.is_empty() {
        out(written.into());
    }
}
