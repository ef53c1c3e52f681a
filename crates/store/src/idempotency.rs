//! Requests with an idempotency key: begun once, answered once, forgotten after a while.
//!
//! All that is kept of a request are keyed hashes and a sealed answer: nothing here can be read
//! without the key file. The id is made from the access key, the tenant, the method, the path and
//! the caller's own key, so nobody finds what another one asked.

use jiff::Timestamp;
use tollgate_core::{NodeId, TenantId};

use crate::OperatorStore;
use crate::engine::{Purpose, Work, sql};
use crate::error::StoreError;
use crate::value::{Place, micros};

/// A request that is to be done at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotentRequest {
    /// A keyed hash of who asks what under which key.
    pub id: [u8; 32],
    /// The tenant that is acted on, if there is one.
    pub tenant: Option<TenantId>,
    /// A keyed hash of the whole request: the same key must come with the same request.
    pub digest: [u8; 32],
    /// When it came.
    pub started_at: Timestamp,
}

/// What is known of a request when it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Nothing: it is this one's to do.
    New,
    /// It was begun and has no answer.
    Unanswered {
        /// The node that began it.
        node: NodeId,
        /// When.
        started_at: Timestamp,
    },
    /// It was answered: the sealed answer.
    Answered(Vec<u8>),
    /// Its key came with another request.
    OfAnother,
}

impl OperatorStore {
    /// Begins a request, unless it was begun since `after`.
    pub async fn begin_request(
        &self,
        request: IdempotentRequest,
        after: Timestamp,
    ) -> Result<Begun, StoreError> {
        let node = self.store.node;
        self.perform(Purpose::Change, move |work| {
            Box::pin(begin(work, request, node, after))
        })
        .await
    }

    /// Keeps the sealed answer of a request that was begun.
    pub async fn answer_request(&self, id: [u8; 32], answer: Vec<u8>) -> Result<(), StoreError> {
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move {
                let update = "UPDATE idempotent_requests SET answer = $2 WHERE id = $1";
                let update = sql(update).bind(id.to_vec()).bind(answer);
                work.execute(update).await.map(drop)
            })
        })
        .await
    }

    /// Forgets a request that was begun and had no answer worth keeping: it may come again.
    pub async fn forget_request(&self, id: [u8; 32]) -> Result<(), StoreError> {
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move {
                let delete = "DELETE FROM idempotent_requests WHERE id = $1 AND answer IS NULL";
                work.execute(sql(delete).bind(id.to_vec())).await.map(drop)
            })
        })
        .await
    }

    /// Forgets every request that was begun before a time; how many there were.
    pub async fn forget_requests_before(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move {
                let delete = "DELETE FROM idempotent_requests WHERE started_at < $1";
                work.execute(sql(delete).bind(micros(before))).await
            })
        })
        .await
    }
}

async fn begin(
    work: &mut Work,
    request: IdempotentRequest,
    node: NodeId,
    after: Timestamp,
) -> Result<Begun, StoreError> {
    let expire = "DELETE FROM idempotent_requests WHERE id = $1 AND started_at < $2";
    let expire = sql(expire).bind(request.id.to_vec()).bind(micros(after));
    work.execute(expire).await?;
    let insert = "INSERT INTO idempotent_requests (id, tenant_id, digest, node_id, started_at) \
                  VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING";
    let insert = sql(insert)
        .bind(request.id.to_vec())
        .bind(request.tenant.as_ref().map(ToString::to_string))
        .bind(request.digest.to_vec())
        .bind(node.to_string())
        .bind(micros(request.started_at));
    if work.execute(insert).await? == 1 {
        return Ok(Begun::New);
    }
    let select =
        "SELECT digest, node_id, started_at, answer FROM idempotent_requests WHERE id = $1";
    let row: Row = work
        .fetch_one(sql(select).bind(request.id.to_vec()))
        .await?;
    if row.digest != request.digest {
        return Ok(Begun::OfAnother);
    }
    if let Some(answer) = row.answer {
        return Ok(Begun::Answered(answer));
    }
    let place = Place {
        table: "idempotent_requests",
        row: &row.node_id,
    };
    Ok(Begun::Unanswered {
        node: place.text("node_id", &row.node_id)?,
        started_at: place.time("started_at", row.started_at)?,
    })
}

#[derive(sqlx::FromRow)]
struct Row {
    digest: Vec<u8>,
    node_id: String,
    started_at: i64,
    answer: Option<Vec<u8>>,
}
