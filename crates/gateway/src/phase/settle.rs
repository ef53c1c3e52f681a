//! Phase seven: the hold becomes what the call really used. Never fails the caller.

use tollgate_app::metering::{Ending, Settled};
use tollgate_core::TokenUsage;
use tollgate_core::price::fees::Tariff;
use tollgate_core::usage::UsageSource;
use tollgate_providers::{Billed, Failure, Observed};

use crate::flight::Silence;
use crate::phase::admit::Admitted;
use crate::upload::Reached;

/// Why an answer was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The provider broke it off, or paused for too long.
    Broken,
    /// Its caller went away, and it was not to be read on, or not any further.
    CallerGone,
}

impl Cut {
    const fn code(self) -> &'static str {
        match self {
            Self::Broken => "upstream_broken",
            Self::CallerGone => "caller_gone",
        }
    }
}

/// How a call ended, as far as the gateway saw.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub(crate) enum Outcome {
    /// An answer was read, whole or in part.
    Observed {
        /// What was seen.
        observed: Observed,
        /// The most input tokens that the request can have had.
        input_bound: u64,
        /// Why it did not end by itself, if it did not.
        cut: Option<Cut>,
    },
    /// The provider answered with an error.
    Failed(Failure),
    /// Nothing was sent.
    NotSent,
    /// It was sent, and nothing is known of it.
    Unknown(&'static str),
    /// Not all of it was sent, so that no provider has done anything for it.
    Unfinished(&'static str),
}

impl Outcome {
    /// The outcome of a call to which no answer came.
    pub(crate) const fn of_silence(silence: Silence) -> Self {
        match silence {
            Silence::NotConnected | Silence::Barred | Silence::NotJournaled => Self::NotSent,
            Silence::Broke => Self::Unknown("upstream_broken"),
            Silence::TooSlow => Self::Unknown("upstream_timeout"),
            Silence::Halted(Reached::Whole) => Self::Unknown("upload_incomplete"),
            Silence::Halted(Reached::Part) => Self::Unfinished("upload_incomplete"),
            Silence::CutShort => Self::Unfinished("upstream_broken"),
        }
    }
}

/// Settles or releases; tells what it cost where that is known. A free call leaves no trace.
pub(crate) fn settle(admitted: Admitted, outcome: Outcome) -> Option<Settled> {
    let Admitted::Held(hold) = admitted else {
        return None;
    };
    let ending = match outcome {
        Outcome::NotSent => {
            hold.release();
            return None;
        }
        Outcome::Observed {
            observed,
            input_bound,
            cut,
        } => read(&observed, input_bound, cut),
        Outcome::Failed(failure) => Ending {
            usage: match failure.billed {
                Billed::No => Some((TokenUsage::NONE, UsageSource::Provider)),
                Billed::Maybe => None,
            },
            error_code: Some(failure.code().into()),
            ..Ending::default()
        },
        Outcome::Unknown(code) => Ending {
            error_code: Some(code.into()),
            ..Ending::default()
        },
        Outcome::Unfinished(code) => Ending {
            usage: Some((TokenUsage::NONE, UsageSource::Counted)),
            error_code: Some(code.into()),
            ..Ending::default()
        },
    };
    Some(hold.settle(ending))
}

/// The usage that the provider reported; else what was counted. A lie is charged as held, and so
/// is an answer that could not be read, of which nothing was counted.
fn read(observed: &Observed, input_bound: u64, cut: Option<Cut>) -> Ending {
    if let Some(invalid) = &observed.invalid_usage {
        return Ending {
            usage: None,
            error_code: Some("usage_out_of_bounds".into()),
            error_message: Some(format!(
                "the provider's usage is not credible: {}",
                invalid.as_str()
            )),
            ..Ending::default()
        };
    }
    if observed.usage.is_none() && observed.unreadable {
        return Ending {
            usage: None,
            error_code: Some("usage_unreadable".into()),
            error_message: Some(
                "the provider's answer could not be read for its usage: it is cut, compressed, \
                 too large or not valid JSON"
                    .to_owned(),
            ),
            ..Ending::default()
        };
    }
    let tools = observed.tools;
    if observed.unreported && cut.is_none() {
        // Nothing is wrong with it: answers of its kind do not say what they used.
        return Ending {
            tools,
            ..Ending::default()
        };
    }
    let cut = cut.map(Cut::code);
    let usage = match observed.usage {
        Some(usage) => (usage, UsageSource::Provider),
        None => (observed.counted(input_bound), UsageSource::Counted),
    };
    let error_code = if observed.error_seen {
        Some("upstream_error_event")
    } else {
        cut
    };
    // A stream that was cut after its usage had come is whole as far as the books go.
    let error_code = error_code.filter(|_| observed.usage.is_none() || !observed.complete);
    Ending {
        usage: Some(usage),
        error_code: error_code.map(Into::into),
        error_message: None,
        tools,
        tariff: if observed.halved {
            Tariff::Half
        } else {
            Tariff::Usual
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_could_not_be_read_is_charged_as_held_however_it_ended() {
        for cut in [None, Some(Cut::Broken), Some(Cut::CallerGone)] {
            let unread = Observed {
                unreadable: true,
                ..Observed::default()
            };
            let ending = read(&unread, 100, cut);
            assert_eq!(ending.usage, None);
            assert_eq!(ending.error_code.as_deref(), Some("usage_unreadable"));
        }
        let read_without_usage = Observed {
            counted_output: 5,
            complete: true,
            ..Observed::default()
        };
        let ending = read(&read_without_usage, 100, None);
        let counted = (TokenUsage::plain(100, 5), UsageSource::Counted);
        assert_eq!((ending.usage, ending.error_code), (Some(counted), None));
    }
}
