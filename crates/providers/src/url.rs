//! Where a provider may be: an address is checked once, here, and used only as an [`Endpoint`].
//!
//! Names are checked as names when an address is written down. Whoever connects resolves the name,
//! asks [`UrlPolicy::admit`] about every address, and connects to one that was asked about.

mod network;
mod place;

use std::net::IpAddr;
use std::sync::Arc;

use http::Uri;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};

pub use self::network::{Network, NetworkError};
use self::place::{Place, literal};

/// What the operator allows beyond https to public hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UrlPolicy {
    /// Whether this machine itself may be a provider.
    pub loopback: Loopback,
    /// Hosts (`name` or `name:port`, in lower case) that may be private and may speak plain http.
    pub allowed_hosts: Vec<Box<str>>,
    /// Blocks of addresses that may be private: any name may lead there, and an address in one of
    /// them may speak plain http.
    pub allowed_networks: Vec<Network>,
}

impl UrlPolicy {
    /// Whether a connection to `host` at `port` may be made to this address, which its name was
    /// resolved to or which it is. An address that is not public needs the operator's word; what
    /// speaks to the machine below (link-local, metadata) needs it for the address itself.
    pub fn admit(&self, host: &str, port: u16, address: IpAddr) -> Result<(), UrlError> {
        let spelled = Place::of(host)?;
        if literal(host).is_some_and(|literal| literal != address) {
            return Err(UrlError::Host);
        }
        if self.allowed_networks.iter().any(|it| it.contains(address)) {
            return Ok(());
        }
        let listed = self.lists(host, port);
        let fits = match Place::of_address(address) {
            Place::Public => listed || spelled == Place::Public,
            Place::Loopback => listed || self.allows(spelled),
            Place::Private => listed,
            Place::Reserved => listed && literal(host).is_some(),
        };
        fits.then_some(()).ok_or(UrlError::NotPublic)
    }

    fn lists(&self, host: &str, port: u16) -> bool {
        self.allowed_hosts.iter().any(|allowed| {
            split_port(allowed).is_ok_and(|(name, allowed_port)| {
                name == host && (allowed_port.is_empty() || allowed_port.parse() == Ok(port))
            })
        })
    }

    fn allows(&self, place: Place) -> bool {
        place == Place::Loopback && self.loopback == Loopback::Allowed
    }
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
        let mut parts = Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Ok(Uri::from_parts(parts)?)
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
    let usual = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let networks = &policy.allowed_networks;
    let is_inside = |address| networks.iter().any(|network| network.contains(address));
    if policy.lists(host, port.parse().unwrap_or(usual))
        || policy.allows(place)
        || literal(host).is_some_and(is_inside)
    {
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
    fn a_uri_of_parts_is_the_one_that_is_read() {
        for (base, path) in [
            ("https://llm.example", "/v1/chat/completions"),
            (
                "https://llm.example:8443/v1",
                "/v1/files?limit=5&include[]=a",
            ),
            ("https://8.8.8.8", "/model/a%3A0/converse"),
        ] {
            let endpoint = strict(base).unwrap();
            let whole = format!("https://{}{path}", endpoint.authority());
            let read: Uri = whole.parse().unwrap();
            assert_eq!(endpoint.uri(path.to_owned()).unwrap(), read);
            assert_eq!(read.to_string(), whole);
        }
        for wrong in ["", "v1", "/a b", "/\u{7f}"] {
            let endpoint = strict("https://llm.example").unwrap();
            assert!(endpoint.uri(wrong.to_owned()).is_err(), "{wrong:?}");
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

    #[test]
    fn an_address_is_admitted_by_what_it_is_and_by_what_the_operator_says_of_its_name() {
        let policy = UrlPolicy {
            loopback: Loopback::Allowed,
            allowed_hosts: vec!["llm.internal".into(), "169.254.1.1".into(), "one:81".into()],
            allowed_networks: vec!["10.1.0.0/16".parse().unwrap()],
        };
        let asked = |host: &str, address: &str| policy.admit(host, 80, address.parse().unwrap());
        for (host, address, admitted) in [
            ("llm.example", "8.8.8.8", true),
            ("llm.example", "127.0.0.1", false),
            ("llm.example", "10.2.0.1", false),
            ("llm.example", "10.1.255.1", true),
            ("llm.example", "::ffff:10.1.0.1", false),
            ("localhost", "127.0.0.1", true),
            ("localhost", "::1", true),
            ("localhost", "8.8.8.8", false),
            ("localhost", "10.2.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("[::1]", "::1", true),
            ("llm.internal", "10.2.0.1", true),
            ("llm.internal", "127.0.0.1", true),
            ("llm.internal", "169.254.169.254", false),
            ("llm.internal", "0.0.0.0", false),
            ("llm.internal", "100.100.100.200", false),
            ("llm.internal", "100.100.100.201", true),
            ("llm.internal", "192.0.0.192", false),
            ("llm.internal", "fd00:ec2::254", false),
            ("llm.internal", "fd00:c1::a9fe:a9fe", false),
            ("llm.internal", "fd20:ce::254", false),
            ("llm.internal", "fd20:cf::254", true),
            ("169.254.1.1", "169.254.1.1", true),
            ("one", "10.2.0.1", false),
            ("other.internal", "8.8.8.8", false),
            ("2130706433", "127.0.0.1", false),
            ("8.8.8.8", "127.0.0.1", false),
        ] {
            assert_eq!(
                asked(host, address).is_ok(),
                admitted,
                "{host} at {address}"
            );
        }
        assert_eq!(policy.admit("one", 81, "10.2.0.1".parse().unwrap()), Ok(()));
    }

    #[test]
    fn a_network_of_the_operators_needs_no_tls_for_its_own_addresses_only() {
        let policy = UrlPolicy {
            allowed_networks: vec!["10.1.0.0/16".parse().unwrap()],
            ..UrlPolicy::default()
        };
        let parsed = |url| Endpoint::parse(url, &policy).map(drop);
        assert_eq!(parsed("http://10.1.2.3:8000/v1"), Ok(()));
        assert_eq!(parsed("https://10.2.2.3"), Err(UrlError::NotPublic));
        assert_eq!(parsed("http://llm.example"), Err(UrlError::NotEncrypted));
        assert_eq!(parsed("https://llm.example"), Ok(()));
    }
}
