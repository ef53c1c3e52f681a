//! What the doctor looks at.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tollgate_app::config::SyncChoice;
use tollgate_core::NodeId;
use tollgate_store::{AuditSeal, MigrationStatus, OpenStore, RowSecurity, Store, StoreError};
use tollgate_vault::KeyRing;

use super::finding::Finding;
use crate::commands::backup;
use crate::settings::{SecretReference, Settings, StoreUrl};
use crate::wire;

/// Permissions of a file that say that others than its owner may read or write it.
const OTHERS: u32 = 0o077;

/// Age of the newest backup from which it is worth a word.
const BACKUP_HOURS_MAX: i64 = 7 * 24;

/// Rows that wait for the ledger before it is worth a word.
const LAG_WORTH_TELLING: u64 = 10_000;

/// The key file: whether it is there and real, and whether only its owner may read it.
pub(super) fn key_file(settings: &Settings) -> Finding {
    const CHECK: &str = "master key";
    let reference = settings.key_reference();
    if let Err(failure) = wire::key_ring(settings) {
        return Finding::failing(CHECK, failure.message);
    }
    if let SecretReference::File(path) = &reference
        && is_open_to_others(path)
    {
        let path = path.display();
        return Finding::weak(CHECK, format!("others may read {path}: chmod 600 {path}"));
    }
    let next = reference.read("vault.key_file").ok();
    if let Some(next) = next.and_then(|text| KeyRing::next_in_file(&text)) {
        let detail =
            format!("a rotation to {next} was begun: `tollgate masterkey rotate` goes on with it");
        return Finding::weak(CHECK, detail);
    }
    Finding::well(CHECK, reference.to_string())
}

/// Where the master keys stand, as the server tells an operator.
pub(super) fn master_keys(keys: &Value) -> Finding {
    const CHECK: &str = "old master keys";
    let listed = keys
        .get("keys")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let old = listed
        .iter()
        .filter(|key| key.get("active") != Some(&Value::Bool(true)));
    let with = |name: &str, is: fn(&Value) -> bool| {
        let those = old.clone().filter(|key| key.get(name).is_some_and(is));
        let ids = those.filter_map(|key| key.get("id").and_then(Value::as_str));
        ids.collect::<Vec<_>>().join(", ")
    };
    let sealing = with("credentials", |number| number.as_u64() != Some(0));
    let removable = with("removable", |is| is == &Value::Bool(true));
    if !sealing.is_empty() {
        let detail =
            format!("credentials are still sealed under {sealing}: `tollgate masterkey rotate`");
        return Finding::weak(CHECK, detail);
    }
    if !removable.is_empty() {
        let detail = format!("nothing needs {removable} any more: `tollgate masterkey retire`");
        return Finding::weak(CHECK, detail);
    }
    Finding::well(CHECK, "there is none")
}

/// How old the newest backup in the data directory is, on an embedded store.
pub(super) fn backup(settings: &Settings, now: Timestamp) -> Option<Finding> {
    const CHECK: &str = "backup";
    let is_embedded = settings
        .store_url()
        .is_ok_and(|url| url.starts_with("sqlite:"));
    let folder = settings.folder.join(backup::FOLDER);
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let made = entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "db"));
    let times =
        made.filter_map(|entry| Timestamp::try_from(entry.metadata().ok()?.modified().ok()?).ok());
    let hours = times
        .max()
        .map(|newest| now.duration_since(newest).as_hours());
    is_embedded.then(|| match hours {
        None => Finding::weak(
            CHECK,
            "there is none in the data directory: `tollgate backup create`, and keep it elsewhere",
        ),
        Some(hours) if hours > BACKUP_HOURS_MAX => Finding::weak(
            CHECK,
            format!(
                "the newest is {} days old: `tollgate backup create`",
                hours / 24
            ),
        ),
        Some(hours) => Finding::well(CHECK, format!("the newest is {hours} hours old")),
    })
}

