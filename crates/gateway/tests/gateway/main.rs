//! The gateway over real sockets: a scripted provider on one side, callers on the other.

mod disconnects;
mod hot_path;
mod provider;
mod refusals;
mod stage;
mod streams;
mod whole;
