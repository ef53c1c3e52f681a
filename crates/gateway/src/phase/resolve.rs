//! Phase two: what is called, and through which integration.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cus_models::CusProviderType;
use http::StatusCode;
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tollgate_app::directory::{Integration, RouteRefusal, Snapshot};
use tollgate_core::config::IntegrationConfig;
use tollgate_core::price::ModelPrices;
use tollgate_providers::{Dialect, Face, Matched, Operation, Provider, RequestFacts, registry};

use crate::answer::Desk;
use crate::crossing::{self, Crossing};
use crate::error::Refused;
use crate::exchange::Gateway;
use crate::gathered::Gathered;
use crate::phase::identify::Caller;
use crate::upload::{ModelNamed, Upload, receive};

/// The most characters that a model's name may have.
const MODEL_CHARS_MAX: usize = 100;

/// What a request's path aims at.
#[derive(Debug)]
pub(crate) struct Aim {
    pub(crate) operation: Operation,
    face: Face,
    model: Option<String>,
}

/// Everything that is known of a call before it is decided on.
pub(crate) struct Route {
    pub(crate) operation: Operation,
    pub(crate) face: Face,
    pub(crate) integration: Arc<Integration>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) provider: &'static dyn Provider,
    /// The model as the provider knows it.
    pub(crate) model: Option<Arc<str>>,
    /// The model as the books name it.
    pub(crate) booked: Option<Arc<str>>,
    /// The model's prices, if it has any.
    pub(crate) prices: Option<Arc<ModelPrices>>,
    pub(crate) body: Option<(Bytes, RequestFacts)>,
    /// The form, of an operation that takes one; then the body is empty.
    pub(crate) upload: Option<Upload>,
    pub(crate) head: Parts,
    /// The way back of an answer whose caller speaks another dialect.
    pub(crate) crossing: Option<Crossing>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = self.integration.id;
        f.debug_struct("Route")
            .field("operation", &self.operation)
            .field("integration", &id)
            .finish_non_exhaustive()
    }
}

/// Reads the path, and tells the desk in which dialect to answer.
pub(crate) fn aim(head: &Parts, desk: &mut Desk) -> Result<Aim, Refused> {
    let path = head.uri.path();
    let matched = Operation::route(&head.method, path, &head.headers);
    desk.dialect = matched
        .as_ref()
        .map_or_else(|| guess(head), Matched::dialect);
    let matched = matched.ok_or_else(|| {
        let message = format!("there is no {} {path} here", head.method);
        Refused::new(StatusCode::NOT_FOUND, "unknown_path", message)
    })?;
    desk.sends_form = matched.operation.takes_form();
    Ok(Aim {
        operation: matched.operation,
        face: matched.face,
        model: matched.model.map(Cow::into_owned),
    })
}

fn guess(head: &Parts) -> Dialect {
    if head.uri.path().starts_with("/model/") {
        Dialect::Bedrock
    } else if head.headers.contains_key("anthropic-version") {
        Dialect::Anthropic
    } else {
        Dialect::OpenAi
    }
}

pub(crate) async fn resolve(
    gateway: &Gateway,
    caller: Caller,
    mut head: Parts,
    mut aim: Aim,
    body: Incoming,
) -> Result<Route, Refused> {
    let (mut body, mut upload) = receive_body(gateway, &aim, &head, body).await?;
    // Where the path names the model, the provider does not look for it in the body.
    let in_body = || {
        let facts = body.as_ref().map(|(_, facts)| facts);
        facts.and_then(RequestFacts::model).map(AsRef::as_ref)
    };
    let asked = aim.model.as_deref().or_else(in_body);
    let named = integration_header(&head)?;
    let serves = |provider_type| {
        registry::find(provider_type).is_some_and(|provider| answers(provider, &aim))
    };
    let translates = |provider_type| reaches(provider_type, &aim);
    let (integration, rest) = crossing::route(&caller.key, (named, asked), serves, translates)
        .map_err(|refusal| no_route(&refusal))?;
    let snapshot = Arc::clone(&integration.snapshot());
    let provider = registry::find(snapshot.record.provider_type)
        .ok_or_else(|| not_served(&snapshot, aim.operation))?;
    let model = rest.map(|rest| provider_model(rest, body.as_ref(), &snapshot));
    // Where the path names it, the form's own is not looked at.
    let form = upload.as_mut().filter(|_| aim.model.is_none());
    name_model(form, body.as_ref(), model.as_deref());
    let booked = model
        .as_ref()
        .map(|model| booked_model(provider, model))
        .transpose()?;
    let now = gateway.app.now();
    let mut prices = model
        .as_deref()
        .and_then(|model| gateway.app.prices(&snapshot, model, now));
    let crossing = if answers(provider, &aim) {
        None
    } else {
        let ends = (provider, &*snapshot, prices.as_deref());
        Some(cross(&mut aim, &mut head, &mut body, ends)?)
    };
    prices = prices.filter(|_| has_known_price(body.as_ref(), &snapshot));
    Ok(Route {
        operation: aim.operation,
        face: aim.face,
        integration,
        snapshot,
        provider,
        model,
        booked,
        prices,
        body,
        upload,
        head,
        crossing,
    })
}

