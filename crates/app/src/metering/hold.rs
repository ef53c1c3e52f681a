//! The hold of one call, from admission to its row.

use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tollgate_core::hold::{Actual, HoldAmount};
use tollgate_core::price::ModelPrices;
use tollgate_core::price::fees::{Tariff, ToolUses};
use tollgate_core::usage::{UsageEntry, UsageSource};
use tollgate_core::verdict::Warnings;
use tollgate_core::{CallId, Moment, Nanos, TokenUsage};

use crate::directory::Integration;
use crate::journal::{Append, Journal, JournalError, Ticket};
use crate::ledger::{Carried, Claim};
use crate::metering::Metering;

/// What was agreed when a call was admitted.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) amount: HoldAmount,
    pub(super) warnings: Warnings,
    pub(super) prices: Option<Arc<ModelPrices>>,
    pub(super) admitted: Moment,
    pub(super) claim: Option<Claim>,
    /// Whether no report may carry the spend beyond what is held.
    pub(super) is_capped: bool,
}

/// An admitted call. Its worst case is held on every limit until it settles or is released.
#[derive(Debug)]
#[must_use = "a hold ends in settle or release"]
pub struct Hold {
    metering: Arc<Metering>,
    integration: Arc<Integration>,
    dispatch: Arc<Dispatch>,
    terms: Terms,
    is_open: bool,
}

/// The part of a call that goes along with its request: it journals the call as dispatched when
/// the connection to the provider asks for the first byte.
#[derive(Debug)]
pub struct Dispatch {
    journal: Arc<Journal>,
    /// The row that is written when nothing more is heard of the call.
    worst: UsageEntry,
    stage: Mutex<Stage>,
}

#[derive(Debug)]
enum Stage {
    Held,
    /// On the journal, and not yet on its disk.
    Leaving(Ticket, Append),
    Dispatched(Ticket),
    /// The journal did not take it: it never leaves.
    Refused,
    Closed,
}

/// Why a call may not leave after all.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// The journal does not take it, so a crash would lose it.
    #[error("the journal refuses the call: {0}")]
    Journal(#[from] JournalError),
    /// It was given up before it left.
    #[error("the call was given up before it left")]
    Closed,
}

/// How a call ended.
#[derive(Debug, Default)]
pub struct Ending {
    /// The tokens used and where the numbers come from; none when nothing is known, which charges
    /// what was held.
    pub usage: Option<(TokenUsage, UsageSource)>,
    /// What went wrong: a stable code of at most 50 characters.
    pub error_code: Option<Cow<'static, str>>,
    /// What went wrong, for people.
    pub error_message: Option<String>,
    /// How often tools were used that the provider runs and charges by use.
    pub tools: ToolUses,
    /// Which of its model's prices apply.
    pub tariff: Tariff,
}

/// A settled call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// What it cost.
    pub cost: Nanos,
    /// What it used.
    pub tokens: TokenUsage,
    /// Where the numbers come from.
    pub source: UsageSource,
}

// === impl Dispatch ===

impl Dispatch {
    /// Journals the call before its first byte leaves, and waits for the disk where the journal
    /// syncs always: for those who may. Asked again, it does nothing.
    pub fn leave(&self) -> Result<(), DispatchError> {
        let mut stage = self.stage.lock();
        match *stage {
            Stage::Held => match self.journal.dispatched(&self.worst) {
                Ok(ticket) => {
                    *stage = Stage::Dispatched(ticket);
                    Ok(())
                }
                Err(error) => {
                    *stage = Stage::Refused;
                    Err(error.into())
                }
            },
            Stage::Dispatched(_) => Ok(()),
            Stage::Leaving(..) | Stage::Refused | Stage::Closed => Err(DispatchError::Closed),
        }
    }

    /// The same without waiting: where the journal syncs always, the task is woken by the sync that
    /// covers the call, and others' with it.
    pub fn poll_leave(&self, context: &mut Context<'_>) -> Poll<Result<(), DispatchError>> {
        let mut stage = self.stage.lock();
        let (ticket, append) = match std::mem::replace(&mut *stage, Stage::Refused) {
            Stage::Held => self.journal.begin(&self.worst)?,
            Stage::Leaving(ticket, append) => (ticket, append),
            Stage::Dispatched(ticket) => {
                *stage = Stage::Dispatched(ticket);
                return Poll::Ready(Ok(()));
            }
            over @ (Stage::Refused | Stage::Closed) => {
                *stage = over;
                return Poll::Ready(Err(DispatchError::Closed));
            }
        };
        let synced = self.journal.poll_synced(append, context);
        match synced {
            Poll::Pending => *stage = Stage::Leaving(ticket, append),
            Poll::Ready(Ok(())) => *stage = Stage::Dispatched(ticket),
            Poll::Ready(Err(_)) => self.journal.take_back(ticket),
        }
        synced.map_err(DispatchError::from)
    }

    fn close(&self) -> Stage {
        std::mem::replace(&mut self.stage.lock(), Stage::Closed)
    }
}

// === impl Hold ===

impl Hold {
    pub(super) fn new(
        metering: Arc<Metering>,
        integration: Arc<Integration>,
        worst: UsageEntry,
        terms: Terms,
    ) -> Self {
        let journal = Arc::clone(&metering.journal);
        let dispatch = Arc::new(Dispatch {
            journal,
            worst,
            stage: Mutex::new(Stage::Held),
        });
        Self {
            metering,
            integration,
            dispatch,
            terms,
            is_open: true,
        }
    }

    /// The call's id.
    #[must_use]
    pub fn call_id(&self) -> &CallId {
        &self.dispatch.worst.call_id
    }

    /// The limits that the call came near to.
    #[must_use]
    pub const fn warnings(&self) -> &Warnings {
        &self.terms.warnings
    }

