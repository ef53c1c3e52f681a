//! A further attempt of a call that was refused by its provider: in the books a call of its own, whose
//! id tells whose attempt it is.

use std::sync::Arc;

use tollgate_core::CallId;

use super::{CallFacts, Hold, Metering, NotAdmitted};
use crate::directory::Integration;

/// Which attempt of which call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptOf {
    /// The id of the call's first attempt that reached a provider.
    pub call_id: CallId,
    /// 2 for the second attempt that reaches one.
    pub number: u32,
}

impl AttemptOf {
    /// The id of the attempt: `id~2`. One of its own where that is too long for an id.
    #[must_use]
    pub fn id(&self) -> CallId {
        let Self { call_id, number } = self;
        let id = format!("{}~{number}", call_id.as_str()).parse();
        id.unwrap_or_else(|_too_long| CallId::generate())
    }

    /// What its row says besides: which attempt of which call it is.
    fn noted(&self) -> Box<str> {
        let Self { call_id, number } = self;
        let noted = serde_json::json!({ "attempt": number, "attempt_of": call_id.as_str() });
        noted.to_string().into_boxed_str()
    }
}

impl Metering {
    /// Decides on a further attempt of a call as on any other call: at the integration that it would
    /// use, with a hold and a row of its own.
    pub async fn admit_again(
        self: &Arc<Self>,
        integration: &Arc<Integration>,
        mut facts: CallFacts,
        attempt: &AttemptOf,
    ) -> Result<Hold, NotAdmitted> {
        self.must_be_heard_of()?;
        let id = attempt.id();
        // Only what comes of a caller's own id can be another call's: ours are nobody else's.
        let claim = match &facts.call_id {
            Some(_) => Some(self.claim(integration, &id).await?),
            None => None,
        };
        facts.call_id = Some(id);
        let noted = Some(attempt.noted());
        self.hold(integration, facts, claim, noted).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(call_id: &str) -> AttemptOf {
        AttemptOf {
            call_id: call_id.parse().unwrap(),
            number: 2,
        }
    }

    #[test]
    fn the_id_of_an_attempt_tells_whose_it_is() {
        assert_eq!(attempt("order-7").id().as_str(), "order-7~2");
        assert_eq!(
            &*attempt("a\"b").noted(),
            r#"{"attempt":2,"attempt_of":"a\"b"}"#
        );
        let longest = "x".repeat(98);
        assert_eq!(attempt(&longest).id().as_str().len(), 100);
    }

    #[test]
    fn an_id_without_room_for_the_number_gets_one_of_its_own() {
        let long = "x".repeat(99);
        let attempt = attempt(&long);
        assert_ne!(attempt.id(), attempt.id());
        assert!(attempt.noted().contains(&long));
    }
}