/// The data directory: whether it is there, can be written to, and is closed to others.
pub(super) fn folder(settings: &Settings) -> Finding {
    const CHECK: &str = "data directory";
    let folder = &settings.folder;
    let shown = folder.display();
    if !folder.is_dir() {
        return Finding::failing(
            CHECK,
            format!("{shown} is missing: `tollgate init` makes it"),
        );
    }
    if let Err(error) = tempfile::tempfile_in(folder) {
        return Finding::failing(CHECK, format!("{shown} cannot be written to: {error}"));
    }
    if is_open_to_others(folder) {
        return Finding::weak(
            CHECK,
            format!("others may enter {shown}: chmod 700 {shown}"),
        );
    }
    Finding::well(CHECK, shown.to_string())
}

fn is_open_to_others(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|it| it.permissions().mode() & OTHERS != 0)
}

/// What a running server says of itself.
pub(super) fn running(url: &str, status: StatusCode, ready: &Value) -> Vec<Finding> {
    let Some(checks) = ready.get("checks") else {
        let detail = match ready.get("status").and_then(Value::as_str) {
            Some(said) => format!("the server at {url} is {said}"),
            None => format!("what answers at {url} ({status}) is not Tollgate's control plane"),
        };
        return vec![Finding::failing("server", detail)];
    };
    let is_well = |name: &str| checks.get(name).and_then(Value::as_bool) == Some(true);
    let told = |check, name, trouble: &str| {
        if is_well(name) {
            Finding::well(check, "the server says so")
        } else {
            Finding::failing(check, trouble)
        }
    };
    let lag = checks
        .get("ledger_lag_rows")
        .and_then(Value::as_u64)
        .unwrap_or(0);
    let ledger = match (is_well("ledger"), lag) {
        (true, lag) if lag < LAG_WORTH_TELLING => {
            Finding::well("ledger", format!("{lag} rows wait for it"))
        }
        (true, lag) => Finding::weak("ledger", format!("{lag} rows wait: the store is slow")),
        (false, lag) => {
            Finding::failing("ledger", format!("{lag} rows wait: see the server's log"))
        }
    };
    vec![
        Finding::well("server", format!("answers at {url}")),
        told(
            "store",
            "store",
            "the server cannot reach its store: see its log",
        ),
        told(
            "journal",
            "journal",
            "the disk of the journal refuses: see the server's log",
        ),
        ledger,
    ]
}

/// A port that the server will want.
pub(super) async fn port(check: &'static str, address: SocketAddr) -> Finding {
    match TcpListener::bind(address).await {
        Ok(_) => Finding::well(check, format!("{address} is free")),
        Err(error) => Finding::failing(check, format!("{address} cannot be had: {error}")),
    }
}

/// The store, looked at directly.
pub(super) async fn store(settings: &Settings) -> Finding {
    const CHECK: &str = "store";
    let url = match settings.store_url() {
        Ok(url) => url,
        Err(failure) => return Finding::failing(CHECK, failure.message),
    };
    if let Some(path) = url.strip_prefix("sqlite:")
        && !Path::new(path.trim_start_matches("//")).exists()
    {
        let detail = format!("{path} is missing: `tollgate init` or the first start makes it");
        return Finding::weak(CHECK, detail);
    }
    match look_into(&url).await {
        Err(error) => Finding::failing(CHECK, error.to_string()),
        Ok((engine, status, wall)) => match status.pending.len() {
            0 => match wire::missing_wall(&wall) {
                None => Finding::well(CHECK, format!("{engine}, schema up to date")),
                Some(missing) => Finding::weak(CHECK, missing),
            },
            pending => {
                let detail =
                    format!("{engine}, {pending} migrations wait: the next start does them");
                Finding::weak(CHECK, detail)
            }
        },
    }
}

async fn look_into(url: &str) -> Result<(&'static str, MigrationStatus, RowSecurity), StoreError> {
    let options = OpenStore {
        max_connections: 1,
        node: NodeId::generate(),
        audit: AuditSeal::absent(),
    };
    let store = Store::open(url, options).await?;
    let status = async {
        store.ping().await?;
        Ok((store.migration_status().await?, store.row_security().await?))
    };
    let found: Result<_, StoreError> = status.await;
    store.close().await;
    let (status, wall) = found?;
    Ok((store.engine_name(), status, wall))
}

