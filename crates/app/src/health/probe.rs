//! One probe: a free request with an integration's credential, and what its answer says.

use std::time::Duration;

use tollgate_core::health::{Cause, Finding};
use tollgate_providers::ProbeCall;
use tollgate_vault::Secret;

use crate::app::App;
use crate::directory::Snapshot;

/// What was heard of an integration's provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) finding: Finding,
    /// Milliseconds until the answer came; none where there was none.
    pub(crate) latency_ms: Option<i64>,
    /// What happened, for people.
    pub(crate) what: String,
}

impl Heard {
    pub(crate) fn silently(finding: Finding, what: impl Into<String>) -> Self {
        Self {
            finding,
            latency_ms: None,
            what: what.into(),
        }
    }

    /// What calls of a few seconds say together.
    pub(crate) fn of_traffic(finding: Finding) -> Self {
        let what = match finding {
            Finding::RateLimited => "the provider answers calls with 429",
            Finding::Refused => "the provider refuses the credential (401)",
            Finding::Good | Finding::Slow | Finding::NoModels => "the provider answers calls",
            Finding::Unreachable | Finding::Unusable => {
                "the provider does not answer calls, or with errors of its own"
            }
        };
        Self::silently(finding, what)
    }

    /// What is kept of it with a cause: the code, then the words.
    pub(crate) fn message(&self, cause: Cause) -> String {
        let code = cause.as_str();
        if cause == Cause::ProviderRecovering {
            return format!("{code}: the provider answers again, once so far");
        }
        format!("{code}: {}", self.what)
    }
}

impl App {
    /// Asks an integration's provider with its own credential.
    pub(crate) async fn probe(&self, snapshot: &Snapshot) -> Heard {
        match self.open_credential(snapshot) {
            Ok(credential) => self.probe_with(snapshot, credential.as_ref()).await,
            Err(error) => {
                tracing::warn!(integration = %snapshot.id, %error, "a credential cannot be opened");
                Heard::silently(Finding::Unusable, "the credential cannot be opened")
            }
        }
    }

    /// Asks an integration's provider with a credential.
    pub(crate) async fn probe_with(
        &self,
        snapshot: &Snapshot,
        credential: Option<&Secret>,
    ) -> Heard {
        let unusable = |what: String| Heard::silently(Finding::Unusable, what);
        let Some(provider) = snapshot.provider() else {
            return unusable("this version does not speak to such providers".to_owned());
        };
        let endpoint = match &snapshot.endpoint {
            Ok(Some(endpoint)) => endpoint,
            Ok(None) => return unusable("it has no address".to_owned()),
            Err(error) => return unusable(format!("its address may not be asked: {error}")),
        };
        let begun = self.now();
        let call = ProbeCall {
            endpoint,
            config: &snapshot.config,
            credential,
            now: begun,
        };
        let outbound = match provider.probe(&call) {
            Ok(outbound) => outbound,
            Err(error) => return unusable(error.to_string()),
        };
        let patience = Duration::from_secs(self.probing.patience_seconds);
        let answer = self.carrier.carry(outbound, patience).await;
        let latency_ms = self.now().millis_since(begun);
        let head = match answer {
            Ok(head) => head,
            Err(error) => return Heard::silently(Finding::Unreachable, error.to_string()),
        };
        let finding = provider.judge_probe(head.status, &head.headers, latency_ms);
        let code = head.status.as_u16();
        let what = match finding {
            Finding::Slow => format!("the provider answered after {latency_ms} ms"),
            Finding::NoModels => format!("the provider has no list of models ({code})"),
            Finding::Refused => format!("the provider refuses the credential ({code})"),
            Finding::Good | Finding::RateLimited | Finding::Unreachable | Finding::Unusable => {
                format!("the provider answered with {code}")
            }
        };
        Heard {
            finding,
            latency_ms: Some(latency_ms),
            what,
        }
    }
}
