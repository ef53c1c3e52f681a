//! Verifying: a trail is walked from its first entry to its head, and the first place that does not fit is named.

use tollgate_core::TenantId;
use tollgate_core::audit::{AuditHead, Tampering};

use super::Row;
use super::chain::{STEP, WALK};
use crate::engine::{Purpose, Work, sql};
use crate::error::StoreError;
use crate::value::Place;
use crate::{OperatorStore, TenantStore};

/// What verifying found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Trails that were walked.
    pub trails: u64,
    /// Entries that were read; of a bad trail those up to the first bad place.
    pub entries: u64,
    /// How far the trail goes, if it was one trail and it has entries.
    pub head: Option<AuditHead>,
    /// The first bad place.
    pub first_bad: Option<BadEntry>,
}

/// The first bad place of a trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadEntry {
    /// Whose trail; none for the operator's own.
    pub tenant: Option<TenantId>,
    /// The number of the entry.
    pub seq: i64,
    /// What is wrong there.
    pub reason: Tampering,
}

impl AuditReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.first_bad.is_none()
    }
}

impl TenantStore {
    /// Walks the tenant's trail; it must also have been through `expected`, if that is given.
    pub async fn verify_audit(
        &self,
        expected: Option<AuditHead>,
    ) -> Result<AuditReport, StoreError> {
        let tenant = self.tenant.to_string();
        self.perform(Purpose::Snapshot, move |work| {
            Box::pin(async move { verify(work, &tenant, expected.as_ref()).await })
        })
        .await
    }
}

impl OperatorStore {
    /// Walks the trail of the operator's own changes; it must also have been through `expected`, if that is given.
    pub async fn verify_operator_audit(
        &self,
        expected: Option<AuditHead>,
    ) -> Result<AuditReport, StoreError> {
        self.perform(Purpose::Snapshot, move |work| {
            Box::pin(async move { verify(work, "", expected.as_ref()).await })
        })
        .await
    }

    /// Walks every trail, and stops at the first bad place.
    pub async fn verify_every_audit(&self) -> Result<AuditReport, StoreError> {
        self.perform(Purpose::Snapshot, |work| Box::pin(verify_every(work)))
            .await
    }
}

async fn verify_every(work: &mut Work) -> Result<AuditReport, StoreError> {
    let select =
        "SELECT tenant_id FROM audit_log UNION SELECT tenant_id FROM audit_heads ORDER BY 1";
    let trails: Vec<(String,)> = work.fetch_all(sql(select)).await?;
    let mut report = AuditReport::default();
    for (tenant,) in trails {
        let one = verify(work, &tenant, None).await?;
        report.trails += one.trails;
        report.entries += one.entries;
        report.first_bad = one.first_bad;
        if report.first_bad.is_some() {
            break;
        }
    }
    Ok(report)
}

async fn verify(
    work: &mut Work,
    tenant: &str,
    expected: Option<&AuditHead>,
) -> Result<AuditReport, StoreError> {
    let mut walk = Walk::default();
    let mut bad = None;
    let mut from = i64::MIN;
    while bad.is_none() {
        let step = sql(WALK).bind(tenant).bind(from).bind(STEP);
        let rows: Vec<Row> = work.fetch_all(step).await?;
        let next = rows.last().and_then(|last| last.seq.checked_add(1));
        for row in rows {
            bad = walk.step(work, row, expected)?;
            if bad.is_some() {
                break;
            }
        }
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    let select = sql("SELECT seq, hash FROM audit_heads WHERE tenant_id = $1").bind(tenant);
    let kept: Option<(i64, String)> = work.fetch_optional(select).await?;
    let kept = kept.map(|(seq, hash)| AuditHead { seq, hash });
    let bad = bad
        .or_else(|| walk.ends_at(kept.as_ref()))
        .or_else(|| walk.must_reach(expected));
    let place = Place {
        table: "audit_log",
        row: "trail",
    };
    let owner = Some(tenant).filter(|tenant| !tenant.is_empty());
    let owner: Option<TenantId> = place.maybe_text("tenant_id", owner)?;
    Ok(AuditReport {
        trails: 1,
        entries: walk.entries,
        head: kept,
        first_bad: bad.map(|(seq, reason)| BadEntry {
            tenant: owner,
            seq,
            reason,
        }),
    })
}

/// A bad place: its number, and what is wrong there.
type Bad = (i64, Tampering);

/// How far a walk has come.
#[derive(Default)]
struct Walk {
    entries: u64,
    seq: i64,
    hash: String,
}

impl Walk {
    /// Goes on to the next entry; what is wrong with it, if something is.
    fn step(
        &mut self,
        work: &Work,
        row: Row,
        expected: Option<&AuditHead>,
    ) -> Result<Option<Bad>, StoreError> {
        self.entries += 1;
        let due = self.seq.saturating_add(1);
        if row.seq < due {
            return Ok(Some((row.seq, Tampering::OutOfPlace)));
        }
        if row.seq > due {
            return Ok(Some((due, Tampering::Missing)));
        }
        if row.mark(work.audit_seal(), &self.hash)? != row.hash {
            return Ok(Some((due, Tampering::Changed)));
        }
        if expected.is_some_and(|head| head.seq == due && head.hash != row.hash) {
            return Ok(Some((due, Tampering::OtherHistory)));
        }
        self.seq = due;
        self.hash = row.hash;
        Ok(None)
    }

    /// Compares the end of the walk with the head that is kept.
    fn ends_at(&self, kept: Option<&AuditHead>) -> Option<Bad> {
        let Some(head) = kept else {
            return (self.seq > 0).then_some((self.seq, Tampering::HeadLost));
        };
        if head.seq > self.seq {
            return Some((self.seq.saturating_add(1), Tampering::TailCut));
        }
        if head.seq < self.seq {
            return Some((head.seq.saturating_add(1), Tampering::PastHead));
        }
        (head.hash != self.hash).then_some((self.seq, Tampering::HeadChanged))
    }

    /// Compares the end of the walk with the head that was taken before.
    fn must_reach(&self, expected: Option<&AuditHead>) -> Option<Bad> {
        let head = expected?;
        (head.seq > self.seq).then_some((self.seq.saturating_add(1), Tampering::TailCut))
    }
}
