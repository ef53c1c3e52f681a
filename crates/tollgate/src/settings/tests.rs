//! Layers, precedence, and mistakes with their places.

use super::*;

fn read(file: &str, environment: &[(&str, &str)], flags: &Flags) -> Result<Settings, Mistakes> {
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    Settings::read(
        Some((Path::new("t.toml"), file)),
        environment.collect(),
        flags,
    )
}

fn mistakes(file: &str, environment: &[(&str, &str)]) -> String {
    read(file, environment, &Flags::default())
        .unwrap_err()
        .to_string()
}

#[test]
fn nothing_said_means_the_defaults() {
    let settings = Settings::read(None, Vec::new(), &Flags::default()).unwrap();
    assert_eq!(settings.gateway_address().to_string(), "127.0.0.1:8080");
    assert_eq!(settings.admin_address().to_string(), "127.0.0.1:8081");
    assert_eq!(
        settings.store_url().unwrap(),
        "sqlite:tollgate-data/tollgate.db"
    );
    assert_eq!(
        settings.key_reference().to_string(),
        "file:tollgate-data/master.key"
    );
    assert_eq!(
        settings.gateway.stop_seconds,
        GatewayConfig::default().stop_seconds
    );
    assert_eq!(settings.providers.policy(), UrlPolicy::default());
}

#[test]
fn the_environment_wins_over_the_file_and_a_flag_over_both() {
    let file = "data_dir = 'a'\n[gateway]\nlisten = '127.0.0.1:1'\nstop_seconds = 1\n\
                [admin]\nlisten = '127.0.0.1:2'\n";
    let environment = [
        ("TOLLGATE__GATEWAY__STOP_SECONDS", "7"),
        ("TOLLGATE__GATEWAY__LISTEN", "127.0.0.1:3"),
    ];
    let flags = Flags {
        listen: Some("127.0.0.1:4".to_owned()),
        ..Flags::default()
    };
    let settings = read(file, &environment, &flags).unwrap();
    assert_eq!(settings.folder, PathBuf::from("a"));
    assert_eq!(settings.gateway.stop_seconds, 7);
    assert_eq!(settings.gateway_address().port(), 4);
    assert_eq!(settings.admin_address().port(), 2);
}

#[test]
fn a_variable_is_read_as_what_its_setting_needs() {
    let environment = [
        ("TOLLGATE__DATA_DIR", "123"),
        ("TOLLGATE__PROVIDERS__ALLOW_LOOPBACK", "true"),
        ("TOLLGATE__PROVIDERS__ALLOWED_HOSTS", "LLM.internal:8443, b"),
        (
            "TOLLGATE__PROVIDERS__ALLOWED_NETWORKS",
            "10.1.0.0/16, fd12::/48",
        ),
        ("TOLLGATE__APP__ENV_CREDENTIAL_PREFIXES", "[\"A_\", \"B_\"]"),
        ("TOLLGATE__STORE__URL", "postgres://u@h/db"),
    ];
    let settings = read("", &environment, &Flags::default()).unwrap();
    assert_eq!(settings.folder, PathBuf::from("123"));
    let policy = settings.providers.policy();
    assert_eq!(policy.loopback, Loopback::Allowed);
    assert_eq!(
        policy.allowed_hosts,
        [Box::<str>::from("llm.internal:8443"), Box::from("b")]
    );
    let networks = policy.allowed_networks.iter().map(ToString::to_string);
    assert!(networks.eq(["10.1.0.0/16", "fd12::/48"]));
    assert_eq!(settings.app.env_credential_prefixes, ["A_", "B_"]);
    assert_eq!(settings.store_url().unwrap(), "postgres://u@h/db");
}

