//! Why nothing more comes of a call.

use crate::upload::Reached;

/// Why nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// No connection could be made, so nothing was sent.
    NotConnected,
    /// The provider's name leads where no provider may be, so nothing was sent.
    Barred,
    /// The journal did not take the call, so nothing was sent.
    NotJournaled,
    /// The connection broke after the request had gone out.
    Broke,
    /// The provider took too long.
    TooSlow,
    /// The caller's form broke off on its way.
    Halted(Reached),
    /// The provider was done, or took nothing more, before all of a form had reached it.
    CutShort,
}
