//! The books as the operator sees them.

use tollgate_core::TokenUsage;

use crate::client::Client;

#[tokio::test]
async fn the_books_are_exact_and_a_rebuild_changes_nothing() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    for _ in 0..3 {
        client.world.call(id, TokenUsage::plain(4_000, 0)).await;
    }
    let found = client
        .operator("GET", "/api/v1/ledger/verify")
        .send()
        .await
        .json_of(200);
    assert_eq!((&found["exact"], &found["rows"]), (&true.into(), &3.into()));
    assert_eq!(found["first_difference"], serde_json::Value::Null);
    let days = client
        .operator("GET", "/api/v1/ledger/rollups/verify")
        .send()
        .await
        .json_of(200);
    assert_eq!(days["exact"], true);
    let rebuilt = client
        .operator("POST", "/api/v1/ledger/rollups/rebuild")
        .send()
        .await;
    let rebuilt = rebuilt.json_of(200);
    assert_eq!(
        (&rebuilt["days"], &rebuilt["changed"]),
        (&1.into(), &0.into())
    );
    let status = client
        .operator("GET", "/api/v1/ledger/status")
        .send()
        .await
        .json_of(200);
    assert_eq!(status["engine"], "sqlite");
    assert_eq!(status["ledger"]["rows"], 3);
    assert_eq!(status["ledger"]["cost_usd"], "0.012000000");
    assert_eq!(status["ledger"]["cost_cents"], 1);
    assert_eq!(status["writer"]["lag_rows"], 0);
    assert_eq!(status["journal"]["open_calls"], 0);
    client.world.close().await;
}
