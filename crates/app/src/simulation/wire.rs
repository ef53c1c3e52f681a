//! The connection between nodes and the store: every question waits there until chance lets it
//! through, and so does its answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tollgate_core::account::{Draw, Grant};
use tollgate_core::limit::Limits;
use tollgate_core::limit::kept::KeptMinute;
use tollgate_core::limit::permits::PermitGrant;
use tollgate_core::usage::UsageEntry;
use tollgate_core::{CallId, IntegrationId, Moment, NodeId, Period, TenantId};
use tollgate_store::{AppendReport, DrawAsk, Owed, PermitDraw, Prospect, StoreError};

use crate::authority::{Answer, Authority};

/// What a node asks of the store.
#[derive(Debug, Clone)]
pub(super) enum Question {
    Draw(DrawAsk),
    Permits(PermitDraw),
    GiveBack(IntegrationId, Draw),
    GiveBackAll(Vec<Owed>),
    Kept(IntegrationId, Moment),
    IsKnown(TenantId, CallId),
    Known(Vec<(TenantId, CallId)>),
    Append(Vec<UsageEntry>, Vec<Option<i64>>, Moment),
}

/// What the store says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Grant(Grant),
    Permits(PermitGrant),
    Figures(Vec<(IntegrationId, Grant)>),
    Kept(KeptMinute),
    IsKnown(bool),
    Known(Vec<Option<Timestamp>>),
    Append(AppendReport),
}

/// A question on its way there, or its answer on its way back.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) machine: usize,
    pub(super) node: NodeId,
    pub(super) question: Question,
    /// What the store said, once it was asked.
    pub(super) reply: Option<Reply>,
    back: oneshot::Sender<Result<Reply, StoreError>>,
}

impl Letter {
    /// Hands the answer to whoever still waits for it.
    pub(super) fn deliver(self, reply: Result<Reply, StoreError>) {
        // Whoever asked may have gone away.
        drop(self.back.send(reply));
    }
}

/// All that is under way, by age.
#[derive(Debug, Default)]
pub(super) struct Wire {
    next: u64,
    pub(super) letters: BTreeMap<u64, Letter>,
}

/// One run's connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) machine: usize,
    pub(super) node: NodeId,
    pub(super) wire: Arc<Mutex<Wire>>,
    pub(super) is_cut: AtomicBool,
}

/// What a node is told that cannot reach the store.
pub(super) fn unreachable_store() -> StoreError {
    StoreError::Unavailable {
        source: "the connection was lost".into(),
    }
}

impl Link {
    fn ask(
        &self,
        question: Question,
    ) -> impl Future<Output = Result<Reply, StoreError>> + Send + use<> {
        let (back, answer) = oneshot::channel();
        if !self.is_cut.load(Ordering::SeqCst) {
            let mut wire = self.wire.lock();
            wire.next += 1;
            let letter = Letter {
                machine: self.machine,
                node: self.node,
                question,
                reply: None,
                back,
            };
            let number = wire.next;
            wire.letters.insert(number, letter);
        }
        async move {
            answer
                .await
                .unwrap_or_else(|_lost| Err(unreachable_store()))
        }
    }
}

/// Unwraps the one kind of reply that answers a question.
macro_rules! answer {
    ($link:expr, $question:expr, $kind:ident) => {{
        let asked = $link.ask($question);
        Box::pin(async move {
            match asked.await? {
                Reply::$kind(reply) => Ok(reply),
                other => panic!("{other:?} is no answer"),
            }
        })
    }};
}

impl Authority for Link {
    fn draw<'a>(&'a self, ask: &'a DrawAsk) -> Answer<'a, Grant> {
        answer!(self, Question::Draw(ask.clone()), Grant)
    }

    fn draw_permits<'a>(&'a self, draw: &'a PermitDraw) -> Answer<'a, PermitGrant> {
        answer!(self, Question::Permits(draw.clone()), Permits)
    }

    fn give_back<'a>(&'a self, integration: IntegrationId, unused: &'a Draw) -> Answer<'a, Grant> {
        answer!(self, Question::GiveBack(integration, *unused), Grant)
    }

    fn give_back_all<'a>(&'a self, owed: &'a [Owed]) -> Answer<'a, Vec<(IntegrationId, Grant)>> {
        answer!(self, Question::GiveBackAll(owed.to_vec()), Figures)
    }

    fn kept_minute(&self, integration: IntegrationId, now: Moment) -> Answer<'_, KeptMinute> {
        answer!(self, Question::Kept(integration, now), Kept)
    }

    fn known_calls<'a>(
        &'a self,
        calls: &'a [(TenantId, CallId)],
    ) -> Answer<'a, Vec<Option<Timestamp>>> {
        answer!(self, Question::Known(calls.to_vec()), Known)
    }

    fn is_call_known<'a>(&'a self, tenant: &'a TenantId, call: &'a CallId) -> Answer<'a, bool> {
        answer!(
            self,
            Question::IsKnown(tenant.clone(), call.clone()),
            IsKnown
        )
    }

    fn append<'a>(
        &'a self,
        entries: &'a [UsageEntry],
        marks: &'a [Option<i64>],
        now: Moment,
    ) -> Answer<'a, AppendReport> {
        let question = Question::Append(entries.to_vec(), marks.to_vec(), now);
        answer!(self, question, Append)
    }

    fn prospect<'a>(
        &'a self,
        _tenant: &'a TenantId,
        _integration: IntegrationId,
        _period: Period,
        _limits: Limits,
    ) -> Answer<'a, Prospect> {
        Box::pin(async { Err(unreachable_store()) })
    }

    fn permit_prospect<'a>(
        &'a self,
        _tenant: &'a TenantId,
        _integration: IntegrationId,
        _rpm: i64,
    ) -> Answer<'a, PermitGrant> {
        Box::pin(async { Err(unreachable_store()) })
    }
}
