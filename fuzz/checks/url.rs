//! Addresses of providers: what passes is the same address to another reader of URLs, and names nothing that is private.

use std::net::IpAddr;

use tollgate_providers::{Endpoint, Network, UrlPolicy};
use url::{Host, Url};

const INNER: [&str; 8] = [
    "127.0.0.1",
    "10.0.0.1",
    "169.254.169.254",
    "0.0.0.0",
    "::1",
    "::ffff:127.0.0.1",
    "fd00:ec2::254",
    "64:ff9b::7f00:1",
];

/// The input is what somebody gives for an address, or for a block of them.
pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Ok(network) = text.parse::<Network>() {
        assert_eq!(network.to_string().parse(), Ok(network));
    }
    let policy = UrlPolicy::default();
    let Ok(endpoint) = Endpoint::parse(text, &policy) else {
        return;
    };
    assert!(endpoint.is_tls());
    let other = Url::parse(text).expect("another reader takes it for no address");
    assert_eq!(other.scheme(), "https");
    assert_eq!(other.port_or_known_default(), Some(endpoint.port()));
    assert!(other.username().is_empty() && other.password().is_none());
    assert!(other.query().is_none() && other.fragment().is_none());
    let host = endpoint.host().trim_matches(['[', ']']);
    match other.host() {
        Some(Host::Ipv4(address)) => {
            assert_eq!(host.parse(), Ok(address), "another host");
            assert!(!address.is_private() && !address.is_loopback() && !address.is_link_local());
            assert!(!address.is_unspecified() && !address.is_broadcast());
        }
        Some(Host::Ipv6(address)) => {
            assert_eq!(endpoint.host(), format!("[{host}]"));
            assert_eq!(host.parse(), Ok(address), "another host");
            assert!(!address.is_loopback() && !address.is_unicast_link_local());
            assert!(address.to_ipv4_mapped().is_none() && !address.is_unique_local());
        }
        Some(Host::Domain(name)) => assert_eq!(name, endpoint.host(), "another host"),
        None => panic!("no host"),
    }
    for inner in INNER {
        let address: IpAddr = inner.parse().expect("an address");
        let admitted = policy.admit(endpoint.host(), endpoint.port(), address);
        assert!(admitted.is_err(), "{inner} is admitted");
    }
}
