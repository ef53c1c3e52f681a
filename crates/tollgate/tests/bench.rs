//! The measurement that users run: what it prints adds up, and nothing of it is left behind.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::process::Output;

use serde_json::Value;
use tempfile::tempdir;
use tokio::process::Command;
use tollgate::simulate::{self, Config, Faults};

async fn bench(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.arg("bench").args(args).env_clear();
    command.envs(env.iter().copied()).kill_on_drop(true);
    command.output().await.unwrap()
}

fn json(said: &Output) -> Value {
    serde_json::from_slice(&said.stdout).unwrap()
}

/// The calls of a list of rounds that were answered, and those that failed.
fn calls(rounds: &Value) -> (u64, u64) {
    let sum = |name: &str| {
        let rounds = rounds.as_array().unwrap().iter();
        rounds.map(|round| round[name].as_u64().unwrap()).sum()
    };
    (sum("calls"), sum("failed"))
}

#[tokio::test]
async fn every_call_through_the_gateway_is_in_the_books_and_nothing_is_left_behind() {
    let folder = tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let args = [
        "--seconds",
        "1",
        "--rounds",
        "1",
        "--connections",
        "4",
        "--rate",
        "40",
        "--json",
    ];
    let said = bench(&args, &[("TMPDIR", path)]).await;
    assert!(said.status.success(), "{said:?}");
    let figures = json(&said);
    let mut through = 0;
    for name in ["paced", "streams", "saturated"] {
        let (direct, direct_failed) = calls(&figures[name]["direct"]);
        let (calls, failed) = calls(&figures[name]["tollgate"]);
        assert!(direct > 0 && calls > 0, "{name}: {figures}");
        assert_eq!((direct_failed, failed), (0, 0), "{name}: {figures}");
        through += calls;
    }
    // A fixed rate is kept whatever the machine does: the calls are those that were due.
    assert_eq!(calls(&figures["paced"]["direct"]).0, 40);
    assert_eq!(calls(&figures["paced"]["tollgate"]).0, 40);
    // Those before the measurement are in the books, too.
    assert!(figures["ledger_rows"].as_u64().unwrap() > through);
    let first = &figures["streams"]["tollgate"][0];
    assert!(first["first_ms"]["p50"].as_f64() < first["latency_ms"]["p50"].as_f64());
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn a_load_on_an_address_tells_what_calls_ran_into() {
    let faults = Faults {
        error_rate: 0.5,
        error_status: 529,
        ..Faults::default()
    };
    let config = Config {
        faults,
        ..Config::default()
    };
    let provider = simulate::start(config).await.unwrap();
    let url = provider.url();
    let args = [
        "--url",
        &url,
        "--rate",
        "20",
        "--seconds",
        "1",
        "--connections",
        "2",
        "--stream",
        "--json",
    ];
    let said = bench(&args, &[("TOLLGATE_KEY", "sk-test")]).await;
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    let figures = json(&said);
    assert_eq!(figures["calls"], 10, "{figures}");
    assert_eq!(figures["faults"]["status 529"], 10, "{figures}");
    provider.stop().await;
}

#[tokio::test]
async fn an_address_without_a_server_is_unreachable_and_a_key_is_no_argument() {
    let args = [
        "--url",
        "http://127.0.0.1:9",
        "--seconds",
        "1",
        "--connections",
        "1",
    ];
    let said = bench(&args, &[("TOLLGATE_KEY", "sk-test")]).await;
    assert_eq!(said.status.code(), Some(7), "{said:?}");
    let said = bench(&[&args[..], &["--key", "tg_secret"]].concat(), &[]).await;
    assert_eq!(said.status.code(), Some(2), "{said:?}");
    assert!(!String::from_utf8_lossy(&said.stderr).contains("tg_secret"));
    let said = bench(&args, &[]).await;
    assert_eq!(said.status.code(), Some(4), "{said:?}");
}
