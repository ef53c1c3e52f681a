//! Forms of several parts through the shipped program: what arrives is what was sent, and what is booked is what the
//! provider billed.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tollgate_tests::{Engine, Form, Tenant, World, cost_of, until};

const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";

#[tokio::test(flavor = "multi_thread")]
async fn a_form_arrives_as_it_was_sent_wherever_its_model_stands() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    let model = ("model", "gpt-4o-transcribe");
    let mut sent = Vec::new();
    for bytes in [1_000, 3_000_000] {
        for form in [
            Form::new()
                .field(model)
                .file("a.mp3", bytes)
                .field(("stream", "false")),
            Form::new().file("größe.mp3", bytes).field(model),
        ] {
            let kind = form.content_type();
            let answer = tenant
                .caller
                .post(TRANSCRIPTIONS, &[("content-type", &kind)], form.whole())
                .await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.json()["usage"]["type"], "tokens");
            sent.push((answer.header("x-tollgate-call-id").to_owned(), form));
        }
    }
    let arrived = world.simulator.forms().await;
    assert_eq!(arrived.len(), sent.len());
    for ((call_id, form), arrived) in sent.iter().zip(&arrived) {
        assert_eq!(arrived["client_request_id"], call_id.as_str());
        assert_eq!(arrived["bytes"], form.length());
        assert_eq!(arrived["sha256"], form.sha256());
        assert_eq!(arrived["content_type"], form.content_type());
    }
    let lines = world.simulator.lines();
    let rows = world.close().await;
    for line in &lines {
        let id = line.client_request_id.as_deref().unwrap();
        let row = rows.iter().find(|row| row.call_id == id).unwrap();
        assert_eq!(
            (row.tokens_in, row.tokens_out),
            (line.tokens_in, line.tokens_out)
        );
        assert_eq!((row.usage_source.as_str(), row.error()), ("provider", ""));
        assert_eq!(row.cost_nanos, cost_of(row));
        assert!(
            row.cost_nanos > 0 && row.held_nanos >= row.cost_nanos,
            "{row:?}"
        );
    }
}

/// Sends a form in the tenant's name as far as so many bytes, and keeps the connection.
async fn sent_so_far(tenant: &Tenant, form: &Form, bytes: usize) -> TcpStream {
    let address = tenant.caller.url.trim_start_matches("http://").to_owned();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {TRANSCRIPTIONS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
        tenant.caller.key,
        form.content_type(),
        form.length()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut sent = 0;
    for piece in form.pieces() {
        if sent >= bytes {
            break;
        }
        connection.write_all(&piece).await.unwrap();
        sent += piece.len();
    }
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_uploads_leaves_one_row_for_each_that_had_left() {
    // More than the system keeps between a caller, the gateway and the provider: what was taken has left.
    const LARGE: usize = 24 << 20;
    let mut world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let integration = tenant
        .openai(&json!({"budget_limit_cents": 1_000_000}))
        .await;
    let model = ("model", "gpt-4o-transcribe");
    let flowing = Form::new().field(model).file("a.wav", LARGE);
    let waiting = Form::new().file("a.wav", LARGE).field(model);
    for round in 1..=2 {
        let reached = world.again(&tenant);
        // What waits on the disk for its model has not left, and what has not said its model neither.
        let mut connections = Vec::new();
        for (form, bytes) in [
            (&flowing, LARGE - (1 << 20)),
            (&flowing, LARGE / 2),
            (&waiting, LARGE / 2),
            (&waiting, 1_000),
        ] {
            connections.push(sent_so_far(&reached, form, bytes).await);
        }
        world.kill_and_restart().await;
        drop(connections);
        let settled = async || {
            let rows = tenant_rows(&world, &tenant).await;
            (rows.len() >= 2 * round).then_some(rows)
        };
        let rows = until("the rows of what had left", settled).await;
        assert_eq!(rows.len(), 2 * round, "{rows:?}");
        for row in &rows {
            assert_eq!(row["error_code"], "interrupted");
            assert_eq!(row["usage_source"], "estimated");
        }
        world.books_verify().await;
    }
    // Nothing is left of it on the disk, and nothing stays held.
    let again = world.again(&tenant);
    let integration = tollgate_tests::Integration {
        control: again.control.clone(),
        ..integration
    };
    integration.holds_are_gone().await;
    let left = |folder: &str| {
        let folder = world.data_dir().join(folder);
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    };
    assert_eq!(left("spool"), 0);
    assert!(world.simulator.lines().is_empty(), "no form was whole");
    let small = Form::new().field(model).file("a.mp3", 1_000);
    let kind = small.content_type();
    let headers = [("content-type", kind.as_str())];
    let answer = again
        .caller
        .post(TRANSCRIPTIONS, &headers, small.whole())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(world.close().await.len(), 5);
}

async fn tenant_rows(world: &World, tenant: &Tenant) -> Vec<Value> {
    world.again(tenant).history().await
}
