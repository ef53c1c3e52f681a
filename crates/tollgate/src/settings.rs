//! Settings: defaults, then `tollgate.toml`, then `TOLLGATE__SECTION__NAME`, then flags.
//!
//! Each default stands with whoever uses it; here the layers are put together, every mistake is
//! found at once and told with its place, and secrets are only ever referred to.

pub mod environment;
mod layers;
mod mistake;
mod reference;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};
use tollgate_app::AppConfig;
use tollgate_gateway::GatewayConfig;
use tollgate_providers::{Loopback, Network, UrlPolicy};

use self::layers::Layers;
use crate::output::{Exit, Failure};
use crate::telemetry::LogSettings;

pub use self::mistake::{Mistake, Mistakes, Place};
pub use self::reference::{SecretReference, StoreUrl};

/// The name of the settings' file.
pub const FILE_NAME: &str = "tollgate.toml";

/// The folder for everything that is kept, when nobody names one.
pub const DEFAULT_FOLDER: &str = "tollgate-data";

/// Where the gateway listens unless told otherwise.
pub const GATEWAY_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Where the control plane listens unless told otherwise.
pub const ADMIN_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);

/// Everything that can be set.
#[derive(Debug)]
pub struct Settings {
    /// The folder for everything that is kept.
    pub folder: PathBuf,
    /// Where the gateway listens, if it is said.
    pub gateway_listen: Option<SocketAddr>,
    /// The data plane's own settings.
    pub gateway: GatewayConfig,
    /// Where the control plane listens, if it is said.
    pub admin_listen: Option<SocketAddr>,
    /// Where rows are kept.
    pub store: StoreSettings,
    /// The use cases' own settings.
    pub app: AppConfig,
    /// Where the key file is, if it is said.
    pub key_file: Option<SecretReference>,
    /// Where providers may be.
    pub providers: ProviderSettings,
    /// What is logged and how.
    pub log: LogSettings,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// Where each setting that is not a default was said: its section and name, and the place that
    /// decided it.
    pub said: Vec<(String, Place)>,
}

/// Where rows are kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// `sqlite:PATH`, `postgres://…`, or a reference to such an address; a file in the data
    /// directory when not set.
    pub url: Option<StoreUrl>,
    /// The most connections to PostgreSQL.
    #[serde(deserialize_with = "at_least_one")]
    pub max_connections: u32,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            url: None,
            max_connections: 16,
        }
    }
}

/// Where providers may be, beyond https to public hosts.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderSettings {
    /// Whether this machine itself may be a provider.
    pub allow_loopback: bool,
    /// Hosts, `name` or `name:port`, that may be private and may be reached without TLS.
    pub allowed_hosts: Vec<String>,
    /// Blocks of addresses that may be private: names may lead there.
    pub allowed_networks: Vec<Network>,
}

impl ProviderSettings {
    /// The same as the URL guard takes it.
    #[must_use]
    pub fn policy(&self) -> UrlPolicy {
        UrlPolicy {
            loopback: if self.allow_loopback {
                Loopback::Allowed
            } else {
                Loopback::Refused
            },
            allowed_hosts: self
                .allowed_hosts
                .iter()
                .map(|host| host.to_ascii_lowercase().into())
                .collect(),
            allowed_networks: self.allowed_networks.clone(),
        }
    }
}

/// Where a command that works beside the server finds what the server keeps.
#[derive(Debug, Clone, clap::Args)]
pub struct Kept {
    /// The settings' file [default: tollgate.toml in the data directory if that is given, else here]
    #[arg(long, global = true, value_name = "FILE", env = "TOLLGATE_CONFIG")]
    config: Option<PathBuf>,
    /// The folder for everything that is kept [default: tollgate-data]
    #[arg(long, global = true, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
}

impl Kept {
    /// The server's settings.
    pub fn settings(&self) -> Result<Settings, Failure> {
        Settings::load(&Flags {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            ..Flags::default()
        })
    }
}

/// What flags say; they win over everything else.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// The settings' file [default: tollgate.toml in the data directory if that is given, else here]
    #[arg(long, value_name = "FILE", env = "TOLLGATE_CONFIG")]
    pub config: Option<PathBuf>,
    /// The folder for everything that is kept [default: tollgate-data]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Where the gateway listens [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Where the control plane listens [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<String>,
}

impl Flags {
    /// The settings' file that is meant, and whether it has to be there.
    #[must_use]
    pub fn file(&self) -> (PathBuf, Presence) {
        if let Some(file) = &self.config {
            return (file.clone(), Presence::Required);
        }
        let folder = self.data_dir.as_deref().unwrap_or_else(|| Path::new(""));
        (folder.join(FILE_NAME), Presence::Optional)
    }
}

/// Whether a file has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Without it, nothing starts.
    Required,
    /// Without it, the other layers decide.
    Optional,
}

