//! Where a provider may be: an address is checked once, here, and used only as an [`Endpoint`].
//!
//! Names are checked as names. That a name does not lead to a private address is for whoever
//! connects: it resolves the name, checks every address and connects to the checked one.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// What the operator allows beyond https to public hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UrlPolicy {
    /// Whether this machine itself may be a provider.
    pub loopback: Loopback,
    /// Hosts (`name` or `name:port`, in lower case) that may be private and may speak plain http.
    pub allowed_hosts: Vec<Box<str>>,
}

/// Whether loopback addresses and `localhost` are allowed, on any port, with or without TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Loopback {
    /// They are not: the usual case.
    #[default]
    Refused,
    /// They are: for trying things out on one machine.
    Allowed,
}

/// Why an address cannot be a provider's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// There is no address, and the provider has none of its own.
    #[error(
        "`base_url` is missing: say where the provider is, for example `https://llm.example/v1`"
    )]
    Missing,
    /// Not a plain absolute URL.
    #[error(
        "`base_url` must be `https://host`, with a port and a path where needed and nothing else"
    )]
    Malformed,
    /// Credentials in the URL.
    #[error("`base_url` may not contain a user or a password")]
    UserInfo,
    /// A query or a fragment.
    #[error("`base_url` may not have a query or a fragment")]
    Suffix,
    /// The host is spelled in a way that readers of URLs disagree about.
    #[error("the host of `base_url` must be a plain name or an ordinary IP address")]
    Host,
    /// Not encrypted.
    #[error("`base_url` must be https; the operator can allow a host to be reached without")]
    NotEncrypted,
    /// The host is not public.
    #[error("the host of `base_url` is not public; the operator can allow it")]
    NotPublic,
}

/// A checked address of a provider: scheme, host, port and path prefix. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end; empty when there is none.
    prefix: Arc<str>,
}

impl Endpoint {
    /// Reads and checks a `base_url`.
    pub fn parse(text: &str, policy: &UrlPolicy) -> Result<Self, UrlError> {
        if !text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'%')
        {
            return Err(UrlError::Malformed);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Malformed)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" => Scheme::HTTPS,
            "http" => Scheme::HTTP,
            _ => return Err(UrlError::Malformed),
        };
        if rest.contains(['?', '#']) {
            return Err(UrlError::Suffix);
        }
        let (authority, path) = match rest.find('/').and_then(|at| rest.split_at_checked(at)) {
            Some((authority, path)) => (authority, path),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        let authority = authority.to_ascii_lowercase();
        check_host(&authority, &scheme, policy)?;
        let prefix = checked_prefix(path)?.into();
        let authority = authority.parse().or(Err(UrlError::Malformed))?;
        Ok(Self {
            scheme,
            authority,
            prefix,
        })
    }

    /// The host: a name, an IPv4 address, or an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority.host()
    }

    /// The port, also when the address does not name it.
    #[must_use]
    pub fn port(&self) -> u16 {
        let usual = if self.is_tls() { 443 } else { 80 };
        self.authority.port_u16().unwrap_or(usual)
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Host and port as they stand in a request.
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The path that the address ends in, without a slash at its end; empty when there is none.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The same host with another path prefix.
    pub(crate) fn with_prefix(mut self, prefix: &str) -> Self {
        if *self.prefix != *prefix {
            self.prefix = prefix.into();
        }
        self
    }

    /// The URI of `path_and_query`, which begins with the prefix, at this host.
    pub(crate) fn uri(&self, path_and_query: String) -> Result<Uri, http::Error> {
        let path = PathAndQuery::from_maybe_shared(bytes::Bytes::from(path_and_query))?;
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone());
        uri.path_and_query(path).build()
    }
}

/// A path prefix without its last slash; no segment may be empty or climb.
fn checked_prefix(path: &str) -> Result<&str, UrlError> {
    let prefix = path.strip_suffix('/').unwrap_or(path);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    let fits = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(plain);
    let whole = prefix.is_empty() || prefix.split('/').skip(1).all(fits);
    if whole {
        Ok(prefix)
    } else {
        Err(UrlError::Malformed)
    }
}

