//! The connector against hostile spellings and name servers that change their minds.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tollgate_providers::{Endpoint, Loopback};

use super::*;

/// A name server that gives one answer after the other, and then begins anew.
#[derive(Debug)]
struct Alternating {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Alternating {
    fn of(answers: &[&str]) -> Arc<Self> {
        let addresses = |answer: &&str| {
            let addresses = answer.split_whitespace();
            addresses.map(|address| address.parse().unwrap()).collect()
        };
        Arc::new(Self {
            answers: answers.iter().map(addresses).collect(),
            asked: AtomicUsize::new(0),
        })
    }
}

impl Resolver for Alternating {
    fn resolve<'a>(&'a self, _name: &'a str) -> Resolving<'a> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answers[asked % self.answers.len()].clone();
        Box::pin(ready(Ok(answer)))
    }
}

fn strict(resolver: &Arc<Alternating>) -> Connector {
    Connector::new(UrlPolicy::default()).with_resolver(Arc::<Alternating>::clone(resolver))
}

const PATIENCE: Duration = Duration::from_secs(20);

/// Whatever gets past the reading of settings does not get past here: no text of the corpus is
/// connected to, even where every name leads to the machine itself.
#[tokio::test]
async fn nothing_in_the_corpus_of_addresses_is_connected_to() {
    let corpus = include_str!("../../../providers/hostile/urls.txt");
    let rows = corpus
        .lines()
        .filter(|row| !row.is_empty() && !row.starts_with('#'));
    let mut tried = 0;
    for row in rows {
        let columns: Vec<_> = row.split('\t').collect();
        let Ok(uri) = columns[0].parse::<Uri>() else {
            continue;
        };
        // A public address without TLS is refused where it is written down, and only there.
        if uri.host().is_none() || columns[1] == "not_encrypted" {
            continue;
        }
        let answer = columns.get(2).map_or("127.0.0.1", |answer| answer);
        let connector = strict(&Alternating::of(&[answer]));
        let error = connector.connect(uri, PATIENCE).await.unwrap_err();
        let is_unknown = answer.is_empty() && matches!(error, ConnectError::Refused { .. });
        assert!(is_barred(&error) || is_unknown, "{row}: {error}");
        tried += 1;
    }
    assert!(
        tried > 150,
        "only {tried} rows are addresses to an HTTP library"
    );
}

/// `127.0.0.2` stands for a public address, `127.0.0.1` on the same port for what must not be
/// reached.
#[tokio::test]
async fn a_name_server_that_alternates_never_gets_a_private_connection() {
    let open = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = open.local_addr().unwrap().port();
    let inner = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let policy = UrlPolicy {
        allowed_networks: vec!["127.0.0.2".parse().unwrap()],
        ..UrlPolicy::default()
    };
    let answers = [
        "127.0.0.2",
        "127.0.0.1",
        "127.0.0.2 127.0.0.1",
        "127.0.0.2 127.0.0.2",
        "127.0.0.1 127.0.0.2",
        "::1 127.0.0.2",
    ];
    let names = Alternating::of(&answers);
    let connector = Connector::new(policy).with_resolver(Arc::<Alternating>::clone(&names));
    let uri: Uri = format!("http://rebound.example.com:{port}/v1")
        .parse()
        .unwrap();
    let rounds = 100 * answers.len();
    for round in 0..rounds {
        let connected = connector.connect(uri.clone(), PATIENCE).await;
        let is_open = matches!(round % answers.len(), 0 | 3);
        match connected {
            Ok(stream) => {
                assert!(is_open, "round {round}");
                let peer = stream.inner().peer_addr().unwrap();
                assert_eq!(peer.ip().to_string(), "127.0.0.2");
                drop(open.accept().await.unwrap());
            }
            Err(error) => assert!(!is_open && is_barred(&error), "{error}"),
        }
    }
    assert_eq!(
        names.asked.load(Ordering::Relaxed),
        rounds,
        "one look a connection"
    );
    let reached = tokio::time::timeout(Duration::ZERO, inner.accept()).await;
    assert!(reached.is_err(), "a private address was connected to");
}

#[tokio::test]
async fn an_address_itself_is_asked_about_without_a_name_server() {
    let names = Alternating::of(&["8.8.8.8"]);
    for address in [
        "http://127.0.0.1:9",
        "https://[::1]:9/v1",
        "http://169.254.169.254/",
    ] {
        let refused = strict(&names)
            .connect(address.parse().unwrap(), PATIENCE)
            .await;
        assert!(is_barred(&refused.unwrap_err()), "{address}");
    }
    assert_eq!(names.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_no_connection() {
    let connector = strict(&Alternating::of(&[""]));
    let uri = "https://llm.example.com".parse().unwrap();
    let refused = connector.connect(uri, PATIENCE).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Refused { .. }), "{refused}");
}

#[tokio::test]
async fn a_provider_that_takes_a_connection_and_secures_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let policy = UrlPolicy {
        loopback: Loopback::Allowed,
        ..UrlPolicy::default()
    };
    let address = format!("https://{}/v1", listener.local_addr().unwrap());
    let endpoint = Endpoint::parse(&address, &policy).unwrap();
    let uri: Uri = format!("https://{}", endpoint.authority()).parse().unwrap();
    let mut secure = Connector::new(policy).within(Duration::from_millis(300));
    let silent = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_to_end(&mut Vec::new()).await
    };
    let (connected, _) = tokio::join!(secure.call(uri), silent);
    let error = connected.map(drop).unwrap_err();
    let late = error.downcast_ref::<ConnectError>();
    assert!(matches!(late, Some(ConnectError::TooSlow(_))), "{error}");
}
