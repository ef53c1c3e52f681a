//! The way of a request through one integration: what its model is called there and costs, and the
//! words that its provider understands.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use tollgate_app::directory::{Integration, Snapshot};
use tollgate_core::price::ModelPrices;
use tollgate_providers::{Face, Operation, Provider, RequestError, RequestFacts, Translation};

use super::Route;
use crate::crossing::Crossing;
use crate::error::Refused;
use crate::exchange::Gateway;

/// The most characters that a model's name may have.
const MODEL_CHARS_MAX: usize = 100;

/// A request as its caller sent it.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) operation: Operation,
    pub(super) face: Face,
    pub(super) head: Parts,
    pub(super) body: Option<(Bytes, RequestFacts)>,
}

/// The way of a request through an integration, for the model that it names or the integration's
/// own, in the words of its provider.
pub(crate) fn through(
    gateway: &Gateway,
    mut request: Request,
    integration: Arc<Integration>,
    asked: Option<Arc<str>>,
) -> Result<Box<Route>, Refused> {
    let snapshot = Arc::clone(&integration.snapshot());
    let provider = snapshot
        .provider()
        .ok_or_else(|| not_served(&snapshot, request.operation))?;
    let usual = || snapshot.record.default_model.as_deref().map(Into::into);
    let asked = if request.operation.needs_model() {
        Some(asked.or_else(usual).ok_or_else(no_model)?)
    } else {
        asked
    };
    let model = asked.map(|asked| provider_model(asked, &snapshot));
    let booked = model
        .as_ref()
        .map(|model| booked_model(provider, model))
        .transpose()?;
    let now = gateway.app.now();
    let mut prices = model
        .as_deref()
        .and_then(|model| gateway.app.prices(&snapshot, model, now));
    let crossing = if answers(&snapshot, request.face, request.operation) {
        None
    } else {
        Some(cross(&mut request, &snapshot, prices.as_deref())?)
    };
    prices = prices.filter(|_| has_known_price(request.body.as_ref(), &snapshot));
    // Boxed, because it is large and goes from hand to hand.
    Ok(Box::new(Route {
        operation: request.operation,
        face: request.face,
        integration,
        snapshot,
        provider,
        model,
        thing: None,
        booked,
        prices,
        body: request.body,
        upload: None,
        head: request.head,
        crossing,
        again: None,
    }))
}

/// Puts a request into the words of a provider that does not speak its caller's.
fn cross(
    request: &mut Request,
    snapshot: &Snapshot,
    prices: Option<&ModelPrices>,
) -> Result<Crossing, Refused> {
    let translation = translation(snapshot, request.face, request.operation);
    let (Some(translation), Some((bytes, _))) = (translation, request.body.as_ref()) else {
        return Err(not_served(snapshot, request.operation));
    };
    let most = prices.and_then(|prices| prices.output_tokens_max);
    let output_max = snapshot
        .config
        .output_tokens()
        .min(most.unwrap_or(u64::MAX));
    let crossed = Crossing::make(translation, bytes, &mut request.head, output_max)?;
    request.operation = crossed.translated.operation;
    request.face = crossed.translated.face;
    request.body = Some((crossed.translated.body, crossed.facts));
    Ok(crossed.crossing)
}

/// How an integration can be reached by a translation, if it can.
pub(super) fn translation(
    snapshot: &Snapshot,
    face: Face,
    operation: Operation,
) -> Option<Translation> {
    let provider = snapshot.provider()?;
    provider.translation(face, operation, &snapshot.config)
}

/// Whether an integration serves what is asked for by these paths, as it is said.
pub(super) fn answers(snapshot: &Snapshot, face: Face, operation: Operation) -> bool {
    let provider = snapshot.provider();
    provider.is_some_and(|provider| provider.describe().serves(face, operation))
}

/// Whether the price book's prices are those of the call. A faster tier, or tools that the
/// provider bills apart, cost more than the book knows: under a budget such a call is refused.
fn has_known_price(body: Option<&(Bytes, RequestFacts)>, snapshot: &Snapshot) -> bool {
    let Some((_, facts)) = body else { return true };
    facts.is_standard_priced() && !(snapshot.config.hard_cap && facts.has_unpriced_tools())
}

/// The model as the provider knows it: after aliases.
fn provider_model(asked: Arc<str>, snapshot: &Snapshot) -> Arc<str> {
    let model = snapshot.config.model(&asked);
    if *model == *asked {
        asked
    } else {
        model.into()
    }
}

/// The model as the books name it, which is usually as its provider does.
fn booked_model(provider: &dyn Provider, model: &Arc<str>) -> Result<Arc<str>, Refused> {
    let booked = provider.booked(model);
    if booked.is_empty() || booked.chars().nth(MODEL_CHARS_MAX).is_some() {
        let message = format!("model: a model's name has 1 to {MODEL_CHARS_MAX} characters");
        let refused = Refused::new(StatusCode::BAD_REQUEST, "invalid_model", message);
        return Err(refused.about("model"));
    }
    Ok(if booked.len() == model.len() {
        Arc::clone(model)
    } else {
        booked.into()
    })
}

fn no_model() -> Refused {
    Refused::request(&RequestError::Missing("model"))
}

fn not_served(snapshot: &Snapshot, operation: Operation) -> Refused {
    let is_about_dialects = matches!(
        operation,
        Operation::ListModels | Operation::GetModel | Operation::CountTokens
    );
    let instead = if is_about_dialects {
        "it is not translated between dialects: ask with a client of the provider's own dialect, or \
         name an integration that speaks yours"
    } else {
        "name an integration that does, in the x-tollgate-integration header"
    };
    let message = format!(
        "the integration `{}` is of type {}, which does not serve {} on this path: {instead}",
        snapshot.record.name,
        snapshot.record.provider_type,
        operation.as_str()
    );
    Refused::new(StatusCode::NOT_FOUND, "operation_not_served", message)
}