fn check_host(authority: &str, scheme: &Scheme, policy: &UrlPolicy) -> Result<(), UrlError> {
    let (host, port) = split_port(authority)?;
    let place = Place::of(host)?;
    let allowed = policy.allowed_hosts.iter().any(|allowed| {
        allowed
            .split_once(':')
            .map_or(**allowed == *host, |(name, allowed_port)| {
                **allowed == *authority || (name == host && port == allowed_port)
            })
    });
    let local = place == Place::Loopback && policy.loopback == Loopback::Allowed;
    if allowed || local {
        return Ok(());
    }
    if *scheme != Scheme::HTTPS {
        return Err(UrlError::NotEncrypted);
    }
    if place == Place::Public {
        Ok(())
    } else {
        Err(UrlError::NotPublic)
    }
}

/// Host and port; an empty port when none is named.
fn split_port(authority: &str) -> Result<(&str, &str), UrlError> {
    let bracket = authority.find(']').map_or(0, |at| at.saturating_add(1));
    let (address, rest) = authority.split_at_checked(bracket).ok_or(UrlError::Host)?;
    let (name, port) = match rest.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (rest, None),
    };
    let host = match (address, name) {
        ("", name) => name,
        (address, "") => address,
        _ => return Err(UrlError::Host),
    };
    let valid = |port: &str| {
        !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok_and(|number| number != 0)
    };
    match port {
        Some(port) if !valid(port) => Err(UrlError::Malformed),
        port => Ok((host, port.unwrap_or(""))),
    }
}

/// Whose a host is, as far as its spelling tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Public,
    Private,
    Loopback,
}

