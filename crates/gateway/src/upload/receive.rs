//! Takes in as much of a form as a decision needs: its first bytes, or all of it into a file.

use http::request::Parts;
use hyper::body::Incoming;
use tollgate_providers::{Boundary, Operation, RequestFacts, Scanner, Seen};

use super::inflow::Inflow;
use super::spool::Spooled;
use super::{Fault, Flowing, Rest, Upload};
use crate::error::Refused;
use crate::exchange::Gateway;
use crate::gathered::Gathered;

/// Bytes of a form that are read before it is decided whether it can be decided on.
const WINDOW_BYTES: usize = 256 << 10;

/// Whether the path names the model, so that the form need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ModelNamed {
    /// The path names it, or nobody has to.
    Elsewhere,
    /// A field of the form does.
    InForm,
}

/// Reads a form as far as is needed to decide on its call.
pub(crate) async fn receive(
    gateway: &Gateway,
    (operation, named): (Operation, ModelNamed),
    head: &Parts,
    body: Incoming,
) -> Result<(RequestFacts, Upload), Refused> {
    let taken = take(gateway, (operation, named), head, body).await;
    taken.map_err(|fault| fault.refused(&gateway.config))
}

async fn take(
    gateway: &Gateway,
    (operation, named): (Operation, ModelNamed),
    head: &Parts,
    body: Incoming,
) -> Result<(RequestFacts, Upload), Fault> {
    let mut scanner = Scanner::new(&Boundary::of(&head.headers)?);
    let mut inflow = Inflow::new(body, &gateway.config)?;
    let declared = inflow.declared();
    let mut window = Gathered::default();
    while window.len() < WINDOW_BYTES {
        let Some(piece) = inflow.piece().await? else {
            scanner.finish()?;
            let length = u64::try_from(window.len()).unwrap_or(u64::MAX);
            let facts = RequestFacts::of_form(operation, scanner.form(), (Seen::Whole, length))?;
            let upload = Upload::new(length, window.into_pieces(), Rest::Nothing);
            return Ok((facts, upload));
        };
        scanner.push(&piece)?;
        window.push(piece);
    }
    let is_known = named == ModelNamed::Elsewhere || scanner.form().names_model();
    if let Some(length) = declared.filter(|_| is_known && operation.may_flow()) {
        let facts = RequestFacts::of_form(operation, scanner.form(), (Seen::Beginning, length))?;
        let seen = u64::try_from(window.len()).unwrap_or(u64::MAX);
        let text_bytes_max = if operation.is_billed() {
            facts.form_text_bytes()
        } else {
            u64::MAX
        };
        let rest = Rest::Flowing(Box::new(Flowing {
            inflow,
            scanner,
            text_bytes_max,
            left: length.saturating_sub(seen),
        }));
        return Ok((facts, Upload::new(length, window.into_pieces(), rest)));
    }
    let mut spooled = Spooled::begin(&gateway.spool).await?;
    for piece in window.into_pieces() {
        spooled.append(&piece).await?;
    }
    while let Some(piece) = inflow.piece().await? {
        scanner.push(&piece)?;
        spooled.append(&piece).await?;
    }
    scanner.finish()?;
    let stored = spooled.stored().await?;
    let length = stored.len();
    let facts = RequestFacts::of_form(operation, scanner.form(), (Seen::Whole, length))?;
    let upload = Upload::new(length, [].into(), Rest::Stored(stored));
    Ok((facts, upload))
}
