//! Whose time it is: where several nodes share a store, its clock is every node's.
//!
//! Nodes must agree on the month that a call belongs to, on what is old, and on who is alive. A
//! machine whose clock is wrong would spend another month's budget, or take living nodes for lost.

use jiff::{SignedDuration, Timestamp};
use tollgate_core::Clock;
use tollgate_core::gate::Sharing;
use tollgate_store::{Store, StoreError};

/// A machine's clock may differ so much from the store's before somebody is told.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(2);

/// Has the clock show the time of a shared store for the first time. Tells whether it is shared.
pub(crate) async fn begin(store: &Store, clock: &dyn Clock) -> Result<Sharing, StoreError> {
    let sharing = match store.engine_name() {
        "sqlite" => Sharing::Alone,
        _ => Sharing::Shared,
    };
    let machine = clock.now().wall;
    follow(store, clock, sharing).await?;
    tell_of_a_wrong_clock(machine, clock.now().wall);
    Ok(sharing)
}

/// Has the clock show the time of a shared store again: machines run fast or slow.
pub(crate) async fn follow(
    store: &Store,
    clock: &dyn Clock,
    sharing: Sharing,
) -> Result<(), StoreError> {
    if sharing == Sharing::Shared {
        let asked = clock.now();
        let shown = store.operator().clock().await?;
        clock.follow(shown, asked, clock.now());
    }
    Ok(())
}

fn tell_of_a_wrong_clock(machine: Timestamp, store: Timestamp) {
    let ahead = machine.duration_since(store);
    if ahead.abs() > TOLERANCE {
        tracing::warn!(
            ahead_seconds = ahead.as_secs(),
            "this machine's clock differs from the store's: the store's is gone by"
        );
    }
}
