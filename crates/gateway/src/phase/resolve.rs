//! Phase two: what is called, and through which integration.

mod way;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tollgate_app::directory::{Integration, RouteRefusal, Snapshot};
use tollgate_core::price::ModelPrices;
use tollgate_providers::{Dialect, Face, Matched, Operation, Provider, RequestFacts};

use crate::answer::Desk;
use crate::attempts::Again;
use crate::crossing::{self, Crossing};
use crate::error::Refused;
use crate::exchange::Gateway;
use crate::gathered::Gathered;
use crate::phase::identify::Caller;
use crate::upload::{ModelNamed, Upload, receive};

pub(crate) use way::{Request, through};

/// What a request's path aims at.
#[derive(Debug)]
pub(crate) struct Aim {
    pub(crate) operation: Operation,
    face: Face,
    model: Option<String>,
    thing: Option<String>,
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
    /// The id of what the provider keeps and the path names.
    pub(crate) thing: Option<Arc<str>>,
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
    /// How it may be tried again, where its integration wants that.
    pub(crate) again: Option<Box<Again>>,
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

impl Route {
    /// Lets go of the request's own bytes, once they were put into the provider's words: they stand
    /// in the buffer that the caller's connection reads into next, and which it would need another
    /// of.
    pub(crate) fn forget_request(&mut self) {
        self.head.headers.clear();
        self.head.uri = Uri::default();
        if let Some((bytes, _)) = &mut self.body {
            *bytes = Bytes::new();
        }
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
        let instead = Operation::instead_of(path).map_or_else(String::new, |it| format!(" ({it})"));
        let message = format!(
            "there is no {} {path} here{instead}; served are {}",
            head.method,
            Operation::served(desk.dialect)
        );
        Refused::new(StatusCode::NOT_FOUND, "unknown_path", message)
    })?;
    Ok(Aim {
        operation: matched.operation,
        face: matched.face,
        model: matched.model.map(Cow::into_owned),
        thing: matched.thing.map(Cow::into_owned),
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
    desk: &mut Desk,
    caller: Caller,
    (head, aim): (Parts, Aim),
    body: Incoming,
) -> Result<Box<Route>, Refused> {
    let (body, mut upload) = receive_body(gateway, desk, &aim, &head, body).await?;
    let (face, operation) = (aim.face, aim.operation);
    let in_body = body.as_ref().and_then(|(_, facts)| facts.model());
    // Where the path names the model, the provider does not look for it in the body.
    let asked = aim.model.as_deref().or(in_body.map(AsRef::as_ref));
    let named = integration_header(&head)?;
    let serves = |one: &Snapshot| way::answers(one, face, operation);
    let translates = |one: &Snapshot| way::translation(one, face, operation).is_some();
    let (integration, rest) = crossing::route(&caller.key, (named, asked), serves, translates)
        .map_err(|refusal| no_route(&refusal))?;
    let rest = rest.map(|rest| shared(rest, in_body));
    let request = Request {
        operation,
        face,
        head,
        body,
    };
    let snapshot = integration.snapshot();
    let again = Again::of(&snapshot, &caller.key, (&request, rest.as_ref()));
    drop(snapshot);
    let mut route = through(gateway, request, integration, rest)?;
    // Where the path names it, the form's own is not looked at.
    let form = upload.as_mut().filter(|_| aim.model.is_none());
    name_model(form, route.body.as_ref(), route.model.as_deref());
    route.thing = aim.thing.map(Into::into);
    route.upload = upload;
    route.again = again;
    Ok(route)
}

/// A name, in the request's own allocation where it is the same.
fn shared(name: &str, in_body: Option<&Arc<str>>) -> Arc<str> {
    match in_body {
        Some(same) if **same == *name => Arc::clone(same),
        _ => name.into(),
    }
}

/// The body and what it says; of a form only what it says, and the form on its way.
async fn receive_body(
    gateway: &Gateway,
    desk: &mut Desk,
    aim: &Aim,
    head: &Parts,
    body: Incoming,
) -> Result<(Option<(Bytes, RequestFacts)>, Option<Upload>), Refused> {
    if !aim.operation.takes_form() {
        let read = read_body(gateway, desk, aim, head, body).await?;
        return Ok((read, None));
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
    let named = if aim.model.is_none() && aim.operation.needs_model() {
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
    desk: &mut Desk,
    aim: &Aim,
    head: &Parts,
    body: Incoming,
) -> Result<Option<(Bytes, RequestFacts)>, Refused> {
    if !aim.operation.has_body() {
        return Ok(None);
    }
    let bytes = whole_body(gateway, body).await?;
    desk.has_whole_body = true;
    let mut facts =
        RequestFacts::read(aim.operation, &bytes).map_err(|error| Refused::request(&error))?;
    facts.heed(&head.headers);
    Ok(Some((bytes, facts)))
}

const INTEGRATION: HeaderName = HeaderName::from_static("x-tollgate-integration");

fn integration_header(head: &Parts) -> Result<Option<&str>, Refused> {
    let Some(value) = head.headers.get(INTEGRATION) else {
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
