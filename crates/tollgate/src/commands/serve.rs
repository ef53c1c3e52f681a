//! `tollgate serve`: the gateway and the control plane, until asked to end.

use serde_json::json;

use crate::output::{self, Exit, Failure};
use crate::settings::{Flags, Settings};
use crate::shutdown::Shutdown;
use crate::telemetry::{DEFAULT_LEVEL, start_log};
use crate::wire::{self, Listeners, Running};

/// What is served, and whether really.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where settings come from.
    #[command(flatten)]
    pub flags: Flags,
    /// Read the settings and the key file, say what is wrong, and stop
    #[arg(long)]
    pub check: bool,
    /// Print one JSON line when ready
    #[arg(long)]
    pub json: bool,
}

/// Serves until SIGTERM or SIGINT, then lets calls end and writes the books.
pub async fn run(args: Args) -> Result<(), Failure> {
    if args.check {
        return check(&args.flags);
    }
    let mut shutdown = Shutdown::listen()?;
    let settings = Settings::load(&args.flags)?;
    start_log(&settings.log, DEFAULT_LEVEL)?;
    let ring = wire::key_ring(&settings)?;
    let listeners = Listeners {
        gateway: wire::bind(settings.gateway_address(), "the gateway").await?,
        admin: wire::bind(settings.admin_address(), "the control plane").await?,
    };
    let app = wire::start_app(&settings, ring).await?;
    let running = Running::start(app, &settings, listeners)?;
    let url = format!("http://{}", running.gateway_address());
    let admin_url = format!("http://{}", running.admin_address());
    output::say(format_args!(
        "ready: gateway {url}, control plane {admin_url}"
    ));
    if args.json {
        output::print(&json!({ "url": url, "admin_url": admin_url }).to_string())?;
    }
    until_asked(&mut shutdown, running).await
}

/// Waits for the signal, then ends in order; a second signal ends at once.
pub(super) async fn until_asked(shutdown: &mut Shutdown, running: Running) -> Result<(), Failure> {
    shutdown.asked().await;
    output::say("stopping: calls in flight may end; ask again to stop at once");
    tokio::select! {
        () = running.stop() => Ok(()),
        () = shutdown.asked() => {
            Err(Failure::plain("stopped at once; the journal keeps what is not in the ledger"))
        }
    }
}

pub(super) fn check(flags: &Flags) -> Result<(), Failure> {
    let failed = |failure: Failure| Failure::new(Exit::CheckFailed, failure.message);
    let settings = Settings::load(flags).map_err(failed)?;
    settings.store_url().map_err(failed)?;
    wire::key_ring(&settings).map_err(failed)?;
    let from = settings.file.as_ref().map_or_else(
        || "no settings' file: the defaults, the environment and flags".to_owned(),
        |file| file.display().to_string(),
    );
    output::say(format_args!("the settings are good ({from})"));
    Ok(())
}
