//! How soon a change is in force on every node: while it is pushed, while pushes are lost on their way, and while the
//! connections that bring them break again and again.
//!
//! Time runs from the moment that the change is asked for, and ends when the last node answers as it should.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tollgate_tests::{Answer, Caller, Cluster, Integration, Recorder, Tenant, answer_of, call};

use super::Seen;
use super::scene::{Patience, Scene};
use crate::Engine;
use crate::fleet::{Shape, Wiring};

/// Each node is asked so often.
const GLANCE: Duration = Duration::from_millis(10);

/// Longer than any change may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Between two cuts of the connections that bring news.
const CUT_EVERY: Duration = Duration::from_millis(200);

/// A price at which every call costs more than a cent, in nano-dollars for a million tokens.
const DEAR: i64 = 10_000_000_000_000;

/// How it is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// How news gets to nodes
    #[arg(long, value_name = "HOW,…", value_delimiter = ',', default_values = ["heard", "lost", "broken"])]
    push: Vec<Push>,
    /// Nodes
    #[arg(long, value_name = "N", default_value_t = 5)]
    nodes: usize,
    /// How often every change is made
    #[arg(long, value_name = "N", default_value_t = 10)]
    rounds: usize,
    /// Milliseconds after which a change that is pushed must be in force
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pushed_ms: u64,
    /// Milliseconds after which a change that is not must be
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    polled_ms: u64,
}

/// How news gets to nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Push {
    /// As it should
    Heard,
    /// Not at all, and no connection breaks
    Lost,
    /// By connections that break all the time
    Broken,
}

/// What a node must answer.
type Is = fn(&Answer) -> bool;

/// The longest that each change took.
type Longest = BTreeMap<&'static str, Duration>;

/// Measures every change under every kind of push.
pub(crate) async fn run(options: &Options) -> Seen {
    let mut seen = Seen::default();
    seen.tell(format!(
        "{:>8} {:>24} {:>10} {:>8}",
        "push", "change", "longest ms", "bound ms"
    ));
    for &push in &options.push {
        match play(options, push).await {
            Ok(longest) => {
                let bound = Duration::from_millis(match push {
                    Push::Heard => options.pushed_ms,
                    Push::Lost | Push::Broken => options.polled_ms,
                });
                for (change, took) in longest {
                    let push = format!("{push:?}").to_lowercase();
                    let (ms, most) = (took.as_millis(), bound.as_millis());
                    seen.tell(format!("{push:>8} {change:>24} {ms:>10} {most:>8}"));
                    seen.note((took > bound).then(|| {
                        format!(
                            "news is {push}: {change} took {ms} ms on {} nodes",
                            options.nodes
                        )
                    }));
                }
            }
            Err(why) => seen.broken.push(format!("{push:?}: {why}")),
        }
    }
    seen
}

async fn play(options: &Options, push: Push) -> Result<Longest, String> {
    let shape = Shape {
        wires: Wiring::Own,
        ..Shape::plain(options.nodes)
    };
    let scene = Scene::set(Engine::Postgres, &shape).await;
    let recorder = Recorder::start(answer_of("200 OK", &[], ANSWER)).await;
    let mut troubles = JoinSet::new();
    let mut longest = Longest::new();
    for round in 0..options.rounds {
        let mut trial = Trial::new(&scene, round, &mut longest).await?;
        match push {
            Push::Lost => scene
                .fleet
                .nodes
                .iter()
                .for_each(|node| node.wire.as_ref().unwrap().mute()),
            Push::Broken if round == 0 => {
                let cluster = scene.cluster.clone().unwrap();
                troubles.spawn(break_listeners(cluster));
            }
            Push::Heard | Push::Broken => {}
        }
        trial.limits().await?;
        trial.switches().await?;
        trial.keys().await?;
        trial.credential(&recorder).await?;
    }
    drop(troubles);
    Ok(longest)
}

/// A whole answer of a provider, with usage.
const ANSWER: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}"#;

