//! The ledger of some days, from the oldest call to the newest: read piece by piece, so that its size does not matter.

use std::sync::Arc;

use tollgate_core::period::start_of_day;
use tollgate_core::{IntegrationId, TenantId};
use tollgate_store::ExportAsk;

use super::{Days, UsageRow};
use crate::app::App;
use crate::context::Context;
use crate::error::AppError;

/// Rows of one piece.
const PIECE_ROWS: u16 = 1_000;

/// An export under way.
#[derive(Debug)]
pub struct Export {
    app: Arc<App>,
    tenant: TenantId,
    /// What to read next; none when all is read.
    ask: Option<ExportAsk>,
}

impl App {
    /// Begins an export of some days: everything that has settled until now, and nothing that settles later.
    pub async fn export_usage(
        self: &Arc<Self>,
        context: &Context,
        days: Days,
        integration: Option<IntegrationId>,
    ) -> Result<Export, AppError> {
        let tenant = context.may_read_usage()?.clone();
        let integration = context.restricted_to(integration)?;
        self.settle_books().await;
        let (from, to) = days.moments();
        let ask = ExportAsk {
            from,
            to,
            integration,
            settled_by: self.now().wall,
            after: None,
            rows: PIECE_ROWS,
        };
        Ok(Export {
            app: Arc::clone(self),
            tenant,
            ask: Some(ask),
        })
    }
}

impl Days {
    /// The first moment of the days, and the first after them.
    pub(super) fn moments(self) -> (jiff::Timestamp, jiff::Timestamp) {
        let after = self.to.tomorrow().unwrap_or(self.to);
        (start_of_day(self.from), start_of_day(after))
    }
}

impl Export {
    /// The next rows; none after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<UsageRow>>, AppError> {
        let Some(ask) = self.ask.take() else {
            return Ok(None);
        };
        let store = self.app.store.tenant(&self.tenant);
        let piece = store.export_usage(&ask).await?;
        self.ask = piece.next.map(|after| ExportAsk {
            after: Some(after),
            ..ask
        });
        Ok((!piece.rows.is_empty()).then_some(piece.rows))
    }
}
