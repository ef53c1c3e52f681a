//! The OpenAPI description: committed, so that a change of the interface is seen in review.

use serde_json::Value;

use crate::client::Client;
use crate::recorded;

#[test]
fn the_committed_description_is_what_the_code_says() {
    recorded::check("openapi.json", &tollgate_api::openapi_json());
}

#[test]
fn every_reference_of_the_description_leads_somewhere() {
    let description: Value = serde_json::from_str(&tollgate_api::openapi_json()).unwrap();
    let text = description.to_string();
    let mut checked = 0;
    for part in text.split("\"$ref\":\"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(description.pointer(pointer).is_some(), "{pointer}");
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
    assert_eq!(description["openapi"], "3.1.0");
}

#[tokio::test]
async fn the_description_is_served_without_a_key() {
    let client = Client::start().await;
    let answer = client.ask("GET", "/api/v1/openapi.json").send().await;
    assert_eq!(answer.text, tollgate_api::openapi_json());
    client.world.close().await;
}
