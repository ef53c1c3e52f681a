//! The addresses that the edges listen on.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::output::Failure;

/// Takes an address, or says why it cannot be had.
pub async fn bind(address: SocketAddr, who: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let advices = [
            (
                io::ErrorKind::AddrInUse,
                "stop the program that listens there, or name another address",
            ),
            (
                io::ErrorKind::AddrNotAvailable,
                "this machine has no such address: name another",
            ),
            (
                io::ErrorKind::PermissionDenied,
                "this user may not: name a port above 1023",
            ),
        ];
        let fits = advices.iter().find(|(kind, _)| *kind == error.kind());
        let advice = fits.map_or("name another address", |(_, advice)| advice);
        Failure::plain(format_args!(
            "{who} cannot listen on {address} ({error}): {advice}"
        ))
    })
}
