//! A node that is killed while much waits for the store: it takes calls as soon as it starts again, and books what was left beside them.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_tests::{Caller, Engine, Plan, Tenant, World, call, until};

const CLIENTS: usize = 12;
const CALLS: usize = 40;

/// Many calls at once, all of which are answered.
async fn many_calls(tenant: &Tenant) {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let caller = tenant.caller.clone();
        clients.spawn(async move {
            for _ in 0..CALLS {
                let answer = caller.chat(&call()).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
        });
    }
    clients.join_all().await;
}

async fn lag(world: &World) -> u64 {
    let status: Value = world.operator.get("/ledger/status").await;
    status["writer"]["lag_rows"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_again_and_again_over_its_backlog_takes_calls_at_once_and_books_each_once()
{
    // Small batches, so that the backlog is not booked before the next kill.
    let plan = Plan::quiet(Engine::Postgres).with("TOLLGATE__APP__LEDGER_BATCH_ROWS", "2");
    let mut world = World::start(plan).await;
    let tenant = world.tenant().await;
    let integration = tenant.openai(&json!({"budget_limit_cents": 100_000})).await;
    assert_eq!(tenant.caller.chat(&call()).await.status, 200);
    integration.holds_are_gone().await;
    world.cluster().freeze();
    many_calls(&tenant).await;
    world.gateway.program.kill().await;
    world.cluster().thaw();
    let mut seen = 0;
    for _kill in 0..3 {
        world.restart().await;
        let admin = Caller::new(&world.gateway.admin_url, "");
        let ready = admin.bare("/readyz?verbose", &[], "").await;
        assert_eq!(ready.status, 200, "{}", ready.text());
        seen = seen.max(lag(&world).await);
        for _ in 0..5 {
            let answer = world.again(&tenant).caller.chat(&call()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        world.gateway.program.kill().await;
    }
    assert!(
        seen > 0,
        "nothing was left to be booked: the test proves nothing"
    );
    world.restart().await;
    until("everything is booked", async || {
        (lag(&world).await == 0).then_some(())
    })
    .await;
    let status = world.operator.get("/ledger/status").await;
    assert_eq!(status["journal"]["unposted"], 0, "{status}");
    let rows = world.close().await;
    assert_eq!(rows.len(), 1 + CLIENTS * CALLS + 15);
}
