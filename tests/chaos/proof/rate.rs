//! Requests per minute, on one node and on several, below the limit, at it and beyond: by the provider's own journal.
//!
//! Calls come evenly, whatever becomes of those before them, to one node after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tollgate_tests::{CHAT, Caller, Integration, call};

use super::Seen;
use super::scene::Scene;
use crate::Engine;
use crate::fleet::Shape;

const MINUTE_MICROS: i64 = 60_000_000;

/// Minutes that slide are looked at so often.
const SLIDE_MICROS: i64 = 100_000;

/// Limits from which on a cell has the machine for itself.
const LARGE_RPM: u32 = 6_000;

/// No call waits longer. Where many would, the machine is too small for what comes.
const LATE: Duration = Duration::from_secs(30);

const TICK: Duration = Duration::from_millis(5);

/// Which limits are tried, and how.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Limits, in calls a minute
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [10, 600, 60_000])]
    rpm: Vec<u32>,
    /// Numbers of nodes
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 3, 5])]
    nodes: Vec<usize>,
    /// Calls that come, as multiples of the limit
    #[arg(long, value_name = "X,…", value_delimiter = ',', default_values_t = [0.9, 1.0, 2.0])]
    load: Vec<f64>,
    /// Minutes that calls come
    #[arg(long, value_name = "N", default_value_t = 3.0)]
    minutes: f64,
    /// Where the books are kept; an embedded store has one node
    #[arg(long, value_name = "ENGINE", default_value = "postgres")]
    engine: Engine,
}

/// One limit under one load.
#[derive(Debug, Clone, Copy)]
struct Cell {
    rpm: u32,
    load: f64,
}

/// What a cell's clients were answered.
#[derive(Debug, Default)]
struct Answers {
    /// How many, by status and code.
    counts: BTreeMap<String, usize>,
    waited: Vec<Duration>,
}

/// A cell whose calls have come.
struct Played {
    cell: Cell,
    integration: Integration,
    answers: Answers,
    /// When the first call was sent, and when the last one.
    span: (i64, i64),
}

/// Tries every cell of the matrix.
pub(crate) async fn run(options: &Options) -> Seen {
    let mut seen = Seen::default();
    seen.tell(format!(
        "{:>7} {:>5} {:>5} {:>8} {:>8} {:>8} {:>10} {:>8} {:>8} {:>8} {:>8}",
        "rpm",
        "nodes",
        "load",
        "came",
        "passed",
        "fullest",
        "closest ms",
        "minute %",
        "sliding %",
        "mean %",
        "p99 ms"
    ));
    let cells = options.rpm.iter().flat_map(|&rpm| {
        let loads = options.load.iter();
        loads.map(move |&load| Cell { rpm, load })
    });
    let (large, small): (Vec<Cell>, Vec<Cell>) = cells.partition(|cell| cell.rpm >= LARGE_RPM);
    let mut groups = JoinSet::new();
    for &nodes in &options.nodes {
        groups.spawn(play(options.clone(), nodes, small.clone()));
    }
    for group in groups.join_all().await {
        seen.add(group);
    }
    for &nodes in &options.nodes {
        for &cell in &large {
            seen.add(play(options.clone(), nodes, vec![cell]).await);
        }
    }
    seen
}

/// Plays cells at the same time on nodes of their own.
async fn play(options: Options, nodes: usize, cells: Vec<Cell>) -> Seen {
    let mut seen = Seen::default();
    if cells.is_empty() {
        return seen;
    }
    let scene = Scene::set(options.engine, &Shape::plain(nodes)).await;
    let mut playing = JoinSet::new();
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    for cell in cells {
        let tenant = scene
            .tenant(&format!("{cell:?}"), &scene.simulator.url)
            .await;
        let integration = tenant.openai(&json!({})).await;
        let served = scene.is_served_everywhere(&tenant.caller.key).await;
        seen.note(served.err());
        // The calls that found that out do not count: there was no limit yet.
        integration
            .update(&json!({"rate_limit_rpm": cell.rpm}))
            .await;
        let callers = scene.callers(&tenant.caller.key);
        playing.spawn(call_evenly(cell, integration, callers, length));
    }
    let played = playing.join_all().await;
    match scene.end().await {
        Ok(books) => {
            let moments = books.moments();
            for played in played {
                let moments = moments.get(&played.integration.id);
                played.judge(nodes, moments.map_or(&[][..], Vec::as_slice), &mut seen);
            }
        }
        Err(why) => seen.broken.push(why),
    }
    seen
}

async fn call_evenly(
    cell: Cell,
    integration: Integration,
    callers: Vec<Caller>,
    length: Duration,
) -> Played {
    let gap = Duration::from_secs_f64(60.0 / (f64::from(cell.rpm) * cell.load));
    let mut calls = JoinSet::new();
    let mut answers = Answers::default();
    // Every node has heard of the limit before the first call.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let (begun, from) = (Instant::now(), wall_micros());
    let mut clock = tokio::time::interval(TICK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut sent, mut due) = (0, Duration::ZERO);
    while due < length {
        clock.tick().await;
        while due <= begun.elapsed() && due < length {
            let caller = callers[sent % callers.len()].clone();
            calls.spawn(one_call(caller));
            sent += 1;
            due += gap;
        }
        while let Some(answer) = calls.try_join_next() {
            answers.take(answer.unwrap());
        }
    }
    let span = (from, wall_micros());
    while let Some(answer) = calls.join_next().await {
        answers.take(answer.unwrap());
    }
    Played {
        cell,
        integration,
        answers,
        span,
    }
}

