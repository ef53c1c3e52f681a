//! The audit trail: who changed what, and whether anybody touched the record of it.

pub(crate) mod list;
pub(crate) mod verify;

use tollgate_app::audit::Trails;

use crate::extract::parameter;
use crate::problem::Problem;

/// Whose trail `all` asks for.
fn trails(all: Option<&str>) -> Result<Trails, Problem> {
    let all = parameter("all", all, "true or false")?;
    Ok(if all == Some(true) {
        Trails::Every
    } else {
        Trails::Own
    })
}
