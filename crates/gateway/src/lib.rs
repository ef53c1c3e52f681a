//! The data plane: a call's life in seven phases.
//!
//! [`exchange`] is the whole of it on one screen; each phase is a file under `phase/`, and takes
//! what only the phase before it can give. [`flight`] keeps a call alive when its caller goes
//! away; [`serve`] owns the sockets and the tasks.

mod alarm;
mod answer;
mod attempts;
mod background;
pub mod carrier;
pub mod config;
pub mod connector;
mod crossing;
mod drain;
mod error;
mod exchange;
mod flight;
mod gathered;
mod headers;
mod ink;
pub mod metrics;
mod patience;
mod phase;
mod serve;
mod timing;
mod upload;
mod upstream;

pub use carrier::ProbeCarrier;
pub use config::GatewayConfig;
pub use connector::Connector;
pub use metrics::Metrics;
pub use serve::{Server, serve};
