//! Whose calls are made: tenants that stay, and tenants whose limits are small enough to be used up again and again.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tollgate_tests::{Caller, Tenant, call};

use crate::load::{Kind, Target};
use crate::oracle::Promise;
use crate::run::Stage;

/// A new key has to be known on every node after so long.
const KNOWN: Duration = Duration::from_secs(30);

/// Between two tries.
const GLANCE: Duration = Duration::from_millis(20);

/// Output that `hard_cap` writes into calls which say nothing of it.
const OUTPUT: u64 = 20;

const CENT_NANOS: i64 = 10_000_000;

/// A token limit that is used up about as fast as a cent.
const TOKENS: i64 = 16_000;

impl Stage {
    /// The tenants that stay: one without limits, one that cancels what nobody reads, one with a rate.
    pub(crate) async fn make_lasting_targets(&mut self) {
        let open = self.tenant("open").await;
        for provider in ["openai", "anthropic"] {
            let integration = open.integration(provider, provider, &json!({})).await;
            self.promise(Promise {
                integration: integration.id,
                is_drained: true,
                ..Promise::default()
            });
        }
        self.lasting.push(target(&open, 10, Kind::All));
        let hasty = self.tenant("hasty").await;
        hasty
            .openai(&json!({"config": {"on_disconnect": "cancel"}}))
            .await;
        self.lasting.push(target(&hasty, 3, Kind::Chat));
        if self.options.rpm > 0 {
            let rated = self.tenant("rated").await;
            let limit = json!({"rate_limit_rpm": self.options.rpm});
            let integration = rated.openai(&limit).await;
            self.promise(Promise {
                integration: integration.id,
                rpm: Some(self.options.rpm),
                is_drained: true,
                ..Promise::default()
            });
            self.lasting.push(target(&rated, 4, Kind::Chat));
        }
    }

    /// A tenant with a small budget, a small token limit, or both, and `hard_cap`; clients call it from now on.
    pub(crate) async fn make_next_generation(&mut self) -> Result<(), String> {
        let (has_budget, has_tokens) =
            [(true, false), (false, true), (true, true)][self.generations % 3];
        let tenant = self.tenant(&format!("capped {}", self.generations)).await;
        self.generations += 1;
        let limit = |is_there: bool, limit: i64| if is_there { limit } else { 0 };
        let asked = json!({
            "budget_limit_cents": limit(has_budget, 1),
            "token_limit_month": limit(has_tokens, TOKENS),
            "config": {"hard_cap": true, "default_max_output_tokens": OUTPUT},
        });
        let integration = tenant.openai(&asked).await;
        self.promise(Promise {
            integration: integration.id,
            nanos: has_budget.then_some(CENT_NANOS),
            tokens: has_tokens.then_some(TOKENS),
            rpm: None,
            is_drained: true,
        });
        let mut targets = self.lasting.clone();
        targets.push(target(&tenant, 6, Kind::Unbounded));
        for target in &targets {
            self.is_known_everywhere(&target.key).await?;
        }
        self.load.aim_at(&targets);
        Ok(())
    }

    /// Waits until every node answers a call, which is what being ready is for.
    pub(crate) async fn every_node_serves(&self) -> Result<(), String> {
        let until = Instant::now() + KNOWN;
        for node in &self.fleet.nodes {
            let endpoint = node.endpoint().ok_or("a node does not run")?;
            let caller = Caller::new(&endpoint.url, &self.lasting[0].key);
            loop {
                let answer = caller.chat(&call()).await;
                if answer.status == 200 {
                    break;
                }
                if Instant::now() > until {
                    return Err(format!("a ready node refuses: {}", answer.text()));
                }
                tokio::time::sleep(GLANCE).await;
            }
        }
        Ok(())
    }

    async fn tenant(&self, name: &str) -> Tenant {
        Tenant::create(&self.operator(), name, ("", &self.simulator.url)).await
    }

    fn promise(&mut self, promise: Promise) {
        self.oracle.promises.push(promise);
    }

    /// Waits until every node serves a key.
    async fn is_known_everywhere(&self, key: &str) -> Result<(), String> {
        let until = Instant::now() + KNOWN;
        for node in &self.fleet.nodes {
            let endpoint = node.endpoint().ok_or("a node does not run")?;
            let caller = Caller::new(&endpoint.url, key);
            loop {
                let answer = caller.chat(&call()).await;
                if ![401, 403, 404].contains(&answer.status) {
                    break;
                }
                if Instant::now() > until {
                    return Err(format!("a new key is not known: {}", answer.text()));
                }
                tokio::time::sleep(GLANCE).await;
            }
        }
        Ok(())
    }
}

fn target(tenant: &Tenant, weight: usize, kind: Kind) -> Target {
    Target {
        key: tenant.caller.key.clone(),
        weight,
        kind,
    }
}