/// Breaks the connections that nodes listen on, again and again.
async fn break_listeners(cluster: Arc<Cluster>) {
    loop {
        let cluster = Arc::clone(&cluster);
        let cut = tokio::task::spawn_blocking(move || {
            cluster.change(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'LISTEN%'",
            )
        });
        cut.await.unwrap().unwrap();
        tokio::time::sleep(CUT_EVERY).await;
    }
}

/// One tenant, and the changes that are made to it.
struct Trial<'s> {
    scene: &'s Scene,
    tenant: Tenant,
    integration: Integration,
    longest: &'s mut Longest,
}

fn is_served(answer: &Answer) -> bool {
    answer.status == 200
}

fn is_used_up(answer: &Answer) -> bool {
    answer.status == 402
}

fn is_throttled(answer: &Answer) -> bool {
    answer.status == 429 && answer.code() == "rate_limit_exceeded"
}

fn is_forbidden(answer: &Answer) -> bool {
    [401, 403].contains(&answer.status)
}

impl<'s> Trial<'s> {
    async fn new(scene: &'s Scene, round: usize, longest: &'s mut Longest) -> Result<Self, String> {
        let tenant = scene
            .tenant(&format!("round {round}"), &scene.simulator.url)
            .await;
        let control = scene.operator_at(round).of_tenant(&tenant.id);
        let prices = json!({"gpt-4o-mini": {"input": DEAR, "output": DEAR}});
        let made = tenant.openai(&json!({"config": {"prices": prices}})).await;
        let mut tenant = tenant;
        tenant.control = control;
        let integration = Integration {
            id: made.id,
            control: tenant.control.clone(),
        };
        scene.is_served_everywhere(&tenant.caller.key).await?;
        Ok(Self {
            scene,
            tenant,
            integration,
            longest,
        })
    }

