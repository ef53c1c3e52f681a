//! The edges of days and months, on machines that stand wherever and whose clocks may be wrong: every call is booked in
//! the month and on the day, in UTC, that it was admitted in, and a month's limit begins anew when the month does.
//!
//! Provider and store live shortly before an edge to come, and so do the nodes, in time zones far from each other. On
//! a shared store one node's own clock is forty days ahead: it must not matter.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_tests::{CHAT, Caller, call, call_with};

use super::Seen;
use super::scene::{Patience, Row, Scene};
use crate::fleet::Shape;
use crate::{Engine, clock};

/// The first one is as early as any on Earth, the second as late; the third has a summer time.
const ZONES: [&str; 3] = ["Pacific/Kiritimati", "Etc/GMT+12", "Europe/Berlin"];

/// How wrong the clock of one node is on a shared store.
const WRONG: SignedDuration = SignedDuration::from_hours(40 * 24);

/// Everything is started so long before the edge, earlier where a busy machine was not ready in time.
const LEADS: [SignedDuration; 3] = [
    SignedDuration::from_secs(40),
    SignedDuration::from_secs(80),
    SignedDuration::from_secs(160),
];

/// Calls come so long before the edge and after it.
const AROUND: SignedDuration = SignedDuration::from_secs(6);

/// A stream of this many tokens, a second each, goes on over the edge.
const LONG: u64 = 8;

/// Tokens that the small integration may use in a month: some calls, each of which holds far more than it uses.
const ROOM: i64 = 400;

/// A call admitted so near to an edge may reach the provider on the other side of it.
const NEAR: SignedDuration = SignedDuration::from_secs(3);

const TOO_LATE: &str = "the edge came before everything was ready: this machine is too slow";

const GLANCE: Duration = Duration::from_millis(50);

/// Which edges are crossed.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Moments in UTC: by default the leap day's beginning and end, a year's end, a change to summer time, and the
    /// local midnights of the zones at the end of a month
    #[arg(long, value_name = "MOMENT,…", value_delimiter = ',', default_values = [
        "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z", "2028-01-01T00:00:00Z", "2028-03-26T01:00:00Z",
        "2028-02-29T10:00:00Z", "2028-03-01T12:00:00Z",
    ])]
    edge: Vec<Timestamp>,
    /// Where the books are kept
    #[arg(long, value_name = "ENGINE,…", value_delimiter = ',', default_values = ["postgres", "sqlite"])]
    engine: Vec<Engine>,
}

/// One edge, and how far the time that everything lives in is ahead.
#[derive(Debug, Clone, Copy)]
struct Edge {
    at: Timestamp,
    ahead: SignedDuration,
}

/// Crosses every edge on every engine.
pub(crate) async fn run(options: &Options) -> Seen {
    let mut seen = Seen::default();
    let Some(library) = clock::library() else {
        let why = "libfaketime is not installed (Debian: apt-get install libfaketime)";
        seen.tell(format!("SKIPPED: {why}"));
        return seen;
    };
    seen.tell(format!(
        "{:>22} {:>9} {:>20} {:>8} {:>8} {:>9}",
        "edge", "engine", "zones", "before", "after", "new month"
    ));
    for &at in &options.edge {
        for &engine in &options.engine {
            let zones: Vec<&[&str]> = match engine {
                Engine::Postgres => vec![&ZONES],
                Engine::Sqlite => ZONES[..2].chunks(1).collect(),
            };
            for zones in zones {
                match cross_in_time(at, engine, zones, &library).await {
                    Ok(line) => seen.tell(line),
                    Err(why) => {
                        let broken = format!("{at} on {engine:?} in {zones:?}: {why}");
                        seen.note(Some(broken));
                    }
                }
            }
        }
    }
    seen
}

impl Edge {
    fn to_come(at: Timestamp, lead: SignedDuration) -> Self {
        let ahead = at.duration_since(now()) - lead;
        Self { at, ahead }
    }

    /// The moment in the time that everything lives in.
    fn now(&self) -> Timestamp {
        now() + self.ahead
    }

    async fn wait_until(&self, from_edge: SignedDuration) {
        while self.now().duration_since(self.at) < from_edge {
            tokio::time::sleep(GLANCE).await;
        }
    }

