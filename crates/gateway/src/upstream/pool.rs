//! Connections that wait for their next call, by where they lead.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, HeaderValue};
use http::uri::{PathAndQuery, Scheme};
use http::{Request, Uri};
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;
use tower::Service as _;

use super::asked::SendError;
use super::departure::Departure;
use super::line::Line;
use crate::config::GatewayConfig;
use crate::connector::{Connector, Punctual};

/// How long a connection waits for its next call before it is closed.
pub(crate) const REST: Duration = Duration::from_secs(30);

/// Every place that is or was called of late.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Punctual,
    idle_max: usize,
    plain: RwLock<Racks>,
    secure: RwLock<Racks>,
}

/// By host and port, as addresses name them.
type Racks = HashMap<Box<str>, Arc<Rack>>;

/// The connections to one place that wait.
#[derive(Debug)]
pub(super) struct Rack {
    place: Uri,
    /// The place, as its requests name it.
    host: HeaderValue,
    connector: Punctual,
    idle_max: usize,
    /// The one that was used last is the last.
    idle: Mutex<VecDeque<Box<Line>>>,
}

impl Pool {
    pub(super) fn new(config: &GatewayConfig, connector: &Connector) -> Self {
        Self {
            connector: connector.within(Duration::from_secs(config.connect_seconds)),
            idle_max: config.idle_connections_max,
            plain: RwLock::default(),
            secure: RwLock::default(),
        }
    }

    /// The connections to where an address leads; none where it names no host.
    pub(super) fn rack(&self, address: &Uri) -> Option<Arc<Rack>> {
        let place = address.authority()?.as_str();
        let racks = if *address.scheme()? == Scheme::HTTPS {
            &self.secure
        } else {
            &self.plain
        };
        if let Some(rack) = racks.read().get(place) {
            return Some(Arc::clone(rack));
        }
        let rack = Arc::new(Rack {
            host: host(address)?,
            place: address.clone(),
            connector: self.connector.clone(),
            idle_max: self.idle_max,
            idle: Mutex::default(),
        });
        let mut racks = racks.write();
        Some(Arc::clone(racks.entry(place.into()).or_insert(rack)))
    }

    /// Closes what has waited for too long, and forgets places where nothing is left.
    pub(super) fn sweep(&self) {
        for racks in [&self.plain, &self.secure] {
            racks.write().retain(|_, rack| {
                let mut idle = rack.idle.lock();
                close_rested(&mut idle);
                !idle.is_empty() || Arc::strong_count(rack) > 1
            });
        }
    }
}

impl Rack {
    /// A connection that waits, if there is one that still works.
    pub(super) fn take(&self) -> Option<Box<Line>> {
        let mut idle = self.idle.lock();
        loop {
            let mut line = idle.pop_back()?;
            if line.is_still_free() {
                line.has_served = true;
                return Some(line);
            }
        }
    }

    /// Puts a connection aside for the next call, if it can take one.
    pub(super) fn put(&self, mut line: Box<Line>) {
        if !line.is_free() {
            return;
        }
        line.rests_since = Instant::now();
        let mut idle = self.idle.lock();
        close_rested(&mut idle);
        if idle.len() < self.idle_max {
            idle.push_back(line);
        }
    }

    /// Makes a new connection.
    pub(super) async fn connect(self: Arc<Self>) -> Result<Box<Line>, SendError> {
        let connecting = self.connector.clone().call(self.place.clone());
        let stream = connecting.await.map_err(SendError::NotConnected)?;
        Ok(Box::new(Line::open(stream).await?))
    }

    /// Has a request say where it goes as HTTP wants it on a connection to there.
    pub(super) fn address(&self, request: &mut Request<Departure>) {
        let path = request.uri().path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = path.into();
        request.headers_mut().insert(HOST, self.host.clone());
    }
}

/// The oldest are the first.
fn close_rested(idle: &mut VecDeque<Box<Line>>) {
    while idle
        .front()
        .is_some_and(|line| line.rests_since.elapsed() > REST)
    {
        idle.pop_front();
    }
}

/// The host of an address, with its port where that is not the usual one.
fn host(address: &Uri) -> Option<HeaderValue> {
    let host = address.host()?;
    let usual = if address.scheme() == Some(&Scheme::HTTPS) {
        443
    } else {
        80
    };
    let named = match address.port_u16().filter(|port| *port != usual) {
        Some(port) => HeaderValue::try_from(format!("{host}:{port}")),
        None => HeaderValue::try_from(host),
    };
    named.ok()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;
    use tollgate_providers::{Loopback, UrlPolicy};

    use super::*;

    #[tokio::test]
    async fn a_connection_that_has_waited_too_long_is_closed_and_its_place_forgotten() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connector = Connector::new(UrlPolicy {
            loopback: Loopback::Allowed,
            ..UrlPolicy::default()
        });
        let pool = Pool::new(&GatewayConfig::default(), &connector);
        let place = format!("http://{address}/v1").parse().unwrap();
        let rack = pool.rack(&place).unwrap();
        assert_eq!(rack.host, *address.to_string());
        let mut rested = Arc::clone(&rack).connect().await.unwrap();
        rack.put(Arc::clone(&rack).connect().await.unwrap());
        pool.sweep();
        assert_eq!(rack.idle.lock().len(), 1, "it has just come");
        assert!(rested.is_free());
        rested.rests_since -= REST * 2;
        rack.idle.lock().push_front(rested);
        let (mut first, _) = listener.accept().await.unwrap();
        pool.sweep();
        assert_eq!(rack.idle.lock().len(), 1);
        assert_eq!(first.read(&mut [0]).await.unwrap(), 0, "it is closed");
        rack.idle.lock().clear();
        drop(rack);
        pool.sweep();
        assert!(pool.plain.read().is_empty());
    }

    #[test]
    fn the_host_is_named_with_its_port_where_that_is_not_the_usual_one() {
        for (address, named) in [
            ("http://one.example/v1", "one.example"),
            ("http://one.example:80/v1", "one.example"),
            ("https://one.example:443/v1", "one.example"),
            ("https://one.example:80/v1", "one.example:80"),
            ("http://127.0.0.1:9/", "127.0.0.1:9"),
            ("http://[::1]:443/", "[::1]:443"),
        ] {
            assert_eq!(host(&address.parse().unwrap()).unwrap(), named, "{address}");
        }
    }
}
