//! What holds for every route: keys, ids of requests, problem documents, bounds of a body.

use serde_json::json;

use crate::client::Client;

#[tokio::test]
async fn a_key_that_does_not_work_is_a_401_that_tells_nothing_more() {
    let client = Client::start().await;
    let path = "/api/v1/integrations";
    let none = client.ask("GET", path).send().await;
    assert_eq!(none.headers["www-authenticate"], "Bearer");
    let none = none.problem(401, "invalid_api_key");
    for key in [
        "",
        "nonsense",
        "tg_admin_00000000000000000000000000000000000000",
    ] {
        let unknown = client
            .ask("GET", path)
            .key(key)
            .send()
            .await
            .problem(401, "invalid_api_key");
        assert_eq!(unknown["detail"], none["detail"]);
    }
    let basic = client
        .ask("GET", path)
        .header("authorization", "Basic YTpi")
        .send()
        .await;
    basic.problem(401, "invalid_api_key");
    let other = client
        .admin("GET", path)
        .header("x-api-key", &client.viewer)
        .send()
        .await;
    other.problem(400, "conflicting_credentials");
    let same = client
        .admin("GET", path)
        .header("x-api-key", &client.admin)
        .send()
        .await;
    same.json_of(200);
    client.world.close().await;
}

#[tokio::test]
async fn a_key_stops_working_when_it_expires() {
    let client = Client::start().await;
    let body = json!({ "name": "short", "role": "viewer", "expires_at": "2026-11-22T10:01:00Z" });
    let made = client
        .admin("POST", "/api/v1/keys")
        .json(&body)
        .send()
        .await
        .json_of(201);
    let key = made["key"].as_str().unwrap();
    let ask = || client.ask("GET", "/api/v1/integrations").key(key).send();
    ask().await.json_of(200);
    client.world.clock.advance_ms(60_000);
    ask().await.problem(401, "invalid_api_key");
    client.world.close().await;
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_a_fitting_one_of_the_caller_is_kept() {
    let client = Client::start().await;
    let kept = client
        .ask("GET", "/livez")
        .header("x-request-id", "abc-1.2_3")
        .send()
        .await;
    assert_eq!(kept.headers["x-request-id"], "abc-1.2_3");
    for unfit in ["with space", "<script>", &"x".repeat(129)] {
        let answer = client
            .ask("GET", "/livez")
            .header("x-request-id", unfit)
            .send()
            .await;
        assert_eq!(answer.headers["x-request-id"].len(), 36);
    }
    client.world.close().await;
}

#[tokio::test]
async fn also_the_routers_own_errors_are_problem_documents() {
    let client = Client::start().await;
    client
        .ask("GET", "/api/v1/nothing")
        .send()
        .await
        .problem(404, "not_found");
    client
        .ask("GET", "/")
        .send()
        .await
        .problem(404, "not_found");
    let wrong = client.admin("PUT", "/api/v1/keys").send().await;
    assert_eq!(wrong.headers["allow"], "GET,HEAD,POST");
    let wrong = wrong.problem(405, "method_not_allowed");
    assert_eq!(wrong["instance"], "/api/v1/keys");
    assert_eq!(wrong["type"], "urn:tollgate:problem:method_not_allowed");
    client.world.close().await;
}

#[tokio::test]
async fn a_body_is_json_of_known_names_and_at_most_a_mebibyte() {
    let client = Client::start().await;
    let post = || client.admin("POST", "/api/v1/keys");
    post()
        .text("{}".to_owned())
        .send()
        .await
        .problem(415, "unsupported_media_type");
    let json = "content-type";
    let broken = post()
        .header(json, "application/json")
        .text("{\"name\":".to_owned());
    broken.send().await.problem(400, "invalid_json");
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(1 << 20));
    let large = post()
        .header(json, "application/json; charset=utf-8")
        .text(large);
    large.send().await.problem(413, "body_too_large");
    let unknown = json!({ "name": "a", "role": "viewer", "rolle": "admin" });
    let unknown = post().json(&unknown).send().await.problem(422, "invalid");
    assert_eq!(unknown["errors"][0]["pointer"], "/rolle");
    let wrong = json!({ "name": "a", "role": "root" });
    let wrong = post().json(&wrong).send().await.problem(422, "invalid");
    assert_eq!(wrong["errors"][0]["pointer"], "/role");
    let text = wrong["detail"].as_str().unwrap();
    assert!(
        text.contains("operator, admin, viewer, caller") && !text.contains("root"),
        "{text}"
    );
    let missing = post()
        .json(&json!({ "name": "a" }))
        .send()
        .await
        .problem(422, "invalid");
    assert_eq!(missing["errors"][0]["pointer"], "/role");
    client.world.close().await;
}

#[tokio::test]
async fn an_unknown_query_parameter_is_refused_by_name() {
    let client = Client::start().await;
    let limt = client
        .admin("GET", "/api/v1/keys?limt=3")
        .send()
        .await
        .problem(400, "invalid_query");
    assert_eq!(limt["errors"][0]["pointer"], "?limt");
    for query in [
        "limit=0",
        "limit=201",
        "limit=x",
        "cursor=x",
        "limit=1&limit=2",
    ] {
        let path = format!("/api/v1/keys?{query}");
        client
            .admin("GET", &path)
            .send()
            .await
            .problem(400, "invalid_query");
    }
    client.world.close().await;
}

