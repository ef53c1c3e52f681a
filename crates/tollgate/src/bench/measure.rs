//! The measurements: at a fixed rate, with streams, and as fast as it goes; each in rounds that take turns.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;

use super::load::{self, Load, Pace, Shape, Target};
use super::sample::Figures;
use super::stand::Stand;
use crate::output::Failure;

/// Before anything is measured each target is called for this long.
const WARM_UP: Duration = Duration::from_millis(500);

/// The simulated provider's pause between two events, where streams are measured.
const INTERVAL_MS: u64 = 10;

/// A call at a fixed rate may take so much longer than the provider before there are too few connections.
const AMPLE_MS: u64 = 100;

/// More connections than this are not made unless asked for.
const CONNECTIONS_MAX: u32 = 2_000;

/// What is to be measured.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) rounds: u32,
    pub(super) time: Duration,
    pub(super) connections: u32,
    pub(super) rate: NonZeroU32,
    pub(super) latency_ms: u64,
    pub(super) sizes: Sizes,
}

/// How large calls and answers are.
#[derive(Debug, Clone)]
pub(super) struct Sizes {
    pub(super) model: String,
    pub(super) prompt_bytes: u32,
    pub(super) output_tokens: u32,
}

/// What came out.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    /// At the fixed rate, with a provider that takes its time.
    pub(super) paced: Pair,
    /// Streams, a pause between their events.
    pub(super) streams: Pair,
    /// As fast as answers come, from a provider that answers at once.
    pub(super) saturated: Pair,
    /// The gateway's resident memory; not known everywhere.
    pub(super) memory_mib: Memory,
    /// Rows in the ledger at the end, verified against balances and roll-ups.
    pub(super) ledger_rows: u64,
}

/// Both targets of a measurement, a row of figures a round.
#[derive(Debug, Default, Serialize)]
pub(super) struct Pair {
    pub(super) direct: Vec<Figures>,
    pub(super) tollgate: Vec<Round>,
}

/// One round through the gateway.
#[derive(Debug, Serialize)]
pub(super) struct Round {
    #[serde(flatten)]
    pub(super) figures: Figures,
    /// Time of the gateway on a core for each call; not known everywhere.
    pub(super) cpu_us_a_call: Option<f64>,
}

/// The gateway's memory before and after all calls.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    pub(super) idle: Option<f64>,
    pub(super) after: Option<f64>,
}

/// One kind of measurement.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    shape: Shape,
    pace: Pace,
    latency_ms: u64,
    interval_ms: u64,
}

impl Sizes {
    /// The body of a call whose answer comes in this shape.
    pub(super) fn body(&self, shape: Shape) -> Bytes {
        let length = usize::try_from(self.prompt_bytes).unwrap_or(usize::MAX);
        let prompt: String = "word ".chars().cycle().take(length).collect();
        let body = json!({
            "model": self.model,
            "max_tokens": self.output_tokens,
            "stream": shape == Shape::Stream,
            "messages": [{"role": "user", "content": prompt}],
        });
        body.to_string().into()
    }
}

impl Bench {
    /// Measures everything on a stand of its own.
    pub(super) async fn run(&self, progress: &ProgressBar) -> Result<Measured, Failure> {
        progress.set_length(u64::from(self.rounds).saturating_mul(6));
        let stand = Stand::set().await?;
        let measured = self.run_on(&stand, progress).await;
        stand.strike().await?;
        measured
    }

    async fn run_on(&self, stand: &Stand, progress: &ProgressBar) -> Result<Measured, Failure> {
        let idle = stand.resident_mib();
        let kinds = [
            Kind {
                name: "at a fixed rate",
                shape: Shape::Whole,
                pace: Pace::Fixed(self.rate),
                latency_ms: self.latency_ms,
                interval_ms: 0,
            },
            Kind {
                name: "streams",
                shape: Shape::Stream,
                pace: Pace::AsAnswered,
                latency_ms: 0,
                interval_ms: INTERVAL_MS,
            },
            Kind {
                name: "as fast as it goes",
                shape: Shape::Whole,
                pace: Pace::AsAnswered,
                latency_ms: 0,
                interval_ms: 0,
            },
        ];
        let mut pairs = Vec::new();
        let mut calls = 0;
        for kind in kinds {
            progress.set_message(kind.name);
            let pair = self.pair(stand, kind, &mut calls, progress).await?;
            pairs.push(pair);
        }
        let mut pairs = pairs.into_iter();
        let mut next = || pairs.next().unwrap_or_default();
        let (paced, streams, saturated) = (next(), next(), next());
        Ok(Measured {
            paced,
            streams,
            saturated,
            memory_mib: Memory {
                idle,
                after: stand.resident_mib(),
            },
            ledger_rows: stand.verified_rows(calls).await?,
        })
    }

    /// Rounds that take turns; `calls` counts those that the gateway answered.
    async fn pair(
        &self,
        stand: &Stand,
        kind: Kind,
        calls: &mut u64,
        progress: &ProgressBar,
    ) -> Result<Pair, Failure> {
        stand.provider_takes(kind.latency_ms, kind.interval_ms)?;
        let (direct, gateway) = (stand.direct()?, stand.gateway()?);
        let mut pair = Pair::default();
        for target in [&direct, &gateway] {
            let warm = load::run(self.load(target, kind, WARM_UP)).await?.figures();
            if target.address() == gateway.address() {
                *calls += warm.calls;
            }
        }
        for _ in 0..self.rounds {
            let heard = load::run(self.load(&direct, kind, self.time)).await?;
            pair.direct.push(heard.figures());
            progress.inc(1);
            let before = stand.cpu_time();
            let heard = load::run(self.load(&gateway, kind, self.time)).await?;
            let spent = stand
                .cpu_time()
                .zip(before)
                .map(|(now, before)| now.saturating_sub(before));
            let figures = heard.figures();
            *calls += figures.calls;
            let cpu_us_a_call = spent.map(|spent| a_call(spent, figures.calls));
            pair.tollgate.push(Round {
                figures,
                cpu_us_a_call,
            });
            progress.inc(1);
        }
        Ok(pair)
    }

    /// At a fixed rate no call has to wait for a connection, so that none measures that.
    fn connections_for(&self, kind: Kind) -> u32 {
        let Pace::Fixed(rate) = kind.pace else {
            return self.connections;
        };
        let millis = kind.latency_ms.saturating_add(AMPLE_MS);
        let at_once = u64::from(rate.get()).saturating_mul(millis) / 1_000;
        let at_once = u32::try_from(at_once).unwrap_or(u32::MAX);
        self.connections.max(at_once.min(CONNECTIONS_MAX))
    }

    fn load(&self, target: &Target, kind: Kind, time: Duration) -> Load {
        Load {
            target: target.clone(),
            body: self.sizes.body(kind.shape),
            connections: self.connections_for(kind),
            pace: kind.pace,
            time,
        }
    }
}

impl Measured {
    /// Calls that failed, direct or through the gateway.
    pub(super) fn failed(&self) -> u64 {
        let pairs = [&self.paced, &self.streams, &self.saturated];
        let of = |pair: &Pair| {
            let direct = pair.direct.iter();
            let gateway = pair.tollgate.iter().map(|round| &round.figures);
            direct
                .chain(gateway)
                .map(|figures| figures.failed)
                .sum::<u64>()
        };
        pairs.into_iter().map(of).sum()
    }
}

/// Microseconds a call.
fn a_call(spent: Duration, calls: u64) -> f64 {
    let calls = u32::try_from(calls).map_or(f64::INFINITY, f64::from);
    spent.as_secs_f64() * 1_000_000.0 / calls.max(1.0)
}
