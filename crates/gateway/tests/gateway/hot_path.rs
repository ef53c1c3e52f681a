//! What an admitted call does not do.

use cus_models::CusProviderType;
use http::StatusCode;
use serde_json::json;
use tollgate_app::AppConfig;
use tollgate_app::testing::World;
use tollgate_gateway::GatewayConfig;

use crate::provider::completion;
use crate::stage::{Limited, Stage, hello};

#[tokio::test]
async fn admitted_calls_send_no_statement_to_the_database_and_only_batches_do() {
    const CALLS: usize = 300;
    let limits = Limited {
        budget_cents: 100_000,
        tokens: 1_000_000,
        rpm: 1_000,
    };
    let gathering = AppConfig {
        ledger_gather_ms: 250,
        ..AppConfig::default()
    };
    let world = World::start_with(gathering).await;
    let config = GatewayConfig::default();
    let stage = Stage::in_world(
        world,
        CusProviderType::OpenAi,
        limits,
        json!({"hard_cap": true}),
        config,
    )
    .await;
    // The first call of a month draws the node's allowance.
    stage.provider.script(completion(1, 1));
    assert_eq!(stage.chat(&hello()).await.status, StatusCode::OK);
    stage.world.app.books_caught_up().await;
    let before = stage.world.app.statements();
    for _ in 0..CALLS {
        stage.provider.script(completion(1, 1));
        assert_eq!(stage.chat(&hello()).await.status, StatusCode::OK);
    }
    stage.world.app.books_caught_up().await;
    let sent = stage.world.app.statements() - before;
    // A single statement a call would make at least as many as there were calls.
    assert!(sent < 150, "{sent} statements for {CALLS} calls");
    stage.strike().await;
}
