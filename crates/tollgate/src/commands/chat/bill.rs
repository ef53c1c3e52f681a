//! What an answer cost, what was decided of its call and what remains: from its head, its usage, and
//! the row that the ledger has of it.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::reading::Heard;
use crate::client::{Called, Client, encoded};
use crate::output;

/// How long the ledger is asked for the row of a call that has ended.
const PATIENCE: Duration = Duration::from_secs(3);

/// The time from one look to the next.
const LOOK: Duration = Duration::from_millis(50);

/// What is known of a call that was answered.
#[derive(Debug)]
pub(super) struct Bill {
    call_id: String,
    members: Map<String, Value>,
}

impl Bill {
    /// What the answer itself tells. A streamed one has no cost in its head.
    pub(super) fn of(
        called: &Called,
        heard: &Heard,
        (latency_ms, first_ms): (u128, Option<u128>),
    ) -> Self {
        let header = |name| Some(called.header(name)).filter(|text| !text.is_empty());
        let number = |millis: u128| u64::try_from(millis).unwrap_or(u64::MAX);
        let attempts = header("x-tollgate-attempts").and_then(|text| text.parse::<u64>().ok());
        let members = json!({
            "model": heard.model,
            "integration_id": header("x-tollgate-integration"),
            "call_id": header("x-tollgate-call-id"),
            "request_id": header("x-request-id"),
            "attempts": attempts,
            "verdict": header("x-tollgate-verdict"),
            "finish_reason": heard.finish,
            "tokens_in": heard.tokens_in,
            "tokens_out": heard.tokens_out,
            "cost_usd": header("x-tollgate-cost-usd"),
            "remaining": null,
            "first_words_ms": first_ms.map(number),
            "latency_ms": number(latency_ms),
        });
        Self {
            call_id: called.header("x-tollgate-call-id").to_owned(),
            members: members.as_object().cloned().unwrap_or_default(),
        }
    }

    /// Takes over what the books say of the call, if they can be asked: its cost, and what remains
    /// of the limits of the integration that it went through.
    pub(super) async fn look_up(&mut self, control: &Client) {
        let looked = tokio::time::timeout(PATIENCE, self.ask(control)).await;
        let is_known = matches!(looked, Ok(Some(())));
        let has_cost = self.members.get("cost_usd").is_some_and(Value::is_string);
        if !is_known && !has_cost {
            output::say(format_args!(
                "what it cost is not known here: the control plane at {} does not tell; see \
                 `tollgate usage history`",
                control.authority()
            ));
        }
    }

    async fn ask(&mut self, control: &Client) -> Option<()> {
        let path = "/api/v1/telemetry/usage-history?call_id=";
        let path = format!("{path}{}", encoded(&self.call_id));
        let row = loop {
            let found = control.get(&path).await.ok()?.json;
            match found.pointer("/data/0") {
                Some(row) => break row.clone(),
                None => tokio::time::sleep(LOOK).await,
            }
        };
        for name in ["integration_id", "tokens_in", "tokens_out", "cost_usd"] {
            if let Some(value) = row.get(name).filter(|value| !value.is_null()) {
                self.members.insert(name.to_owned(), value.clone());
            }
        }
        let integration = row.get("integration_id")?.as_str()?;
        let path = format!("/api/v1/integrations/{}/limits", encoded(integration));
        let limits = control.get(&path).await.ok()?.json;
        let remaining = json!({
            "budget_usd": limits.pointer("/budget/remaining_usd"),
            "tokens": limits.pointer("/tokens/remaining"),
            "requests_this_minute": requests_left(&limits),
        });
        self.members.insert("remaining".to_owned(), remaining);
        Some(())
    }

    /// All of it with the answer, as one object.
    pub(super) fn with_answer(&self, answer: &str) -> Value {
        let mut all = Map::from_iter([("answer".to_owned(), Value::from(answer))]);
        all.extend(self.members.clone());
        Value::Object(all)
    }

    /// All that is known, for people.
    pub(super) fn card(&self) -> String {
        let mut known = self.members.clone();
        if let Some(remaining) = known.get_mut("remaining").and_then(Value::as_object_mut) {
            remaining.retain(|_, value| !value.is_null());
        }
        let is_empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
        known.retain(|_, value| !value.is_null() && !is_empty(value));
        output::card(&Value::Object(known))
    }
}

/// The requests that are left of this minute's, where they are limited.
fn requests_left(limits: &Value) -> Option<i64> {
    let number = |place| limits.pointer(place).and_then(Value::as_i64);
    let limit = number("/rate/limit_rpm").filter(|limit| *limit > 0)?;
    Some(limit.saturating_sub(number("/rate/current_rpm")?).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bill(members: &Value) -> Bill {
        Bill {
            call_id: "c".to_owned(),
            members: members.as_object().unwrap().clone(),
        }
    }

    #[test]
    fn people_are_shown_what_is_known_and_programs_everything() {
        let bill = bill(&json!({
            "model": "m", "attempts": null, "cost_usd": "0.000003450",
            "remaining": {"budget_usd": "49.9", "tokens": null},
        }));
        insta::assert_snapshot!(bill.card(), @r"
        cost_usd              0.000003450
        model                 m
        remaining.budget_usd  49.9
        ");
        let all = bill.with_answer("hello");
        assert_eq!(
            (&all["answer"], &all["attempts"]),
            (&json!("hello"), &Value::Null)
        );
    }

    #[test]
    fn requests_that_are_not_limited_do_not_remain() {
        let left = |limit, current| {
            requests_left(&json!({"rate": {"limit_rpm": limit, "current_rpm": current}}))
        };
        assert_eq!(
            (left(0, 3), left(60, 3), left(2, 3)),
            (None, Some(57), Some(0))
        );
    }
}
