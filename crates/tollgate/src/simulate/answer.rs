//! What a simulated provider decides to answer, before it is HTTP: answers, refusals, and the body that sends them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use hyper::body::{Body, Frame};
use tokio::time::Sleep;

use super::{bedrock::frames::Frames, faults::Faults, shelf::Kept, text::Json};

/// More output than this is refused: an answer is built in memory.
const MAX_OUTPUT_TOKENS: u64 = 1_000_000;

/// What holds for one request: the faults of the moment and the defaults of the server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) wire: Wire,
    pub(super) faults: Faults,
    pub(super) default_output_tokens: u64,
}

/// Whose variety of a wire format an answer is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    /// The maker's own.
    Plain,
    /// Azure's, which says what its content filters found.
    Azure,
}

impl Terms {
    /// The part of the input that is reported as read from a cache.
    pub(super) fn cached(&self, tokens_in: u64) -> u64 {
        if self.faults.cached_tokens <= tokens_in {
            self.faults.cached_tokens
        } else {
            0
        }
    }

    /// The part of the output that is reported as reasoning.
    pub(super) fn reasoning(&self, tokens_out: u64) -> u64 {
        if self.faults.reasoning_tokens <= tokens_out {
            self.faults.reasoning_tokens
        } else {
            0
        }
    }
}

/// What makes an answer different from every other: its id and its time.
#[derive(Debug, Clone)]
pub(super) struct Stamp {
    /// Unique among the answers of all simulated providers of this machine; without a prefix.
    pub(super) id: String,
    /// For the journal.
    pub(super) time: jiff::Timestamp,
    /// Seconds since 1970.
    pub(super) created: u64,
}

impl Stamp {
    /// The id of the request that is answered.
    pub(super) fn request_id(&self) -> String {
        format!("req_{}", self.id)
    }
}

/// Tokens of a request, all of them billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) input: u64,
    pub(super) output: u64,
}

/// An operation as one of the two vendors serves it: read from a body, billed, answered.
pub(super) trait Call<'a>: serde::Deserialize<'a> {
    /// The model as the request names it.
    fn model(&self) -> &str;
    /// What is wrong with values that could be read, in the vendor's sense.
    fn check(&self, terms: &Terms) -> Result<(), Refusal>;
    /// The tokens of request and answer.
    fn tokens(&self, terms: &Terms) -> Tokens;
    /// The whole answer.
    fn answer(&self, stamp: &Stamp, terms: &Terms) -> Answer;
    /// What is kept of it to be asked for again, and its id.
    fn kept(&self, _stamp: &Stamp, _terms: &Terms) -> Option<(String, Kept)> {
        None
    }
}

/// Refuse an answer that would be longer than is built in memory.
pub(super) fn check_output(tokens: u64) -> Result<(), Refusal> {
    if tokens > MAX_OUTPUT_TOKENS {
        return Err(Refusal::request(format!(
            "{tokens} output tokens are too many; ask for at most {MAX_OUTPUT_TOKENS}"
        )));
    }
    Ok(())
}

/// A request that is not answered, in no vendor's words yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// The `code` of OpenAI's errors.
    pub(super) code: Option<&'static str>,
    pub(super) message: String,
    pub(super) retry_after_s: Option<u64>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            code: None,
            message: message.into(),
            retry_after_s: None,
        }
    }

    /// A request that is wrong in itself: 400.
    pub(super) fn request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn with_code(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }
}

/// A complete answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// One JSON document.
    Whole(String),
    /// A text that is no JSON.
    Plain(String),
    /// One JSON document whose tokens stand in the head, too.
    Counted(String, Tokens),
    /// Sound.
    Sound(Vec<u8>),
    /// Server-sent events.
    Events(Events),
    /// Events in binary frames.
    Frames(Frames),
}

/// A stream of server-sent events, written one after the other into one text.
#[derive(Debug, Default)]
pub(super) struct Events {
    text: Json,
    lengths: Vec<usize>,
    start: usize,
}

