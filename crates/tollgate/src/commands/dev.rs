//! `tollgate dev`: everything at once, to try it out. An embedded store, a simulated provider, a
//! demo tenant with keys; nothing of it is for real use.

mod demo;
mod paste;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::net::TcpListener;

use self::demo::Demo;
use super::{init, serve};
use crate::output::{self, Failure};
use crate::settings::{Flags, Settings};
use crate::shutdown::Shutdown;
use crate::simulate::{self, Simulator};
use crate::telemetry::start_log;
use crate::wire::{self, Listeners, Running};

/// What is logged unless told otherwise: a demonstration is not to be talked over.
const LEVEL: &str = "warn";

/// The simulated provider's journal, in the data directory.
const JOURNAL: &str = "provider-journal.jsonl";

/// Where to try it out.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the gateway listens; the control plane takes the next port. Port 0 takes free ones
    /// [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where to keep everything; the next start has the same keys [default: a temporary folder]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// A provider to use in place of the built-in simulator
    #[arg(long, value_name = "URL")]
    provider_url: Option<String>,
    /// Print one JSON line when ready
    #[arg(long)]
    json: bool,
}

/// What has to live as long as the demonstration, and goes with it.
struct Stage {
    settings: Settings,
    temporary: Option<TempDir>,
}

/// Runs the demonstration until asked to end.
pub async fn run(args: Args) -> Result<(), Failure> {
    let mut shutdown = Shutdown::listen()?;
    let stage = set_stage(&args)?;
    let settings = &stage.settings;
    start_log(&settings.log, LEVEL)?;
    let listeners = listen(settings).await?;
    init::write_key_file(settings).await?;
    let ring = wire::key_ring(settings)?;
    let app = wire::start_app(settings, ring).await?;
    let simulator = match &args.provider_url {
        Some(_) => None,
        None => Some(simulator(&settings.folder).await?),
    };
    let provider_url = args.provider_url.clone();
    let provider_url = provider_url.or_else(|| simulator.as_ref().map(Simulator::url));
    let provider_url = provider_url.unwrap_or_default();
    let demo = Demo::set_up(&app, &settings.folder, &provider_url).await?;
    let running = Running::start(app, settings, listeners)?;
    let told = paste::Told {
        url: format!("http://{}", running.gateway_address()),
        admin_url: format!("http://{}", running.admin_address()),
        provider_url,
        is_simulated: simulator.is_some(),
        folder: settings.folder.clone(),
        is_temporary: stage.temporary.is_some(),
        demo,
    };
    output::print(&if args.json { told.line() } else { told.text() })?;
    let ended = serve::until_asked(&mut shutdown, running).await;
    if let Some(simulator) = simulator {
        simulator.stop().await;
    }
    ended
}

fn set_stage(args: &Args) -> Result<Stage, Failure> {
    let (folder, temporary) = if let Some(folder) = &args.data_dir {
        wire::make_folder(folder)?;
        // Whoever reads where the data is may be in another folder.
        (std::path::absolute(folder)?, None)
    } else {
        let temporary = tempfile::Builder::new().prefix("tollgate-dev-").tempdir()?;
        (temporary.path().to_owned(), Some(temporary))
    };
    let flags = Flags {
        data_dir: Some(folder),
        listen: args.listen.clone(),
        ..Flags::default()
    };
    let mut settings = Settings::without_file(&flags)?;
    // The simulator is on this machine, which is no place for a provider otherwise.
    settings.providers.allow_loopback = true;
    let named = args
        .provider_url
        .as_deref()
        .and_then(|url| url.split_once("://"));
    if let Some((_, rest)) = named {
        let authority = rest.split('/').next().unwrap_or(rest);
        settings.providers.allowed_hosts.push(authority.to_owned());
    }
    Ok(Stage {
        settings,
        temporary,
    })
}

/// Takes both addresses. The control plane's is next to the gateway's, or any if that is taken.
async fn listen(settings: &Settings) -> Result<Listeners, Failure> {
    let gateway = wire::bind(settings.gateway_address(), "the gateway").await?;
    let asked = settings.gateway_address();
    let admin = match settings.admin_listen {
        Some(address) => wire::bind(address, "the control plane").await?,
        None => listen_beside(asked).await?,
    };
    Ok(Listeners { gateway, admin })
}

async fn listen_beside(gateway: SocketAddr) -> Result<TcpListener, Failure> {
    let free = SocketAddr::new(loopback_of(gateway.ip()), 0);
    let next = gateway
        .port()
        .checked_add(1)
        .filter(|_| gateway.port() != 0);
    if let Some(port) = next
        && let Ok(listener) = TcpListener::bind(SocketAddr::new(free.ip(), port)).await
    {
        return Ok(listener);
    }
    wire::bind(free, "the control plane").await
}

/// The control plane of a demonstration stays on this machine, wherever its gateway listens.
fn loopback_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    }
}

async fn simulator(folder: &Path) -> Result<Simulator, Failure> {
    let config = simulate::Config {
        journal: Some(folder.join(JOURNAL)),
        ..simulate::Config::default()
    };
    let started = simulate::start(config).await;
    started.map_err(|error| Failure::plain(format_args!("the simulated provider: {error}")))
}
