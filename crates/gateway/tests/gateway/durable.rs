//! Calls leave once they are on the journal, however it reaches its disk.

use cus_models::CusProviderType;
use http::StatusCode;
use serde_json::json;
use tollgate_app::AppConfig;
use tollgate_app::config::SyncChoice;
use tollgate_app::testing::World;
use tollgate_gateway::GatewayConfig;

use crate::provider::completion;
use crate::stage::{Limited, Said, Stage, hello};

#[tokio::test]
async fn calls_at_the_same_time_leave_and_are_booked_however_the_journal_comes_to_its_disk() {
    for journal_sync in [SyncChoice::Always, SyncChoice::Grouped, SyncChoice::Never] {
        let world = World::start_with(AppConfig {
            journal_sync,
            ledger_gather_ms: 0,
            probe_seconds: 0,
            ..AppConfig::default()
        });
        let stage = Stage::in_world(
            Box::pin(world).await,
            CusProviderType::OpenAi,
            Limited::default(),
            json!({}),
            GatewayConfig::default(),
        )
        .await;
        for _ in 0..4 {
            stage.provider.script(completion(10, 5));
        }
        let body = hello();
        let chat = || stage.chat(&body);
        let answers = tokio::join!(chat(), chat(), chat(), chat());
        for answer in <[Said; 4]>::from(answers) {
            assert_eq!(answer.status, StatusCode::OK, "{journal_sync:?}");
        }
        assert_eq!(stage.rows_once(4).await.len(), 4);
        stage.strike().await;
    }
}
