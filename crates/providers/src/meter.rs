//! What an answer used, read while it passes.
//!
//! A meter sees every byte and changes none, with one documented exception: the usage that was
//! asked for on the caller's behalf is taken out of a stream again. What the provider reports is
//! not simply believed: see [`Observed::invalid_usage`].

mod anthropic;
mod batch;
mod bedrock;
mod counting;
mod echo;
mod kept;
mod located;
mod media;
mod observed;
mod openai;
mod outline;
mod responses;
mod shape;
mod stream;
mod usage;

use bytes::Bytes;
use http::HeaderMap;

use crate::dialect::Dialect;
use crate::eventstream::{self, Frames};
use crate::operation::Operation;
use crate::request::Bounds;
use crate::sse::{Event, Found};
use batch::Lines;
use echo::Echo;
use kept::Kept;
use outline::Outline;
use stream::Stream;

pub use batch::{BatchResults, BatchUsage};
pub use observed::Observed;
pub use shape::AnswerShape;
pub use usage::InvalidUsage;

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
    /// What is no text, and says nothing of its usage.
    Unread,
    /// Lines that may be the results of a batch.
    Results(Box<Lines>),
    /// What tells where results are: kept back to be edited.
    Located(Kept),
}

#[derive(Debug)]
enum Reader {
    OpenAi(openai::Reader),
    Responses(responses::Reader),
    Media(media::Reader),
    Anthropic(anthropic::Reader),
    Bedrock(Box<bedrock::Reader>),
}

impl Reader {
    /// Reads an answer that is no stream.
    fn whole(&mut self, body: &[u8], observed: &mut Observed, bounds: Bounds) {
        match self {
            Self::OpenAi(reader) => reader.whole(body, observed, bounds),
            Self::Responses(_) => responses::whole(body, observed, bounds),
            Self::Media(reader) => reader.whole(body, observed, bounds),
            Self::Anthropic(_) => anthropic::whole(body, observed, bounds),
            Self::Bedrock(reader) => reader.whole(body, observed, bounds),
        }
    }

    fn see(&mut self, bytes: &[u8], observed: &mut Observed, bounds: Bounds) -> Fate {
        if let Some(tokens) = self.echo(|echo| echo.tokens(bytes)) {
            observed.count(tokens);
            return Fate::Pass;
        }
        let event = &Event::parse(bytes);
        match self {
            Self::OpenAi(reader) => reader.see(bytes, event, observed, bounds),
            Self::Responses(reader) => {
                reader.see(event, observed, bounds);
                Fate::Pass
            }
            Self::Media(_) => {
                media::see(event, observed, bounds);
                Fate::Pass
            }
            Self::Anthropic(reader) => {
                reader.see(bytes, event, observed, bounds);
                Fate::Pass
            }
            // Its streams are frames.
            Self::Bedrock(_) => Fate::Pass,
        }
    }

    /// The tokens of bytes that are one event, like one before but for its text; none when they are
    /// not.
    fn echo_of_all(&mut self, bytes: &[u8]) -> Option<u64> {
        self.echo(|echo| echo.tokens_of_all(bytes))
    }

    fn echo(&mut self, hear: impl FnOnce(&mut Echo) -> Option<u64>) -> Option<u64> {
        match self {
            Self::OpenAi(reader) => hear(&mut reader.echo),
            // A piece of Anthropic's is a token at least.
            Self::Anthropic(reader) => hear(&mut reader.echo).map(|tokens| tokens.max(1)),
            Self::Responses(_) | Self::Media(_) | Self::Bedrock(_) => None,
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
            Dialect::OpenAi if operation.is_about_responses() => {
                Reader::Responses(responses::Reader::default())
            }
            Dialect::OpenAi if operation.makes_media() => {
                Reader::Media(media::Reader::new(operation))
            }
            Dialect::OpenAi => Reader::OpenAi(openai::Reader::new(operation)),
            Dialect::Anthropic => Reader::Anthropic(anthropic::Reader::default()),
            Dialect::Bedrock => Reader::Bedrock(Box::new(bedrock::Reader::new(operation))),
        };
        let flow = match shape {
            // Nothing of it is needed, however large it is.
            AnswerShape::Whole if operation.reads_results() => Flow::Results(Box::default()),
            AnswerShape::Whole if operation.tells_of_results() => Flow::Located(Kept::default()),
            AnswerShape::Whole if !operation.is_billed() => Flow::Opaque,
            AnswerShape::Whole if operation == Operation::Speech => Flow::Unread,
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
            Flow::Opaque | Flow::Unread => pass(chunk.clone(), out),
            Flow::Results(lines) => {
                lines.push(chunk);
                pass(chunk.clone(), out);
            }
            Flow::Located(kept) => {
                if !kept.push(chunk.clone()) {
                    pass(kept.take(), out);
                    pass(chunk.clone(), out);
                    self.flow = Flow::Opaque;
                }
            }
            Flow::Frames(frames) => {
                let mut see = |found: &eventstream::Found<'_>| {
                    reader.see_frame(found, observed, plan.bounds);
                };
                frames.push(chunk, &mut see, out);
            }
            Flow::Stream(stream) => {
                let tokens = stream.begins_event().then(|| reader.echo_of_all(chunk));
                if let Some(tokens) = tokens.flatten() {
                    observed.count(tokens);
                    stream.pass_event();
                    out(chunk.clone());
                } else if plan.usage_chunk == UsageChunk::Keep {
                    stream.scanner.push(chunk, |found, _| {
                        see(&found, reader, observed, plan.bounds);
                    });
                    pass(chunk.clone(), out);
                } else {
                    let mut see = |found: &Found<'_>| see(found, reader, observed, plan.bounds);
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
            Flow::Unread => self.observed.unreported = true,
            Flow::Results(lines) => self.observed.results = Some(Box::new(lines.finish())),
            Flow::Located(mut kept) => {
                for piece in located::relative(&kept.take()) {
                    pass(piece, out);
                }
            }
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

    /// Whether what comes is or may be the results of a batch.
    #[must_use]
    pub fn may_be_results(&self) -> bool {
        matches!(&self.flow, Flow::Results(lines) if !lines.is_foreign())
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

fn see(found: &Found<'_>, reader: &mut Reader, observed: &mut Observed, bounds: Bounds) -> Fate {
    match found {
        Found::Tail => Fate::Pass,
        Found::Event(bytes) => reader.see(bytes, observed, bounds),
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

#[cfg(test)]
mod tests;
