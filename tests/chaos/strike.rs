//! The faults themselves: each is done, lasts, and is undone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::fleet::{Node, READY_BEFORE_NEXT};
use crate::run::{Rolling, Stage};
use crate::schedule::Blow;
use crate::wire::Wire;

/// After so long nobody waits for another commit to swallow.
const COMMITS: Duration = Duration::from_secs(5);

/// Between two cuts, and between two looks at a disk that must stay full.
const AGAIN: Duration = Duration::from_millis(50);

/// A node has read its clock anew after so long.
const CLOCK_IS_READ: Duration = Duration::from_millis(1_500);

impl Stage {
    /// Does one fault, if there is one, and undoes it; an error when a node does not stand it.
    pub(crate) async fn strike(&self, blow: Option<&Blow>) -> Result<(), String> {
        let Some(blow) = blow else { return Ok(()) };
        match blow {
            Blow::Kill {
                nodes,
                again_after_ms,
            } => return self.fleet.kill(nodes, *again_after_ms).await,
            Blow::Freeze { node, ms } => {
                self.tally().count("freezes");
                return self.node(*node).freeze(Duration::from_millis(*ms)).await;
            }
            Blow::Rolling { nodes } => return self.roll(nodes).await,
            Blow::Vanish { ms } => self.load.vanish(Duration::from_millis(*ms)).await,
            Blow::Disk { node, ms } => self.fill_disk(*node, Duration::from_millis(*ms)).await,
            Blow::Clock { node, seconds, ms } => {
                self.set_clock_back(*node, *seconds, Duration::from_millis(*ms))
                    .await;
            }
            Blow::Outage { mode, ms } => self.stop_store(mode, Duration::from_millis(*ms)).await,
            Blow::Commit { node, replies } => swallow(self.wire(*node), *replies).await,
            Blow::Cut { node, times } => {
                for _ in 0..*times {
                    self.wire(*node).cut();
                    tokio::time::sleep(AGAIN).await;
                }
            }
            Blow::Hole { node, ms } => {
                self.tally().count("holes");
                self.wire(*node).hold();
                tokio::time::sleep(Duration::from_millis(*ms)).await;
                self.wire(*node).release();
            }
            Blow::Slow { node, delay_ms, ms } => {
                self.tally().count("slow stores");
                self.wire(*node).delay(*delay_ms);
                tokio::time::sleep(Duration::from_millis(*ms)).await;
                self.wire(*node).delay(0);
            }
        }
        Ok(())
    }

    fn node(&self, index: usize) -> &Node {
        &self.fleet.nodes[index]
    }

    fn wire(&self, index: usize) -> &Wire {
        self.node(index).wire.as_ref().unwrap()
    }

    /// Restarts nodes one by one, and remembers when.
    async fn roll(&self, nodes: &[usize]) -> Result<(), String> {
        let (from, wall) = (Instant::now(), wall_micros());
        self.fleet.restart_in_turn(nodes).await?;
        // What began in the last moment may still be under way when the next fault comes.
        let last = i64::try_from(READY_BEFORE_NEXT.as_micros()).unwrap();
        let span = (wall, wall_micros() - last);
        let to = Instant::now();
        self.rolling
            .lock()
            .unwrap()
            .push(Rolling { from, to, span });
        self.tally().count("rolling restarts");
        Ok(())
    }

    async fn fill_disk(&self, node: usize, pause: Duration) {
        let Some(disk) = &self.node(node).disk else {
            return;
        };
        let until = Instant::now() + pause;
        while Instant::now() < until {
            disk.fill();
            tokio::time::sleep(AGAIN).await;
        }
        disk.free();
        self.tally().count("full disks");
    }

    async fn set_clock_back(&self, node: usize, seconds: u64, pause: Duration) {
        let Some(clock) = &self.node(node).clock else {
            return;
        };
        clock.set_back(seconds);
        tokio::time::sleep(pause).await;
        clock.set_back(0);
        // It is read once a second.
        tokio::time::sleep(CLOCK_IS_READ).await;
        self.tally().count("clocks set back");
    }

    async fn stop_store(&self, mode: &'static str, pause: Duration) {
        let cluster = self.cluster.as_ref().unwrap();
        let (halted, resumed) = (Arc::clone(cluster), Arc::clone(cluster));
        let halt = tokio::task::spawn_blocking(move || halted.halt(mode));
        halt.await.unwrap();
        tokio::time::sleep(pause).await;
        let resume = tokio::task::spawn_blocking(move || resumed.resume());
        resume.await.unwrap();
        self.tally().count("outages of the store");
        let seconds = pause.as_secs();
        self.tally().most("longest outage of the store, s", seconds);
    }
}

async fn swallow(wire: &Wire, replies: u32) {
    wire.swallow(replies);
    let until = Instant::now() + COMMITS;
    while wire.still_to_swallow() > 0 && Instant::now() < until {
        tokio::time::sleep(AGAIN).await;
    }
    wire.swallow(0);
}

/// The wall clock, in microseconds since 1970, as rows have it.
#[expect(
    clippy::disallowed_methods,
    reason = "rows say by the wall clock when their calls were admitted"
)]
fn wall_micros() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
