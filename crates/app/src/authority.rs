//! What admission and booking ask of whoever keeps the limits and the books for all nodes.
//!
//! In the product that is the store. The simulation asks the same questions of a model of it, over a
//! wire that loses them, and of a real store beside it.

use std::fmt::Debug;
use std::pin::Pin;

use jiff::Timestamp;
use tollgate_core::account::{Draw, Grant};
use tollgate_core::limit::Limits;
use tollgate_core::limit::kept::KeptMinute;
use tollgate_core::limit::permits::PermitGrant;
use tollgate_core::usage::UsageEntry;
use tollgate_core::{CallId, IntegrationId, Moment, Period, TenantId};
use tollgate_store::{AppendReport, DrawAsk, Owed, PermitDraw, Prospect, Store, StoreError};

/// An answer under way.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Who keeps the limits and the books for all nodes, as one node asks it.
pub(crate) trait Authority: Debug + Send + Sync {
    /// Draws for this node, never beyond what is left.
    fn draw<'a>(&'a self, ask: &'a DrawAsk) -> Answer<'a, Grant>;

    /// Draws permits of a minute, and gives unused ones back.
    fn draw_permits<'a>(&'a self, draw: &'a PermitDraw) -> Answer<'a, PermitGrant>;

    /// Gives back what this node has drawn and will not hand out.
    fn give_back<'a>(&'a self, integration: IntegrationId, unused: &'a Draw) -> Answer<'a, Grant>;

    /// Gives back everything that this node has drawn and not settled, but for what is owed. The
    /// figures of the months that something is owed of.
    fn give_back_all<'a>(&'a self, owed: &'a [Owed]) -> Answer<'a, Vec<(IntegrationId, Grant)>>;

    /// The calls of the last minute that are counted with their rows, for a node that counts them
    /// itself.
    fn kept_minute(&self, integration: IntegrationId, now: Moment) -> Answer<'_, KeptMinute>;

    /// When the calls were admitted that the ledger has under these ids, in their order.
    fn known_calls<'a>(
        &'a self,
        calls: &'a [(TenantId, CallId)],
    ) -> Answer<'a, Vec<Option<Timestamp>>>;

    /// Whether the ledger has the call.
    fn is_call_known<'a>(&'a self, tenant: &'a TenantId, call: &'a CallId) -> Answer<'a, bool>;

    /// Books a batch. What has a mark, the moment of its admission on the machine's clock, is
    /// counted with its row.
    fn append<'a>(
        &'a self,
        entries: &'a [UsageEntry],
        marks: &'a [Option<i64>],
        now: Moment,
    ) -> Answer<'a, AppendReport>;

    /// What a draw of all that is left would bring; changes nothing.
    fn prospect<'a>(
        &'a self,
        tenant: &'a TenantId,
        integration: IntegrationId,
        period: Period,
        limits: Limits,
    ) -> Answer<'a, Prospect>;

    /// What a draw of all permits that are left would bring; changes nothing.
    fn permit_prospect<'a>(
        &'a self,
        tenant: &'a TenantId,
        integration: IntegrationId,
        rpm: i64,
    ) -> Answer<'a, PermitGrant>;
}

impl Authority for Store {
    fn draw<'a>(&'a self, ask: &'a DrawAsk) -> Answer<'a, Grant> {
        Box::pin(async move { self.operator().draw(ask).await })
    }

    fn draw_permits<'a>(&'a self, draw: &'a PermitDraw) -> Answer<'a, PermitGrant> {
        Box::pin(async move { self.operator().draw_permits(draw).await })
    }

    fn give_back<'a>(&'a self, integration: IntegrationId, unused: &'a Draw) -> Answer<'a, Grant> {
        Box::pin(async move { self.operator().give_back(integration, unused).await })
    }

    fn give_back_all<'a>(&'a self, owed: &'a [Owed]) -> Answer<'a, Vec<(IntegrationId, Grant)>> {
        Box::pin(async move { self.operator().give_back_all(owed).await })
    }

    fn kept_minute(&self, integration: IntegrationId, now: Moment) -> Answer<'_, KeptMinute> {
        Box::pin(async move { self.operator().kept_minute(integration, now).await })
    }

    fn known_calls<'a>(
        &'a self,
        calls: &'a [(TenantId, CallId)],
    ) -> Answer<'a, Vec<Option<Timestamp>>> {
        Box::pin(async move { self.operator().known_calls(calls).await })
    }

    fn is_call_known<'a>(&'a self, tenant: &'a TenantId, call: &'a CallId) -> Answer<'a, bool> {
        Box::pin(async move { self.operator().is_call_known(tenant, call).await })
    }

    fn append<'a>(
        &'a self,
        entries: &'a [UsageEntry],
        marks: &'a [Option<i64>],
        now: Moment,
    ) -> Answer<'a, AppendReport> {
        Box::pin(async move { self.operator().append_counting(entries, marks, now).await })
    }

    fn prospect<'a>(
        &'a self,
        tenant: &'a TenantId,
        integration: IntegrationId,
        period: Period,
        limits: Limits,
    ) -> Answer<'a, Prospect> {
        Box::pin(async move {
            self.tenant(tenant)
                .prospect(integration, period, limits)
                .await
        })
    }

    fn permit_prospect<'a>(
        &'a self,
        tenant: &'a TenantId,
        integration: IntegrationId,
        rpm: i64,
    ) -> Answer<'a, PermitGrant> {
        Box::pin(async move { self.tenant(tenant).permit_prospect(integration, rpm).await })
    }
}
