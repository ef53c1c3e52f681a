//! What every handler works with.

use std::sync::Arc;

use tollgate_app::App;

/// The use cases, shared by all requests.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) app: Arc<App>,
}
