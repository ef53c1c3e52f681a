//! The wire between one node and PostgreSQL, which can be slow, silent, or cut at the worst moment.
//!
//! It listens on a unix socket of its own and passes bytes on. The worst moment is the one between a commit and its
//! reply: the store has the rows, and the node cannot know.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const SOCKET: &str = ".s.PGSQL.5432";

/// What the server says when it has committed: a message of kind C, eleven bytes long, with its tag.
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";

/// A listening wire; dropping it cuts everything.
#[derive(Debug)]
pub(crate) struct Wire {
    /// The folder of its socket.
    pub(crate) folder: PathBuf,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    server: PathBuf,
    /// Whether bytes get through.
    is_open: watch::Sender<bool>,
    /// Goes up with every cut.
    cuts: watch::Sender<u64>,
    delay_ms: AtomicU64,
    /// Replies to COMMIT that are still to be swallowed.
    to_swallow: AtomicU32,
    swallowed: AtomicU64,
    broken: AtomicU64,
    /// Whether what the server says unasked is lost.
    is_mute: AtomicBool,
}

impl Wire {
    /// Listens in a new folder, for the server whose socket is in another one.
    pub(crate) fn listen(folder: PathBuf, server: &Path) -> Self {
        std::fs::create_dir(&folder).unwrap();
        let listener = UnixListener::bind(folder.join(SOCKET)).unwrap();
        let state = Arc::new(State {
            server: server.join(SOCKET),
            is_open: watch::Sender::new(true),
            cuts: watch::Sender::new(0),
            delay_ms: AtomicU64::new(0),
            to_swallow: AtomicU32::new(0),
            swallowed: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            is_mute: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&state)));
        Self {
            folder,
            state,
            _tasks: tasks,
        }
    }

    /// Cuts every connection; new ones are taken.
    pub(crate) fn cut(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Lets nothing through from now on, and breaks nothing.
    pub(crate) fn hold(&self) {
        self.state.is_open.send_replace(false);
    }

    /// Lets everything through again.
    pub(crate) fn release(&self) {
        self.state.is_open.send_replace(true);
    }

    /// Holds back every piece that the server sends for so long.
    pub(crate) fn delay(&self, delay_ms: u64) {
        self.state.delay_ms.store(delay_ms, Ordering::SeqCst);
    }

    /// Loses every notification from now on, and breaks nothing.
    pub(crate) fn mute(&self) {
        self.state.is_mute.store(true, Ordering::SeqCst);
    }

    /// Swallows the next replies to COMMIT, each with its connection.
    pub(crate) fn swallow(&self, replies: u32) {
        self.state.to_swallow.store(replies, Ordering::SeqCst);
    }

    /// Replies that are still to be swallowed.
    pub(crate) fn still_to_swallow(&self) -> u32 {
        self.state.to_swallow.load(Ordering::SeqCst)
    }

    /// Replies to COMMIT that were swallowed.
    pub(crate) fn swallowed(&self) -> u64 {
        self.state.swallowed.load(Ordering::SeqCst)
    }

    /// Connections that were cut.
    pub(crate) fn broken(&self) -> u64 {
        self.state.broken.load(Ordering::SeqCst)
    }
}

async fn accept(listener: UnixListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                connections.spawn(connect(accepted.unwrap().0, Arc::clone(&state)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Passes on until one side ends or the wire is cut; then both sides see the end.
async fn connect(client: UnixStream, state: Arc<State>) {
    let mut cuts = state.cuts.subscribe();
    // A server that is not there looks to the client like one that hangs up.
    let Ok(server) = UnixStream::connect(&state.server).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = ask(from_client, to_server, &state) => {}
        () = answer(from_server, to_client, &state) => {}
        _ = cuts.changed() => {
            state.broken.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State) {
    let mut piece = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        state.passes().await;
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State) {
    let mut piece = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let piece = &piece[..length];
        if state.swallows(piece) {
            return;
        }
        if state.is_mute.load(Ordering::SeqCst) && is_notification(piece) {
            continue;
        }
        let delay_ms = state.delay_ms.load(Ordering::SeqCst);
        if delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        state.passes().await;
        if to.write_all(piece).await.is_err() {
            return;
        }
    }
}

/// Whether a piece is notifications and nothing else, as a connection gets them that waits for some: messages of kind A.
fn is_notification(mut piece: &[u8]) -> bool {
    while let [b'A', a, b, c, d, ..] = *piece {
        let length = u32::from_be_bytes([a, b, c, d]);
        let Some(rest) = piece.get(1 + usize::try_from(length).unwrap()..) else {
            return false;
        };
        piece = rest;
        if piece.is_empty() {
            return true;
        }
    }
    false
}

impl State {
    async fn passes(&self) {
        let mut is_open = self.is_open.subscribe();
        // It fails only when the wire itself is gone, which ends this task as well.
        drop(is_open.wait_for(|is_open| *is_open).await);
    }

    fn swallows(&self, piece: &[u8]) -> bool {
        let committed = || piece.windows(COMMITTED.len()).any(|part| part == COMMITTED);
        if self.to_swallow.load(Ordering::SeqCst) == 0 || !committed() {
            return false;
        }
        let one_less = |left: u32| left.checked_sub(1);
        let taken = self
            .to_swallow
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        if taken.is_ok() {
            self.swallowed.fetch_add(1, Ordering::SeqCst);
        }
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_of_notifications_is_told_from_one_that_only_begins_so() {
        let notification = b"A\0\0\0\x09\0\0\0\x01x";
        assert!(is_notification(notification));
        assert!(is_notification(&[&notification[..], notification].concat()));
        assert!(!is_notification(
            &[&notification[..], b"Z\0\0\0\x05I"].concat()
        ));
        assert!(!is_notification(&notification[..7]));
        assert!(!is_notification(b""));
    }
}