#[test]
fn every_mistake_of_every_layer_is_told_at_once_with_its_place() {
    let file = "date_dir = 'a'\n\n[gateway]\nlisten = 'everywhere'\nbody_bytes_max = 'big'\n\
                [stor]\nuri = 1\nurl = 'x'\n[store]\nmax_connections = 0\n[log]\nformat = 'xml'\n";
    let environment = [
        ("TOLLGATE__VAULT__KEY_FILE", "sk-canary"),
        ("TOLLGATE__APP__REFRESH_SECONDS", "-1"),
    ];
    let flags = Flags {
        admin_listen: Some("nowhere".to_owned()),
        ..Flags::default()
    };
    let said = read(file, &environment, &flags).unwrap_err().to_string();
    insta::assert_snapshot!(said, @r"
    9 settings are wrong:
      t.toml:1: date_dir: there is no such setting; outside of the sections there are: data_dir
      t.toml:4: gateway.listen: give an IP address and a port, as 127.0.0.1:8080
      t.toml:5: gateway.body_bytes_max: give a whole number, not negative
      t.toml:6: there is no section [stor]; there are: gateway, admin, store, app, vault, providers, log
      t.toml:10: store.max_connections: give at least 1
      t.toml:12: log.format: give `text` or `json`
      TOLLGATE__APP__REFRESH_SECONDS: app.refresh_seconds: give a whole number, not negative
      TOLLGATE__VAULT__KEY_FILE: vault.key_file: give file:PATH or env:NAME; a setting never holds a secret itself
      --admin-listen: admin.listen: give an IP address and a port, as 127.0.0.1:8080
    ");
}

#[test]
fn an_unknown_setting_is_told_with_the_known_ones() {
    let said = mistakes("[gateway]\nhead_second = 3\n", &[]);
    assert!(
        said.contains("t.toml:2: gateway.head_second: there is no such setting"),
        "{said}"
    );
    assert!(
        said.contains("head_seconds") && said.contains("listen"),
        "{said}"
    );
    let said = mistakes("", &[("TOLLGATE__NOTHING", "1")]);
    assert!(
        said.contains("TOLLGATE__NOTHING: nothing: there is no such setting"),
        "{said}"
    );
}

#[test]
fn a_value_that_is_overridden_must_be_right_all_the_same() {
    let said = mistakes(
        "[store]\nmax_connections = 'x'\n",
        &[("TOLLGATE__STORE__MAX_CONNECTIONS", "3")],
    );
    assert!(said.contains("t.toml:2"), "{said}");
}

#[test]
fn a_file_that_is_not_toml_is_told_by_its_lines() {
    let said = mistakes("data_dir = 'a'\n[gateway\nlisten = \n", &[]);
    assert!(said.contains("t.toml:2: this is not TOML"), "{said}");
}

#[test]
fn no_mistake_repeats_what_may_be_a_secret() {
    let environment = [
        ("TOLLGATE__VAULT__KEY_FILE", "canary"),
        ("TOLLGATE__STORE__URL", "mysql://u:canary@h/db"),
        ("TOLLGATE__LOG__FORMAT", "canary"),
        ("TOLLGATE__GATEWAY__STOP_SECONDS", "canary"),
        ("TOLLGATE__LOG__LEVEL", "=canary="),
    ];
    let said = mistakes("[admin]\nlisten = 'canary'\n", &environment);
    assert_eq!(said.lines().count(), 7, "{said}");
    assert!(!said.contains("canary"), "{said}");
}

#[test]
fn the_settings_file_is_looked_for_where_the_data_is() {
    let flags = |config: Option<&str>, folder: Option<&str>| Flags {
        config: config.map(PathBuf::from),
        data_dir: folder.map(PathBuf::from),
        ..Flags::default()
    };
    assert_eq!(
        flags(None, None).file(),
        ("tollgate.toml".into(), Presence::Optional)
    );
    assert_eq!(
        flags(None, Some("d")).file(),
        ("d/tollgate.toml".into(), Presence::Optional)
    );
    assert_eq!(
        flags(Some("x"), Some("d")).file(),
        ("x".into(), Presence::Required)
    );
}

#[test]
fn values_that_nothing_can_work_with_are_told_all_at_once() {
    let file = "[gateway]\nlisten = '127.0.0.1:9'\nbody_bytes_max = 0\nhead_seconds = 0\n\
                body_seconds = 0\nfirst_byte_seconds = 0\n[app]\nledger_batch_rows = 0\n\
                [log]\nlevel = 'loud'\n[store]\nurl = 'postgres://'\n";
    let flags = Flags {
        admin_listen: Some("127.0.0.1:9".to_owned()),
        ..Flags::default()
    };
    let said = read(file, &[], &flags).unwrap_err().to_string();
    insta::assert_snapshot!(said, @r"
    8 settings are wrong:
      t.toml:3: gateway.body_bytes_max: give at least 1
      t.toml:4: gateway.head_seconds: give at least 1
      t.toml:5: gateway.body_seconds: give at least 1
      t.toml:6: gateway.first_byte_seconds: give at least 1
      t.toml:8: app.ledger_batch_rows: give at least 1
      t.toml:10: log.level: give error, warn, info, debug or trace, or levels by crate: info,tollgate_app=debug
      t.toml:12: store.url: give sqlite:PATH, postgres://USER@HOST/NAME, or file:PATH or env:NAME where that is kept
      --admin-listen: admin.listen: the gateway listens there too: give another port
    ");
}

#[test]
fn an_address_of_postgres_needs_a_host() {
    for (url, is_good) in [
        ("postgres://", false),
        ("postgres:///db", false),
        ("postgres://u@/db", false),
        ("postgres://u@h/db", true),
        ("postgresql:///db?host=/run/postgresql", true),
        ("sqlite://", false),
        ("sqlite::memory:", true),
    ] {
        assert_eq!(StoreUrl::try_from(url.to_owned()).is_ok(), is_good, "{url}");
    }
}