impl Events {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            text: Json::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// The text of the event that is being written.
    pub(super) fn text(&mut self) -> &mut Json {
        &mut self.text
    }

    /// All events as one text.
    pub(super) fn into_text(self) -> String {
        self.text.into_string()
    }

    /// End the event that is being written.
    pub(super) fn end(&mut self) {
        self.text.raw("\n\n");
        let end = self.text.len();
        self.lengths.push(end - self.start);
        self.start = end;
    }
}

/// How a body ends once all that it sends is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Clean,
    Cut,
    Stall,
}

/// The body of an answer: prebuilt text, sent in frames as the faults want it.
#[derive(Debug)]
pub(super) struct AnswerBody {
    rest: Bytes,
    frames: std::vec::IntoIter<usize>,
    interval: Duration,
    wait: Option<Pin<Box<Sleep>>>,
    ending: Ending,
    flushed: bool,
}

impl AnswerBody {
    /// A body without faults.
    pub(super) fn whole(text: impl Into<Bytes>) -> Self {
        let rest = text.into();
        let frames = vec![rest.len()];
        Self::framed(rest, frames, Ending::Clean)
    }

    /// The body of an answer under faults.
    pub(super) fn new(answer: Answer, faults: &Faults) -> Self {
        let limit = |after: Option<u64>, length: usize| {
            after
                .and_then(|after| usize::try_from(after).ok())
                .filter(|after| *after < length)
        };
        let (bytes, mut lengths): (Bytes, _) = match answer {
            Answer::Whole(text) | Answer::Plain(text) | Answer::Counted(text, _) => {
                return match limit(faults.cut_after, text.len()) {
                    Some(0) => Self::framed(Bytes::new(), Vec::new(), Ending::Cut),
                    Some(bytes) => Self::framed(text.into(), vec![bytes], Ending::Cut),
                    None => Self::whole(text),
                };
            }
            Answer::Sound(bytes) => {
                let length = bytes.len();
                (bytes.into(), vec![length])
            }
            Answer::Events(Events { text, lengths, .. }) => (text.into_string().into(), lengths),
            Answer::Frames(Frames { bytes, lengths }) => (bytes.into(), lengths),
        };
        let cut = limit(faults.cut_after, lengths.len());
        let stall = limit(faults.stall_after, lengths.len());
        let ending = match (cut, stall) {
            (None, None) => Ending::Clean,
            (Some(cut), stall) if stall.is_none_or(|stall| cut <= stall) => Ending::Cut,
            _ => Ending::Stall,
        };
        lengths.truncate(cut.into_iter().chain(stall).min().unwrap_or(lengths.len()));
        let mut body = Self::framed(bytes, lengths, ending);
        body.interval = Duration::from_millis(faults.chunk_interval_ms);
        body
    }

    fn framed(rest: Bytes, frames: Vec<usize>, ending: Ending) -> Self {
        Self {
            rest,
            frames: frames.into_iter(),
            interval: Duration::ZERO,
            wait: None,
            ending,
            flushed: false,
        }
    }

    fn poll_ending(&mut self, context: &Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.ending {
            Ending::Clean => Poll::Ready(None),
            Ending::Stall => Poll::Pending,
            Ending::Cut if self.flushed => Poll::Ready(Some(Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the simulated provider was told to cut the answer here",
            )))),
            // hyper drops what it has not written yet when a body fails: give it one turn to write.
            Ending::Cut => {
                self.flushed = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(wait) = self.wait.as_mut() {
            if wait.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.wait = None;
        }
        let Some(length) = self.frames.next() else {
            return self.poll_ending(context);
        };
        let length = length.min(self.rest.len());
        let frame = self.rest.split_to(length);
        if !self.interval.is_zero() && self.frames.len() > 0 {
            self.wait = Some(Box::pin(tokio::time::sleep(self.interval)));
        }
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.len() == 0 && self.ending == Ending::Clean
    }
}
