//! News between nodes: what one has changed or lacks, pushed to the others at once. PostgreSQL only; who misses news polls.

use sqlx::postgres::PgListener;
use tollgate_core::IntegrationId;

use crate::OperatorStore;
use crate::engine::{Work, sql};
use crate::error::{StoreError, from_driver};

/// The channel that nodes listen on.
const CHANNEL: &str = "tollgate";

const CHANGED: &str = "changed";
const WANTED: &str = "wanted ";

/// What a node hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Something was changed: ask for the changes. Also heard where news may have been missed.
    Changed,
    /// A node lacks allowance of an integration: give back what can be spared.
    Wanted(IntegrationId),
}

/// Hears news; gone with its connection, which makes itself anew.
#[derive(Debug)]
pub struct Listener {
    connection: PgListener,
}

impl OperatorStore {
    /// Listens for news; nothing on SQLite, where there is one node.
    pub async fn listen(&self) -> Result<Option<Listener>, StoreError> {
        let Some(pool) = self.store.engine.news_pool() else {
            return Ok(None);
        };
        let mut connection = PgListener::connect_with(pool).await.map_err(from_driver)?;
        connection.listen(CHANNEL).await.map_err(from_driver)?;
        Ok(Some(Listener { connection }))
    }
}

impl Listener {
    /// Waits for the next news. Fails while the database cannot be reached; ask again.
    pub async fn next(&mut self) -> Result<News, StoreError> {
        loop {
            let heard = self.connection.try_recv().await.map_err(from_driver)?;
            // The connection was lost and made anew: what was said meanwhile was not heard.
            let Some(heard) = heard else {
                return Ok(News::Changed);
            };
            if let Some(news) = read(heard.payload()) {
                return Ok(news);
            }
        }
    }
}

/// Says with the transaction's commit that something was changed.
pub(crate) async fn changed(work: &mut Work) -> Result<(), StoreError> {
    say(work, CHANGED.to_owned()).await
}

/// Says with the transaction's commit that this node lacks allowance of an integration.
pub(crate) async fn wanted(work: &mut Work, integration: IntegrationId) -> Result<(), StoreError> {
    say(work, format!("{WANTED}{integration}")).await
}

async fn say(work: &mut Work, news: String) -> Result<(), StoreError> {
    if work.is_postgres() {
        let notify = sql("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(news);
        work.execute(notify).await?;
    }
    Ok(())
}

/// What a later version says and this one does not know is nothing to it.
fn read(payload: &str) -> Option<News> {
    if payload == CHANGED {
        return Some(News::Changed);
    }
    payload.strip_prefix(WANTED)?.parse().ok().map(News::Wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_no_news() {
        assert_eq!(read("changed"), Some(News::Changed));
        let id = IntegrationId::generate();
        assert_eq!(read(&format!("wanted {id}")), Some(News::Wanted(id)));
        assert_eq!(read("wanted everything"), None);
        assert_eq!(read("later"), None);
    }
}