    fn ends_a_month(&self) -> bool {
        month(self.at) != month(self.at - SignedDuration::from_secs(1))
    }
}

/// Crosses an edge with the shortest lead that is long enough here.
async fn cross_in_time(
    at: Timestamp,
    engine: Engine,
    zones: &[&str],
    library: &Path,
) -> Result<String, String> {
    let environment = |seconds| clock::ahead(library, seconds);
    let mut crossed = Err(TOO_LATE.to_owned());
    for lead in LEADS {
        crossed = cross(Edge::to_come(at, lead), engine, zones, environment).await;
        if crossed.as_ref().err().map(String::as_str) != Some(TOO_LATE) {
            break;
        }
    }
    crossed
}

async fn cross(
    edge: Edge,
    engine: Engine,
    zones: &[&str],
    environment: impl Fn(i64) -> Vec<(String, String)>,
) -> Result<String, String> {
    let scene = scene(edge, engine, zones, environment).await;
    let (roomy, small) = (
        scene.tenant("roomy", &scene.simulator.url).await,
        scene.tenant("small", &scene.simulator.url).await,
    );
    roomy
        .openai(&json!({"budget_limit_cents": 1_000_000}))
        .await;
    scene.is_served_everywhere(&roomy.caller.key).await?;
    let limits = json!({"token_limit_month": ROOM, "config": {"hard_cap": true}});
    let few = small.openai(&limits).await.id;
    scene.is_served_everywhere(&small.caller.key).await?;
    use_up(&scene.callers(&small.caller.key), edge).await?;
    if edge.now() > edge.at - AROUND {
        return Err(TOO_LATE.to_owned());
    }
    edge.wait_until(-AROUND).await;
    let mut calls = JoinSet::new();
    for caller in scene.callers(&roomy.caller.key) {
        calls.spawn(long_call(caller.clone()));
        calls.spawn(call_until(caller, edge));
    }
    for call in calls.join_all().await {
        call?;
    }
    used_up_until_the_month_ends(&scene.callers(&small.caller.key), edge).await?;
    let books = scene.end().await?;
    let (before, after) =
        every_call_is_in_its_own_month(&books.rows, &books.moments_by_call(), edge)?;
    sums_are_those_of_the_rows(&books.rows, &books.sums)?;
    let small = books.rows.iter().filter(|row| row.integration_id == few);
    let anew = small.filter(|row| !row.is_refused() && row.created_at >= edge.at.as_microsecond());
    Ok(format!(
        "{:>22} {:>9} {:>20} {before:>8} {after:>8} {:>9}",
        edge.at.to_string(),
        format!("{engine:?}").to_lowercase(),
        if zones.len() == 1 {
            zones[0]
        } else {
            "several, one wrong"
        },
        anew.count(),
    ))
}

/// Nodes in their zones, in the time of an edge to come; on a shared store the last one's clock is wrong.
async fn scene(
    edge: Edge,
    engine: Engine,
    zones: &[&str],
    environment: impl Fn(i64) -> Vec<(String, String)>,
) -> Scene {
    let of_node = |index: usize| {
        let is_wrong = engine == Engine::Postgres && index + 1 == zones.len();
        let wrong = if is_wrong { WRONG.as_secs() } else { 0 };
        let mut env = environment(edge.ahead.as_secs() + wrong);
        env.push(("TZ".to_owned(), zones[index].to_owned()));
        env
    };
    let shape = Shape {
        own_env: (0..zones.len()).map(of_node).collect(),
        ..Shape::plain(zones.len())
    };
    Scene::set_in(engine, &shape, &environment(edge.ahead.as_secs())).await
}