#[tokio::test]
async fn a_node_tells_that_it_lives_and_is_ready_without_a_key() {
    let client = Client::start().await;
    assert_eq!(client.ask("GET", "/livez").send().await.text, "ok\n");
    let ready = client.ask("GET", "/readyz").send().await.json_of(200);
    assert_eq!(ready, json!({ "status": "ready" }));
    let verbose = client
        .ask("GET", "/readyz?verbose")
        .send()
        .await
        .json_of(200);
    let checks = json!({ "store": true, "journal": true, "ledger": true, "ledger_lag_rows": 0 });
    assert_eq!(verbose, json!({ "status": "ready", "checks": checks }));
    client.world.close().await;
}

#[tokio::test]
async fn without_its_store_a_node_lives_is_not_ready_and_asks_to_try_again() {
    let client = Client::start().await;
    client.world.lose_store().await;
    assert_eq!(client.ask("GET", "/livez").send().await.status, 200);
    let ready = client
        .ask("GET", "/readyz?verbose")
        .send()
        .await
        .json_of(503);
    assert_eq!(ready["status"], "not_ready");
    assert_eq!(
        (&ready["checks"]["store"], &ready["checks"]["journal"]),
        (&false.into(), &true.into())
    );
    let answer = client.admin("GET", "/api/v1/integrations").send().await;
    assert_eq!(answer.headers["retry-after"], "1");
    answer.problem(503, "unavailable");
    client.world.leave().await;
}

#[tokio::test]
async fn the_programs_own_routes_are_dressed_like_the_others() {
    let client = Client::start().await;
    let extra = axum::Router::new().route("/metrics", axum::routing::get(|| async { "calls 1\n" }));
    let router = tollgate_api::router_with(std::sync::Arc::clone(&client.world.app), extra);
    let client = client.through(router);
    let metrics = client.ask("GET", "/metrics").send().await;
    assert_eq!((metrics.status, metrics.text.as_str()), (200, "calls 1\n"));
    assert_eq!(metrics.headers["x-request-id"].len(), 36);
    client
        .ask("POST", "/metrics")
        .send()
        .await
        .problem(405, "method_not_allowed");
    client.world.close().await;
}

#[tokio::test]
async fn all_that_is_wrong_with_a_request_is_told_at_once() {
    let client = Client::start().await;
    let body = json!({
        "name": "", "provider_type": "openai", "budget_limit_cents": -1, "rate_limit_rpm": -5,
        "config": { "base_urrl": "x" },
    });
    let post = client.admin("POST", "/api/v1/integrations").json(&body);
    let problem = post.send().await.problem(422, "invalid");
    let told = |problem: &serde_json::Value| {
        let errors = problem["errors"].as_array().unwrap().clone().into_iter();
        let told = errors.map(|error| format!("{} {}", error["pointer"], error["code"]));
        told.collect::<Vec<_>>().join(", ").replace('"', "")
    };
    let rules = [
        "/name",
        "/budget_limit_cents",
        "/rate_limit_rpm",
        "/config",
        "/credential",
    ];
    assert_eq!(
        told(&problem),
        rules
            .map(|place| format!("{place} invalid_value"))
            .join(", ")
    );
    let body = json!({ "nam": "x", "provider_type": "google", "token_limit_month": "5" });
    let post = client.admin("POST", "/api/v1/integrations").json(&body);
    let told = told(&post.send().await.problem(422, "invalid"));
    for mistake in [
        "/nam unknown_field",
        "/name missing_field",
        "/provider_type invalid_value",
        "/token_limit_month wrong_type",
    ] {
        assert!(told.contains(mistake), "{told}");
    }
    let path = "/api/v1/integrations?zz=1&limit=abc&status=";
    let problem = client
        .admin("GET", path)
        .send()
        .await
        .problem(400, "invalid_query");
    let errors = problem["errors"].as_array().unwrap();
    let places: Vec<_> = errors.iter().map(|error| &error["pointer"]).collect();
    assert_eq!(places, ["?zz", "?limit", "?status"]);
    client.world.close().await;
}

#[tokio::test]
async fn a_patch_that_changes_nothing_is_refused() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let path = format!("/api/v1/integrations/{id}");
    for body in [
        json!({}),
        json!({ "name": null }),
        json!({ "status": "enabled" }),
    ] {
        let asking = client.admin("PATCH", &path).json(&body);
        asking.send().await.problem(422, "invalid");
    }
    client.world.close().await;
}

#[tokio::test]
async fn a_path_tells_its_methods() {
    let client = Client::start().await;
    let options = client.ask("OPTIONS", "/api/v1/keys").send().await;
    assert_eq!((options.status, options.text.as_str()), (204, ""));
    assert_eq!(options.headers["allow"], "GET,HEAD,POST");
    let head = client.admin("HEAD", "/api/v1/keys").send().await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    client.world.close().await;
}
