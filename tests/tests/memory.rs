//! What hostile peers can make the gateway hold: its process is watched while they try.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tollgate_tests::{CHAT, Engine, Form, Plan, Tenant, World, call};

/// Mebibytes that the gateway's process may grow by while somebody sends it hundreds.
const GROWTH_MIB: usize = 48;

/// How much memory the gateway has, and the most that it had since somebody began to look.
struct Watch {
    status: String,
    first: usize,
}

impl Watch {
    /// Forgets what the process had at most until now.
    fn on(world: &World) -> Self {
        let process = format!("/proc/{}", world.gateway.program.id());
        // Where the kernel does not allow it, the most since the start is a bound as well.
        drop(std::fs::write(format!("{process}/clear_refs"), "5"));
        let status = format!("{process}/status");
        let first = kibibytes(&status, "VmHWM:");
        Self { status, first }
    }

    fn must_have_seen_little(self, what: &str) {
        self.must_have_seen_less_than(GROWTH_MIB, what);
    }

    fn must_have_seen_less_than(self, most_mib: usize, what: &str) {
        let grown = kibibytes(&self.status, "VmHWM:").saturating_sub(self.first);
        assert!(
            grown < most_mib << 10,
            "{what}: the gateway grew by {grown} KiB"
        );
    }
}

fn kibibytes(status: &str, name: &str) -> usize {
    let text = std::fs::read_to_string(status).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What a provider answers: a head, a piece so many times, and an end.
struct Answer {
    what: &'static str,
    head: String,
    piece: Vec<u8>,
    times: usize,
    end: &'static str,
}

/// A provider that gives this answer to everybody.
async fn provider(answer: Answer) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = vec![0; 65_536];
            drop(stream.read(&mut asked).await);
            drop(stream.write_all(answer.head.as_bytes()).await);
            for _ in 0..answer.times {
                if stream.write_all(&answer.piece).await.is_err() {
                    break;
                }
            }
            drop(stream.write_all(answer.end.as_bytes()).await);
        }
    });
    (url, serving)
}

/// Asks the gateway in the tenant's name, and counts the bytes that come back.
async fn asked(tenant: &Tenant, answer: Answer) -> usize {
    let (url, _serving) = provider(answer).await;
    tenant.openai(&json!({"config": {"base_url": url}})).await;
    let address = tenant.caller.url.trim_start_matches("http://").to_owned();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let body = call().to_string();
    let key = &tenant.caller.key;
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let (mut bytes, mut buffer) = (0, vec![0; 1 << 16]);
    while let Ok(read) = connection.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        bytes += read;
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_any_size_and_shape_passes_through_little_memory() {
    let world = World::on(Engine::Sqlite).await;
    let head = |rest: &str| format!("HTTP/1.1 200 OK\r\ncontent-type: {rest}\r\n\r\n");
    let answers = [
        Answer {
            what: "a line without end",
            head: head("text/event-stream\r\nconnection: close"),
            // A gigabyte.
            piece: vec![b'x'; 1 << 20],
            times: 1 << 10,
            end: "\n\ndata: [DONE]\n\n",
        },
        Answer {
            what: "a whole answer without end",
            head: head("application/json\r\nconnection: close"),
            piece: vec![b' '; 1 << 16],
            times: 1_000,
            end: "",
        },
        Answer {
            what: "a whole answer in single bytes",
            head: head("application/json\r\ntransfer-encoding: chunked"),
            piece: b"1\r\nx\r\n".repeat(10_000),
            times: 200,
            end: "0\r\n\r\n",
        },
    ];
    for answer in answers {
        let what = answer.what;
        let least = answer.times * answer.piece.len() / 6;
        let tenant = world.tenant().await;
        let watch = Watch::on(&world);
        let bytes = asked(&tenant, answer).await;
        assert!(bytes >= least, "{what}: {bytes}");
        watch.must_have_seen_little(what);
    }
    assert_eq!(world.close().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_any_size_and_shape_is_refused_in_little_memory() {
    let plan = Plan::on(Engine::Sqlite).with("TOLLGATE__GATEWAY__BODY_BYTES_MAX", "4194304");
    let world = World::start(plan).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    let address = tenant.caller.url.trim_start_matches("http://").to_owned();
    for (what, piece) in [
        (
            "large chunks",
            [b"10000\r\n".as_slice(), &b" ".repeat(1 << 16), b"\r\n"].concat(),
        ),
        ("single bytes", b"1\r\n \r\n".repeat(10_000)),
    ] {
        let mut connection = TcpStream::connect(&address).await.unwrap();
        let key = &tenant.caller.key;
        let head = format!(
            "POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        let watch = Watch::on(&world);
        let mut sent = 0;
        // A gigabyte, of which the gateway takes what it must to know that it is too much.
        while sent < 1 << 30 && connection.write_all(&piece).await.is_ok() {
            sent += piece.len();
        }
        assert!(sent < 1 << 29, "{what}: {sent} bytes were taken");
        watch.must_have_seen_little(what);
    }
    assert_eq!(tenant.caller.chat(&call()).await.status, 200);
    world.close().await;
}

/// Mebibytes that the gateway may grow by while a hundred megabytes pass through it.
const UPLOAD_GROWTH_MIB: usize = 8;

/// Sends a form in the tenant's name while it is written down; gives the answer's text.
async fn uploaded(tenant: &Tenant, form: &Form) -> String {
    let address = tenant.caller.url.trim_start_matches("http://").to_owned();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
        tenant.caller.key,
        form.content_type(),
        form.length()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    for piece in form.pieces() {
        connection.write_all(&piece).await.unwrap();
    }
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabytes_of_sound_pass_through_little_memory() {
    // What is watched is the memory: a line in the log for every piece would be all that is seen.
    let world = World::start(Plan::quiet(Engine::Sqlite)).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    let model = ("model", "gpt-4o-transcribe");
    let of_bytes = |bytes| {
        [
            ("model first", Form::new().field(model).file("a.wav", bytes)),
            ("model last", Form::new().file("a.wav", bytes).field(model)),
        ]
    };
    // What is needed once is there before anything is measured.
    for (_, form) in of_bytes(1 << 20) {
        uploaded(&tenant, &form).await;
    }
    for (what, form) in of_bytes(100 << 20) {
        let watch = Watch::on(&world);
        let answer = uploaded(&tenant, &form).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{what}: {answer}");
        watch.must_have_seen_less_than(UPLOAD_GROWTH_MIB, what);
        let arrived = world.simulator.forms().await.pop().unwrap();
        assert_eq!(arrived["bytes"], form.length(), "{what}");
        assert_eq!(arrived["sha256"], form.sha256(), "{what}");
    }
    assert_eq!(world.close().await.len(), 4);
}
