//! `tollgate doctor`: what is missing, wrong or weak in this installation, running or not.

mod checks;
mod finding;

use serde_json::{Value, json};
use tollgate_core::clock::{Clock as _, SystemClock};

use self::finding::{Finding, State};
use crate::cli::Form;
use crate::client::{Client, Remote};
use crate::output::{self, Failure};
use crate::settings::{Flags, Settings};

/// Which installation.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where settings come from.
    #[command(flatten)]
    flags: Flags,
    /// The control plane's URL [default: where the settings say that it listens]
    #[arg(long, value_name = "URL", env = "TOLLGATE_ADMIN_URL")]
    url: Option<String>,
    /// How to print it.
    #[command(flatten)]
    form: Form,
}

/// Looks at everything and prints what it found; exit code 8 if anything is wrong.
pub async fn run(args: Args) -> Result<(), Failure> {
    let mut findings = Vec::new();
    match Settings::load(&args.flags) {
        Err(failure) => findings.push(Finding::failing("settings", failure.message)),
        Ok(settings) => examine(&settings, args.url.as_deref(), &mut findings).await?,
    }
    let is_well = findings
        .iter()
        .all(|finding| finding.state != State::Failing);
    output::print(&told(&findings, args.form))?;
    if is_well {
        Ok(())
    } else {
        Err(Failure::check())
    }
}

async fn examine(
    settings: &Settings,
    url: Option<&str>,
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    let from = match &settings.file {
        Some(file) => file.display().to_string(),
        None => "no file: the defaults, the environment and flags".to_owned(),
    };
    findings.push(Finding::well("settings", from));
    findings.push(checks::key_file(settings));
    findings.push(checks::folder(settings));
    let usual = checks::reachable(settings.admin_address());
    let url = url.map_or_else(|| format!("http://{usual}"), str::to_owned);
    let client = Client::without_key(&url)?;
    if let Ok((status, body)) = client.probe("/readyz?verbose=1").await {
        let ready: Value = serde_json::from_str(&body).unwrap_or_default();
        findings.extend(checks::running(&url, status, &ready));
        findings.push(master_keys(&url).await);
    } else {
        findings.push(Finding::skipped(
            "server",
            format!("nothing answers at {url}"),
        ));
        findings.push(checks::port("gateway port", settings.gateway_address()).await);
        findings.push(checks::port("admin port", settings.admin_address()).await);
        findings.push(checks::store(settings).await);
    }
    findings.extend(checks::backup(settings, SystemClock::start().now().wall));
    findings.extend(checks::weak_settings(settings));
    Ok(())
}

/// Asks the server about its master keys, if there is a key to ask with.
async fn master_keys(url: &str) -> Finding {
    const CHECK: &str = "old master keys";
    let remote = Remote {
        url: url.to_owned(),
        key: None,
        key_file: None,
        tenant: None,
    };
    let asked = async { Client::new(&remote)?.get("/api/v1/masterkeys").await };
    match asked.await {
        Ok(answer) => checks::master_keys(&answer.json),
        Err(_no_key) => Finding::skipped(CHECK, "needs an operator's key in TOLLGATE_KEY"),
    }
}

fn told(findings: &[Finding], form: Form) -> String {
    if form.json {
        let checks: Vec<Value> = findings.iter().map(Finding::json).collect();
        let is_well = findings
            .iter()
            .all(|finding| finding.state != State::Failing);
        return json!({ "ok": is_well, "checks": checks }).to_string();
    }
    let mut table = output::plain_table();
    for finding in findings {
        table.add_row([finding.state.as_str(), finding.check, &finding.detail]);
    }
    output::trimmed(&table)
}
