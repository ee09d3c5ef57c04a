//! Addresses that are not everybody's: what listens there trusts whoever can reach it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A kind of addresses that no name should lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// This machine.
    Loopback,
    /// The network that this machine is in, without a router.
    LinkLocal,
    /// A private network; of version 6: unique local.
    Private,
    /// Where a cloud tells its machines about themselves, with their keys.
    Metadata,
    /// No address of its own: unspecified.
    Unspecified,
    /// Many at once.
    Multicast,
    /// Set aside: for tests, documentation, protocols and later.
    Reserved,
}

/// Addresses of metadata services, for the name of the kind; all but one are of another kind too. AWS and most others, AWS
/// by version 6, Alibaba, Oracle, Azure.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// What an address is, when it is not everybody's.
#[must_use]
pub fn closed(address: IpAddr) -> Option<Closed> {
    if METADATA.contains(&address) {
        return Some(Closed::Metadata);
    }
    match address {
        IpAddr::V4(address) => closed_v4(address),
        IpAddr::V6(address) => match inner(address) {
            Some(inner) => closed(IpAddr::V4(inner)),
            None => closed_v6(address),
        },
    }
}

fn closed_v4(address: Ipv4Addr) -> Option<Closed> {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (0, 0, 0) if address.is_unspecified() => Some(Closed::Unspecified),
        // "This network": systems take it for this machine.
        (0, ..) | (127, ..) => Some(Closed::Loopback),
        (169, 254, _) => Some(Closed::LinkLocal),
        // The fourth is that of providers between themselves and their customers.
        (10, ..) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) => Some(Closed::Private),
        (224..=239, ..) => Some(Closed::Multicast),
        (192, 0, 0 | 2)
        | (192, 88, 99)
        | (198, 18..=19, _)
        | (198, 51, 100)
        | (203, 0, 113)
        | (240..=255, ..) => Some(Closed::Reserved),
        _ => None,
    }
}

fn closed_v6(address: Ipv6Addr) -> Option<Closed> {
    let [a, b, ..] = address.segments();
    match (a, b) {
        _ if address.is_unspecified() => Some(Closed::Unspecified),
        _ if address.is_loopback() => Some(Closed::Loopback),
        (0xfe80..=0xfebf, _) => Some(Closed::LinkLocal),
        // The second are the old site-local ones.
        (0xfc00..=0xfdff | 0xfec0..=0xfeff, _) => Some(Closed::Private),
        (0xff00..=0xffff, _) => Some(Closed::Multicast),
        // Only these are given out, without Teredo, protocols and documentation.
        (0x2001, 0x0000..=0x01ff | 0x0db8) | (0x3fff, 0x0000..=0x0fff) => Some(Closed::Reserved),
        (0x2000..=0x3fff, _) => None,
        _ => Some(Closed::Reserved),
    }
}

/// The address of version 4 that one of version 6 leads to: mapped, compatible, by NAT64 or by 6to4.
fn inner(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => Some(of(g, h)),
        // `::` and `::1` are of version 6.
        (0, 0, 0, 0, 0, 0) if g != 0 || h > 1 => Some(of(g, h)),
        (0x2002, ..) => Some(of(b, c)),
        _ => None,
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "this machine",
            Self::LinkLocal => "link-local",
            Self::Private => "of a private network",
            Self::Metadata => "the metadata service of a cloud",
            Self::Unspecified => "unspecified",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
        })
    }
}
