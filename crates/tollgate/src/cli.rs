//! What can be typed: a noun, then a verb.

use clap::{Parser, Subcommand};

use crate::client::Remote;
use crate::commands::{
    audit, backup, chat, completions, config, dev, doctor, init, integration, journal, key, ledger,
    limit, masterkey, migrate, node, price, provider, rollup, serve, tenant, usage,
};
use crate::{bench, replay, simulate};

/// The gate that your customers' LLM calls go through.
///
/// Data goes to standard output, messages to standard error. Secrets come from the environment, a
/// file or standard input, never from a flag.
///
/// Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 denied, 5 conflict, 6 limit reached,
/// 7 unreachable, 8 a check found something wrong.
#[derive(Debug, Parser)]
#[command(
    name = "tollgate",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Try it out: a gateway with an embedded store, a simulated provider and a demo tenant
    Dev(dev::Args),
    /// Run the gateway and the control plane
    Serve(serve::Args),
    /// Make the settings' file, the master key file and the first operator key, where missing
    Init(init::Args),
    /// Tenants: list create get suspend resume delete
    Tenant(Noun<tenant::Verb>),
    /// Access keys: list create get rotate revoke
    Key(Noun<key::Verb>),
    /// Integrations: list create get update enable disable delete limits
    Integration(Noun<integration::Verb>),
    /// Limits: check hold release status
    Limit(Noun<limit::Verb>),
    /// Usage: summary history daily export report
    Usage(Noun<usage::Verb>),
    /// The audit trail: list verify
    Audit(Noun<audit::Verb>),
    /// Prices: list get set remove unknown
    Price(Noun<price::Verb>),
    /// Providers: list
    Provider(Noun<provider::Verb>),
    /// The ledger: verify status
    Ledger(Noun<ledger::Verb>),
    /// The daily roll-ups: verify rebuild
    Rollup(Noun<rollup::Verb>),
    /// Master keys: status rotate retire
    Masterkey(Noun<masterkey::Verb>),
    /// Running copies of the program: list retire
    Node(Noun<node::Verb>),
    /// Copies of an embedded store: create restore
    Backup(backup::Args),
    /// This node's journal, while no server runs on it: inspect salvage
    Journal(journal::Args),
    /// The tables of the store: status up
    Migrate(migrate::Args),
    /// Settings: show check
    Config(config::Args),
    /// Say what is missing, wrong or weak in this installation
    Doctor(doctor::Args),
    #[expect(missing_docs, reason = "the text of its arguments is what help shows")]
    Simulate(simulate::Args),
    #[expect(missing_docs, reason = "the text of its arguments is what help shows")]
    Replay(replay::Args),
    #[expect(missing_docs, reason = "the text of its arguments is what help shows")]
    Bench(bench::Args),
    #[expect(missing_docs, reason = "the text of its arguments is what help shows")]
    Chat(chat::Args),
    /// Print the description of the control plane (OpenAPI 3.1)
    Openapi,
    /// Print the completions of a shell
    Completions(completions::Args),
}

/// A noun of the control plane, with what all its verbs take.
#[derive(Debug, clap::Args)]
pub struct Noun<V: Subcommand> {
    /// What to do.
    #[command(subcommand)]
    pub verb: V,
    /// Whom to ask.
    #[command(flatten)]
    pub remote: Remote,
    /// How to print the answer.
    #[command(flatten)]
    pub form: Form,
}

/// How an answer is printed: for people, unless asked for JSON.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Form {
    /// Print JSON, as the API gave it
    #[arg(long, global = true)]
    pub json: bool,
}