/// Calls until the month's limit is used up.
async fn use_up(callers: &[Caller], edge: Edge) -> Result<(), String> {
    for turn in 0_usize.. {
        let answer = callers[turn % callers.len()]
            .chat(&call_with("max_tokens", &json!(5)))
            .await;
        if answer.status == 402 {
            let resets: Timestamp = answer.tollgate()["resets_at"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
            let is_first_of_next = month(resets) != month(edge.now())
                && month(resets - SignedDuration::from_secs(1)) == month(edge.now());
            if is_first_of_next {
                return Ok(());
            }
            return Err(format!("at {} a limit resets at {resets}", edge.now()));
        }
        if edge.now() > edge.at - AROUND {
            return Err(TOO_LATE.to_owned());
        }
        tokio::time::sleep(GLANCE).await;
    }
    Ok(())
}

/// After the edge: a new month has room, on one node after the other as soon as those before have given back what they
/// do not need; the same month has none.
async fn used_up_until_the_month_ends(callers: &[Caller], edge: Edge) -> Result<(), String> {
    let patience = Patience::new();
    for caller in callers {
        loop {
            let answer = caller.chat(&call()).await;
            match (answer.status, edge.ends_a_month()) {
                (200, true) | (402, false) => break,
                (429, true) => {
                    let why = || format!("a new month has no room: {}", answer.text());
                    patience.wait(why).await?;
                }
                _ => {
                    let said = answer.text();
                    return Err(format!(
                        "after the edge, a limit that was used up says {said}"
                    ));
                }
            }
        }
    }
    Ok(())
}

/// A call that goes on over the edge.
async fn long_call(caller: Caller) -> Result<(), String> {
    let mut body = call_with("max_tokens", &json!(LONG));
    body["stream"] = json!(true);
    let (events, _end) = caller.open(CHAT, &body).await.rest().await;
    match events.last() {
        Some(last) if last.contains("[DONE]") => Ok(()),
        last => Err(format!("a stream over the edge ends with {last:?}")),
    }
}

async fn call_until(caller: Caller, edge: Edge) -> Result<(), String> {
    while edge.now() < edge.at + AROUND {
        let answer = caller.chat(&call()).await;
        if answer.status != 200 {
            return Err(format!("a call at the edge: {}", answer.text()));
        }
        tokio::time::sleep(GLANCE).await;
    }
    Ok(())
}

/// What the ledger says of the time of each call, beside what the provider says. Counts calls before the edge and after.
fn every_call_is_in_its_own_month(
    rows: &[Row],
    moments: &BTreeMap<String, Timestamp>,
    edge: Edge,
) -> Result<(usize, usize), String> {
    let (mut before, mut after) = (0, 0);
    for row in rows.iter().filter(|row| !row.is_refused()) {
        let booked = Timestamp::from_microsecond(row.created_at).unwrap();
        let asked = moments[&row.call_id];
        let is_near = asked.duration_since(edge.at).abs() < NEAR;
        if (asked.duration_since(booked).abs() > NEAR) || (!is_near && day(asked) != day(booked)) {
            return Err(format!(
                "the provider was asked at {asked}, and the call is booked at {booked}"
            ));
        }
        if booked < edge.at {
            before += 1;
        } else {
            after += 1;
        }
    }
    if before == 0 || after == 0 {
        return Err(format!(
            "{before} calls before the edge and {after} after it prove nothing"
        ));
    }
    Ok((before, after))
}

/// Balances and roll-ups, worked out here from the moments of the rows.
fn sums_are_those_of_the_rows(rows: &[Row], sums: &[Value]) -> Result<(), String> {
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for row in rows {
        let at = Timestamp::from_microsecond(row.created_at).unwrap();
        for span in [month(at), day(at)] {
            *expected.entry(span).or_default() += row.cost_nanos;
        }
    }
    let mut kept: BTreeMap<String, i64> = BTreeMap::new();
    for sum in sums {
        let span = sum["span"].as_str().unwrap().to_owned();
        *kept.entry(span).or_default() += sum["nanos"].as_i64().unwrap();
    }
    // A month that was drawn for and not used has a balance of nothing.
    kept.retain(|span, nanos| *nanos != 0 || expected.contains_key(span));
    if kept == expected {
        return Ok(());
    }
    Err(format!(
        "the rows add up to {expected:?}, and kept is {kept:?}"
    ))
}

/// The month of a moment in UTC, as its text begins.
fn month(at: Timestamp) -> String {
    at.strftime("%Y-%m").to_string()
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time that everything lives in is as far ahead of the machine's all along"
)]
fn now() -> Timestamp {
    Timestamp::now()
}
