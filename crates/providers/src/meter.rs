//! What an answer used, read while it passes.
//!
//! A meter sees every byte and changes none, with one documented exception: the usage that was
//! asked for on the caller's behalf is taken out of a stream again. What the provider reports is
//! not simply believed: see [`Observed::invalid_usage`].

mod anthropic;
mod bedrock;
mod counting;
mod kept;
mod observed;
mod openai;
mod outline;
mod usage;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::dialect::Dialect;
use crate::eventstream::{self, Frames};
use crate::operation::Operation;
use crate::request::Bounds;
use crate::sse::{Event, Found, Scanner};
use kept::Kept;
use outline::Outline;

pub use observed::Observed;
pub use usage::InvalidUsage;

/// How an answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerShape {
    /// As one JSON text.
    Whole,
    /// As a stream of events in text.
    Stream,
    /// As a stream of events in binary frames.
    Frames,
    /// In an encoding (compressed) that is not undone: it passes, and nothing of it is read.
    Opaque,
}

impl AnswerShape {
    /// The shape that an answer's headers tell. A provider may answer a request for a stream
    /// with an error that is none, and may compress although it was asked not to.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut encodings = headers.get_all(CONTENT_ENCODING).into_iter();
        let is_plain = |value: &http::HeaderValue| {
            let name = value.as_bytes().trim_ascii();
            name.is_empty() || name.eq_ignore_ascii_case(b"identity")
        };
        if !encodings.all(is_plain) {
            return Self::Opaque;
        }
        let kind = headers
            .get(CONTENT_TYPE)
            .map(http::HeaderValue::as_bytes)
            .unwrap_or_default();
        let is_called = |name: &[u8]| {
            let beginning = kind.get(..name.len());
            beginning.is_some_and(|it| it.eq_ignore_ascii_case(name))
        };
        if is_called(b"text/event-stream") {
            Self::Stream
        } else if is_called(b"application/vnd.amazon.eventstream") {
            Self::Frames
        } else {
            Self::Whole
        }
    }

    /// Whether it comes as events, each to be handed on at once.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Stream | Self::Frames)
    }
}

/// What becomes of a stream's event that has usage and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageChunk {
    /// It goes to the caller, who asked for it.
    Keep,
    /// It is taken out, because it was asked for on the caller's behalf.
    Strip,
}

/// What a meter has to know of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeterPlan {
    /// What becomes of the usage event.
    pub usage_chunk: UsageChunk,
    /// What reported usage may not exceed.
    pub bounds: Bounds,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its connection ended as HTTP says it should.
    Clean,
    /// It broke off: half an event that was held back is not passed on, so that an error event
    /// can follow.
    Broken,
}

/// What a reader wants done with the event that it saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pass,
    /// It has usage and nothing else.
    UsageOnly,
}

/// Looks on while one answer passes.
#[derive(Debug)]
pub struct Meter {
    plan: MeterPlan,
    reader: Reader,
    observed: Observed,
    flow: Flow,
}

#[derive(Debug)]
enum Flow {
    Whole(Kept),
    /// A whole answer that is too large to be kept.
    Large(Outline),
    Stream(Stream),
    Frames(Frames),
    Opaque,
}

#[derive(Debug, Default)]
struct Stream {
    scanner: Scanner,
    /// An event that has not ended; only kept where events may be taken out.
    held: Kept,
    /// Whether the event before was taken out, so that a LF that belongs to it is, too.
    removed: bool,
}

#[derive(Debug)]
enum Reader {
    OpenAi(openai::Reader),
    Anthropic(anthropic::Reader),
    Bedrock(Box<bedrock::Reader>),
}

impl Reader {
    /// Reads an answer that is no stream.
    fn whole(&mut self, body: &[u8], observed: &mut Observed, bounds: Bounds) {
        match self {
            Self::OpenAi(reader) => reader.whole(body, observed, bounds),
            Self::Anthropic(_) => anthropic::whole(body, observed, bounds),
            Self::Bedrock(reader) => reader.whole(body, observed, bounds),
        }
    }

