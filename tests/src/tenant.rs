//! A tenant and its integrations, as a test makes and watches them.

use serde_json::{Value, json};

use crate::books::nanos_of_usd;
use crate::canary::CANARY;
use crate::client::Caller;
use crate::control::Control;
use crate::wait::until;

/// A tenant with a key for its calls.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its id.
    pub id: String,
    /// The operator, acting on it.
    pub control: Control,
    /// A client with a key of the role caller.
    pub caller: Caller,
    /// The id of that key.
    pub key_id: String,
    provider_url: String,
}

/// A tenant's integration.
#[derive(Debug, Clone)]
pub struct Integration {
    /// Its id.
    pub id: String,
    /// The operator, acting on its tenant.
    pub control: Control,
}

impl Tenant {
    /// A new tenant with a caller's key, for calls through one gateway to one provider.
    pub async fn create(operator: &Control, name: &str, urls: (&str, &str)) -> Self {
        let made = operator.post("/tenants", &json!({"name": name})).await;
        let id = made["id"].as_str().unwrap().to_owned();
        let control = operator.of_tenant(&id);
        let key = control
            .post("/keys", &json!({"name": "application", "role": "caller"}))
            .await;
        Self {
            id,
            control,
            caller: Caller::new(urls.0, key["key"].as_str().unwrap()),
            key_id: key["id"].as_str().unwrap().to_owned(),
            provider_url: urls.1.to_owned(),
        }
    }

    /// An enabled integration with the canary credential; `more` has its limits and settings.
    pub async fn integration(&self, provider_type: &str, name: &str, more: &Value) -> Integration {
        let integration = self.created(provider_type, name, more).await;
        integration
            .control
            .act(&format!("/integrations/{}/enable", integration.id))
            .await;
        integration
    }

    /// The same, not enabled.
    pub async fn created(&self, provider_type: &str, name: &str, more: &Value) -> Integration {
        let path = if provider_type == "anthropic" {
            ""
        } else {
            "/v1"
        };
        let mut body = json!({
            "name": name,
            "provider_type": provider_type,
            "credential": {"api_key": CANARY},
            "config": {"base_url": format!("{}{path}", self.provider_url)},
        });
        for (member, value) in more.as_object().into_iter().flatten() {
            match (member.as_str(), value.as_object()) {
                ("config", Some(config)) => {
                    body["config"]
                        .as_object_mut()
                        .unwrap()
                        .extend(config.clone());
                }
                (member, _) => body[member] = value.clone(),
            }
        }
        let made = self.control.post("/integrations", &body).await;
        let id = made["id"].as_str().unwrap().to_owned();
        Integration {
            id,
            control: self.control.clone(),
        }
    }

    /// An enabled OpenAI integration.
    pub async fn openai(&self, more: &Value) -> Integration {
        self.integration("openai", "openai", more).await
    }

    /// An enabled Anthropic integration.
    pub async fn anthropic(&self, more: &Value) -> Integration {
        self.integration("anthropic", "anthropic", more).await
    }

    /// The rows of its calls, newest first.
    pub async fn history(&self) -> Vec<Value> {
        self.control.list("/telemetry/usage-history").await
    }

    /// The row of one call, as soon as it is there.
    pub async fn row(&self, call_id: &str) -> Value {
        assert!(!call_id.is_empty(), "an answer without a call id");
        until(&format!("the row of the call {call_id}"), async || {
            let rows = self.history().await;
            rows.into_iter().find(|row| row["call_id"] == call_id)
        })
        .await
    }
}

impl Integration {
    /// Its record.
    pub async fn record(&self) -> Value {
        self.control
            .get(&format!("/integrations/{}", self.id))
            .await
    }

    /// Its limits, and what of them is used and held.
    pub async fn limits(&self) -> Value {
        self.control
            .get(&format!("/integrations/{}/limits", self.id))
            .await
    }

    /// What its month has cost, in nano-dollars.
    pub async fn used_nanos(&self) -> i64 {
        nanos_of_usd(self.limits().await["budget"]["used_usd"].as_str().unwrap())
    }

    /// Waits until none of its calls holds anything.
    pub async fn holds_are_gone(&self) {
        until(
            &format!("no hold of the integration {}", self.id),
            async || {
                let limits = self.limits().await;
                let budget = limits["budget"]["held_usd"]
                    .as_str()
                    .map_or(0, nanos_of_usd);
                (budget == 0 && limits["tokens"]["held"].as_i64().unwrap_or_default() == 0)
                    .then_some(())
            },
        )
        .await;
    }

    /// Changes it.
    pub async fn update(&self, patch: &Value) -> Value {
        self.control
            .patch(&format!("/integrations/{}", self.id), patch)
            .await
    }

    /// Enables or disables it.
    pub async fn act(&self, verb: &str) -> Value {
        self.control
            .act(&format!("/integrations/{}/{verb}", self.id))
            .await
    }
}
