//! A provider that answers probes as a test says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;
use tollgate_core::clock::ManualClock;
use tollgate_providers::Outbound;

use crate::health::{Carrier, Carrying, NoAnswer};

/// What one probe gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scripted {
    /// An answer of this status after so many milliseconds.
    Answer(u16, i64),
    /// No answer.
    Nothing(NoAnswer),
}

/// A way to a provider that exists only on paper.
#[derive(Debug)]
pub struct ScriptedCarrier {
    clock: Arc<ManualClock>,
    script: Mutex<Script>,
}

#[derive(Debug)]
struct Script {
    next: VecDeque<Scripted>,
    then: Scripted,
    keys: Vec<String>,
}

impl ScriptedCarrier {
    pub(crate) fn new(clock: Arc<ManualClock>) -> Self {
        Self {
            clock,
            script: Mutex::new(Script {
                next: VecDeque::new(),
                then: Scripted::Answer(200, 5),
                keys: Vec::new(),
            }),
        }
    }

    /// Has the next probes get these, and all after them the last of these.
    pub fn script(&self, answers: impl IntoIterator<Item = Scripted>) {
        let mut script = self.script.lock();
        script.next = answers.into_iter().collect();
        if let Some(last) = script.next.back() {
            script.then = *last;
        }
    }

    /// How many probes were sent.
    #[must_use]
    pub fn probes(&self) -> usize {
        self.script.lock().keys.len()
    }

    /// The authorization that the last probe bore.
    #[must_use]
    pub fn last_authorization(&self) -> String {
        self.script.lock().keys.last().cloned().unwrap_or_default()
    }
}

impl Carrier for ScriptedCarrier {
    fn carry(&self, outbound: Outbound, _patience: Duration) -> Carrying<'_> {
        let bearer = outbound.headers.get(AUTHORIZATION);
        let bearer = bearer.and_then(|value| value.to_str().ok());
        let mut script = self.script.lock();
        script.keys.push(bearer.unwrap_or_default().to_owned());
        let now = script.next.pop_front().unwrap_or(script.then);
        drop(script);
        Box::pin(async move {
            match now {
                Scripted::Answer(status, millis) => {
                    self.clock.advance_ms(millis);
                    let answer = Response::builder().status(status).body(());
                    let answer = answer.map_err(|_no_status| NoAnswer::Unreachable)?;
                    Ok(answer.into_parts().0)
                }
                Scripted::Nothing(reason) => Err(reason),
            }
        })
    }
}