    fn see(&mut self, event: &Event<'_>, observed: &mut Observed, bounds: Bounds) -> Fate {
        match self {
            Self::OpenAi(reader) => reader.see(event, observed, bounds),
            Self::Anthropic(reader) => {
                reader.see(event, observed, bounds);
                Fate::Pass
            }
            // Its streams are frames.
            Self::Bedrock(_) => Fate::Pass,
        }
    }

    /// Looks at what was found in a stream of frames.
    fn see_frame(
        &mut self,
        found: &eventstream::Found<'_>,
        observed: &mut Observed,
        bounds: Bounds,
    ) {
        match (found, self) {
            (eventstream::Found::Frame(frame), Self::Bedrock(reader)) => {
                reader.see(frame, observed, bounds);
            }
            (eventstream::Found::TooLarge(length), _) => {
                // Not read, but not free either.
                observed.count(u64::try_from(*length).unwrap_or(u64::MAX));
            }
            (eventstream::Found::Lost | eventstream::Found::Frame(_), _) => {
                observed.unreadable = true;
            }
        }
    }
}

impl Meter {
    pub(crate) fn new(
        dialect: Dialect,
        operation: Operation,
        shape: AnswerShape,
        plan: MeterPlan,
    ) -> Self {
        let reader = match dialect {
            Dialect::OpenAi => Reader::OpenAi(openai::Reader::new(operation)),
            Dialect::Anthropic => Reader::Anthropic(anthropic::Reader::default()),
            Dialect::Bedrock => Reader::Bedrock(Box::new(bedrock::Reader::new(operation))),
        };
        let flow = match shape {
            AnswerShape::Whole => Flow::Whole(Kept::default()),
            AnswerShape::Stream => Flow::Stream(Stream::default()),
            AnswerShape::Frames => Flow::Frames(Frames::default()),
            AnswerShape::Opaque => Flow::Opaque,
        };
        Self {
            plan,
            reader,
            observed: Observed::default(),
            flow,
        }
    }

    /// Takes what the head of the answer says of its usage, where a provider says it there.
    pub fn head(&mut self, headers: &HeaderMap) {
        if let Reader::Bedrock(reader) = &mut self.reader {
            reader.head(headers);
        }
    }