async fn one_call(caller: Caller) -> (String, Duration) {
    let begun = Instant::now();
    let exchange = async {
        let answer = caller.attempt(CHAT, &[], call().to_string()).await;
        match answer {
            Ok(answer) => Ok(answer),
            // A connection that was not used for a while ends just when it is used again; SDKs try once more.
            Err(_broken) => caller.attempt(CHAT, &[], call().to_string()).await,
        }
    };
    let label = match tokio::time::timeout(LATE, exchange).await {
        Ok(Ok(answer)) => format!("{} {}", answer.status, answer.code()),
        Ok(Err(broken)) => broken.0,
        Err(_late) => {
            "by nothing within 30 seconds: this machine does not hold the load".to_owned()
        }
    };
    (label.trim().to_owned(), begun.elapsed())
}

impl Answers {
    fn take(&mut self, (label, waited): (String, Duration)) {
        *self.counts.entry(label).or_default() += 1;
        self.waited.push(waited);
    }

    fn p99(&mut self) -> Duration {
        self.waited.sort_unstable();
        let at = self.waited.len() * 99 / 100;
        self.waited.get(at).copied().unwrap_or_default()
    }
}

impl Played {
    fn judge(mut self, nodes: usize, moments: &[i64], seen: &mut Seen) {
        let Cell { rpm, load } = self.cell;
        let rpm = usize::try_from(rpm).unwrap();
        let inside: Vec<i64> = moments
            .iter()
            .copied()
            .filter(|at| *at >= self.span.0)
            .collect();
        let fullest = fullest(&inside);
        let came: usize = self.answers.counts.values().sum();
        let closest = inside
            .windows(rpm + 1)
            .map(|calls| calls[rpm] - calls[0])
            .min();
        let expected = f64::from(self.cell.rpm) * load.min(1.0);
        // Minute by minute from the first call on; and, to look at, wherever a minute begins.
        let sliding = least(&inside, self.span, SLIDE_MICROS);
        let least = least(&inside, self.span, MINUTE_MICROS);
        let minutes = self.span.1 - self.span.0;
        let mean = share(
            inside.len(),
            expected * micros(minutes) / micros(MINUTE_MICROS),
        );
        let percent = |least: Option<usize>| least.map_or(100.0, |least| share(least, expected));
        let (least_percent, sliding_percent) = (percent(least), percent(sliding));
        seen.tell(format!(
            "{rpm:>7} {nodes:>5} {load:>5} {came:>8} {:>8} {fullest:>8} {:>10} {least_percent:>8.1} {sliding_percent:>8.1} {mean:>8.1} {:>8}",
            inside.len(),
            closest.map_or_else(|| "-".to_owned(), |gap| ((gap - MINUTE_MICROS) / 1_000).to_string()),
            self.answers.p99().as_millis(),
        ));
        let cell = format!("{rpm} a minute on {nodes} nodes at {load}");
        seen.note((fullest > rpm).then(|| format!("{cell}: {fullest} calls within 60 seconds")));
        // One call of ten is ten percent: what is asked for is rounded down to whole calls.
        let needed = whole(expected * 0.95);
        seen.note(
            least.filter(|least| *least < needed).map(|least| {
                format!("{cell}: a minute with {least} calls, {needed} are the least")
            }),
        );
        let strange = self
            .answers
            .counts
            .iter()
            .filter(|(label, _)| !["200", "429 rate_limit_exceeded"].contains(&label.as_str()));
        for (label, times) in strange {
            seen.broken
                .push(format!("{cell}: {times} calls were answered {label}"));
        }
    }
}

/// The most calls in any 60 seconds.
fn fullest(moments: &[i64]) -> usize {
    let (mut first, mut most) = (0, 0);
    for (at, moment) in moments.iter().enumerate() {
        while moment - moments[first] >= MINUTE_MICROS {
            first += 1;
        }
        most = most.max(at + 1 - first);
    }
    most
}

/// The fewest calls in a minute that lies within the span, of those that begin so far from each other; none where the
/// span is shorter.
fn least(moments: &[i64], (from, to): (i64, i64), slide: i64) -> Option<usize> {
    let mut least = None;
    let mut start = from;
    while start + MINUTE_MICROS <= to {
        let before = |edge: i64| moments.partition_point(|at| *at < edge);
        let calls = before(start + MINUTE_MICROS) - before(start);
        least = Some(least.map_or(calls, |least: usize| least.min(calls)));
        start += slide;
    }
    least
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn share(calls: usize, of: f64) -> f64 {
    calls as f64 * 100.0 / of
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
const fn micros(micros: i64) -> f64 {
    micros as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a small positive number, rounded down"
)]
const fn whole(calls: f64) -> usize {
    calls as usize
}

/// The wall clock, in microseconds since 1970, as the provider's journal has it.
#[expect(
    clippy::disallowed_methods,
    reason = "the provider says by the wall clock when it was asked"
)]
fn wall_micros() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_counted_wherever_it_begins() {
        let moments = [0, 50_000_000, 60_000_000, 109_000_000];
        assert_eq!(fullest(&moments), 3);
        assert_eq!(fullest(&[0, MINUTE_MICROS]), 1);
        assert_eq!(fullest(&[0, MINUTE_MICROS - 1]), 2);
    }

    #[test]
    fn the_emptiest_minute_of_a_span_is_found() {
        let moments = [0, 10_000_000, 20_000_000, 65_000_000];
        assert_eq!(least(&moments, (0, 60_000_000), 1_000_000), Some(3));
        assert_eq!(least(&moments, (0, 90_000_000), 1_000_000), Some(1));
        assert_eq!(least(&moments, (0, 90_000_000), MINUTE_MICROS), Some(3));
        assert_eq!(least(&moments, (0, 59_000_000), 1_000_000), None);
    }
}
