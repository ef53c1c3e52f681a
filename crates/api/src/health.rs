//! Whether this node lives and is ready: for load balancers, without a key and without secrets.

/// `GET /livez`.
pub(crate) mod live {
    /// The process answers.
    #[utoipa::path(get, path = "/livez", operation_id = "get_liveness",
        responses((status = 200, description = "It does", body = String)))]
    pub(crate) async fn handle() -> &'static str {
        "ok\n"
    }
}

/// `GET /readyz`.
pub(crate) mod ready {
    use axum::Json;
    use axum::extract::State;
    use axum::response::IntoResponse;
    use http::StatusCode;
    use serde::{Deserialize, Serialize};
    use utoipa::{IntoParams, ToSchema};

    use crate::extract::Params;
    use crate::state::Api;

    #[derive(Debug, Deserialize, IntoParams)]
    #[into_params(parameter_in = Query)]
    #[serde(deny_unknown_fields)]
    pub(crate) struct Asked {
        /// Whether each check is told; its value does not matter.
        verbose: Option<String>,
    }

    /// Whether the node takes calls.
    #[derive(Debug, Serialize, ToSchema)]
    pub(crate) struct ReadinessBody {
        /// `ready` or `not_ready`.
        status: &'static str,
        /// Each check, if asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        checks: Option<ReadinessChecks>,
    }

    /// The checks of a node: whether each passes.
    #[derive(Debug, Serialize, ToSchema)]
    pub(crate) struct ReadinessChecks {
        /// The store answers.
        store: bool,
        /// The journal reaches the disk.
        journal: bool,
        /// The ledger's writer keeps up.
        ledger: bool,
        /// Rows that wait for the ledger.
        ledger_lag_rows: u64,
    }

    /// Whether the node takes calls.
    #[utoipa::path(get, path = "/readyz", operation_id = "get_readiness", params(Asked),
        responses(
            (status = 200, description = "Ready", body = ReadinessBody),
            (status = 503, description = "Not ready", body = ReadinessBody)))]
    pub(crate) async fn handle(
        State(api): State<Api>,
        Params(asked): Params<Asked>,
    ) -> impl IntoResponse {
        let readiness = api.app.readiness().await;
        let (code, status) = if readiness.is_ready() {
            (StatusCode::OK, "ready")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
        };
        let checks = asked.verbose.map(|_any| ReadinessChecks {
            store: readiness.store,
            journal: readiness.journal,
            ledger: readiness.ledger,
            ledger_lag_rows: readiness.lag_rows,
        });
        (code, Json(ReadinessBody { status, checks }))
    }
}
