//! What reads cost at the size that the ledger has: those that people wait for, and those that admission waits for.

use std::time::Instant;

use jiff::Timestamp;
use jiff::civil::Date;
use tollgate_core::account::Draw;
use tollgate_core::limit::Limits;
use tollgate_core::page::PageAsk;
use tollgate_core::{IntegrationId, Moment, Nanos, Period, TenantId};
use tollgate_store::{DrawAsk, Store, UsageFilter};

use super::calls::Scene;
use super::now;

const READS: [&str; 6] = [
    "summary of a day",
    "summary of an integration's day",
    "newest 50 calls",
    "calls of the last minute",
    "draw",
    "give back",
];

/// One read after the other, on behalf of one integration.
struct Reader<'s> {
    store: &'s Store,
    tenant: &'s TenantId,
    integration: IntegrationId,
    last: Timestamp,
    day: Date,
}

/// Measures each read so many times and prints its median and its slowest tenth, in milliseconds.
pub async fn measure(store: &Store, scene: &Scene, times: usize) {
    let status = store.operator().ledger_status().await.unwrap();
    let last = status.last.unwrap();
    let mut figures = [const { Vec::new() }; READS.len()];
    for (tenant, integration) in scene.integrations().iter().cycle().take(times) {
        let reader = Reader {
            store,
            tenant,
            integration: *integration,
            last,
            day: tollgate_core::period::day_of(last),
        };
        for (which, figures) in figures.iter_mut().enumerate() {
            let began = now();
            reader.read(which).await;
            figures.push(millis(began));
        }
    }
    for (name, mut figures) in READS.into_iter().zip(figures) {
        figures.sort_by(f64::total_cmp);
        println!(
            "{{\"read\":\"{name}\",\"times\":{times},\"median_ms\":{:.3},\"p90_ms\":{:.3}}}",
            figures[figures.len() / 2],
            figures[figures.len() * 9 / 10],
        );
    }
}

impl Reader<'_> {
    /// The read of that place in [`READS`].
    async fn read(&self, which: usize) {
        let own = self.store.tenant(self.tenant);
        let operator = self.store.operator();
        let need = Draw {
            period: Period::of(self.last),
            budget: 1_000,
            tokens: 0,
        };
        let page = PageAsk {
            rows: 50,
            after: None,
        };
        let days = (self.day, self.day);
        match which {
            0 => drop(own.usage_summary(days.0, days.1, None).await.unwrap()),
            1 => {
                let one = Some(self.integration);
                drop(own.usage_summary(days.0, days.1, one).await.unwrap());
            }
            2 => drop(
                own.usage_history(page, UsageFilter::default())
                    .await
                    .unwrap(),
            ),
            3 => {
                let now = Moment {
                    wall: self.last,
                    steady_micros: 0,
                };
                drop(operator.kept_minute(self.integration, now).await.unwrap());
            }
            4 => self.draw(need).await,
            _ => {
                operator.give_back(self.integration, &need).await.unwrap();
            }
        }
    }

    /// What admission waits for when a node has too little left.
    async fn draw(&self, need: Draw) {
        let limits = Limits {
            budget: Some(Nanos::new(i64::MAX)),
            ..Limits::default()
        };
        let ask = DrawAsk {
            integration: self.integration,
            tenant: self.tenant.clone(),
            need,
            limits,
            share: u32::MAX,
        };
        self.store.operator().draw(&ask).await.unwrap();
    }
}

fn millis(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1_000.0
}
