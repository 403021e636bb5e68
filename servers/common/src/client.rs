//! Which client a request is from: the address of its connection, or the one that a trusted proxy
//! names.

use axum::{
    extract::ConnectInfo,
    http::{Extensions, HeaderMap},
};
use ipnet::IpNet;
use serde::Deserialize;
use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// The header in which a proxy names the client.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// An address, or a network in CIDR notation, of a reverse proxy that is trusted to name clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TrustedProxy(IpNet);

impl FromStr for TrustedProxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(Self)
            .map_err(|_| format!("{text}: not an IP address or network such as 10.0.0.0/8"))
    }
}

impl TryFrom<String> for TrustedProxy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Whether a proxy at this address is trusted.
#[must_use]
pub fn is_trusted(proxies: &[TrustedProxy], address: IpAddr) -> bool {
    proxies.iter().any(|proxy| proxy.0.contains(&address.to_canonical()))
}

/// The client of a request that came from `peer`. If `peer` is a trusted proxy, the client is the
/// last address in `X-Forwarded-For` that is not a trusted proxy itself: the addresses before it
/// were written by the client. Without a readable address it is `peer`.
///
/// ```
/// use axum::http::HeaderMap;
/// use kez_server::client::of;
/// let proxies = ["192.0.2.0/28".parse()?];
/// let mut headers = HeaderMap::new();
/// headers.insert("x-forwarded-for", "10.9.9.9, 198.51.100.7, 192.0.2.2".parse().unwrap());
/// let of = |peer: [u8; 4]| of(peer.into(), &headers, &proxies).to_string();
/// assert_eq!(of([192, 0, 2, 1]), "198.51.100.7");
/// assert_eq!(of([203, 0, 113, 1]), "203.0.113.1");
/// # Ok::<(), String>(())
/// ```
#[must_use]
pub fn of(peer: IpAddr, headers: &HeaderMap, proxies: &[TrustedProxy]) -> IpAddr {
    if !is_trusted(proxies, peer) {
        return peer;
    }
    let values = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    for name in named.into_iter().rev() {
        let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() else { break };
        if !is_trusted(proxies, address) {
            return address;
        }
    }
    peer
}

/// The client of a request, as the connection named it.
#[must_use]
pub fn of_request(extensions: &Extensions) -> IpAddr {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.0.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(forwarded: &[&str]) -> String {
        let proxies = ["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        of("10.0.0.1".parse().unwrap(), &headers, &proxies).to_string()
    }

    #[test]
    fn a_client_cannot_name_itself() {
        assert_eq!(client(&["203.0.113.5"]), "203.0.113.5");
        // The client wrote the first address, the proxy appended the second.
        assert_eq!(client(&["192.0.2.1, 203.0.113.5"]), "203.0.113.5");
        assert_eq!(client(&["192.0.2.1", "203.0.113.5"]), "203.0.113.5");
        assert_eq!(client(&["203.0.113.5, 10.2.3.4"]), "203.0.113.5");
        assert_eq!(client(&["192.0.2.1, unknown"]), "10.0.0.1");
        assert_eq!(client(&[]), "10.0.0.1");
        assert_eq!(client(&["2001:db8::7, ::1"]), "2001:db8::7");
    }

    #[test]
    fn a_proxy_is_an_address_or_a_network() {
        let proxy = |text: &str| text.parse::<TrustedProxy>();
        assert!(is_trusted(&[proxy("127.0.0.1").unwrap()], "::ffff:127.0.0.1".parse().unwrap()));
        assert!(!is_trusted(&[proxy("127.0.0.1").unwrap()], "127.0.0.2".parse().unwrap()));
        assert!(proxy("localhost").is_err());
    }
}
