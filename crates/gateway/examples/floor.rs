//! The least that a gateway on these libraries costs: copies heads and bodies both ways and does nothing else. A
//! yardstick for measurements, not a product.
//!
//! `floor LISTEN UPSTREAM`, both as `host:port`; prints one line of JSON when it listens.

use std::error::Error;
use std::io::Write as _;

use http::header::{CONNECTION, HOST};
use http::uri::{Authority, Parts, Scheme};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Either;
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

type Upstream = Client<HttpConnector, Incoming>;
type Copied = Response<Either<Incoming, Empty<Bytes>>>;

/// Sends a request on and hands back what comes.
async fn copy(upstream: Upstream, to: Authority, mut request: Request<Incoming>) -> Copied {
    let mut parts = Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(to);
    parts.path_and_query = request.uri().path_and_query().cloned();
    let sent = match Uri::from_parts(parts) {
        Ok(uri) => {
            *request.uri_mut() = uri;
            request.headers_mut().remove(HOST);
            request.headers_mut().remove(CONNECTION);
            upstream.request(request).await.ok()
        }
        Err(_) => None,
    };
    sent.map_or_else(
        || {
            let mut answer = Response::new(Either::Right(Empty::new()));
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
            answer
        },
        |answer| answer.map(Either::Left),
    )
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(to)) = (arguments.next(), arguments.next()) else {
        return Err("floor LISTEN UPSTREAM".into());
    };
    let to: Authority = to.parse()?;
    let listener = TcpListener::bind(listen).await?;
    writeln!(
        std::io::stdout(),
        r#"{{"url":"http://{}"}}"#,
        listener.local_addr()?
    )?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let upstream: Upstream = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(20_000)
        .build(connector);
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (upstream, to) = (upstream.clone(), to.clone());
        let service = service_fn(move |request| {
            let copying = copy(upstream.clone(), to.clone(), request);
            async move { Ok::<_, std::convert::Infallible>(copying.await) }
        });
        connections.spawn(async move {
            // A connection that breaks is its peer's affair.
            drop(
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
        while connections.try_join_next().is_some() {}
    }
}