/// Puts a request into the words of a provider that does not speak its caller's.
fn cross(
    aim: &mut Aim,
    head: &mut Parts,
    body: &mut Option<(Bytes, RequestFacts)>,
    (provider, snapshot, prices): (&dyn Provider, &Snapshot, Option<&ModelPrices>),
) -> Result<Crossing, Refused> {
    let config = &snapshot.config;
    let translation = provider.translation(aim.face, aim.operation, config);
    let (Some(translation), Some((bytes, _))) = (translation, body.as_ref()) else {
        return Err(not_served(snapshot, aim.operation));
    };
    let most = prices.and_then(|prices| prices.output_tokens_max);
    let output_max = config.output_tokens().min(most.unwrap_or(u64::MAX));
    let crossed = Crossing::make(translation, bytes, head, output_max)?;
    aim.operation = crossed.translated.operation;
    aim.face = crossed.translated.face;
    *body = Some((crossed.translated.body, crossed.facts));
    Ok(crossed.crossing)
}

/// The body and what it says; of a form only what it says, and the form on its way.
async fn receive_body(
    gateway: &Gateway,
    aim: &Aim,
    head: &Parts,
    body: Incoming,
) -> Result<(Option<(Bytes, RequestFacts)>, Option<Upload>), Refused> {
    if !aim.operation.takes_form() {
        return Ok((read_body(gateway, aim, head, body).await?, None));
    }
    let (facts, upload) = read_form(gateway, aim, head, body).await?;
    Ok((Some((Bytes::new(), facts)), Some(upload)))
}

/// What is needed of a form to decide on its call, and the form on its way.
async fn read_form(
    gateway: &Gateway,
    aim: &Aim,
    head: &Parts,
    body: Incoming,
) -> Result<(RequestFacts, Upload), Refused> {
    let named = if aim.model.is_none() && aim.operation.names_model() {
        ModelNamed::InForm
    } else {
        ModelNamed::Elsewhere
    };
    let (facts, upload) = receive(gateway, (aim.operation, named), head, body).await?;
    let facts = facts.or_usual_model();
    if named == ModelNamed::InForm {
        facts
            .required_model()
            .map_err(|error| Refused::request(&error))?;
    }
    Ok((facts, upload))
}

/// Has a form name the model as the provider knows it, where it names one.
fn name_model(
    upload: Option<&mut Upload>,
    body: Option<&(Bytes, RequestFacts)>,
    model: Option<&str>,
) {
    let Some((upload, (_, facts))) = upload.zip(body) else {
        return;
    };
    if let Some((place, with)) = model.and_then(|model| facts.model_edit(model)) {
        upload.replace(place, with);
    }
}

/// The body and what it says, of a request that has one.
async fn read_body(
    gateway: &Gateway,
    aim: &Aim,
    head: &Parts,
    body: Incoming,
) -> Result<Option<(Bytes, RequestFacts)>, Refused> {
    if !aim.operation.has_body() {
        return Ok(None);
    }
    let bytes = whole_body(gateway, body).await?;
    let mut facts =
        RequestFacts::read(aim.operation, &bytes).map_err(|error| Refused::request(&error))?;
    facts.heed(&head.headers);
    if aim.model.is_none() {
        facts
            .required_model()
            .map_err(|error| Refused::request(&error))?;
    }
    Ok(Some((bytes, facts)))
}

