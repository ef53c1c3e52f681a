//! Whose an address is: everybody's, or somebody's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::UrlError;

/// Whose a host is, as far as its spelling tells; or whose an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Anybody's.
    Public,
    /// A network's own, or one that carries another address inside.
    Private,
    /// The machine itself.
    Loopback,
    /// The link's, the machine below, many at once or nobody.
    Reserved,
}

/// The address that a host is, if it is one and not a name.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    let bracketed = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    match bracketed {
        Some(inside) => inside.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

/// Whether a name means the same to readers that decode the letters of foreign scripts and to a
/// name server, which is asked for it as it is written: `xn--` stands before nothing but what such
/// letters are encoded as, in the one way that there is.
fn is_one_name(host: &str) -> bool {
    let is_encoded = |label: &str| {
        let mark = label.as_bytes().first_chunk::<4>();
        mark.is_some_and(|mark| mark.eq_ignore_ascii_case(b"xn--"))
    };
    if !host.split('.').any(is_encoded) {
        return true;
    }
    let read = idna::domain_to_ascii_cow(host.as_bytes(), idna::AsciiDenyList::URL);
    read.is_ok_and(|read| read.eq_ignore_ascii_case(host))
}

impl Place {
    /// What the spelling of a host tells.
    pub(super) fn of(host: &str) -> Result<Self, UrlError> {
        if host.starts_with('[') {
            return literal(host).map(Self::of_address).ok_or(UrlError::Host);
        }
        let label = |label: &str| {
            let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            let is_bare = !label.starts_with('-') && !label.ends_with('-');
            !label.is_empty() && label.len() <= 63 && is_bare && label.bytes().all(inside)
        };
        if host.len() > 253 || !host.split('.').all(label) || !is_one_name(host) {
            return Err(UrlError::Host);
        }
        // A last label that begins with a digit is an IPv4 address to someone, in some spelling.
        let last = host.rsplit('.').next().unwrap_or_default();
        if last.starts_with(|first: char| first.is_ascii_digit()) {
            return literal(host).map(Self::of_address).ok_or(UrlError::Host);
        }
        let under = |zone: &str| {
            host == zone || host.strip_suffix(zone).is_some_and(|it| it.ends_with('.'))
        };
        let own = ["internal", "local", "localdomain", "arpa", "home", "lan"];
        Ok(if under("localhost") {
            Self::Loopback
        } else if !host.contains('.') || own.into_iter().any(under) {
            Self::Private
        } else {
            Self::Public
        })
    }

    pub(super) fn of_address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [a, b, c, _] = address.octets();
        let reserved = is_machine_below(address) || matches!(a, 0 | 224..) || (a, b) == (169, 254);
        let private = a == 10
            || matches!((a, b), (100, 64..=127) | (172, 16..=31) | (198, 18 | 19))
            || (a, b) == (192, 168)
            || matches!((a, b, c), (192, 0, 0 | 2) | (192, 88, 99) | (192, 31, 196))
            || matches!((a, b, c), (192, 52, 193) | (192, 175, 48))
            || matches!((a, b, c), (198, 51, 100) | (203, 0, 113));
        if a == 127 {
            Self::Loopback
        } else if reserved {
            Self::Reserved
        } else if private {
            Self::Private
        } else {
            Self::Public
        }
    }

    /// Only plain global unicast is public: no address that carries another one inside.
    fn of_v6(address: Ipv6Addr) -> Self {
        let [first, second, ..] = address.segments();
        let global = first & 0xe000 == 0x2000;
        let carrying = first == 0x2002 || (first == 0x2001 && (second < 0x200 || second == 0xdb8));
        // What AWS, Oracle and Google answer at on the machine below.
        let cloud = matches!((first, second), (0xfd00, 0xec2 | 0xc1) | (0xfd20, 0xce));
        let link = first & 0xffc0 == 0xfe80;
        if address.is_loopback() {
            Self::Loopback
        } else if address.is_unspecified() || address.is_multicast() || link || cloud {
            Self::Reserved
        } else if global && !carrying && first != 0x3fff {
            Self::Public
        } else {
            Self::Private
        }
    }
}

/// Whether a cloud's agent on the machine below answers there: Azure's at an address that looks
/// public, Alibaba's and Oracle's among those of networks.
fn is_machine_below(address: Ipv4Addr) -> bool {
    matches!(
        address.octets(),
        [168, 63, 129, 16] | [100, 100, 100, 200] | [192, 0, 0, 192]
    )
}
