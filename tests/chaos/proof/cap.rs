//! A month's limit under many clients on several nodes: it is never passed, and what is left in the end is less than
//! what one more call would hold. And while an allowance lasts, no call waits for the store: it stands still meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tollgate_tests::{Caller, nanos_of_usd};

use super::Seen;
use super::scene::{Patience, Scene};
use crate::Engine;
use crate::fleet::Shape;

/// Output of every call: `hard_cap` writes it into requests that name none.
const TOKENS_OUT: i64 = 100;

/// Input of every call.
const TOKENS_IN: i64 = 3;

/// What a call costs at 15 cents and 60 cents for a million tokens.
const CALL_NANOS: i64 = 60_450;

/// What a call may be answered.
const KNOWN: [&str; 4] = [
    "200",
    "402 budget_exceeded",
    "402 token_limit_exceeded",
    "429 budget_held",
];

const CENT_NANOS: i64 = 10_000_000;

/// Calls of each node while the store stands still, and how long they may take: a store that does not answer would
/// keep one of them for longer.
const CALLS_ALONE: usize = 100;
const CALLS_ALONE_TAKE: Duration = Duration::from_secs(30);

/// A change is in force on every node after so long, also where nothing is pushed.
const HEARD: Duration = Duration::from_secs(5);

/// Between two calls of a node meanwhile.
const GLANCE: Duration = Duration::from_millis(400);

/// Which limits are tried, and how.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Numbers of nodes
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 3, 5])]
    nodes: Vec<usize>,
    /// What is limited
    #[arg(long, value_name = "LIMIT,…", value_delimiter = ',', default_values = ["budget", "tokens"])]
    limit: Vec<Limit>,
    /// Clients that call at the same time
    #[arg(long, value_name = "N", default_value_t = 200)]
    clients: usize,
    /// Calls that are tried
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    tries: usize,
    /// Calls that about fit
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    fit: i64,
    /// Where the books are kept; an embedded store has one node
    #[arg(long, value_name = "ENGINE", default_value = "postgres")]
    engine: Engine,
}

/// A limit of a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Limit {
    /// Money
    Budget,
    /// Tokens
    Tokens,
}

/// Tries every limit on every number of nodes.
pub(crate) async fn run(options: &Options) -> Seen {
    let mut seen = Seen::default();
    seen.tell(format!(
        "{:>7} {:>5} {:>6} {:>8} {:>5} {:>12} {:>12} {:>10} {:>10} {:>8}",
        "limit", "nodes", "tries", "admitted", "late", "of", "settled", "left", "hold", "s"
    ));
    for &nodes in &options.nodes {
        if let Err(why) = play(options, nodes, &mut seen).await {
            seen.broken.push(format!("{nodes} nodes: {why}"));
        }
    }
    seen
}

async fn play(options: &Options, nodes: usize, seen: &mut Seen) -> Result<(), String> {
    let scene = Scene::set(options.engine, &Shape::plain(nodes)).await;
    if let Some(cluster) = scene.cluster.clone() {
        let unasked = calls_while_the_store_stands_still(&scene, || cluster.freeze()).await;
        cluster.thaw();
        seen.tell(format!(
            "{nodes:>13} nodes: {} calls while the store stood still",
            unasked?
        ));
    }
    limit_is_lowered(&scene, options, seen).await?;
    let mut limits = Vec::new();
    for &limit in &options.limit {
        limits.push(storm(&scene, options, limit, seen).await?);
    }
    let books = scene.end().await?;
    for (id, limit, settled) in limits {
        let rows = books.rows.iter().filter(|row| row.integration_id == id);
        let sum: i64 = rows
            .map(|row| match limit {
                Limit::Budget => row.cost_nanos,
                Limit::Tokens => row.tokens,
            })
            .sum();
        seen.note((sum != settled).then(|| {
            format!(
                "{limit:?} on {nodes} nodes: the rows add up to {sum}, the balance says {settled}"
            )
        }));
    }
    Ok(())
}

