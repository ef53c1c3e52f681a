//! `tollgate openapi`: the description of the control plane, as this program serves it.

use crate::output::{self, Failure};

/// Prints the description (OpenAPI 3.1).
pub fn run() -> Result<(), Failure> {
    output::print(&tollgate_api::openapi_json())
}
