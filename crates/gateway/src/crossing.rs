//! A call whose caller and provider speak different dialects: its request was translated before it
//! was admitted, and its answer is translated on the way back.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use tollgate_app::directory::{Integration, KeyEntry, RouteRefusal, Snapshot};
use tollgate_providers::{
    AnswerShape, Reply, RequestFacts, Terms, Translated, Translation, Untranslatable,
};

use crate::answer::Desk;
use crate::error::Refused;

/// How the answer of a call comes back to a caller of another dialect.
#[derive(Debug, Clone)]
pub(crate) struct Crossing {
    translation: Translation,
    /// Whether the caller asked for usage at the end of a stream.
    wants_usage: bool,
}

/// A request in the words of its provider, and the way back.
pub(crate) struct Crossed {
    pub(crate) crossing: Crossing,
    pub(crate) translated: Translated,
    pub(crate) facts: RequestFacts,
}

impl Crossing {
    /// Says a request in the provider's words. Of its head there stays what concerns the provider.
    pub(crate) fn make(
        translation: Translation,
        body: &Bytes,
        head: &mut Parts,
        output_max: u64,
    ) -> Result<Crossed, Refused> {
        let refuse = |error: Untranslatable| untranslatable(&error);
        translation.headers(&mut head.headers).map_err(refuse)?;
        let translated = translation.request(body, output_max).map_err(refuse)?;
        let facts = RequestFacts::read(translated.operation, &translated.body)
            .map_err(|error| Refused::request(&error))?;
        Ok(Crossed {
            crossing: Self {
                translation,
                wants_usage: translated.wants_usage,
            },
            translated,
            facts,
        })
    }

    /// What says the answer in the caller's words.
    pub(crate) fn reply(&self, desk: &Desk, model: Option<&str>) -> Box<Reply> {
        Box::new(self.translation.reply(Terms {
            call_id: desk.call_id().to_owned(),
            model: model.unwrap_or_default().to_owned(),
            request_id: desk.request_id().to_owned(),
            created: desk.now.wall.as_second(),
            wants_usage: self.wants_usage,
        }))
    }
}

/// The integration of a call: as the key, the header or the model says, else the only one that
/// speaks the caller's dialect. Only where the tenant has none that does, enabled or not, is it
/// the only one that can be reached by a translation.
pub(crate) fn route<'m>(
    key: &KeyEntry,
    (named, model): (Option<&str>, Option<&'m str>),
    serves: impl Fn(&Snapshot) -> bool,
    translates: impl Fn(&Snapshot) -> bool,
) -> Result<(Arc<Integration>, Option<&'m str>), RouteRefusal> {
    let any = Cell::new(false);
    let seen = |one: &Snapshot| {
        let serves = serves(one);
        any.set(any.get() || serves);
        serves
    };
    match key.route(named, model, seen) {
        Err(RouteRefusal::NoneServes) if !any.get() => key.route(named, model, translates),
        found => found,
    }
}

/// The shape that an answer is read in: an error is never a stream of events.
pub(crate) fn shape(status: StatusCode, headers: &HeaderMap) -> AnswerShape {
    match AnswerShape::of(headers) {
        shape if status.is_success() || !shape.is_stream() => shape,
        _ => AnswerShape::Whole,
    }
}

/// Has a whole answer said in the caller's words.
pub(crate) fn say_whole(
    reply: &mut Reply,
    status: StatusCode,
    pieces: &mut VecDeque<Bytes>,
) -> Result<(), Refused> {
    let said = match pieces.make_contiguous() {
        [only] => reply.whole(status, only),
        several => {
            let mut body = BytesMut::new();
            for piece in several {
                body.extend_from_slice(piece);
            }
            reply.whole(status, &body)
        }
    };
    let said = said.map_err(|error| untold(&error.to_string()))?;
    pieces.clear();
    pieces.push_back(said);
    Ok(())
}

/// What a caller is told whose answer cannot be said in its words.
pub(crate) fn untold(why: &str) -> Refused {
    Refused::new(
        StatusCode::BAD_GATEWAY,
        "upstream_untranslatable",
        format!(
            "the provider's answer cannot be said in your dialect: {why}; the provider may have \
             billed it"
        ),
    )
    .never_again()
}

fn untranslatable(error: &Untranslatable) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, error.code(), error.to_string())
        .about(error.param().to_owned())
}
