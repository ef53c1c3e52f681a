//! The audit trail: who changed what, and whether anybody touched the record of it.

pub(crate) mod list;
pub(crate) mod verify;

use tollgate_app::Context;
use tollgate_app::audit::Trails;
use tollgate_core::role::Role;

use crate::extract::{bad_parameter, parameter};
use crate::problem::Problem;

/// Whose trail `all` asks for.
fn trails(context: &Context, all: Option<&str>) -> Result<Trails, Problem> {
    if parameter("all", all, "true or false")? != Some(true) {
        return Ok(Trails::Own);
    }
    let is_operator = context.role == Role::Operator;
    if is_operator && context.tenant.is_some() {
        let detail = "the request names one tenant: leave `all` or x-tollgate-tenant out";
        return Err(bad_parameter("all", detail));
    }
    Ok(Trails::Every)
}
