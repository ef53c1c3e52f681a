//! The edges of the wire: what reaches a provider, what of a provider is believed, and bytes that are no good request.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tollgate_tests::{
    Answer, CANARY, CHAT, Engine, PATIENCE, Plan, Recorder, Tenant, World, answer_of, call,
    repository, run,
};

fn completion(usage: &str) -> String {
    let body = format!(
        r#"{{"id":"x","object":"chat.completion","model":"gpt-4o-mini","choices":[{{"index":0,"message":{{"role":"assistant","content":"hello there"}},"finish_reason":"stop"}}]{usage}}}"#
    );
    answer_of("200 OK", &[], &body)
}

const USAGE: &str = r#","usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}"#;

async fn recorded(tenant: &Tenant, answer: String, config: &Value) -> Recorder {
    let recorder = Recorder::start(answer).await;
    let mut config = config.clone();
    config["base_url"] = json!(format!("{}/prefix/v1", recorder.url));
    tenant.openai(&json!({"config": config})).await;
    recorder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_gets_its_own_credential_and_the_body_as_it_is_and_nothing_else_of_the_caller() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let recorder = recorded(&tenant, completion(USAGE), &json!({})).await;
    let body = "{ \"model\" : \"gpt-4o-mini\",\n\"max_tokens\":5,\t\"messages\":[{\"role\":\"user\",\"content\":\"gr\\u00fc\u{df}e\"}],\"new_member\":{\"a\":[1.50,2e3]}}";
    let headers = [
        ("x-tollgate-call-id", "call-1"),
        ("x-tollgate-session-id", "session-1"),
        ("x-tollgate-nonsense", "1"),
        ("X-TollGate-Upstream", "http://elsewhere.example"),
        ("x-api-key", &*tenant.caller.key),
        ("cookie", "a=b"),
        ("openai-organization", "org-of-somebody"),
        ("x-forwarded-for", "10.0.0.1"),
        ("proxy-authorization", "Basic eDp5"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("user-agent", "an-application/1"),
    ];
    let answer = tenant.caller.post(CHAT, &headers, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (head, sent) = recorder.only_request();
    assert_eq!(sent, body, "the body is not as it was");
    assert!(
        head.starts_with("post /prefix/v1/chat/completions http/1.1"),
        "{head}"
    );
    assert!(head.contains(&format!("authorization: bearer {}", CANARY.to_lowercase())));
    assert!(head.contains("x-client-request-id: call-1"), "{head}");
    assert!(head.contains("user-agent: an-application/1"), "{head}");
    assert!(
        head.contains(&format!(
            "host: {}",
            recorder.url.trim_start_matches("http://")
        )),
        "{head}"
    );
    for never in [
        "tollgate",
        "tg_",
        "cookie",
        "org-of-somebody",
        "forwarded",
        "proxy-auth",
        "x-hop",
        "session-1",
    ] {
        assert!(
            !head.contains(never),
            "{never} reaches the provider: {head}"
        );
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_documented_edits_are_made() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let config = json!({"hard_cap": true, "default_max_output_tokens": 77, "aliases": {"fast": "gpt-4o-mini"}});
    let recorder = recorded(&tenant, completion(USAGE), &config).await;
    let body = r#"{"model":"openai/fast","stream":true,"messages":[{"role":"user","content":"hi"}],"x":{"model":"fast"}}"#;
    tenant.caller.post(CHAT, &[], body).await;
    let (_, sent) = recorder.only_request();
    let mut sent: Value = serde_json::from_str(&sent).unwrap();
    let members = sent.as_object_mut().unwrap();
    assert_eq!(
        members.remove("stream_options"),
        Some(json!({"include_usage": true}))
    );
    let caps: Vec<_> = ["max_tokens", "max_completion_tokens"]
        .iter()
        .filter_map(|name| members.remove(*name))
        .collect();
    assert_eq!(caps, [json!(77)]);
    let expected = json!({"model": "gpt-4o-mini", "stream": true, "x": {"model": "fast"},
        "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(sent, expected);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_usage_that_cannot_be_true_is_charged_at_what_was_held() {
    let world = World::on(Engine::Sqlite).await;
    for usage in [
        r#","usage":{"prompt_tokens":-3,"completion_tokens":2}"#,
        r#","usage":{"prompt_tokens":3,"completion_tokens":99999999}"#,
        r#","usage":{"prompt_tokens":99999999,"completion_tokens":2}"#,
        r#","usage":{"prompt_tokens":3,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}"#,
        r#","usage":{"prompt_tokens":18446744073709551615,"completion_tokens":18446744073709551615}"#,
    ] {
        let tenant = world.tenant().await;
        let _recorder = recorded(&tenant, completion(usage), &json!({})).await;
        let answer = tenant.caller.chat(&call()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let row = tenant.row(answer.header("x-tollgate-call-id")).await;
        assert_eq!(row["error_code"], "usage_out_of_bounds", "{usage}: {row}");
        assert_eq!(row["usage_source"], "estimated", "{usage}: {row}");
    }
    for row in world.close().await {
        assert!(
            row.cost_nanos > 0 && row.cost_nanos == row.held_nanos,
            "{row:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn zero_usage_is_zero_and_no_usage_is_not() {
    let world = World::on(Engine::Sqlite).await;
    let zero = r#","usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#;
    for (usage, source, is_free) in [
        (zero, "provider", true),
        ("", "counted", false),
        (r#","usage":null"#, "counted", false),
    ] {
        let tenant = world.tenant().await;
        let _recorder = recorded(&tenant, completion(usage), &json!({})).await;
        let answer = tenant.caller.chat(&call()).await;
        let row = tenant.row(answer.header("x-tollgate-call-id")).await;
        assert_eq!(row["usage_source"], source, "{usage}: {row}");
        assert_eq!(row["cost_usd"] == "0.000000000", is_free, "{usage}: {row}");
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_a_provider_that_are_not_for_the_caller_stay_behind() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let body = completion(USAGE)
        .split_once("\r\n\r\n")
        .unwrap()
        .1
        .to_owned();
    let headers = [
        "set-cookie: a=b",
        "x-tollgate-cost-usd: 0",
        "x-tollgate-verdict: blocked",
        "x-request-id: theirs",
        "strict-transport-security: max-age=1",
        "access-control-allow-origin: *",
        "openai-organization: theirs",
        "openai-version: 2020-10-01",
    ];
    let _recorder = recorded(&tenant, answer_of("200 OK", &headers, &body), &json!({})).await;
    let answer = tenant.caller.chat(&call()).await;
    for name in [
        "set-cookie",
        "strict-transport-security",
        "access-control-allow-origin",
        "openai-organization",
    ] {
        assert_eq!(answer.header(name), "", "{name}");
    }
    assert_eq!(
        answer.headers.get_all("x-tollgate-verdict").iter().count(),
        1
    );
    assert_eq!(answer.header("x-tollgate-verdict"), "allowed");
    assert_ne!(answer.header("x-tollgate-cost-usd"), "0");
    assert_ne!(answer.header("x-request-id"), "theirs");
    assert_eq!(answer.header("openai-version"), "2020-10-01");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_of_a_provider_is_an_error_and_nobody_else_gets_the_credential() {
    let world = World::on(Engine::Sqlite).await;
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let tenant = world.tenant().await;
        let thief = Recorder::start(completion(USAGE)).await;
        let location = format!("location: {}/v1/chat/completions", thief.url);
        let _recorder = recorded(&tenant, answer_of(status, &[&location], "{}"), &json!({})).await;
        let answer = tenant.caller.chat(&call()).await;
        assert_eq!(answer.status, 502, "{status}: {}", answer.text());
        assert_eq!(answer.header("location"), "");
        assert_eq!(thief.requests().len(), 0, "{status}");
    }
    world.close().await;
}

/// Sends bytes as they are and gives what comes back until the connection ends.
async fn raw(world: &World, bytes: &[u8]) -> String {
    let address = world.gateway.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A gateway that has heard enough may not take the rest.
    drop(stream.write_all(bytes).await);
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection is left open");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A good request but for what is said, in its own words.
fn raw_call(key: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("POST {CHAT} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\nconnection: close\r\n{headers}\r\n{body}")
        .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_length_is_in_doubt_reaches_nobody() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    let (key, body) = (tenant.caller.key.clone(), call().to_string());
    let length = body.len();
    let good = raw(
        &world,
        &raw_call(&key, &format!("content-length: {length}\r\n"), &body),
    )
    .await;
    assert!(good.starts_with("HTTP/1.1 200"), "{good}");
    let smuggled = format!("0\r\n\r\nPOST {CHAT} HTTP/1.1\r\nhost: x\r\n\r\n");
    for headers in [
        format!("content-length: {length}\r\ncontent-length: 3\r\n"),
        format!("content-length: {length}, 3\r\n"),
        format!("content-length: +{length}\r\n"),
        "transfer-encoding: gzip\r\n".to_owned(),
        "transfer-encoding: identity, chunked\r\ntransfer-encoding: x\r\n".to_owned(),
        format!("content-length: {length}\r\nx-bad\r\n"),
        format!("content-length: {length}\r\nx bad: 1\r\n"),
        format!("content-length: {length}\r\nx-bad: a\rb\r\n"),
        format!("content-length: {length}\r\nx-bad: a\0b\r\n"),
    ] {
        let answer = raw(&world, &raw_call(&key, &headers, &body)).await;
        assert!(!answer.starts_with("HTTP/1.1 200"), "{headers:?}: {answer}");
    }
    // Both lengths: the chunked one counts or nothing does; what follows is never a second request.
    let both = raw_call(
        &key,
        &format!(
            "content-length: {}\r\ntransfer-encoding: chunked\r\n",
            smuggled.len()
        ),
        &smuggled,
    );
    let answer = raw(&world, &both).await;
    assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{answer}");
    assert_eq!(world.simulator.billed(), 1);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_end_and_a_body_that_does_not_come_are_cut() {
    let plan = Plan::on(Engine::Sqlite)
        .with("TOLLGATE__GATEWAY__HEAD_SECONDS", "1")
        .with("TOLLGATE__GATEWAY__BODY_SECONDS", "1");
    let world = World::start(plan).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    let key = tenant.caller.key.clone();
    let slow = raw(&world, b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n").await;
    assert!(!slow.contains("200 OK"), "{slow}");
    let waiting = raw(
        &world,
        &raw_call(&key, "content-length: 100\r\n", "{\"model\":"),
    )
    .await;
    assert!(waiting.starts_with("HTTP/1.1 408"), "{waiting}");
    let filler = format!("x-filler: {}\r\n", "x".repeat(2_000_000));
    let long = raw(&world, &raw_call(&key, &filler, "")).await;
    assert!(
        long.is_empty() || long.starts_with("HTTP/1.1 4"),
        "{}",
        long.chars().take(100).collect::<String>()
    );
    let many = "x-more: 1
"
    .repeat(5_000);
    let crowded = raw(&world, &raw_call(&key, &many, "")).await;
    assert!(
        crowded.is_empty() || crowded.starts_with("HTTP/1.1 4"),
        "{crowded}"
    );
    assert_eq!(tenant.caller.chat(&call()).await.status, 200);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_public_is_no_provider_unless_the_operator_says_so() {
    let world = World::on(Engine::Postgres).await;
    let tenant = world.tenant().await;
    // Those that name servers lead astray pass as a text; the connector has tests of its own.
    let corpus = repository().join("crates/providers/hostile/urls.txt");
    let corpus = std::fs::read_to_string(corpus).unwrap();
    let rows = corpus.lines().filter_map(|row| row.split_once('\t'));
    let refused = rows.filter(|(_, reason)| !reason.starts_with("leads"));
    for address in refused.map(|(address, _)| address) {
        // A world lets this machine be a provider, so that there are providers at all.
        let lower = address.to_lowercase();
        let host = lower.split("://").nth(1).unwrap_or_default();
        let own = ["localhost", "a.localhost", "127.", "[::1]", "[0:", "[0000:"];
        if own.iter().any(|name| host.starts_with(name)) {
            continue;
        }
        let body = json!({"name": "inside", "provider_type": "custom", "credential": {"api_key": CANARY},
            "config": {"base_url": address}});
        let answer = tenant
            .control
            .send(http::Method::POST, "/integrations", Some(&body))
            .await;
        assert_eq!(answer.status, 422, "{address}: {}", answer.text());
        must_be_a_problem(&answer);
    }
    world.close().await;
}

/// What a stored credential must never do: go where somebody else, who may change the settings but
/// does not know it, would like it to go.
#[tokio::test(flavor = "multi_thread")]
async fn replay_of_a_members_new_base_url_that_is_to_receive_the_stored_key() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let integration = tenant.openai(&json!({})).await;
    let thief = Recorder::start(completion(USAGE)).await;
    let path = format!("/integrations/{}", integration.id);
    let moved = json!({"config": {"base_url": format!("{}/v1", thief.url)}});
    let answer = tenant
        .control
        .send(http::Method::PATCH, &path, Some(&moved))
        .await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(answer.json()["code"], "credential_required");
    // The same from the command line, and a probe that would bring its own address.
    let url = format!("{}/v1", thief.url);
    let args = ["integration", "update", &integration.id, "--base-url", &url];
    let args = [&args[..], &["--tenant", &tenant.id]].concat();
    let env = [
        ("TOLLGATE_ADMIN_URL", &*world.gateway.admin_url),
        ("TOLLGATE_KEY", &*world.gateway.operator_key),
    ];
    let told = run(&args, &env, "").await;
    assert_ne!(told.code, Some(0));
    assert!(told.err.contains("give it again"), "{}", told.err);
    let test = format!("{path}/test");
    let tested = tenant.control.send(http::Method::POST, &test, Some(&moved));
    drop(tested.await);
    assert_eq!(tenant.caller.chat(&call()).await.status, 200);
    assert!(thief.requests().is_empty(), "{:?}", thief.requests());
    world.close().await;
}

fn must_be_a_problem(answer: &Answer) {
    assert_eq!(
        answer.header("content-type"),
        "application/problem+json",
        "{}",
        answer.text()
    );
    let problem = answer.json();
    assert!(
        problem["code"].is_string() && problem["detail"].is_string(),
        "{problem}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_another_tenants_is_not_found() {
    let world = World::on(Engine::Sqlite).await;
    let (tenant, other) = (world.tenant().await, world.tenant().await);
    let theirs = other.openai(&json!({})).await;
    let made = tenant
        .control
        .post("/keys", &json!({"name": "admin", "role": "admin"}))
        .await;
    let admin = world.operator.with_key(made["key"].as_str().unwrap());
    let integration = format!("/integrations/{}", theirs.id);
    let key = format!("/keys/{}", other.key_id);
    for (method, path, body) in [
        (http::Method::GET, integration.clone(), None),
        (http::Method::GET, format!("{integration}/limits"), None),
        (http::Method::POST, format!("{integration}/disable"), None),
        (
            http::Method::PATCH,
            integration.clone(),
            Some(json!({"rate_limit_rpm": 1})),
        ),
        (http::Method::DELETE, integration, None),
        (http::Method::GET, key.clone(), None),
        (http::Method::DELETE, key, None),
    ] {
        let answer = admin.send(method.clone(), &path, body.as_ref()).await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
        must_be_a_problem(&answer);
    }
    for path in ["/tenants", "/ledger/verify", "/ledger/status"] {
        assert_eq!(
            admin.send(http::Method::GET, path, None).await.status,
            403,
            "{path}"
        );
    }
    let named = admin
        .of_tenant(&other.id)
        .send(http::Method::GET, "/integrations", None)
        .await;
    assert!(
        (400..500).contains(&named.status),
        "an admin names another tenant: {}",
        named.text()
    );
    assert_eq!(other.caller.chat(&call()).await.status, 200);
    assert_eq!(theirs.record().await["rate_limit_rpm"], 0);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_provider_is_priced_by_its_integration() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let prices = json!({"local-model": {"input": 3_000_000, "output": 7_000_000, "request": 11}});
    tenant
        .integration(
            "custom",
            "local",
            &json!({"budget_limit_cents": 1, "config": {"prices": prices}}),
        )
        .await;
    let mut body = call();
    body["model"] = json!("local-model");
    let answer = tenant.caller.chat(&body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let rows = world.close().await;
    // 3 × 3 + 5 × 7 + 11 nano-dollars.
    assert_eq!(
        (rows[0].cost_nanos, tollgate_tests::cost_of(&rows[0])),
        (55, 55),
        "{rows:?}"
    );
    assert_eq!(rows[0].provider, "custom");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_before_the_answer_begins_is_booked_too() {
    let world = World::start(Plan::on(Engine::Sqlite).provider("--latency-ms=300")).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    for number in 0..5 {
        let id = format!("left-{number}");
        let headers = [("x-tollgate-call-id", id.as_str())];
        let leaving = tenant.caller.attempt(CHAT, &headers, call().to_string());
        // Long enough for the request to have left, too short for its answer.
        assert!(
            tokio::time::timeout(Duration::from_millis(150), leaving)
                .await
                .is_err()
        );
        let row = tenant.row(&id).await;
        assert_eq!(
            (&row["usage_source"], &row["tokens_out"]),
            (&json!("provider"), &json!(5)),
            "{row}"
        );
    }
    world.close().await;
}