    /// Looks at the next bytes and hands on what the caller is to get.
    pub fn push(&mut self, chunk: &Bytes, out: &mut impl FnMut(Bytes)) {
        let (reader, observed, plan) = (&mut self.reader, &mut self.observed, self.plan);
        match &mut self.flow {
            Flow::Whole(kept) => {
                if !kept.push(chunk.clone()) {
                    let mut outline = Outline::default();
                    outline.push(&kept.take());
                    outline.push(chunk);
                    self.flow = Flow::Large(outline);
                }
                pass(chunk.clone(), out);
            }
            Flow::Large(outline) => {
                outline.push(chunk);
                pass(chunk.clone(), out);
            }
            Flow::Opaque => pass(chunk.clone(), out),
            Flow::Frames(frames) => {
                let mut see = |found: &eventstream::Found<'_>| {
                    reader.see_frame(found, observed, plan.bounds);
                };
                frames.push(chunk, &mut see, out);
            }
            Flow::Stream(stream) => {
                let mut see = |found: &Found<'_>| see(found, reader, observed, plan.bounds);
                if plan.usage_chunk == UsageChunk::Keep {
                    stream.scanner.push(chunk, |found, _| {
                        see(&found);
                    });
                    pass(chunk.clone(), out);
                } else {
                    stream.push_filtered(chunk, &mut see, out);
                }
            }
        }
        observed.limit(plan.bounds);
    }

    /// Ends the answer: reads what is left, and hands on what was held back.
    pub fn finish(mut self, end: End, out: &mut impl FnMut(Bytes)) -> Observed {
        match self.flow {
            Flow::Whole(mut kept) => {
                let (observed, bounds) = (&mut self.observed, self.plan.bounds);
                self.reader.whole(&kept.take(), observed, bounds);
                // What was cut may look whole, and its output is not all of what was made.
                observed.unreadable |= end == End::Broken && observed.usage.is_none();
            }
            Flow::Large(outline) => {
                let (observed, bounds) = (&mut self.observed, self.plan.bounds);
                self.reader.whole(outline.text(), observed, bounds);
                // Its output was not kept, so that there is nothing to count.
                observed.unreadable |= observed.usage.is_none();
            }
            Flow::Opaque => self.observed.unreadable = true,
            // Half a frame is not read; where the answer was to end with it, it passes as it is.
            Flow::Frames(mut frames) => {
                if end == End::Clean {
                    pass(frames.rest(), out);
                }
            }
            Flow::Stream(mut stream) => {
                // Some servers leave out the blank line after the last event.
                let last = Found::Event(stream.scanner.rest());
                let fate = see(
                    &last,
                    &mut self.reader,
                    &mut self.observed,
                    self.plan.bounds,
                );
                let strips = self.plan.usage_chunk == UsageChunk::Strip;
                if end == End::Clean && !(strips && fate == Fate::UsageOnly) {
                    pass(stream.held.take(), out);
                }
            }
        }
        self.observed.limit(self.plan.bounds);
        self.observed
    }

    /// Whether the answer is read as a stream of events.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        matches!(self.flow, Flow::Stream(_) | Flow::Frames(_))
    }

    /// Whether an answer that ends now has said everything: a stream has to have come to its
    /// end, its finish or an error of its own; of all others HTTP tells the end.
    #[must_use]
    pub const fn has_said_all(&self) -> bool {
        let seen = &self.observed;
        !self.is_stream() || seen.complete || seen.finish_seen || seen.error_seen
    }
}

impl Stream {
    /// Hands on all events but those that have only usage. Only bytes of an event that has not
    /// ended are held back.
    fn push_filtered(
        &mut self,
        chunk: &Bytes,
        see: &mut impl FnMut(&Found<'_>) -> Fate,
        out: &mut impl FnMut(Bytes),
    ) {
        let Self {
            scanner,
            held,
            removed,
        } = self;
        // Everything before `from` is handed on or taken out; `ended` is where the last event ends.
        let (mut from, mut ended) = (0_usize, 0_usize);
        scanner.push(chunk, |found, end| {
            if found == Found::Tail {
                if *removed {
                    from = end;
                }
            } else if see(&found) == Fate::UsageOnly {
                *removed = true;
                drop(held.take());
                pass(part(chunk, from, ended), out);
                from = end;
            } else {
                *removed = false;
                pass(held.take(), out);
            }
            ended = end;
        });
        if scanner.is_skipping() {
            pass(held.take(), out);
            ended = chunk.len();
        }
        pass(part(chunk, from, ended), out);
        let rest = part(chunk, ended, chunk.len());
        // An event that is too large for the scanner is not held: this cannot be full.
        if !held.push(rest.clone()) {
            pass(held.take(), out);
            pass(rest, out);
        }
    }
}

fn see(found: &Found<'_>, reader: &mut Reader, observed: &mut Observed, bounds: Bounds) -> Fate {
    match found {
        Found::Tail => Fate::Pass,
        Found::Event(bytes) => reader.see(&Event::parse(bytes), observed, bounds),
        Found::TooLarge(length) => {
            // Not read, but not free either.
            observed.count(u64::try_from(*length).unwrap_or(u64::MAX));
            Fate::Pass
        }
    }
}

fn pass(bytes: Bytes, out: &mut impl FnMut(Bytes)) {
    if !bytes.is_empty() {
        out(bytes);
    }
}

/// A slice that is empty where the span is not inside the chunk.
fn part(chunk: &Bytes, from: usize, to: usize) -> Bytes {
    chunk
        .get(from..to)
        .map_or_else(Bytes::new, |inside| chunk.slice_ref(inside))
}

#[cfg(test)]
mod tests;