    async fn limits(&mut self) -> Result<(), String> {
        self.scene.comes_to_rest().await?;
        let changes: [(&'static str, Value, Is); 6] = [
            (
                "budget lowered",
                json!({"budget_limit_cents": 1}),
                is_used_up,
            ),
            (
                "budget raised",
                json!({"budget_limit_cents": 100_000_000}),
                is_served,
            ),
            (
                "tokens lowered",
                json!({"token_limit_month": 1}),
                is_used_up,
            ),
            (
                "tokens raised",
                json!({"token_limit_month": 100_000_000}),
                is_served,
            ),
            ("rate lowered", json!({"rate_limit_rpm": 1}), is_throttled),
            ("rate raised", json!({"rate_limit_rpm": 0}), is_served),
        ];
        for (name, patch, is) in changes {
            let path = format!("/integrations/{}", self.integration.id);
            self.change((name, is), (Method::PATCH, &path, Some(&patch)))
                .await?;
        }
        Ok(())
    }

    async fn switches(&mut self) -> Result<(), String> {
        let integration = format!("/integrations/{}", self.integration.id);
        let tenant = format!("/tenants/{}", self.tenant.id);
        let (suspended, active) = (json!({"status": "suspended"}), json!({"status": "active"}));
        let verb = |verb: &str| format!("{integration}/{verb}");
        let path = verb("disable");
        self.change(
            ("integration disabled", is_forbidden),
            (Method::POST, &path, None),
        )
        .await?;
        let path = verb("enable");
        self.change(
            ("integration enabled", is_served),
            (Method::POST, &path, None),
        )
        .await?;
        let suspend = (Method::PATCH, &*tenant, Some(&suspended));
        self.change(("tenant suspended", is_forbidden), suspend)
            .await?;
        let resume = (Method::PATCH, &*tenant, Some(&active));
        self.change(("tenant resumed", is_served), resume).await
    }

    async fn keys(&mut self) -> Result<(), String> {
        let asked = Instant::now();
        let body = json!({"name": "another", "role": "caller"});
        let made = self.tenant.control.post("/keys", &body).await;
        let callers = self.scene.callers(made["key"].as_str().unwrap());
        let took = in_force(&callers, asked, is_served).await?;
        self.note("key made", took);
        let id = made["id"].as_str().unwrap();
        let asked = Instant::now();
        self.tenant.control.delete(&format!("/keys/{id}")).await;
        let took = in_force(&callers, asked, is_forbidden).await?;
        self.note("key revoked", took);
        Ok(())
    }

    /// From the answer on, no node may send the credential that was there before: by what a provider sees.
    async fn credential(&mut self, recorder: &Recorder) -> Result<(), String> {
        let path = format!("/integrations/{}/credential", self.integration.id);
        let round = self.tenant.id.clone();
        let (old, new) = (format!("sk-old-{round}"), format!("sk-new-{round}"));
        let moved = json!({"config": {"base_url": format!("{}/v1", recorder.url)}, "credential": {"api_key": old}});
        self.integration.update(&moved).await;
        let callers = self.scene.callers(&self.tenant.caller.key);
        let sees = async |secret: &str, node: usize| {
            let mark = format!("{round} at {node}");
            let body = json!({"model": "gpt-4o-mini", "max_tokens": 5, "messages": [{"role": "user", "content": mark}]});
            callers[node].chat(&body).await;
            let requests = recorder.requests();
            let last = requests
                .iter()
                .rev()
                .find(|request| request.contains(&mark));
            last.is_some_and(|request| request.contains(secret))
        };
        for node in 0..callers.len() {
            let patience = Patience::new();
            while !sees(&old, node).await {
                let why = || "a moved integration is not followed".to_owned();
                patience.wait(why).await?;
            }
        }
        let asked = Instant::now();
        let body = json!({"credential": {"api_key": new}});
        let replaced = self
            .tenant
            .control
            .send(Method::POST, &path, Some(&body))
            .await;
        if replaced.status >= 300 {
            return Err(format!("a credential is not replaced: {}", replaced.text()));
        }
        for node in 0..callers.len() {
            let patience = Patience::new();
            while !sees(&new, node).await {
                let why = || "a replaced credential is not used".to_owned();
                patience.wait(why).await?;
            }
        }
        self.note("credential replaced", asked.elapsed());
        Ok(())
    }

    /// Makes a change, and waits until every node answers as it then must; none does before.
    async fn change(
        &mut self,
        (name, is): (&'static str, Is),
        (method, path, body): (Method, &str, Option<&Value>),
    ) -> Result<(), String> {
        let callers = self.scene.callers(&self.tenant.caller.key);
        for caller in &callers {
            let before = caller.chat(&call()).await;
            if is(&before) {
                return Err(format!(
                    "{name}: it is so before it was asked for: {}",
                    before.text()
                ));
            }
        }
        let asked = Instant::now();
        let changed = self.tenant.control.send(method, path, body).await;
        if changed.status >= 300 {
            return Err(format!("{name}: {} {}", changed.status, changed.text()));
        }
        let took = in_force(&callers, asked, is)
            .await
            .map_err(|why| format!("{name}: {why}"))?;
        self.note(name, took);
        Ok(())
    }

    fn note(&mut self, name: &'static str, took: Duration) {
        let longest = self.longest.entry(name).or_default();
        *longest = took.max(*longest);
    }
}

/// Asks every node until it answers so; tells how long the last one took.
async fn in_force(callers: &[Caller], asked: Instant, is: Is) -> Result<Duration, String> {
    let mut nodes = JoinSet::new();
    for caller in callers {
        let caller = caller.clone();
        nodes.spawn(async move {
            loop {
                let answer = caller.chat(&call()).await;
                if is(&answer) {
                    return Ok(asked.elapsed());
                }
                if asked.elapsed() > PATIENCE {
                    return Err(format!("not in force after a minute: {}", answer.text()));
                }
                tokio::time::sleep(GLANCE).await;
            }
        });
    }
    let took: Result<Vec<Duration>, String> = nodes.join_all().await.into_iter().collect();
    Ok(took?.into_iter().max().unwrap_or_default())
}
