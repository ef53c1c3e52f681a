//! Forms that wait on the disk: each in a file without a name, so that nothing of it is left when
//! the process ends, however it ends.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncRead, AsyncSeekExt as _, AsyncWriteExt as _, ReadBuf};

use super::Fault;
use crate::config::GatewayConfig;

/// Bytes that are read or written at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Bytes after which the room on the disk is looked at again.
const LOOK_BYTES: u64 = 8 << 20;

/// What the file of a form is called for the moment in which it has a name.
const SUFFIX: &str = "form";

/// Where forms wait, and how much of the disk they may take.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: Option<PathBuf>,
    bytes_max: u64,
    free_bytes_min: u64,
    used: AtomicU64,
}

impl Spool {
    /// The place that the settings name. What a process left that was killed in the moment in
    /// which a file has a name is removed.
    pub(crate) fn new(config: &GatewayConfig) -> Arc<Self> {
        let folder = config.spool_dir.clone();
        let left = folder.iter().filter_map(|it| it.read_dir().ok());
        for entry in left.flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|it| it == SUFFIX)
                && let Err(error) = std::fs::remove_file(&path)
            {
                tracing::warn!(path = %path.display(), %error, "a form that was left cannot be removed");
            }
        }
        Arc::new(Self {
            folder,
            bytes_max: config.spool_bytes_max,
            free_bytes_min: config.spool_free_bytes_min,
            used: AtomicU64::new(0),
        })
    }

    /// Sees to it that the disk keeps what others need of it.
    fn check_free(&self, folder: &std::path::Path) -> io::Result<()> {
        let disk = rustix::fs::statvfs(folder)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < self.free_bytes_min {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

/// A part of the spool's room that one form takes; free again when it is dropped.
#[derive(Debug)]
struct Room {
    spool: Arc<Spool>,
    bytes: u64,
}

impl Room {
    fn grow(&mut self, bytes: u64) -> io::Result<()> {
        let used = self.spool.used.fetch_add(bytes, Ordering::Relaxed);
        self.bytes = self.bytes.saturating_add(bytes);
        if used.saturating_add(bytes) > self.spool.bytes_max {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.spool.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A form that is being written down.
#[derive(Debug)]
pub(super) struct Spooled {
    file: File,
    folder: PathBuf,
    room: Room,
}

impl Spooled {
    /// A new file without a name.
    pub(super) async fn begin(spool: &Arc<Spool>) -> Result<Self, Fault> {
        Self::open(spool).await.map_err(|error| not_kept(&error))
    }

    async fn open(spool: &Arc<Spool>) -> io::Result<Self> {
        let folder = spool.folder.clone().ok_or(io::ErrorKind::NotFound)?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .await?;
        spool.check_free(&folder)?;
        let path = folder
            .join(cus_models::generate_uuid())
            .with_extension(SUFFIX);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .await?;
        fs::remove_file(&path).await?;
        file.set_max_buf_size(BUFFER_BYTES);
        let room = Room {
            spool: Arc::clone(spool),
            bytes: 0,
        };
        Ok(Self { file, folder, room })
    }

    /// Writes the next piece down.
    pub(super) async fn append(&mut self, piece: &Bytes) -> Result<(), Fault> {
        self.write(piece).await.map_err(|error| not_kept(&error))
    }

    async fn write(&mut self, piece: &Bytes) -> io::Result<()> {
        let before = self.room.bytes.checked_div(LOOK_BYTES);
        self.room
            .grow(u64::try_from(piece.len()).unwrap_or(u64::MAX))?;
        if before != self.room.bytes.checked_div(LOOK_BYTES) {
            self.room.spool.check_free(&self.folder)?;
        }
        self.file.write_all(piece).await
    }

    /// The whole of it, to be read from its beginning.
    pub(super) async fn stored(mut self) -> Result<Stored, Fault> {
        let rewound = async {
            self.file.flush().await?;
            self.file.rewind().await
        };
        rewound.await.map_err(|error| not_kept(&error))?;
        Ok(Stored {
            file: self.file,
            left: self.room.bytes,
            buffer: None,
            _room: self.room,
        })
    }
}

/// A form that lies in a file.
#[derive(Debug)]
pub(super) struct Stored {
    file: File,
    left: u64,
    /// Where the next piece is read into.
    buffer: Option<BytesMut>,
    _room: Room,
}

impl Stored {
    /// Bytes that were not read.
    pub(super) const fn len(&self) -> u64 {
        self.left
    }

    /// Whether all of it was read.
    pub(super) const fn is_empty(&self) -> bool {
        self.left == 0
    }

    pub(super) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Fault>>> {
        if self.is_empty() {
            return Poll::Ready(None);
        }
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(BUFFER_BYTES);
        let mut bytes = self.buffer.take().unwrap_or_else(|| BytesMut::zeroed(most));
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = Pin::new(&mut self.file).poll_read(cx, &mut buffer);
        let filled = buffer.filled().len();
        if read.is_pending() {
            self.buffer = Some(bytes);
            return Poll::Pending;
        }
        if let Err(error) = ready!(read) {
            return Poll::Ready(Some(Err(not_kept(&error))));
        }
        if filled == 0 {
            let cut: io::Error = io::ErrorKind::UnexpectedEof.into();
            return Poll::Ready(Some(Err(not_kept(&cut))));
        }
        bytes.truncate(filled);
        self.left = self.left.saturating_sub(u64::try_from(filled).unwrap_or(0));
        Poll::Ready(Some(Ok(bytes.freeze())))
    }
}

fn not_kept(error: &io::Error) -> Fault {
    tracing::warn!(%error, "a form cannot be kept on the disk");
    Fault::NotKept
}
