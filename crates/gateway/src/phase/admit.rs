//! Phase three: whether the call may leave, and what is held for it.

use std::sync::Arc;

use http::{HeaderName, StatusCode};
use tollgate_app::metering::{CallFacts, Hold, NotAdmitted};
use tollgate_core::hold::Ask;
use tollgate_core::verdict::Verdict;
use tollgate_core::{AgentId, CallId, Nanos, SessionId, TokenUsage};
use tollgate_providers::RequestFacts;

use crate::answer::Desk;
use crate::error::Refused;
use crate::exchange::Gateway;
use crate::phase::resolve::Route;

static CALL_ID: HeaderName = HeaderName::from_static("x-tollgate-call-id");
static SESSION_ID: HeaderName = HeaderName::from_static("x-tollgate-session-id");
static AGENT_ID: HeaderName = HeaderName::from_static("x-tollgate-agent-id");

/// Letters of a model's name that a row can have.
const MODEL_CHARS_MAX: usize = 100;

/// A call that may leave.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub(crate) enum Admitted {
    /// One that its provider bills: its worst case is held.
    Held(Hold),
    /// One that no provider bills, such as the list of models: checked, and not booked.
    Free(CallId),
}

impl Admitted {
    pub(crate) fn call_id(&self) -> &CallId {
        match self {
            Self::Held(hold) => hold.call_id(),
            Self::Free(call_id) => call_id,
        }
    }
}

pub(crate) async fn admit(
    gateway: &Gateway,
    route: &Route,
    desk: &mut Desk,
) -> Result<Admitted, Refused> {
    desk.goes_through(&route.integration);
    if route.operation.is_billed_later() {
        return later(gateway, route, desk).await;
    }
    let call_id: Option<CallId> = header(route, &CALL_ID)?;
    let Some((_, facts)) = route.body.as_ref().filter(|_| route.operation.is_billed()) else {
        gateway
            .app
            .metering()
            .check_standing(&route.integration)
            .map_err(|refusal| Refused::limit(&refusal))?;
        let call_id = call_id.unwrap_or_else(CallId::generate);
        desk.admitted(&call_id, Verdict::Allowed);
        return Ok(Admitted::Free(call_id));
    };
    let model = route.booked.clone().unwrap_or_default();
    let ask = facts
        .ask(&route.snapshot.config, route.prices.as_deref())
        .map_err(|error| Refused::request(&error))?;
    let call = CallFacts {
        call_id,
        session_id: header::<SessionId>(route, &SESSION_ID)?,
        agent_id: header::<AgentId>(route, &AGENT_ID)?,
        model,
        ask,
        prices: route.prices.clone(),
    };
    hold(gateway, route, desk, call).await.map(Admitted::Held)
}

/// What is charged later is asked of all limits as a call of nothing would be; nothing stays held.
async fn later(gateway: &Gateway, route: &Route, desk: &mut Desk) -> Result<Admitted, Refused> {
    if route.snapshot.config.hard_cap {
        let message = "the integration has a hard cap, and what a batch will cost is bounded by \
                       nothing: send the calls one by one, or use an integration without \
                       `hard_cap`";
        let refused = Refused::new(
            StatusCode::FORBIDDEN,
            "batch_not_capped",
            message.to_owned(),
        );
        return Err(refused.never_again());
    }
    let unpriced = unpriced_model(gateway, route)?;
    let call = CallFacts {
        call_id: None,
        session_id: header::<SessionId>(route, &SESSION_ID)?,
        agent_id: header::<AgentId>(route, &AGENT_ID)?,
        ask: Ask {
            worst: TokenUsage::NONE,
            cost: unpriced.is_none().then_some(Nanos::ZERO),
        },
        model: unpriced.unwrap_or_else(|| route.operation.as_str().into()),
        prices: None,
    };
    let hold = hold(gateway, route, desk, call).await?;
    let call_id = hold.call_id().clone();
    hold.release();
    Ok(Admitted::Free(call_id))
}

/// A model without a price among those that a batch asks for, as far as its request names them:
/// under a budget it is refused like any call of that model.
fn unpriced_model(gateway: &Gateway, route: &Route) -> Result<Option<Arc<str>>, Refused> {
    let Some((body, _)) = &route.body else {
        return Ok(None);
    };
    let models = RequestFacts::batch_models(route.operation, body);
    let models = models.map_err(|error| Refused::request(&error))?;
    let now = gateway.app.now();
    let unpriced = models.into_iter().find(|model| {
        let prices = gateway.app.prices(&route.snapshot, model, now);
        prices.is_none()
    });
    Ok(unpriced.map(|model| {
        let shortened: String = model.chars().take(MODEL_CHARS_MAX).collect();
        shortened.into()
    }))
}

async fn hold(
    gateway: &Gateway,
    route: &Route,
    desk: &mut Desk,
    call: CallFacts,
) -> Result<Hold, Refused> {
    let metering = gateway.app.metering();
    let again = route.again.as_ref();
    let decided = match again.and_then(|again| again.attempt.as_ref()) {
        None => metering.admit(&route.integration, call).await,
        Some(attempt) => {
            let again = metering.admit_again(&route.integration, call, attempt);
            again.await
        }
    };
    match decided {
        Ok(hold) => {
            desk.admitted(hold.call_id(), hold.warnings().verdict());
            Ok(hold)
        }
        Err(NotAdmitted::Refused { refusal, call_id }) => {
            desk.admitted(&call_id, refusal.verdict());
            Err(Refused::limit(&refusal))
        }
        Err(NotAdmitted::CallIdTaken(call_id)) => Err(Refused::new(
            StatusCode::CONFLICT,
            "call_id_taken",
            format!("a call with the id {call_id} was made before: give each call its own"),
        )
        .never_again()),
        Err(NotAdmitted::StoreUnreachable) => Err(Refused::unavailable()),
    }
}

/// A caller's own id in a header, if it sent one.
fn header<T: std::str::FromStr>(route: &Route, name: &HeaderName) -> Result<Option<T>, Refused> {
    let Some(value) = route.head.headers.get(name) else {
        return Ok(None);
    };
    let id = value.to_str().ok().and_then(|text| text.parse().ok());
    id.map(Some).ok_or_else(|| {
        let message = format!("{name}: 1 to 100 visible ASCII characters");
        Refused::new(StatusCode::BAD_REQUEST, "invalid_header", message)
    })
}
