//! The directory of everything live, and the numbered changes by which a node keeps its copy fresh.

use cus_models::CusIntegration;
use tollgate_core::TenantId;
use tollgate_core::access::{AccessKey, KeyDigest};
use tollgate_core::price::overrides::PriceOverride;
use tollgate_core::tenant::Tenant;

use crate::OperatorStore;
use crate::credentials::CredentialRow;
use crate::engine::{Purpose, Work, sql};
use crate::error::StoreError;
use crate::value::Place;
use crate::{integrations, keys, news, prices, tenants};

/// Everything live at one moment.
#[derive(Debug)]
pub struct Directory {
    /// Keys that were not revoked; those that expired are among them.
    pub keys: Vec<(KeyDigest, AccessKey)>,
    /// Tenants that were not deleted; the suspended are among them.
    pub tenants: Vec<Tenant>,
    /// Integrations that were not deleted, each with its current credential.
    pub integrations: Vec<(CusIntegration, Option<CredentialRow>)>,
    /// Prices that were set, each with its tenant; none stands for the whole installation.
    pub prices: Vec<(Option<TenantId>, PriceOverride)>,
    /// The last change that is in it: ask for the changes since.
    pub change: i64,
}

/// That something was changed; what it is now must be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number; greater is later.
    pub seq: i64,
    /// What kind of thing changed.
    pub kind: ChangeKind,
    /// Its id.
    pub id: String,
    /// Whose it is; none for operator keys.
    pub tenant: Option<TenantId>,
}

/// What kind of thing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// A tenant, with all that is its, its prices too. The empty id stands for what is the whole installation's.
    Tenant,
    /// An access key.
    Key,
    /// An integration or its credential.
    Integration,
}

/// The most changes of one answer.
const CHANGES_MAX: i64 = 1_000;

impl OperatorStore {
    /// Everything live, as of one moment.
    pub async fn load_directory(&self) -> Result<Directory, StoreError> {
        self.perform(Purpose::Snapshot, |work| {
            Box::pin(async {
                Ok(Directory {
                    change: latest(work).await?,
                    keys: keys::live(work).await?,
                    tenants: tenants::living(work).await?,
                    integrations: integrations::living(work).await?,
                    prices: prices::all(work).await?,
                })
            })
        })
        .await
    }

    /// The changes after number `seq`, oldest first, at most 1,000.
    pub async fn changes_since(&self, seq: i64) -> Result<Vec<Change>, StoreError> {
        let select = "SELECT seq, kind, subject_id, tenant_id FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2";
        let statement = sql(select).bind(seq).bind(CHANGES_MAX);
        let rows: Vec<(i64, String, String, Option<String>)> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(statement)))
            .await?;
        rows.into_iter()
            .map(|(seq, kind, id, tenant)| {
                let place = Place {
                    table: "changes",
                    row: &id,
                };
                let tenant = place.maybe_text("tenant_id", tenant.as_deref())?;
                let kind = place.known("kind", ChangeKind::from_name(&kind))?;
                Ok(Change {
                    seq,
                    kind,
                    id,
                    tenant,
                })
            })
            .collect()
    }

    /// The number of the last change, 0 if there was none.
    pub async fn latest_change(&self) -> Result<i64, StoreError> {
        self.perform(Purpose::Read, |work| Box::pin(latest(work)))
            .await
    }
}

impl ChangeKind {
    const ALL: [Self; 3] = [Self::Tenant, Self::Key, Self::Integration];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Key => "key",
            Self::Integration => "integration",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Numbers a change.
pub(crate) async fn record(
    work: &mut Work,
    kind: ChangeKind,
    id: &str,
    tenant: Option<&TenantId>,
) -> Result<(), StoreError> {
    let insert = sql("INSERT INTO changes (kind, subject_id, tenant_id) VALUES ($1, $2, $3)")
        .bind(kind.as_str())
        .bind(id)
        .bind(tenant.map(ToString::to_string));
    work.execute(insert).await?;
    news::changed(work).await
}

async fn latest(work: &mut Work) -> Result<i64, StoreError> {
    let (seq,): (i64,) = work
        .fetch_one(sql("SELECT COALESCE(MAX(seq), 0) FROM changes"))
        .await?;
    Ok(seq)
}