    /// What is held.
    #[cfg(test)]
    pub(crate) const fn amount(&self) -> &HoldAmount {
        &self.terms.amount
    }

    /// What it may use at worst.
    #[cfg(test)]
    pub(crate) fn asked(&self) -> &TokenUsage {
        &self.dispatch.worst.tokens
    }

    /// The integration that it is on.
    #[cfg(test)]
    pub(crate) fn integration_id(&self) -> tollgate_core::IntegrationId {
        self.integration.id
    }

    /// The part that goes along with the request.
    #[must_use]
    pub fn dispatch(&self) -> Arc<Dispatch> {
        Arc::clone(&self.dispatch)
    }

    /// Whether the first byte may have left for the provider.
    #[must_use]
    pub fn has_left(&self) -> bool {
        matches!(*self.dispatch.stage.lock(), Stage::Dispatched(_))
    }

    /// Whether the journal refused the call, so that it never left.
    #[must_use]
    pub fn was_refused_by_journal(&self) -> bool {
        matches!(*self.dispatch.stage.lock(), Stage::Refused)
    }

    /// Ends the call: what it really used replaces what was held, and its row is on its way to
    /// the ledger. A call that never left is released instead, and costs nothing.
    pub fn settle(mut self, ending: Ending) -> Settled {
        self.end(ending)
    }

    /// Gives everything back. A call that has left after all is charged at its worst case.
    pub fn release(mut self) {
        self.end(Ending {
            error_code: Some("interrupted".into()),
            ..Ending::default()
        });
    }

    fn end(&mut self, ending: Ending) -> Settled {
        self.is_open = false;
        match self.dispatch.close() {
            Stage::Dispatched(ticket) => self.book(ticket, ending),
            before @ (Stage::Held | Stage::Leaving(..) | Stage::Refused | Stage::Closed) => {
                if let Stage::Leaving(ticket, _) = before {
                    // Its body was still kept back.
                    self.metering.journal.take_back(ticket);
                }
                self.integration.gate.lock().release(&self.terms.amount);
                let (tokens, source) = (TokenUsage::NONE, UsageSource::Counted);
                Settled {
                    cost: Nanos::ZERO,
                    tokens,
                    source,
                }
            }
        }
    }

    fn book(&mut self, ticket: Ticket, ending: Ending) -> Settled {
        let entry = self.row(ending);
        let actual = Actual {
            cost: entry.cost,
            tokens: i64::try_from(entry.tokens.total()).unwrap_or(i64::MAX),
        };
        let settled = Settled {
            cost: entry.cost,
            tokens: entry.tokens,
            source: entry.source,
        };
        // The journal first: what the gate has free again may be used at once, and must not be
        // charged after all when the process is killed between the two.
        let receipt = match self.metering.journal.settled(ticket, &entry) {
            Ok(receipt) => Some(receipt),
            Err(error) => {
                tracing::error!(%error, "a finished call could not be journaled");
                None
            }
        };
        let is_limited = {
            let mut gate = self.integration.gate.lock();
            gate.settle(&self.terms.amount, &actual);
            gate.limits().rate_rpm.is_some()
        };
        let is_counted = is_limited && self.metering.counts_minutes();
        let carried = Carried {
            claim: self.terms.claim.take(),
            mark: is_counted.then_some(self.terms.amount.rate_mark),
            late: None,
        };
        self.metering.ledger.post(receipt, entry, carried);
        settled
    }

    fn row(&self, ending: Ending) -> UsageEntry {
        let now = self.metering.clock.now();
        let mut entry = self.dispatch.worst.clone();
        entry.latency_ms = Some(now.millis_since(self.terms.admitted));
        entry.error_code = ending.error_code;
        entry.error_message = ending.error_message;
        let Some((tokens, source)) = ending.usage else {
            return entry;
        };
        let prices = self.terms.prices.as_ref();
        let price = prices.map(|prices| prices.pin_for(&tokens, ending.tariff));
        let cost = price.as_ref().map_or(Ok(Nanos::ZERO), |price| {
            let fees = price.rates.fees(&ending.tools)?;
            price.rates.cost(&tokens)?.plus(fees)
        });
        if !ending.tools.is_none() {
            entry.extra = Some(with_tools(entry.extra.as_deref(), &ending.tools));
        }
        match cost {
            Ok(cost) if self.is_within(cost, &tokens) => {
                entry.tokens = tokens;
                entry.cost = cost;
                entry.source = source;
                entry.price = price;
            }
            _ => {
                entry.error_code = Some("usage_out_of_bounds".into());
                entry.error_message = Some(format!(
                    "the provider reports {} tokens in and {} out, more than was held; charged at \
                     what was held",
                    tokens.tokens_in(),
                    tokens.tokens_out(),
                ));
            }
        }
        entry
    }

    /// Whether a report may stand: under a hard cap nothing beyond the hold may.
    fn is_within(&self, cost: Nanos, tokens: &TokenUsage) -> bool {
        let worst = &self.dispatch.worst;
        !self.terms.is_capped || (cost <= worst.cost && tokens.total() <= worst.tokens.total())
    }
}

/// What a row says beside its tokens, with the uses of tools that its provider ran.
fn with_tools(extra: Option<&str>, tools: &ToolUses) -> Box<str> {
    let said = extra.and_then(|text| serde_json::from_str(text).ok());
    let mut said: serde_json::Map<String, serde_json::Value> = said.unwrap_or_default();
    said.insert("tool_uses".to_owned(), serde_json::json!(tools));
    serde_json::Value::Object(said).to_string().into()
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.is_open {
            let error_code = Some("abandoned".into());
            self.end(Ending {
                error_code,
                ..Ending::default()
            });
        }
    }
}

#[cfg(test)]
mod tests;
