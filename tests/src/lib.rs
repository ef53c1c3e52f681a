//! The world of the black-box suite: the shipped program, a simulated provider that outlives it, clients, and the
//! reading of both sides' books.
//!
//! A [`World`] is closed at the end of a test, and then checks what must always hold: no hold is open, the books
//! verify, provider and ledger agree call by call, and the canary credential is nowhere. The program is the one that
//! `TOLLGATE_BIN` names, else the one that was built beside the tests.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "the suite's own support: where it fails, a test fails"
)]

mod books;
mod calls;
mod canary;
mod client;
mod control;
mod form;
mod postgres;
mod program;
mod recorder;
mod simulator;
mod tenant;
mod wait;
mod world;

pub use books::{Join, LedgerRow, Tables, cost_of, nanos_of_usd};
pub use calls::{
    CHAT, MESSAGES, call, call_with, message, must_have_ids, must_refuse, must_refuse_in_anthropics,
};
pub use canary::{CANARY, found_in};
pub use client::{Answer, Broken, Caller, Http, Next, Stream};
pub use control::Control;
pub use form::Form;
pub use postgres::{Cluster, Durability};
pub use program::{Program, Run, binary, repository, run, setting};
pub use recorder::{Recorder, answer_of};
pub use simulator::{Line, Simulator};
pub use tenant::{Integration, Tenant};
pub use wait::{PATIENCE, until};
pub use world::{Engine, Gateway, Plan, World};
