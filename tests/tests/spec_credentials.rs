//! The earlier system's cases 77 to 80, as far as they are about what a caller can give: references that are refused
//! and not repeated, and a credential that is replaced. Where ours is another answer, `docs/deviations.md` says why.

use http::Method;
use serde_json::json;
use tollgate_tests::World;

#[tokio::test(flavor = "multi_thread")]
async fn cases_77_to_79_only_references_that_one_may_give_are_taken_and_none_is_repeated() {
    let world = World::start_on_sqlite().await;
    let tenant = world.tenant().await;
    let another = world.tenant().await;
    let foreign = another.openai(&json!({})).await;
    for reference in [
        "cus-vault://acme/openai",
        "vault",
        "sk-a-raw-key-0123456789",
        "AIzaSyA-raw-key-0123456789",
        "plain",
        "",
        "ENV://TOLLGATE_CRED_ACME",
        "env://HOME",
        "env://",
        &format!("encrypted://{}", foreign.id),
    ] {
        let body = json!({
            "name": "main", "provider_type": "openai", "credential_ref": reference,
        });
        let refused = tenant
            .control
            .send(Method::POST, "/integrations", Some(&body));
        let refused = refused.await;
        assert_eq!(refused.status, 422, "{reference}: {}", refused.text());
        let places = refused.json()["errors"][0]["pointer"].clone();
        assert_eq!(places, "/credential_ref", "{reference}: {}", refused.text());
        let is_repeated = reference.len() > 8 && refused.text().contains(reference);
        assert!(!is_repeated, "{reference}: {}", refused.text());
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_80_a_replaced_credential_is_known_by_its_mark_and_junk_replaces_nothing() {
    let world = World::start_on_sqlite().await;
    let tenant = world.tenant().await;
    let integration = tenant.openai(&json!({})).await;
    let path = format!("/integrations/{}", integration.id);
    let before = tenant.control.get(&path).await["credential"].clone();
    let replace = async |body: serde_json::Value| {
        let path = format!("{path}/credential");
        tenant.control.send(Method::POST, &path, Some(&body)).await
    };
    for junk in [
        json!({}),
        json!({ "credential": "sk-junk" }),
        json!({ "credential": {} }),
    ] {
        let refused = replace(junk.clone()).await;
        assert_eq!(refused.status, 422, "{junk}: {}", refused.text());
    }
    assert_eq!(tenant.control.get(&path).await["credential"], before);
    let new = json!({ "credential": { "api_key": "sk-simulated-another" } });
    let replaced = replace(new).await;
    assert_eq!(replaced.status, 200, "{}", replaced.text());
    let after = tenant.control.get(&path).await["credential"].clone();
    assert_ne!(after["fingerprint"], before["fingerprint"]);
    assert_eq!(after["last4"], "ther");
    world.close().await;
}
