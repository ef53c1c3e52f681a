//! `Server-Timing`: how long an answer took, our time apart from the provider's, so that a caller
//! who finds a call slow sees whom to ask.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::ink::Ink;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Follows a call, and tells its time here from its time at the provider.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    came: Instant,
    left: Option<Instant>,
    /// Nothing before the call has left for the first time.
    away: Option<Duration>,
}

impl Timing {
    /// The call is here.
    pub(crate) fn start() -> Self {
        Self::since(Instant::now())
    }

    const fn since(came: Instant) -> Self {
        Self {
            came,
            left: None,
            away: None,
        }
    }

    /// The call leaves for a provider; what comes now is the provider's time. A provider that was
    /// not heard before had all the time until now.
    pub(crate) fn leaves(&mut self) {
        self.leaves_at(Instant::now());
    }

    fn leaves_at(&mut self, now: Instant) {
        self.heard(now);
        self.left = Some(now);
    }

    /// The last that was awaited of the provider came at this moment; what comes now is ours.
    pub(crate) fn heard(&mut self, at: Instant) {
        if let Some(left) = self.left.take() {
            let before = self.away.unwrap_or_default();
            self.away = Some(before.saturating_add(at.saturating_duration_since(left)));
        }
    }

    /// Puts what is known now on an answer.
    pub(crate) fn put_on(mut self, headers: &mut HeaderMap, ink: &mut Ink) {
        if let Some(value) = self.told(Instant::now(), ink) {
            headers.insert(SERVER_TIMING, value);
        }
    }

    fn told(&mut self, now: Instant, ink: &mut Ink) -> Option<HeaderValue> {
        // A provider that was never heard had all the time since the call left.
        self.heard(now);
        let here = now.saturating_duration_since(self.came);
        let here = here.saturating_sub(self.away.unwrap_or_default());
        let ink = millis(ink.text("tollgate;dur="), here);
        match self.away {
            Some(away) => millis(ink.text(", provider;dur="), away),
            None => ink,
        }
        .value()
    }
}

/// Milliseconds with their thousandths.
fn millis(ink: &mut Ink, time: Duration) -> &mut Ink {
    ink.decimal(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(timing: &mut Timing, now: Instant) -> String {
        let value = timing.told(now, &mut Ink::new()).expect("it is a value");
        value.to_str().expect("it is text").to_owned()
    }

    #[test]
    fn the_time_of_several_attempts_is_the_providers_and_the_rest_is_ours() {
        let came = Instant::now();
        let at = |micros| came + Duration::from_micros(micros);
        let mut timing = Timing::since(came);
        timing.left = Some(at(40));
        timing.heard(at(5_040));
        timing.left = Some(at(5_100));
        timing.heard(at(812_345));
        assert_eq!(
            told(&mut timing, at(812_400)),
            "tollgate;dur=0.155, provider;dur=812.245"
        );
    }

    #[test]
    fn a_call_that_never_left_has_no_time_at_a_provider() {
        let came = Instant::now();
        let mut timing = Timing::since(came);
        let now = came + Duration::from_micros(7);
        assert_eq!(told(&mut timing, now), "tollgate;dur=0.007");
    }

    #[test]
    fn a_provider_that_was_never_heard_had_the_time_since_the_call_left() {
        let came = Instant::now();
        let mut timing = Timing::since(came);
        timing.left = Some(came + Duration::from_millis(1));
        let now = came + Duration::from_secs(61);
        assert_eq!(
            told(&mut timing, now),
            "tollgate;dur=1.000, provider;dur=60999.000"
        );
    }

    #[test]
    fn a_provider_that_was_not_heard_had_the_time_until_another_was_tried() {
        let came = Instant::now();
        let at = |millis| came + Duration::from_millis(millis);
        let mut timing = Timing::since(came);
        timing.leaves_at(at(1));
        timing.leaves_at(at(301));
        timing.heard(at(501));
        assert_eq!(
            told(&mut timing, at(502)),
            "tollgate;dur=2.000, provider;dur=500.000"
        );
    }

    #[test]
    fn the_longest_times_are_told() {
        let came = Instant::now();
        let mut timing = Timing::since(came);
        timing.away = Some(Duration::MAX);
        assert!(timing.told(came, &mut Ink::new()).is_some());
    }
}