/// A call that says nothing of its output.
fn call() -> Value {
    json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "one two three"}]})
}

impl Limit {
    /// The member of an integration, its value, and the limit in nano-dollars or tokens.
    const fn of(self, fit: i64) -> (&'static str, i64, i64) {
        match self {
            Self::Budget => {
                let cents = (fit * CALL_NANOS + CENT_NANOS - 1) / CENT_NANOS;
                ("budget_limit_cents", cents, cents * CENT_NANOS)
            }
            Self::Tokens => {
                // Not a whole number of calls.
                let tokens = fit * (TOKENS_IN + TOKENS_OUT) + TOKENS_OUT / 2;
                ("token_limit_month", tokens, tokens)
            }
        }
    }

    /// What is settled of it.
    fn settled(self, limits: &Value) -> i64 {
        match self {
            Self::Budget => nanos_of_usd(limits["budget"]["used_usd"].as_str().unwrap()),
            Self::Tokens => limits["tokens"]["used"].as_i64().unwrap(),
        }
    }
}

/// Many clients try far more than fits. Gives the integration and what is settled of its limit.
async fn storm(
    scene: &Scene,
    options: &Options,
    limit: Limit,
    seen: &mut Seen,
) -> Result<(String, Limit, i64), String> {
    let (member, value, ceiling) = limit.of(options.fit);
    let tenant = scene
        .tenant(&format!("{limit:?}"), &scene.simulator.url)
        .await;
    let config = json!({"hard_cap": true, "default_max_output_tokens": TOKENS_OUT});
    let asked = json!({member: value, "config": config});
    let integration = tenant.openai(&asked).await;
    scene.is_served_everywhere(&tenant.caller.key).await?;
    let callers = scene.callers(&tenant.caller.key);
    let begun = Instant::now();
    let counts = try_all(&callers, options).await;
    let took = begun.elapsed().as_secs_f64();
    let nodes = callers.len();
    let place = format!("{limit:?} on {nodes} nodes");
    let (hold, late) = used_up(&callers, &place, seen).await?;
    scene.comes_to_rest().await?;
    let settled = limit.settled(&integration.limits().await);
    let left = ceiling - settled;
    let admitted = counts.get("200").copied().unwrap_or_default();
    seen.tell(format!(
        "{:>7} {nodes:>5} {:>6} {admitted:>8} {late:>5} {ceiling:>12} {settled:>12} {left:>10} {hold:>10} {took:>8.1}",
        format!("{limit:?}").to_lowercase(),
        options.tries,
    ));
    seen.note((left < 0).then(|| format!("{place}: passed by {}", -left)));
    seen.note((left >= hold).then(|| format!("{place}: {left} are left, and a call holds {hold}")));
    let strange = counts
        .iter()
        .filter(|(label, _)| !KNOWN.contains(&label.as_str()));
    for (label, times) in strange {
        let broken = format!("{place}: {times} calls were answered {label}");
        seen.note(Some(broken));
    }
    Ok((integration.id, limit, settled))
}

/// A limit is lowered to little more than what is used, while every node has drawn far more than that. As soon as it is
/// in force nothing beyond it is handed out.
async fn limit_is_lowered(scene: &Scene, options: &Options, seen: &mut Seen) -> Result<(), String> {
    let tenant = scene.tenant("lowered", &scene.simulator.url).await;
    let config = json!({"hard_cap": true, "default_max_output_tokens": TOKENS_OUT});
    let asked = json!({"token_limit_month": 1_000_000_000, "config": config});
    let integration = tenant.openai(&asked).await;
    scene.is_served_everywhere(&tenant.caller.key).await?;
    let callers = scene.callers(&tenant.caller.key);
    let (_, _, ceiling) = Limit::Tokens.of(options.fit / 5);
    integration
        .update(&json!({"token_limit_month": ceiling}))
        .await;
    // What is idle goes back by itself, which is not what is tried here: calls go on until all nodes must have heard.
    let heard = Instant::now() + HEARD;
    while Instant::now() < heard {
        for caller in &callers {
            caller.chat(&call()).await;
        }
        tokio::time::sleep(GLANCE).await;
    }
    try_all(&callers, options).await;
    let place = format!("a lowered limit on {} nodes", callers.len());
    let (hold, late) = used_up(&callers, &place, seen).await?;
    scene.comes_to_rest().await?;
    let settled = Limit::Tokens.settled(&integration.limits().await);
    let left = ceiling - settled;
    seen.tell(format!(
        "{:>7} {:>5} {:>6} {:>8} {late:>5} {ceiling:>12} {settled:>12} {left:>10} {hold:>10}",
        "lowered",
        callers.len(),
        options.tries,
        "-",
    ));
    seen.note((left < 0).then(|| format!("{place}: passed by {}", -left)));
    Ok(())
}

