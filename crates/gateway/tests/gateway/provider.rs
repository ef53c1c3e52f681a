//! A provider that does exactly what a test tells it to, byte by byte.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// One thing that the provider does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends bytes one by one, twenty a second.
    Drip(Vec<u8>),
    /// Sends the same bytes again and again, so many times or until nobody wants more.
    Again(Vec<u8>, usize),
    /// Waits until the test says go.
    Wait,
    /// Ends the connection.
    Close,
    /// Breaks the connection.
    Abort,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// The value of a header, if it was sent.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

#[derive(Debug, Default)]
struct Shared {
    scripts: Mutex<VecDeque<Vec<Step>>>,
    seen: Mutex<Vec<Seen>>,
    /// Connections that were made, and those that have ended.
    made: AtomicUsize,
    ended: AtomicUsize,
    go: Notify,
    arrived: Notify,
}

/// The scripted provider.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let mut accepting = JoinSet::new();
        let serving = Arc::clone(&shared);
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let shared = Arc::clone(&serving);
                shared.made.fetch_add(1, Ordering::SeqCst);
                connections.spawn(async move {
                    serve(stream, Arc::clone(&shared)).await;
                    shared.ended.fetch_add(1, Ordering::SeqCst);
                    shared.arrived.notify_waiters();
                });
            }
        });
        Self {
            address,
            shared,
            _accepting: accepting,
        }
    }

    /// What it does with the next request that has no script yet.
    pub(crate) fn script(&self, steps: Vec<Step>) {
        self.shared.scripts.lock().push_back(steps);
    }

    /// Takes back what was not asked for.
    pub(crate) fn unscript(&self) {
        self.shared.scripts.lock().clear();
    }

    /// Lets a waiting script go on.
    pub(crate) fn go(&self) {
        self.shared.go.notify_one();
    }

    /// Waits until so many requests have arrived.
    pub(crate) async fn arrived(&self, count: usize) {
        while self.shared.seen.lock().len() < count {
            self.shared.arrived.notified().await;
        }
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.shared.made.load(Ordering::SeqCst)
    }

    /// Waits until so many connections have ended.
    pub(crate) async fn ended(&self, count: usize) {
        loop {
            let woken = self.shared.arrived.notified();
            if self.shared.ended.load(Ordering::SeqCst) >= count {
                return;
            }
            woken.await;
        }
    }

    /// The requests that arrived.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().clone()
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut buffer = Vec::new();
    while let Some(seen) = read_request(&mut stream, &mut buffer).await {
        shared.seen.lock().push(seen);
        shared.arrived.notify_waiters();
        shared.arrived.notify_one();
        let steps = shared
            .scripts
            .lock()
            .pop_front()
            .expect("a script for each request");
        for step in steps {
            if play(step, &mut stream, &shared).await.is_err() {
                return;
            }
        }
    }
}

/// Does one thing; an error ends the connection.
async fn play(step: Step, stream: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    match step {
        Step::Send(bytes) => stream.write_all(&bytes).await?,
        Step::Drip(bytes) => {
            let mut beat = tokio::time::interval(Duration::from_millis(50));
            for byte in bytes {
                beat.tick().await;
                stream.write_all(&[byte]).await?;
            }
        }
        Step::Again(bytes, times) => {
            for _ in 0..times {
                stream.write_all(&bytes).await?;
            }
        }
        Step::Wait => shared.go.notified().await,
        Step::Close => return Err(io::ErrorKind::NotConnected.into()),
        Step::Abort => {
            stream.set_zero_linger()?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    }
    Ok(())
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
            let seen = Seen {
                head,
                body: Vec::new(),
            };
            let length: usize = seen
                .header("content-length")
                .map_or(0, |text| text.parse().unwrap());
            let whole = end + 4 + length;
            if buffer.len() >= whole {
                let body = buffer[end + 4..whole].to_vec();
                buffer.drain(..whole);
                return Some(Seen { body, ..seen });
            }
        }
        let mut piece = vec![0; 16_384];
        let read = stream
            .read(&mut piece)
            .await
            .ok()
            .filter(|read| *read > 0)?;
        buffer.extend_from_slice(&piece[..read]);
    }
}

/// A whole JSON answer.
pub(crate) fn json(status: u16, body: &str) -> Vec<Step> {
    json_with(status, "", body)
}

/// A whole JSON answer with more headers, each ending in CRLF.
pub(crate) fn json_with(status: u16, headers: &str, body: &str) -> Vec<Step> {
    let answer = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    vec![Step::Send(answer.into_bytes())]
}

/// A chat completion that used so many tokens.
pub(crate) fn completion(prompt: u64, completion: u64) -> Vec<Step> {
    json(200, &completion_text(prompt, completion))
}

/// The text of such an answer.
pub(crate) fn completion_text(prompt: u64, completion: u64) -> String {
    format!(
        r#"{{"id":"c1","object":"chat.completion","model":"test-model","choices":[{{"index":0,"message":{{"role":"assistant","content":"hello"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{}}}}}"#,
        prompt + completion
    )
}

/// The head of an event stream, and then each event as a chunk of its own.
pub(crate) fn stream(events: &[&str]) -> Vec<Step> {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut steps = vec![Step::Send(head.as_bytes().to_vec())];
    steps.extend(events.iter().map(|event| chunk(event)));
    steps
}

/// One chunk of a chunked body.
pub(crate) fn chunk(text: &str) -> Step {
    Step::Send(format!("{:x}\r\n{text}\r\n", text.len()).into_bytes())
}

/// The end of a chunked body.
pub(crate) fn end() -> Step {
    Step::Send(b"0\r\n\r\n".to_vec())
}
