//! Names and labels of the data plane's metrics; labels are closed sets.

use std::sync::atomic::{AtomicI64, AtomicU64};

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What the data plane counts.
#[derive(Debug, Default)]
pub struct Metrics {
    answers: Family<AnswerLabels, Counter<u64, AtomicU64>>,
    drains: Gauge<i64, AtomicI64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    status: u16,
}

impl Metrics {
    /// Makes the metrics part of what `/metrics` shows.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "tollgate_gateway_answers",
            "Answers of the gateway, by HTTP status",
            self.answers.clone(),
        );
        registry.register(
            "tollgate_gateway_drains_running",
            "Answers being read on for callers who went away",
            self.drains.clone(),
        );
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        self.answers
            .get_or_create(&AnswerLabels {
                status: status.as_u16(),
            })
            .inc();
    }

    /// The gauge of answers that are read on, which those who read them move.
    pub(crate) fn drains(&self) -> Gauge<i64, AtomicI64> {
        self.drains.clone()
    }
}
