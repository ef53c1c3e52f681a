//! What has gone wrong in other gateways, tried here. Each test is named by what it tries; the
//! advisories are those that were published for the products named in the comments.

use http::{HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tollgate_app::integrations::{Change, IntegrationPatch};
use tollgate_app::testing::CANARY;
use tollgate_core::role::Role;

use crate::provider::{Provider, Seen, completion, json, json_with};
use crate::stage::{Limited, Said, Stage, figures, hello};

const CHAT: &str = "/v1/chat/completions";

// A chat completion with other headers in place of those of the same name.
async fn chat_with(stage: &Stage, headers: &[(&'static str, &str)], body: &str) -> Said {
    let mut request = stage.request(Method::POST, CHAT, body);
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        request.headers_mut().insert(*name, value);
    }
    stage.send(request).await
}

fn holds_the_credential(seen: &Seen) -> bool {
    let body = String::from_utf8_lossy(&seen.body);
    seen.head.contains(CANARY) || body.contains(CANARY)
}

// LiteLLM CVE-2024-6587: the caller's `api_base` received the server's own key.
#[tokio::test]
async fn replay_of_a_caller_who_says_where_its_call_and_the_stored_key_should_go() {
    let stage = Stage::set().await;
    let thief = Provider::start().await;
    let url = format!("http://{}/v1", thief.address);
    let body = hello().replacen('{', &format!(
        "{{\"api_base\":\"{url}\",\"base_url\":\"{url}\",\"metadata\":{{\"api_base\":\"{url}\"}},\"user_config\":{{\"base_url\":\"{url}\"}},"
    ), 1);
    let headers = [
        ("host", &*thief.address.to_string()),
        ("x-forwarded-host", &*thief.address.to_string()),
        ("x-api-base", &*url),
        ("x-base-url", &*url),
        ("x-tollgate-upstream", &*url),
        ("x-portkey-custom-host", &*url),
        ("forwarded", &*format!("host={}", thief.address)),
    ];
    stage.provider.script(completion(1, 1));
    assert_eq!(
        chat_with(&stage, &headers, &body).await.status,
        StatusCode::OK
    );
    let query = format!("{CHAT}?api_base={url}&base_url={url}");
    stage.provider.script(completion(1, 1));
    let said = stage
        .send(stage.request(Method::POST, &query, &hello()))
        .await;
    assert_eq!(said.status, StatusCode::OK);
    assert!(thief.seen().is_empty());
    let seen = stage.provider.seen();
    assert_eq!(
        seen[0].body,
        body.as_bytes(),
        "what is not ours to read goes on"
    );
    assert!(
        seen.iter()
            .all(|seen| !seen.head.contains(&thief.address.to_string()))
    );
    stage.strike().await;
}

// LiteLLM CVE-2026-42208: the bearer's text became part of a statement on the way of an error.
#[tokio::test]
async fn replay_of_a_key_that_is_a_statement() {
    let stage = Stage::set().await;
    for key in [
        "' OR '1'='1",
        "sk-1' union select * from access_keys --",
        "x'; drop table cus_llm_usage; --",
        "\" OR \"\"=\"",
        "1 OR 1=1",
        "%27%20OR%201=1--",
        "$1",
        "?1",
        "tg_caller_' OR 1=1 --",
    ] {
        let bearer = format!("Bearer {key}");
        for headers in [[("authorization", &*bearer)], [("authorization", key)]] {
            let said = chat_with(&stage, &headers, &hello()).await;
            assert_eq!(said.status, StatusCode::UNAUTHORIZED, "{key}");
            let text = String::from_utf8_lossy(&said.body).to_lowercase();
            assert!(
                !text.contains("select") && !text.contains("syntax"),
                "{text}"
            );
        }
    }
    assert!(stage.rows().await.is_empty());
    stage.provider.script(completion(1, 1));
    assert_eq!(stage.chat(&hello()).await.status, StatusCode::OK);
    stage.strike().await;
}

// LiteLLM CVE-2026-49468 with Starlette CVE-2026-48710: who decides looked at another path than
// who serves.
#[tokio::test]
async fn replay_of_a_host_that_makes_a_closed_path_look_open() {
    let stage = Stage::set().await;
    let hosts = [
        "x/livez",
        "x/v1/models?",
        "livez",
        "x#",
        "localhost/health/../",
        "a@b",
        "[::1]/x",
    ];
    for host in hosts {
        let mut stream = TcpStream::connect(stage.address()).await.unwrap();
        let body = hello();
        let request = format!(
            "POST {CHAT} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nx-original-url: /livez\r\nx-rewrite-url: /livez\r\nx-forwarded-prefix: /livez\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 4"), "{host}: {answer}");
    }
    assert!(stage.provider.seen().is_empty());
    stage.strike().await;
}

// LiteLLM CVE-2026-35030: a cache took the first twenty characters of a token for all of it.
// LiteLLM GHSA-69x8-hrgq-fjj8: what is stored of a secret was taken for the secret.
// MCP gateway GHSA-g53w-w6mj-hrpp: a secret that everybody's installation has.
#[tokio::test]
async fn replay_of_a_key_that_only_begins_like_one_or_is_known_to_all() {
    let stage = Stage::set().await;
    stage.provider.script(completion(1, 1));
    assert_eq!(
        stage.chat(&hello()).await.status,
        StatusCode::OK,
        "it is known now"
    );
    let key = stage.key.clone();
    let (most, last) = key.split_at(key.len() - 1);
    let other = if last == "0" { "1" } else { "0" };
    let begins = key.split_at(20).0;
    for wrong in [
        format!("{most}{other}"),
        most.to_owned(),
        format!("{key}0"),
        begins.to_owned(),
        begins.to_owned() + &"0".repeat(key.len() - 20),
        key.to_uppercase(),
        stage.integration.to_string(),
        stage.tenant.to_string(),
        CANARY.to_owned(),
        "sk-1234".to_owned(),
        "anything".to_owned(),
        String::new(),
    ] {
        let bearer = format!("Bearer {wrong}");
        let said = chat_with(&stage, &[("authorization", &bearer)], &hello()).await;
        assert_eq!(said.status, StatusCode::UNAUTHORIZED, "{wrong}");
    }
    assert_eq!(stage.provider.seen().len(), 1);
    stage.strike().await;
}

// Open WebUI CVE-2026-45339: what a key may use was enforced for one header and not for another.
// new-api CVE-2026-30886: another user's things were fetched with that user's own credential.
#[tokio::test]
async fn replay_of_a_key_that_names_what_is_somebody_elses() {
    let stage = Stage::set().await;
    let stranger = stage.world.tenant("stranger").await;
    let key = stage.world.key(Some(&stranger), Role::Caller).await;
    let id = stage.integration.to_string();
    let model = hello().replace("\"test-model\"", "\"main/test-model\"");
    let bearer = format!("Bearer {key}");
    for (integration, body) in [(&*id, hello()), ("main", hello()), ("", model)] {
        for through_api_key in [false, true] {
            let mut request = stage.request(Method::POST, CHAT, &body);
            let headers = request.headers_mut();
            headers.remove("authorization");
            if through_api_key {
                headers.insert("x-api-key", key.parse().unwrap());
            } else {
                headers.insert("authorization", bearer.parse().unwrap());
            }
            if !integration.is_empty() {
                headers.insert("x-tollgate-integration", integration.parse().unwrap());
            }
            headers.insert("x-tollgate-tenant", stage.tenant.as_str().parse().unwrap());
            let said = stage.send(request).await;
            assert_eq!(said.status, StatusCode::NOT_FOUND, "{integration}");
            assert!(!String::from_utf8_lossy(&said.body).contains(stage.tenant.as_str()));
        }
    }
    assert!(stage.provider.seen().is_empty());
    stage.strike().await;
}

// new-api CVE-2026-71479: counts that overflow gave credit. new-api CVE-2026-64865 and LiteLLM
// #18554: what was counted went down.
#[tokio::test]
async fn replay_of_counts_that_overflow_or_are_negative_so_that_credit_comes_of_a_call() {
    let limits = Limited {
        budget_cents: 100,
        ..Limited::default()
    };
    let stage = Stage::limited(limits, json!({})).await;
    let mut expected = 0;
    for (more, usage) in [
        ("\"n\":4294967296,", None),
        ("\"n\":-1,", None),
        ("\"max_completion_tokens\":-5000000,", None),
        ("\"max_completion_tokens\":9223372036854775807,", None),
        (
            "\"n\":2147483648,\"max_completion_tokens\":2147483648,",
            None,
        ),
        ("", Some((-1_000_000_000, 1))),
        ("", Some((i64::MAX, i64::MAX))),
        ("", Some((i64::MIN, i64::MIN))),
    ] {
        let body =
            hello()
                .replacen("\"max_tokens\":100,", more, 1)
                .replacen('{', &format!("{{{more}"), 1);
        let body = if usage.is_some() { hello() } else { body };
        if let Some((tokens_in, tokens_out)) = usage {
            stage.provider.script(json(200, &format!(
                r#"{{"choices":[],"usage":{{"prompt_tokens":{tokens_in},"completion_tokens":{tokens_out}}}}}"#
            )));
            expected += 1;
        }
        let said = stage.chat(&body).await;
        assert_eq!(said.status == StatusCode::OK, usage.is_some(), "{body}");
    }
    let rows = stage.rows().await;
    assert!(
        rows.iter()
            .all(|row| row.cost.get() >= 0 && row.usage.tokens_in >= 0)
    );
    let paid = rows.iter().filter(|row| row.cost.get() > 0).count();
    assert_eq!(paid, expected, "each lie cost what was held");
    stage.strike().await;
}

// new-api CVE-2026-64868: a body was read whole, and logged, before anybody was asked who sends
// it.
#[tokio::test]
async fn replay_of_a_stranger_whose_body_never_ends() {
    let stage = Stage::set().await;
    for key in ["", "authorization: Bearer tg_caller_nobody\r\n"] {
        let mut stream = TcpStream::connect(stage.address()).await.unwrap();
        let head =
            format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\n{key}transfer-encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // Not one byte of the body is sent, and the answer is there.
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 401");
    }
    stage.strike().await;
}

// Envoy AI Gateway GHSA-4gph-2hhr-5mwg: names of members were read whatever their case, and
// something else was forwarded than had been checked.
#[tokio::test]
async fn replay_of_members_whose_names_differ_in_case() {
    let stage = Stage::set().await;
    for more in [
        "\"Model\":\"gpt-5-pro\",\"MODEL\":\"gpt-5-pro\",",
        "\"Stream\":true,\"STREAM\":true,",
        "\"Max_Tokens\":1000000,",
        "\"mode\\u006c2\":\"gpt-5-pro\",",
        "\"__proto__\":{\"model\":\"gpt-5-pro\"},\"constructor\":{\"prototype\":{\"model\":1}},",
    ] {
        let body = hello().replacen('{', &format!("{{{more}"), 1);
        stage.provider.script(completion(1, 1));
        assert_eq!(stage.chat(&body).await.status, StatusCode::OK, "{more}");
        let seen = stage.provider.seen().pop().unwrap();
        assert_eq!(seen.body, body.as_bytes(), "{more}");
    }
    for row in stage.rows_once(5).await {
        assert_eq!(
            (figures(&row), &*row.usage.model),
            ((1, 1, 3_000), "test-model")
        );
    }
    stage.strike().await;
}

// new-api CVE-2025-62155 and the fixes of OpenAI's SDKs: a redirect led inside, or took the
// credential along. Ollama CVE-2025-51471: so did the realm of a challenge.
#[tokio::test]
async fn replay_of_a_provider_that_sends_the_stored_key_elsewhere() {
    let stage = Stage::set().await;
    let thief = Provider::start().await;
    let elsewhere = format!("http://{}/v1/chat/completions", thief.address);
    let mut statuses = vec![];
    for status in [300, 301, 302, 303, 307, 308, 401, 407] {
        let headers = format!(
            "location: {elsewhere}\r\nrefresh: 0;url={elsewhere}\r\nlink: <{elsewhere}>; rel=preload\r\nalt-svc: h2=\"{}\"\r\nwww-authenticate: Bearer realm=\"{elsewhere}\"\r\nproxy-authenticate: Basic realm=\"{elsewhere}\"\r\n",
            thief.address
        );
        stage.provider.script(json_with(status, &headers, "{}"));
        let said = stage.chat(&hello()).await;
        statuses.push(said.status.as_u16());
        for name in [
            "location",
            "refresh",
            "link",
            "alt-svc",
            "proxy-authenticate",
        ] {
            assert_eq!(said.header(name), None, "{status}: {name}");
        }
        let context = stage.world.acting_on(&stage.tenant);
        let enabled = stage
            .world
            .app
            .get_integration(&context, stage.integration)
            .await;
        if enabled.unwrap().record.status.as_str() != "enabled" {
            break;
        }
    }
    assert!(statuses.starts_with(&[502; 6]), "{statuses:?}");
    assert!(thief.seen().is_empty());
    assert!(stage.provider.seen().iter().all(holds_the_credential));
    stage.strike().await;
}

// FastGPT CVE-2026-44284: an address was checked where it was tried out, and not where it was
// saved. new-api CVE-2025-59146, CVE-2026-42339, CVE-2026-33655: it was not checked at all, or
// `0.0.0.0` passed, or names were never resolved; for those see the tests of the connector.
#[tokio::test]
async fn replay_of_an_address_that_is_saved_by_another_way_than_the_one_that_checks() {
    let stage = Stage::set().await;
    let context = stage.world.acting_on(&stage.tenant);
    let entered = json!({ "api_key": CANARY }).to_string();
    for url in [
        "http://0.0.0.0/v1",
        "https://10.0.0.1",
        "https://169.254.169.254",
        "http://llm.example",
    ] {
        let config = Map::from_iter([("base_url".to_owned(), Value::from(url))]);
        let patch = IntegrationPatch {
            config: Change::Set(config),
            credential: Some(serde_json::from_str(&entered).unwrap()),
            ..IntegrationPatch::default()
        };
        let saved = stage
            .world
            .app
            .update_integration(&context, stage.integration, patch)
            .await;
        assert!(saved.is_err(), "{url}");
    }
    stage.provider.script(completion(1, 1));
    assert_eq!(stage.chat(&hello()).await.status, StatusCode::OK);
    stage.strike().await;
}

// OpenMeter CVE-2026-8462: a name became part of a statement.
#[tokio::test]
async fn replay_of_names_that_are_statements() {
    let stage = Stage::set().await;
    let name = "x'); drop table cus_llm_usage; --";
    for header in [
        "x-tollgate-session-id",
        "x-tollgate-agent-id",
        "x-tollgate-call-id",
    ] {
        stage.provider.script(completion(1, 1));
        let said = chat_with(&stage, &[(header, &name.replace(' ', "_"))], &hello()).await;
        assert_eq!(said.status, StatusCode::OK, "{header}");
    }
    let body = hello().replace("test-model", "test-model' OR '1'='1");
    let said = stage.chat(&body).await;
    assert_ne!(said.status, StatusCode::INTERNAL_SERVER_ERROR);
    if said.status != StatusCode::OK {
        stage.provider.unscript();
    }
    assert!(stage.rows().await.len() >= 3);
    stage.strike().await;
}