/// What one more call would hold, as every node says once it refuses for good; and how many calls it took until all
/// did. What a node has drawn and does not need may still be on its way to the others when the storm is over.
async fn used_up(callers: &[Caller], place: &str, seen: &mut Seen) -> Result<(i64, usize), String> {
    let patience = Patience::new();
    let (mut holds, mut late) = (Vec::new(), 0);
    for caller in callers {
        let refused = loop {
            let answer = caller.chat(&call()).await;
            match answer.status {
                200 => late += 1,
                429 => {
                    let why = || format!("{place}: what is left stays held: {}", answer.text());
                    patience.wait(why).await?;
                }
                _ => break answer,
            }
        };
        let is_right = refused.status == 402;
        seen.note((!is_right).then(|| format!("{place}: a node answers {}", refused.text())));
        let asked = &refused.tollgate()["asked"];
        holds.extend(asked.as_i64().or_else(|| asked.as_str().map(nanos_of_usd)));
    }
    Ok((holds.into_iter().min().unwrap_or_default(), late))
}

/// All clients at once, each at one node after the other: how many were answered what.
async fn try_all(callers: &[Caller], options: &Options) -> BTreeMap<String, usize> {
    let callers: Arc<[Caller]> = callers.into();
    let mut clients = JoinSet::new();
    for client in 0..options.clients {
        let callers = Arc::clone(&callers);
        let tries = options.tries / options.clients;
        clients.spawn(async move {
            let mut labels = Vec::new();
            for attempt in 0..tries {
                let answer = callers[(client + attempt) % callers.len()]
                    .chat(&call())
                    .await;
                labels.push(
                    format!("{} {}", answer.status, answer.code())
                        .trim()
                        .to_owned(),
                );
            }
            labels
        });
    }
    let mut counts = BTreeMap::new();
    for label in clients.join_all().await.into_iter().flatten() {
        *counts.entry(label).or_default() += 1;
    }
    counts
}

/// Every node has drawn; then the store stands still, and all of them go on. Tells how many calls that were.
async fn calls_while_the_store_stands_still(
    scene: &Scene,
    freeze: impl FnOnce(),
) -> Result<usize, String> {
    let tenant = scene.tenant("roomy", &scene.simulator.url).await;
    let limits = json!({"budget_limit_cents": 1_000_000, "token_limit_month": 1_000_000_000_i64});
    tenant.openai(&limits).await;
    scene.is_served_everywhere(&tenant.caller.key).await?;
    scene.comes_to_rest().await?;
    let callers = scene.callers(&tenant.caller.key);
    // What is idle for two seconds goes back: the calls come at once.
    for caller in &callers {
        caller.chat(&call()).await;
    }
    freeze();
    let calls = async {
        for _ in 0..CALLS_ALONE {
            for caller in &callers {
                let answer = caller.chat(&call()).await;
                if answer.status != 200 {
                    return Err(format!("the store stands still: {}", answer.text()));
                }
            }
        }
        Ok(CALLS_ALONE * callers.len())
    };
    let done = tokio::time::timeout(CALLS_ALONE_TAKE, calls).await;
    done.map_err(|_late| "calls wait for the store".to_owned())?
}
