//! How an answer is to be read.

use std::sync::Arc;

use tollgate_app::metering::batch::BatchReading;
use tollgate_core::config::OnDisconnect;
use tollgate_providers::{MeterPlan, Operation, Provider};

use crate::background::Again;
use crate::upload::Passage;

/// How the answer is to be read once its head is there.
pub(crate) struct Recipe {
    pub(crate) provider: &'static dyn Provider,
    pub(crate) operation: Operation,
    pub(crate) plan: MeterPlan,
    pub(crate) input_bound: u64,
    pub(crate) on_disconnect: OnDisconnect,
    /// How the form fares, of a call that sends one.
    pub(crate) passage: Option<Arc<Passage>>,
    /// Whether the request asked to be served at half of the usual prices.
    pub(crate) flex: bool,
    /// What is to be done with the results of a batch, if those are what is read.
    pub(crate) batch: Option<BatchReading>,
    /// How to ask for an answer again that is made in the background.
    pub(crate) again: Option<Again>,
}
