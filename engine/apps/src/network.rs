//! Addresses of the engine's network, given to one replica at a time.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use yuanli_ports::replicas::Network;

/// The address after `last`, in a circle, that nobody has: one that was just given back is given out again as late as can
/// be. `None` when all are taken.
pub(crate) fn next_address(
    network: Network,
    last: Option<Ipv4Addr>,
    taken: &BTreeSet<Ipv4Addr>,
) -> Option<Ipv4Addr> {
    let (first, end) = (u32::from(network.first), u32::from(network.last));
    let start = last.map(u32::from).filter(|last| (first..end).contains(last)).map_or(first, |last| last + 1);
    (start..=end).chain(first..start).map(Ipv4Addr::from).find(|address| !taken.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    #[test]
    fn addresses_go_round_and_skip_what_is_taken() {
        let network = Network { first: address(2), last: address(5) };
        let next = |last: Option<u8>, taken: &[u8]| {
            let taken = taken.iter().map(|last| address(*last)).collect();
            next_address(network, last.map(address), &taken).map(|found| found.octets()[3])
        };
        assert_eq!(next(None, &[]), Some(2));
        assert_eq!(next(Some(3), &[3]), Some(4));
        assert_eq!(next(Some(5), &[2, 5]), Some(3));
        assert_eq!(next(Some(4), &[2, 3, 4, 5]), None);
        // An address of a network that was there before.
        assert_eq!(next(Some(99), &[2]), Some(3));
    }
}
