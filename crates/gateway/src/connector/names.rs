//! Names as the machine resolves them, off the worker threads.
//!
//! The machine's resolver cannot be told to stop: a caller who waits no longer leaves its look-up behind, on a thread
//! that other work needs too. So a name is looked up once at a time, whoever asks for it, and only so many are at once.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Resolver, Resolving};

/// Names that are looked up at once; the threads that look are a quarter of those that block.
const LOOKUPS_MAX: usize = 128;

/// Asks the machine, and waits for as long as it takes.
type Ask = fn(&str) -> io::Result<Vec<IpAddr>>;

/// What came of a look-up, for everybody who waits for it.
type Found = Result<Vec<IpAddr>, (io::ErrorKind, String)>;

type UnderWay = Mutex<HashMap<String, watch::Receiver<Option<Found>>>>;

/// As the machine resolves names.
#[derive(Debug)]
pub(super) struct SystemResolver {
    ask: Ask,
    under_way: Arc<UnderWay>,
}

/// A look-up's place among those under way; it is left when the look-up ends, however it does.
struct Place {
    name: String,
    under_way: Arc<UnderWay>,
}

impl SystemResolver {
    pub(super) fn new() -> Self {
        Self::asking(|name| {
            let found = (name, 0).to_socket_addrs()?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }

    fn asking(ask: Ask) -> Self {
        Self {
            ask,
            under_way: Arc::default(),
        }
    }

    /// The look-up of a name that is under way, else a new one.
    fn look_up(&self, name: &str) -> io::Result<watch::Receiver<Option<Found>>> {
        let mut under_way = self.under_way.lock();
        if let Some(found) = under_way.get(name) {
            return Ok(found.clone());
        }
        if under_way.len() >= LOOKUPS_MAX {
            let all =
                "as many names as may be are being looked up, and their name servers do not answer";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, all));
        }
        let (tell, found) = watch::channel(None);
        under_way.insert(name.to_owned(), found.clone());
        let place = Place {
            name: name.to_owned(),
            under_way: Arc::clone(&self.under_way),
        };
        let ask = self.ask;
        tokio::task::spawn_blocking(move || {
            let found = ask(&place.name).map_err(|error| (error.kind(), error.to_string()));
            drop(place);
            tell.send_replace(Some(found));
        });
        Ok(found)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.under_way.lock().remove(&self.name);
    }
}

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a> {
        let looking = self.look_up(name);
        Box::pin(async move {
            let mut looking = looking?;
            let found = looking.wait_for(Option::is_some).await;
            match found.ok().and_then(|found| found.clone()) {
                Some(Ok(addresses)) => Ok(addresses),
                Some(Err((kind, what))) => Err(io::Error::new(kind, what)),
                None => Err(io::Error::other("the look-up ended without an answer")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;

    use parking_lot::{Condvar, Mutex};

    use super::*;

    /// A name server that answers once it may speak.
    static MAY_SPEAK: Mutex<bool> = Mutex::new(false);
    static SPEAK: Condvar = Condvar::new();
    static ASKED: AtomicUsize = AtomicUsize::new(0);

    fn slow(name: &str) -> io::Result<Vec<IpAddr>> {
        ASKED.fetch_add(1, Ordering::Relaxed);
        SPEAK.wait_while(&mut MAY_SPEAK.lock(), |may_speak| !*may_speak);
        match name {
            "nobody" => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
            _ => Ok(vec![IpAddr::from([192, 0, 2, 1])]),
        }
    }

    /// Asks, and goes away without an answer.
    async fn asked_in_vain(names: &SystemResolver, name: &str) {
        let mut looking = names.resolve(name);
        poll_fn(|cx| {
            assert!(looking.as_mut().poll(cx).is_pending(), "{name}");
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_at_a_time_and_so_many_names_at_once() {
        let names = SystemResolver::asking(slow);
        for _ in 0..1_000 {
            asked_in_vain(&names, "slow.example.com").await;
        }
        assert_eq!(names.under_way.lock().len(), 1);
        for number in 1..LOOKUPS_MAX {
            asked_in_vain(&names, &format!("slow-{number}.example.com")).await;
        }
        let refused = names.resolve("one-more.example.com").await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
        // A name that is being looked up is still waited for.
        let waiting = names.resolve("slow.example.com");
        *MAY_SPEAK.lock() = true;
        SPEAK.notify_all();
        assert_eq!(waiting.await.unwrap(), [IpAddr::from([192, 0, 2, 1])]);
        while !names.under_way.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), LOOKUPS_MAX);
        let unknown = names.resolve("nobody").await.unwrap_err();
        assert_eq!(unknown.kind(), io::ErrorKind::NotFound);
        assert!(names.resolve("one-more.example.com").await.is_ok());
        assert_eq!(ASKED.load(Ordering::Relaxed), LOOKUPS_MAX + 2);
    }

    #[tokio::test]
    async fn the_machine_knows_its_own_name() {
        let found = SystemResolver::new().resolve("localhost").await.unwrap();
        assert!(
            !found.is_empty() && found.iter().all(IpAddr::is_loopback),
            "{found:?}"
        );
    }
}
