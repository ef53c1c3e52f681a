//! A provider that keeps what it is sent, byte by byte, and always says the same: for what a well-behaved one never says.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A running recorder; dropping it ends it.
#[derive(Debug)]
pub struct Recorder {
    /// Its URL, without a path.
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

/// The bytes of an answer with a body of JSON.
pub fn answer_of(status: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers
        .iter()
        .map(|header| [header, "\r\n"].concat())
        .collect();
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    )
}

impl Recorder {
    /// Starts one that answers everything with these bytes.
    pub async fn start(answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let kept = Arc::clone(&requests);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, kept) = (answer.clone(), Arc::clone(&kept));
                connections.spawn(async move {
                    // A gateway that goes away in the middle is the test's affair.
                    drop(exchange(stream, &answer, &kept).await);
                });
            }
        });
        Self {
            url,
            requests,
            _tasks: tasks,
        }
    }

    /// Everything that it was sent: heads and bodies as they came.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// The one request that it was sent: its head in lower case, its body as it came.
    pub fn only_request(&self) -> (String, String) {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), body.to_owned())
    }
}

async fn exchange(
    mut stream: TcpStream,
    answer: &str,
    kept: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !is_whole(&request) {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    kept.lock()
        .unwrap()
        .push(String::from_utf8_lossy(&request).into_owned());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let head = head.to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.trim().parse().unwrap())
}
