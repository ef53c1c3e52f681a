//! Waiting for conditions: every wait has an end, and says what it waited for.

use std::time::Duration;

/// How long a condition may take: far more than it needs, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Between two looks at a condition.
pub(crate) const GLANCE: Duration = Duration::from_millis(5);

/// Looks again and again until there is something; fails the test when [`PATIENCE`] ends.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(GLANCE).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, looking).await;
    waited.unwrap_or_else(|_| panic!("waited {} s in vain: {what}", PATIENCE.as_secs()))
}
