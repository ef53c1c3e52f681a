//! Doing a request at most once: the same idempotency key gets the first answer again.
//!
//! A request is written down as begun before anything is done. If the node dies before the answer
//! is kept, nobody knows how far it came; a repetition is told so, and never does it again.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::SignedDuration;
use parking_lot::Mutex;
use tollgate_core::Moment;
use tollgate_core::audit::Actor;
use tollgate_store::{Begun, IdempotentRequest};
use zeroize::Zeroizing;

use crate::app::App;
use crate::context::Context;
use crate::error::AppError;

/// How long an answer is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// After which another node's request is taken for interrupted: longer than any may take.
const RUNNING_MAX: SignedDuration = SignedDuration::from_mins(15);

/// A request, as far as it decides whether it is the same one.
#[derive(Debug, Clone, Copy)]
pub struct Repeatable<'a> {
    /// The caller's own key for it.
    pub key: &'a str,
    /// What is done: the method and the path, without the query.
    pub operation: &'a str,
    /// Everything else of the request: query, conditions, body.
    pub content: &'a [&'a [u8]],
}

/// What is to happen to a request with an idempotency key.
#[derive(Debug)]
pub enum Repetition {
    /// It is new: do it, and then tell [`App::keep_answer`] or [`App::forget_request`].
    New(Ticket),
    /// It was answered: the answer, as it was given to [`App::keep_answer`].
    Answered(Zeroizing<Vec<u8>>),
}

/// A request that was begun here; while this lives it counts as under way.
#[derive(Debug)]
pub struct Ticket {
    id: [u8; 32],
    running: Arc<Running>,
}

/// The requests with an idempotency key that this node is doing now.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<HashSet<[u8; 32]>>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.running.0.lock().remove(&self.id);
    }
}

impl App {
    /// Begins a request, or tells what became of it when it came before.
    pub async fn begin_request(
        &self,
        context: &Context,
        request: Repeatable<'_>,
    ) -> Result<Repetition, AppError> {
        let (id, digest) = self.digests(context, request)?;
        if !self.running_requests.0.lock().insert(id) {
            return Err(AppError::InProgress);
        }
        let ticket = Ticket {
            id,
            running: Arc::clone(&self.running_requests),
        };
        let now = context.now.wall;
        let row = IdempotentRequest {
            id,
            tenant: context.tenant.clone(),
            digest,
            started_at: now,
        };
        let after = now.saturating_sub(KEPT).unwrap_or(now);
        match self.store.operator().begin_request(row, after).await? {
            Begun::New => Ok(Repetition::New(ticket)),
            Begun::Answered(sealed) => Ok(Repetition::Answered(
                self.ring.load().open_answer(&sealed, &id)?,
            )),
            Begun::OfAnother => Err(AppError::KeyReused),
            Begun::Unanswered { node, started_at } => {
                let elsewhere = node != self.store.node();
                let age = now.duration_since(started_at);
                Err(if elsewhere && age < RUNNING_MAX {
                    AppError::InProgress
                } else {
                    interrupted()
                })
            }
        }
    }

    /// Keeps the answer of a request for its repetitions, sealed.
    pub async fn keep_answer(&self, ticket: Ticket, answer: &[u8]) -> Result<(), AppError> {
        let sealed = self.ring.load().seal_answer(answer, &ticket.id)?;
        let store = self.store.operator();
        Ok(store.answer_request(ticket.id, sealed).await?)
    }

    /// Lets a request come again: it failed by no fault of its own.
    pub async fn forget_request(&self, ticket: Ticket) -> Result<(), AppError> {
        Ok(self.store.operator().forget_request(ticket.id).await?)
    }

    /// Forgets answers that were kept long enough.
    pub(crate) async fn forget_old_requests(&self, now: Moment) -> Result<(), AppError> {
        let before = now.wall.saturating_sub(KEPT).unwrap_or(now.wall);
        let forgotten = self.store.operator().forget_requests_before(before).await?;
        if forgotten > 0 {
            tracing::debug!(forgotten, "old answers are forgotten");
        }
        Ok(())
    }

    fn digests(
        &self,
        context: &Context,
        request: Repeatable<'_>,
    ) -> Result<([u8; 32], [u8; 32]), AppError> {
        let asker = match &context.actor {
            Actor::Key { id } => id.to_string(),
            Actor::System => "system".to_owned(),
            Actor::Console => "console".to_owned(),
        };
        let tenant = context.tenant.as_ref().map_or("", |id| id.as_str());
        let id = [
            b"id".as_slice(),
            asker.as_bytes(),
            tenant.as_bytes(),
            request.operation.as_bytes(),
            request.key.as_bytes(),
        ];
        let parts = [[b"content".as_slice()].as_slice(), request.content].concat();
        Ok((
            self.ring.load().request_digest(&id)?,
            self.ring.load().request_digest(&parts)?,
        ))
    }
}

fn interrupted() -> AppError {
    AppError::Conflict {
        code: "request_interrupted",
        message: "a request with this idempotency key was begun and has no answer: its node \
                  stopped, or could not keep the answer. It may have been done or not: look \
                  whether it was, and if not, ask again with a new key"
            .to_owned(),
    }
}
