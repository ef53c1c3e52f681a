//! Names of models: what a call names, what its provider is asked for, and what the books say.

use http::StatusCode;
use serde_json::json;
use tollgate_app::integrations::{Change, IntegrationPatch};
use tollgate_app::testing::MODEL;

use crate::provider::completion;
use crate::stage::{Limited, Stage, figures};

const UNNAMED: &str = r#"{"max_tokens":100,"messages":[{"role":"user","content":"hi"}]}"#;

async fn set_default_model(stage: &Stage, model: &str) {
    let context = stage.world.acting_on(&stage.tenant);
    let patch = IntegrationPatch {
        default_model: Change::Set(model.to_owned()),
        ..IntegrationPatch::default()
    };
    let app = &stage.world.app;
    let changed = app.update_integration(&context, stage.integration, patch);
    changed.await.unwrap();
}

#[tokio::test]
async fn a_call_that_names_no_model_is_for_the_integrations_own() {
    let stage = Stage::limited(Limited::default(), json!({ "aliases": { "usual": MODEL } })).await;
    let said = stage.chat(UNNAMED).await;
    assert_eq!(said.status, StatusCode::BAD_REQUEST);
    assert_eq!(said.json()["error"]["param"], "model");
    for (number, usual) in [MODEL, "usual"].into_iter().enumerate() {
        set_default_model(&stage, usual).await;
        for unnamed in [
            UNNAMED.to_owned(),
            UNNAMED.replacen('{', r#"{"model":null,"#, 1),
        ] {
            stage.provider.script(completion(5, 7));
            let said = stage.chat(&unnamed).await;
            assert_eq!(said.status, StatusCode::OK, "{unnamed}");
        }
        let seen = stage.provider.seen();
        let named = UNNAMED.replacen('{', &format!(r#"{{"model":"{MODEL}","#), 1);
        for seen in &seen[number * 2..] {
            assert_eq!(String::from_utf8(seen.body.clone()).unwrap(), named);
        }
    }
    let rows = stage.rows_once(4).await;
    for row in &rows {
        assert_eq!((&*row.usage.model, figures(row)), (MODEL, (5, 7, 19_000)));
    }
    stage.strike().await;
}

#[tokio::test]
async fn a_call_that_names_a_model_is_not_for_the_integrations_own() {
    let stage = Stage::set().await;
    set_default_model(&stage, "another-model").await;
    stage.provider.script(completion(5, 7));
    let named = UNNAMED.replacen('{', &format!(r#"{{"model":"{MODEL}","#), 1);
    assert_eq!(stage.chat(&named).await.status, StatusCode::OK);
    assert_eq!(stage.provider.seen()[0].body, named.as_bytes());
    stage.strike().await;
}