impl Settings {
    /// Reads every layer: the file that the flags mean, this process's environment, the flags.
    pub fn load(flags: &Flags) -> Result<Self, Failure> {
        let (path, presence) = flags.file();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => match presence {
                Presence::Optional => None,
                Presence::Required => {
                    let message = format!(
                        "there is no settings' file {}: make one with `tollgate init --config {0}`",
                        path.display()
                    );
                    return Err(Failure::usage(message));
                }
            },
            Err(error) => return Err(Failure::file("read", &path, &error).with(Exit::Usage)),
        };
        let file = text.as_deref().map(|text| (path.as_path(), text));
        let read = Self::read(file, environment::settings(), flags);
        let settings = read.map_err(|mistakes| Failure::new(Exit::Usage, mistakes.to_string()))?;
        // One of them may be a default here, which has no place to tell.
        if is_same(settings.gateway_address(), settings.admin_address()) {
            return Err(Failure::usage(format_args!(
                "the gateway and the control plane cannot both listen on {}: give gateway.listen \
                 or admin.listen another port",
                settings.gateway_address()
            )));
        }
        Ok(settings)
    }

    /// Reads every layer but the file.
    pub fn without_file(flags: &Flags) -> Result<Self, Failure> {
        let read = Self::read(None, environment::settings(), flags);
        read.map_err(|mistakes| Failure::new(Exit::Usage, mistakes.to_string()))
    }

    /// Puts layers together; all mistakes of all layers come back at once.
    pub fn read(
        file: Option<(&Path, &str)>,
        environment: Vec<(String, String)>,
        flags: &Flags,
    ) -> Result<Self, Mistakes> {
        let mut layers = Layers::default();
        if let Some((path, text)) = file {
            layers.add_file(path, text);
        }
        layers.add_environment(environment);
        let folder = flags
            .data_dir
            .as_ref()
            .map(|folder| folder.display().to_string());
        layers.add_flag("--data-dir", "", "data_dir", folder);
        layers.add_flag("--listen", "gateway", "listen", flags.listen.clone());
        layers.add_flag(
            "--admin-listen",
            "admin",
            "listen",
            flags.admin_listen.clone(),
        );
        let top: Top = layers.own("");
        let gateway_listen: Listen = layers.own("gateway");
        let admin_listen: Listen = layers.own("admin");
        if let (Some(gateway), Some(admin)) = (gateway_listen.listen, admin_listen.listen)
            && is_same(gateway, admin)
        {
            let reason = "the gateway listens there too: give another port";
            layers.refuse("admin", "listen", reason);
        }
        let vault: VaultSettings = layers.of_crate("vault");
        let settings = Self {
            folder: top
                .data_dir
                .unwrap_or_else(|| PathBuf::from(DEFAULT_FOLDER)),
            gateway_listen: gateway_listen.listen,
            gateway: layers.of_crate("gateway"),
            admin_listen: admin_listen.listen,
            store: layers.of_crate("store"),
            app: layers.of_crate("app"),
            key_file: vault.key_file,
            providers: layers.of_crate("providers"),
            log: layers.of_crate("log"),
            file: file.map(|(path, _)| path.to_owned()),
            said: layers.said(),
        };
        layers.finish().map(|()| settings)
    }

    /// Where the gateway listens.
    #[must_use]
    pub fn gateway_address(&self) -> SocketAddr {
        self.gateway_listen.unwrap_or(GATEWAY_LISTEN)
    }

    /// Where the control plane listens.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_listen.unwrap_or(ADMIN_LISTEN)
    }

    /// Where the key file is.
    #[must_use]
    pub fn key_reference(&self) -> SecretReference {
        let usual = || SecretReference::File(self.folder.join("master.key"));
        self.key_file.clone().unwrap_or_else(usual)
    }

    /// The address of the store. It may hold a password: never show it.
    pub fn store_url(&self) -> Result<String, Failure> {
        match &self.store.url {
            None => Ok(format!(
                "sqlite:{}",
                self.folder.join("tollgate.db").display()
            )),
            Some(StoreUrl::Plain(url)) => Ok(url.clone()),
            Some(StoreUrl::Secret(reference)) => Ok(reference.read("store.url")?.trim().to_owned()),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Top {
    #[serde(deserialize_with = "folder")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Listen {
    #[serde(deserialize_with = "address")]
    listen: Option<SocketAddr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VaultSettings {
    key_file: Option<SecretReference>,
}

/// Whether two listeners would be in each other's way.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    let meets =
        |one: SocketAddr, other: SocketAddr| one.ip() == other.ip() || one.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (meets(one, other) || meets(other, one))
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let said = String::deserialize(from)?;
    let problem = |_| serde::de::Error::custom("give an IP address and a port, as 127.0.0.1:8080");
    said.parse().map(Some).map_err(problem)
}

fn folder<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    let said = String::deserialize(from)?;
    if said.is_empty() {
        return Err(serde::de::Error::custom("give the path of a folder"));
    }
    Ok(Some(said.into()))
}

fn at_least_one<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    match u32::deserialize(from)? {
        0 => Err(serde::de::Error::custom("give at least 1")),
        number => Ok(number),
    }
}

#[cfg(test)]
mod tests;
