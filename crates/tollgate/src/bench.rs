//! Measuring the gateway on the machine where it is to run: what it adds to a call, what a call costs, and how many
//! it takes.
//!
//! Without an address it sets up a gateway of its own with everything on, before the simulated provider, and calls
//! the provider in turn directly and through it. With an address it loads what is there.

mod command;
mod line;
mod load;
mod measure;
mod pacer;
mod process;
mod report;
mod sample;
mod stand;

pub use self::command::{Args, run_command};
