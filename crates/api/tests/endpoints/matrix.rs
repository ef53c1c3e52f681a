//! Every route × everybody who may ask × one's own, another tenant's and nobody's id: the status
//! of each, recorded. A new route is not in the record, and so fails here.

use std::fmt::Write;

use serde_json::{Value, json};
use tollgate_api::RouteRow;
use tollgate_app::enforcement::{Estimate, NewHold, Taken};
use tollgate_core::TenantId;
use tollgate_core::role::Role;

use crate::client::Client;
use crate::recorded;

/// An id that nobody has.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// Whose id stands in the path.
const WHOSE: [&str; 3] = ["own", "foreign", "unknown"];

const ASKERS: [&str; 7] = [
    "nobody", "operator", "for-acme", "admin", "viewer", "caller", "stranger",
];

#[tokio::test]
async fn every_route_answers_everybody_as_recorded() {
    let client = Client::start().await;
    let examples: Value = serde_json::from_str(include_str!("../../examples.json")).unwrap();
    let description: Value = serde_json::from_str(&tollgate_api::openapi_json()).unwrap();
    let mut table = "# Route and whose id stands in it (acme's own, globex's, nobody's; for the stranger, who is\n\
                     # globex's admin, own is globex's), then the status for each asker: found by asking.\n"
        .to_owned();
    write!(table, "{:56}", "#").unwrap();
    writeln!(
        table,
        "{}",
        ASKERS.map(|asker| format!("{asker:9}")).join("").trim_end()
    )
    .unwrap();
    for route in tollgate_api::routes() {
        let rows: &[&str] = if route.path.contains("{id}") {
            &WHOSE
        } else {
            &["-"]
        };
        let operation = &description["paths"][route.path][route.method.to_ascii_lowercase()];
        let body = &examples[operation["operationId"].as_str().unwrap()]["request"];
        for whose in rows {
            let mut line = format!("{:6} {:40} {:8}", route.method, route.path, whose);
            for asker in ASKERS {
                let status = cell(&client, route, asker, whose, body).await;
                write!(line, " {status:<8}").unwrap();
            }
            writeln!(table, "{}", line.trim_end()).unwrap();
        }
    }
    client.world.close().await;
    recorded::check("tests/recorded/matrix.txt", &table);
}

/// What one asker is answered.
async fn cell(client: &Client, route: RouteRow, asker: &str, whose: &str, body: &Value) -> u16 {
    let globex: TenantId = "globex".parse().unwrap();
    let (mine, other) = match asker {
        "stranger" => (&globex, &client.acme),
        _ => (&client.acme, &globex),
    };
    let id = match whose {
        "own" => fresh_id(client, route, mine).await,
        "foreign" => fresh_id(client, route, other).await,
        _ => NOBODY.to_owned(),
    };
    let status = ask(client, route, asker, &id, body).await;
    let is_operators = route.path.starts_with("/api/v1/tenants") && whose == "foreign";
    if matches!(whose, "foreign" | "unknown") && !is_operators {
        assert!(status >= 400, "{} {whose} {asker}: {status}", route.path);
    }
    status
}

/// The id of something new of this tenant, of the kind that the route has in its path.
async fn fresh_id(client: &Client, route: RouteRow, tenant: &TenantId) -> String {
    match route.path.split('/').nth(3).unwrap() {
        "tenants" => {
            let name = cus_models::generate_uuid();
            client.world.tenant(&name).await.to_string()
        }
        "keys" => {
            let created = client.world.created_key(Some(tenant), Role::Viewer).await;
            created.key.id.to_string()
        }
        "integrations" => {
            let name = cus_models::generate_uuid();
            client.world.integration(tenant, &name).await.to_string()
        }
        "enforcement" => {
            let name = cus_models::generate_uuid();
            let integration = client.world.integration(tenant, &name).await;
            let new = NewHold {
                integration,
                estimate: Estimate::default(),
                call_id: None,
                seconds: None,
            };
            let caller = client.world.somebody(tenant, Role::Caller);
            match client.world.app.create_hold(&caller, new).await.unwrap() {
                Taken::Held(hold, _) => hold.id.to_string(),
                Taken::Refused(refusal) => panic!("{refusal:?}"),
            }
        }
        // Nodes are no tenant's, and to retire this one would end the world.
        "nodes" => NOBODY.to_owned(),
        other => panic!("say here what the id in /{other}/{{id}} is of"),
    }
}

async fn ask(client: &Client, route: RouteRow, asker: &str, id: &str, body: &Value) -> u16 {
    let path = route
        .path
        .replace("{id}", id)
        .replace("{provider_type}/{model}", "openai/gpt-4o-mini");
    let asking = client.ask(route.method, &path);
    let asking = match asker {
        "nobody" => asking,
        "operator" => asking.key(&client.operator),
        "for-acme" => asking.key(&client.operator).tenant("acme"),
        "admin" => asking.key(&client.admin),
        "viewer" => asking.key(&client.viewer),
        "caller" => asking.key(&client.caller),
        _ => asking.key(&client.stranger),
    };
    let mut body = body.clone();
    // Each asker makes a thing of its own.
    for name in ["id", "name"] {
        if body.get(name).is_some() && route.method == "POST" {
            body[name] = json!(cus_models::generate_uuid());
        }
    }
    let asking = if body.is_null() {
        asking
    } else {
        asking.json(&body)
    };
    asking.send().await.status
}
