//! The simulated provider's own paths.

use bytes::Bytes;
use http::{Method, Response, StatusCode, request::Parts};

use super::json;
use super::stored::keep_file;
use crate::simulate::{
    answer::{AnswerBody, Refusal},
    openai,
    world::World,
};

/// The simulated provider's own paths, by which a test or a demonstration scripts it.
pub(super) fn answer(
    world: &World,
    head: &Parts,
    body: Result<Bytes, Refusal>,
) -> Response<AnswerBody> {
    let body = match body {
        Ok(body) => body,
        Err(refusal) => return json(refusal.status, openai::error(&refusal)),
    };
    let faults = |world: &World| serde_json::to_string(&world.faults()).unwrap_or_default();
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/__faults") => json(StatusCode::OK, faults(world)),
        (&Method::POST, "/__faults") => match world.faults().merged(&body) {
            Ok(merged) => {
                world.set_faults(merged);
                json(StatusCode::OK, faults(world))
            }
            Err(error) => json(
                StatusCode::BAD_REQUEST,
                openai::error(&Refusal::request(error.to_string())),
            ),
        },
        (&Method::GET, "/__journal") => json(
            StatusCode::OK,
            format!("[{}]", world.journal.lines().join(",")),
        ),
        (&Method::GET, "/__forms") => json(StatusCode::OK, world.forms.list()),
        (&Method::GET, "/__requests") => json(StatusCode::OK, world.requests()),
        // What a batch is set off with: forms that come to the vendor's own path are not kept.
        (&Method::POST, "/__files") => {
            let text = String::from_utf8_lossy(&body);
            json(
                StatusCode::OK,
                keep_file(world, &world.stamp(), "batch", text.into()),
            )
        }
        (&Method::POST, "/__reset") => {
            world.reset();
            json(StatusCode::OK, faults(world))
        }
        (method, path) => {
            let refusal = Refusal::new(
                StatusCode::NOT_FOUND,
                format!("there is no {method} {path}"),
            );
            json(refusal.status, openai::error(&refusal))
        }
    }
}