impl Place {
    fn of(host: &str) -> Result<Self, UrlError> {
        if let Some(inner) = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            return inner.parse().map(Self::of_v6).or(Err(UrlError::Host));
        }
        let label = |label: &str| {
            let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            !label.is_empty() && label.len() <= 63 && label.bytes().all(inside)
        };
        if host.len() > 253 || !host.split('.').all(label) {
            return Err(UrlError::Host);
        }
        // A last label that begins with a digit is an IPv4 address to someone, in some spelling.
        let last = host.rsplit('.').next().unwrap_or_default();
        if last.starts_with(|first: char| first.is_ascii_digit()) {
            return host.parse().map(Self::of_v4).or(Err(UrlError::Host));
        }
        let under = |zone: &str| {
            host == zone || host.strip_suffix(zone).is_some_and(|it| it.ends_with('.'))
        };
        Ok(if under("localhost") {
            Self::Loopback
        } else if !host.contains('.')
            || ["internal", "local", "arpa", "home"].into_iter().any(under)
        {
            Self::Private
        } else {
            Self::Public
        })
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [a, b, c, _] = address.octets();
        if a == 127 {
            return Self::Loopback;
        }
        let private = matches!(a, 0 | 10 | 224..)
            || matches!((a, b), (100, 64..=127) | (172, 16..=31) | (198, 18 | 19))
            || matches!((a, b), (169, 254) | (192, 168))
            || matches!((a, b, c), (192, 0, 0 | 2) | (192, 88, 99))
            || matches!((a, b, c), (198, 51, 100) | (203, 0, 113));
        if private { Self::Private } else { Self::Public }
    }

    /// Only plain global unicast is public: no address that carries another one inside.
    fn of_v6(address: Ipv6Addr) -> Self {
        let [first, second, ..] = address.segments();
        let global = first & 0xe000 == 0x2000;
        let carrying = first == 0x2002 || (first == 0x2001 && (second < 0x200 || second == 0xdb8));
        if address.is_loopback() {
            Self::Loopback
        } else if global && !carrying && first != 0x3fff {
            Self::Public
        } else {
            Self::Private
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strict(text: &str) -> Result<Endpoint, UrlError> {
        Endpoint::parse(text, &UrlPolicy::default())
    }

    #[test]
    fn an_ordinary_address_is_taken_apart() {
        let endpoint = strict("https://LLM.example.com:8443/api/v1/").unwrap();
        assert_eq!(
            (endpoint.host(), endpoint.port()),
            ("llm.example.com", 8443)
        );
        assert_eq!(endpoint.prefix(), "/api/v1");
        assert_eq!(
            endpoint.uri("/x?y=1".to_owned()).unwrap(),
            "https://llm.example.com:8443/x?y=1"
        );
        assert_eq!(strict("https://llm.example.com").unwrap().prefix(), "");
        assert!(strict("https://8.8.8.8").is_ok() && strict("https://[2606:4700::1111]/").is_ok());
    }

    #[test]
    fn what_is_not_a_plain_address_is_refused_with_its_reason() {
        let table = [
            ("", UrlError::Malformed),
            ("llm.example.com", UrlError::Malformed),
            ("ftp://llm.example.com", UrlError::Malformed),
            ("https://a.example.com/%2e%2e", UrlError::Malformed),
            ("https://a.example.com/x/../y", UrlError::Malformed),
            ("https://a.example.com//x", UrlError::Malformed),
            ("https://a.example.com\\@b.example.com", UrlError::Malformed),
            ("https://a.example.com\n", UrlError::Malformed),
            ("https://a.example.com:0", UrlError::Malformed),
            ("https://a.example.com:99999", UrlError::Malformed),
            ("https://key@a.example.com", UrlError::UserInfo),
            ("https://a.example.com/v1?x=1", UrlError::Suffix),
            ("https://a.example.com#x", UrlError::Suffix),
            ("http://a.example.com", UrlError::NotEncrypted),
            ("https://a.example.com.", UrlError::Host),
            ("https://", UrlError::Host),
            ("https://[::1", UrlError::Malformed),
            ("https://[fe80::1%25eth0]", UrlError::Malformed),
        ];
        for (text, error) in table {
            assert_eq!(strict(text), Err(error), "{text}");
        }
    }

    #[test]
    fn no_spelling_of_a_private_host_passes() {
        let hosts = [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0177.0.0.1",
            "0x7f.1",
            "0x7f000001",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "1.1.1.1.",
            "01.1.1.1",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[2001::1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[fc00::1]",
            "[ff02::1]",
            "[2001:db8::1]",
            "localhost",
            "localhost.",
            "LOCALHOST",
            "a.localhost",
            "metadata",
            "metadata.google.internal",
            "printer.local",
            "ⓛocalhost",
        ];
        for host in hosts {
            assert!(strict(&format!("https://{host}/v1")).is_err(), "{host}");
        }
    }

    #[test]
    fn the_operator_can_allow_loopback_and_single_hosts() {
        let dev = UrlPolicy {
            loopback: Loopback::Allowed,
            ..UrlPolicy::default()
        };
        for url in [
            "http://127.0.0.1:8080",
            "http://localhost:1",
            "https://[::1]:8443/v1",
        ] {
            assert!(Endpoint::parse(url, &dev).is_ok(), "{url}");
        }
        assert_eq!(
            Endpoint::parse("http://10.0.0.1", &dev),
            Err(UrlError::NotEncrypted)
        );
        let allowed_hosts = vec!["10.0.0.1:8000".into(), "llm.internal".into()];
        let policy = UrlPolicy {
            allowed_hosts,
            ..UrlPolicy::default()
        };
        assert!(Endpoint::parse("http://10.0.0.1:8000/v1", &policy).is_ok());
        assert!(Endpoint::parse("http://llm.internal:9/v1", &policy).is_ok());
        assert!(Endpoint::parse("http://10.0.0.1:8001/v1", &policy).is_err());
        assert!(Endpoint::parse("http://127.0.0.1/v1", &policy).is_err());
    }
}
