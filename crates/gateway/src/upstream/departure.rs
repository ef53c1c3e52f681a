//! A request's body, which journals its call before the first byte leaves.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tollgate_app::metering::{Dispatch, DispatchError};
use tollgate_providers::EditedBody;

use crate::upload::{BrokenOff, Upload};

/// A request body on its way out. The connection asks for its first piece when it is about to
/// write the head; that is the moment the call is journaled as dispatched. Where the journal syncs
/// always, the body waits for the disk, and no thread with it. A connection that is never made asks
/// for nothing.
#[derive(Debug)]
pub(crate) struct Departure {
    dispatch: Option<Arc<Dispatch>>,
    pieces: VecDeque<Bytes>,
    bytes: u64,
    /// A form, which then is all of the body.
    upload: Option<Box<Upload>>,
}

/// Why a request's body does not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSent {
    /// The call may not leave.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// The caller's upload broke off.
    #[error(transparent)]
    BrokenOff(#[from] BrokenOff),
}

impl Departure {
    /// The body of a call that is journaled when it leaves.
    pub(crate) fn new(body: EditedBody, dispatch: Option<Arc<Dispatch>>) -> Self {
        let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        Self {
            dispatch,
            pieces: body.into_pieces().into(),
            bytes,
            upload: None,
        }
    }

    /// The form of a call that is journaled when it leaves.
    pub(crate) fn of_upload(upload: Upload, dispatch: Option<Arc<Dispatch>>) -> Self {
        Self {
            dispatch,
            pieces: VecDeque::new(),
            bytes: upload.left(),
            upload: Some(Box::new(upload)),
        }
    }
}

impl Body for Departure {
    type Data = Bytes;
    type Error = NotSent;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NotSent>>> {
        let this = self.get_mut();
        if let Some(dispatch) = &this.dispatch {
            let left = ready!(dispatch.poll_leave(cx));
            this.dispatch = None;
            if let Err(refused) = left {
                return Poll::Ready(Some(Err(refused.into())));
            }
        }
        if let Some(upload) = &mut this.upload {
            let piece = ready!(upload.poll_piece(cx));
            this.bytes = upload.left();
            return Poll::Ready(piece.map(|piece| Ok(Frame::data(piece?))));
        }
        let piece = this.pieces.pop_front();
        if let Some(piece) = &piece {
            this.bytes = this
                .bytes
                .saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.dispatch.is_none() && self.pieces.is_empty() && self.bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes)
    }
}
