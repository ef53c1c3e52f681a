//! Who may do what, found by really asking every route with every kind of key.

use std::fmt::Write;

use crate::client::Client;
use crate::recorded;

/// An id that nobody has.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

#[tokio::test]
async fn every_route_lets_in_exactly_the_recorded_roles() {
    let client = Client::start().await;
    let keys = [
        ("operator", client.operator.clone()),
        ("admin", client.admin.clone()),
        ("viewer", client.viewer.clone()),
        ("caller", client.caller.clone()),
    ];
    let mut table = "# Route, then who gets past the guard: found by asking.\n".to_owned();
    for route in tollgate_api::routes() {
        let path = route.path.replace("{id}", NOBODY);
        let bare = client.ask(route.method, &path).send().await.status;
        let mut allowed = Vec::new();
        if bare != 401 {
            allowed.push("anybody");
        }
        for (role, key) in keys.iter().filter(|_| bare == 401) {
            let mut asking = client.ask(route.method, &path).key(key);
            if *role == "operator" {
                asking = asking.tenant(client.acme.as_str());
            }
            let status = asking.send().await.status;
            assert_ne!(status, 401, "{} {path} as {role}", route.method);
            if status != 403 {
                allowed.push(role);
            }
        }
        writeln!(
            table,
            "{:6} {:44} {}",
            route.method,
            route.path,
            allowed.join(" ")
        )
        .unwrap();
    }
    client.world.close().await;
    recorded::check("tests/recorded/routes.txt", &table);
}