/// Settings that work and are not what one would want where money is at stake.
pub(super) fn weak_settings(settings: &Settings) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut weak = |detail: String| found.push(Finding::weak("settings", detail));
    let listeners = [
        ("gateway", settings.gateway_address()),
        ("admin", settings.admin_address()),
    ];
    for (section, address) in listeners {
        if !address.ip().is_loopback() {
            weak(format!(
                "{section}.listen is {address}: keys cross the network in clear without TLS in front"
            ));
        }
    }
    if settings.app.journal_sync == SyncChoice::Never {
        weak(
            "app.journal_sync is never: a loss of power may lose calls that were billed".to_owned(),
        );
    }
    if settings.providers.allow_loopback {
        weak("providers.allow_loopback lets tenants send calls to this machine itself".to_owned());
    }
    if !settings.providers.allowed_hosts.is_empty() {
        let hosts = settings.providers.allowed_hosts.join(", ");
        weak(format!(
            "providers.allowed_hosts lets tenants send calls to {hosts}, without TLS too"
        ));
    }
    if !settings.providers.allowed_networks.is_empty() {
        let networks = settings.providers.allowed_networks.iter();
        let networks: Vec<_> = networks.map(ToString::to_string).collect();
        weak(format!(
            "providers.allowed_networks lets tenants send calls to {}",
            networks.join(", ")
        ));
    }
    if matches!(&settings.store.url, Some(StoreUrl::Plain(url)) if has_password(url)) {
        weak(
            "store.url holds a password: keep the address elsewhere and name it with file: or env:"
                .to_owned(),
        );
    }
    found
}

fn has_password(url: &str) -> bool {
    let authority = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or("");
    authority
        .rsplit_once('@')
        .is_some_and(|(user, _)| user.contains(':'))
        || url.contains("password=")
}

/// Where a server that listens everywhere can be asked from here.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            (std::net::Ipv6Addr::LOCALHOST, address.port()).into()
        }
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_the_stores_address_is_seen() {
        assert!(has_password("postgres://u:p@h/db"));
        assert!(has_password("postgres://u@h/db?password=p"));
        assert!(!has_password("postgres://u@h:5432/db"));
        assert!(!has_password("sqlite:/a:b@c"));
    }

    #[test]
    fn old_master_keys_are_worth_a_word() {
        let state = |old: Value| {
            let active = serde_json::json!({"id": "k2", "active": true, "credentials": 3, "removable": false});
            let found = master_keys(&serde_json::json!({ "keys": [active, old] }));
            (found.state.as_str(), found.detail)
        };
        let key = |credentials: u64, removable: bool| serde_json::json!({"id": "k1", "active": false, "credentials": credentials, "removable": removable});
        let (weak, detail) = state(key(2, false));
        assert!(
            weak == "weak" && detail.contains("sealed under k1"),
            "{detail}"
        );
        let (weak, detail) = state(key(0, true));
        assert!(
            weak == "weak" && detail.contains("nothing needs k1"),
            "{detail}"
        );
        assert_eq!(state(key(0, false)).0, "ok");
    }

    #[test]
    fn a_server_that_is_not_well_is_a_failure() {
        let ready = serde_json::json!({"status": "not_ready", "checks":
            {"store": false, "journal": true, "ledger": true, "ledger_lag_rows": 3}});
        let found = running("http://h", StatusCode::SERVICE_UNAVAILABLE, &ready);
        let states: Vec<&str> = found.iter().map(|finding| finding.state.as_str()).collect();
        assert_eq!(states, ["ok", "failing", "ok", "ok"]);
        let draining = serde_json::json!({"status": "draining"});
        let found = running("http://h", StatusCode::SERVICE_UNAVAILABLE, &draining);
        assert_eq!(found[0].state.as_str(), "failing");
    }
}