/// Whether a provider can be reached by a translation.
fn reaches(provider_type: CusProviderType, aim: &Aim) -> bool {
    let config = IntegrationConfig::default();
    let provider = registry::find(provider_type);
    let translation = provider.and_then(|it| it.translation(aim.face, aim.operation, &config));
    translation.is_some()
}

fn answers(provider: &dyn Provider, aim: &Aim) -> bool {
    provider.describe().serves(aim.face, aim.operation)
}

/// Whether the price book's prices are those of the call. A faster tier, or tools that the
/// provider bills apart, cost more than the book knows: under a budget such a call is refused.
fn has_known_price(body: Option<&(Bytes, RequestFacts)>, snapshot: &Snapshot) -> bool {
    let Some((_, facts)) = body else { return true };
    facts.is_standard_priced() && !(snapshot.config.hard_cap && facts.has_unpriced_tools())
}

/// The model as the provider knows it: the name without the integration's, after aliases. The
/// request's own allocation is used again where nothing changes.
fn provider_model(
    rest: &str,
    body: Option<&(Bytes, RequestFacts)>,
    snapshot: &Snapshot,
) -> Arc<str> {
    let model = snapshot.config.model(rest);
    let unchanged = body.and_then(|(_, facts)| facts.model());
    match unchanged {
        Some(same) if **same == *model => Arc::clone(same),
        _ => model.into(),
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

fn integration_header(head: &Parts) -> Result<Option<&str>, Refused> {
    let Some(value) = head.headers.get("x-tollgate-integration") else {
        return Ok(None);
    };
    value.to_str().map(Some).map_err(|_not_text| {
        let message = "x-tollgate-integration: an integration's id or name".to_owned();
        Refused::new(StatusCode::BAD_REQUEST, "invalid_header", message)
    })
}

async fn whole_body(gateway: &Gateway, body: Incoming) -> Result<Bytes, Refused> {
    let most = gateway.config.body_bytes_max;
    let declared = body.size_hint().lower();
    if usize::try_from(declared).map_or(true, |bytes| bytes > most) {
        return Err(too_large(most));
    }
    let patience = Duration::from_secs(gateway.config.body_seconds);
    match tokio::time::timeout(patience, gathered(body, most)).await {
        Ok(gathered) => gathered,
        Err(_) => Err(Refused::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            format!(
                "the request's body did not come within {} seconds",
                patience.as_secs()
            ),
        )
        .never_again()),
    }
}

async fn gathered(mut body: Incoming, most: usize) -> Result<Bytes, Refused> {
    let mut gathered = Gathered::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_broken| {
            let message = "the request's body ended early, or is not framed as its head says";
            Refused::new(
                StatusCode::BAD_REQUEST,
                "body_incomplete",
                message.to_owned(),
            )
        })?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        if gathered.len().saturating_add(piece.len()) > most {
            return Err(too_large(most));
        }
        gathered.push(piece);
    }
    Ok(gathered.into_bytes())
}

fn too_large(most: usize) -> Refused {
    Refused::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "request_too_large",
        format!("the request's body is larger than {most} bytes"),
    )
}

fn no_route(refusal: &RouteRefusal) -> Refused {
    let (status, code) = match refusal {
        RouteRefusal::UnknownIntegration(_) | RouteRefusal::NoneServes => {
            (StatusCode::NOT_FOUND, "integration_not_found")
        }
        RouteRefusal::BoundElsewhere => (StatusCode::FORBIDDEN, "permission_denied"),
        RouteRefusal::Ambiguous => (StatusCode::BAD_REQUEST, "integration_ambiguous"),
    };
    Refused::new(status, code, refusal.to_string())
}

fn not_served(snapshot: &Snapshot, operation: Operation) -> Refused {
    let message = format!(
        "the integration `{}` is of type {}, which does not serve {} on this path",
        snapshot.record.name,
        snapshot.record.provider_type,
        operation.as_str()
    );
    Refused::new(StatusCode::NOT_FOUND, "operation_not_served", message)
}
