//! The engine's own network: a bridge whose addresses the engine assigns.
//!
//! Docker gives a container the address that was asked for only in a subnet that somebody chose, and refuses one that
//! it chose itself. Yet only Docker knows which subnets are free: those of `default-address-pools`, without what the
//! machine reaches by other routes. So it chooses, for a probe of a network that is removed at once, and the subnet
//! that it chose is then asked for by name.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect};
use bollard::query_parameters::ListNetworksOptions;
use chrono::{DateTime, FixedOffset};
use yuanli_model::EngineId;
use yuanli_ports::containers::ContainerError;
use yuanli_ports::replicas::Network;

use crate::connection::Docker;
use crate::fault::{CONFLICT, Fault, NOT_FOUND};
use crate::label;

/// How often a subnet is chosen. Between the choice and its use another may take it, which is rare even once.
const TRIES: u32 = 5;

/// The first addresses of the subnet are not for replicas: network, gateway, and those that Docker gives to what else
/// somebody connects to the network (`docker run --network …`), so that it never takes one that the engine assigns.
const RESERVED_PREFIX: u8 = 29;
const RESERVED: u32 = 1 << (32 - RESERVED_PREFIX);

/// Addresses that begin with the same `prefix` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subnet {
    first: u32,
    prefix: u8,
}

/// What [`Docker::list_networks`] tells of a network.
struct Found {
    id: String,
    name: String,
    created: Option<DateTime<FixedOffset>>,
    subnet: Option<Subnet>,
}

/// The name of an engine's network.
pub(crate) fn name(engine: EngineId) -> String {
    format!("yuanli-{engine}")
}

fn probe_name(engine: EngineId) -> String {
    format!("yuanli-{engine}-probe")
}

impl Docker {
    /// The engine's network, which is made when it is not there: the one of before when that is still possible.
    pub(crate) async fn ensure_network(&self, engine: EngineId) -> Result<Network, ContainerError> {
        let mut subnets = self.replicas.subnets.lock().await;
        let subnet = match self.find_network(engine).await? {
            Some((_, subnet)) => subnet,
            None => self.make_network(engine, subnets.get(&engine).copied()).await?,
        };
        subnets.insert(engine, subnet);
        subnet.network().ok_or_else(|| {
            ContainerError::Invalid(format!(
                "the subnet {subnet} that Docker chose is too small: let `default-address-pools` in its daemon.json \
                 have subnets of at least 16 addresses (`size` 28 or less)"
            ))
        })
    }

    /// The network of that name and its subnet. Engines before 25 allow several of one name: the oldest is it.
    async fn find_network(&self, engine: EngineId) -> Result<Option<(String, Subnet)>, ContainerError> {
        let mut found = self.list_networks(engine, &name(engine)).await?;
        found.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        let Some(network) = found.into_iter().next() else { return Ok(None) };
        let subnet = network.subnet.ok_or_else(|| {
            ContainerError::Invalid(format!(
                "the network `{}` has no IPv4 subnet; remove it (`docker network rm`), it is then made anew",
                network.name
            ))
        })?;
        Ok(Some((network.id, subnet)))
    }

    async fn make_network(&self, engine: EngineId, before: Option<Subnet>) -> Result<Subnet, ContainerError> {
        let mut wanted = before;
        for _ in 0..TRIES {
            let subnet = match wanted.take() {
                Some(subnet) => subnet,
                None => self.free_subnet(engine).await?,
            };
            let made = match self.create_network(engine, name(engine), Some(subnet)).await {
                Ok(id) => Some(id),
                Err(fault) if is_taken(&fault) => None,
                Err(fault) => return Err(fault.into()),
            };
            let Some((id, subnet)) = self.find_network(engine).await? else { continue };
            if let Some(doubled) = made.filter(|made| *made != id) {
                self.remove_network(&doubled).await?;
            }
            tracing::info!(network = name(engine), %subnet, "replicas get their addresses from here");
            return Ok(subnet);
        }
        Err(ContainerError::Engine(format!(
            "the network `{}` could not be made: every subnet that Docker chose was taken by another network in \
             between; try again",
            name(engine)
        )))
    }

    /// A subnet that Docker takes for free.
    async fn free_subnet(&self, engine: EngineId) -> Result<Subnet, ContainerError> {
        let name = probe_name(engine);
        let made = self.create_network(engine, name.clone(), None).await;
        let refused = made.map_err(explain_exhaustion).err();
        // All that there are: an engine that was killed here has left one.
        let probes = self.list_networks(engine, &name).await?;
        for probe in &probes {
            self.remove_network(&probe.id).await?;
        }
        match refused {
            Some(error) => Err(error),
            None => probes.iter().find_map(|probe| probe.subnet).ok_or_else(|| {
                ContainerError::Engine("Docker made a network without an IPv4 subnet".to_owned())
            }),
        }
    }

    async fn create_network(
        &self,
        engine: EngineId,
        name: String,
        subnet: Option<Subnet>,
    ) -> Result<String, Fault> {
        let config = subnet.map(|subnet| IpamConfig {
            subnet: Some(subnet.to_string()),
            gateway: Some(subnet.gateway().to_string()),
            ip_range: Some(subnet.reserved().to_string()),
            ..IpamConfig::default()
        });
        let request = NetworkCreateRequest {
            name,
            driver: Some("bridge".to_owned()),
            ipam: config.map(|config| Ipam { config: Some(vec![config]), ..Ipam::default() }),
            labels: Some(label::of_engine(engine)),
            ..NetworkCreateRequest::default()
        };
        let client = self.client().await.map_err(Fault::Other)?;
        Ok(self.call("create a network", client.create_network(request)).await?.id)
    }

    /// The networks of an engine with a name. Docker's own filter takes any part of a name.
    async fn list_networks(&self, engine: EngineId, name: &str) -> Result<Vec<Found>, ContainerError> {
        let client = self.client().await?;
        let options = ListNetworksOptions { filters: Some(label::engine_filter(engine)) };
        let listed = self.call("list networks", client.list_networks(Some(options))).await?;
        let mut found = Vec::new();
        for id in
            listed.into_iter().filter(|network| network.name.as_deref() == Some(name)).filter_map(|n| n.id)
        {
            match self.call("inspect a network", client.inspect_network(&id, None)).await {
                Ok(network) => found.push(Found::new(id, network)),
                Err(fault) if fault.status() == Some(NOT_FOUND) => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(found)
    }

    async fn remove_network(&self, id: &str) -> Result<(), ContainerError> {
        let client = self.client().await?;
        match self.call("remove a network", client.remove_network(id)).await {
            Err(fault) if fault.status() == Some(NOT_FOUND) => Ok(()),
            result => Ok(result?),
        }
    }
}

/// Whether somebody has the subnet since it was chosen, or (from Docker 25 on) has made the network.
fn is_taken(fault: &Fault) -> bool {
    let says = |message: &str| message.contains("overlaps with") || message.contains("have overlapping");
    matches!(fault, Fault::Refused { status, message, .. } if *status == CONFLICT || says(message))
}

/// Docker says in several ways that it has no subnet left.
fn explain_exhaustion(fault: Fault) -> ContainerError {
    match &fault {
        Fault::Refused { message, .. } if message.contains("address pool") => {
            ContainerError::Engine(format!(
                "Docker has no subnet left for the engine's network ({message}); remove networks that nobody uses \
             (`docker network prune`) or give it more (`default-address-pools` in its daemon.json)"
            ))
        }
        _ => fault.into(),
    }
}

impl Found {
    fn new(id: String, network: NetworkInspect) -> Self {
        let configs = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        Self {
            id,
            name: network.name.unwrap_or_default(),
            created: network.created.and_then(|created| DateTime::parse_from_rfc3339(&created).ok()),
            // Where Docker adds an IPv6 subnet, that is no `Subnet`.
            subnet: configs.into_iter().filter_map(|config| config.subnet?.parse().ok()).next(),
        }
    }
}

impl Subnet {
    /// The addresses for replicas; `None` when there are none.
    fn network(self) -> Option<Network> {
        let first = self.first.checked_add(RESERVED)?;
        // The very last one is the broadcast address.
        let last = self.last().checked_sub(1)?;
        (first <= last).then(|| Network { first: Ipv4Addr::from(first), last: Ipv4Addr::from(last) })
    }

    fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(self.first.saturating_add(1))
    }

    /// The addresses at its beginning that are not for replicas.
    fn reserved(self) -> Self {
        Self { first: self.first, prefix: RESERVED_PREFIX.max(self.prefix) }
    }

    fn last(self) -> u32 {
        self.first | !mask(self.prefix)
    }
}

/// The bits of an address that a prefix covers.
fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.first), self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = text.split_once('/').ok_or(())?;
        let address: Ipv4Addr = address.parse().map_err(|_| ())?;
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= 32).ok_or(())?;
        Ok(Self { first: u32::from(address) & mask(prefix), prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_get_what_network_gateway_guests_and_broadcast_leave() {
        for (subnet, expected) in [
            ("172.18.0.0/16", Some(("172.18.0.8", "172.18.255.254"))),
            ("10.1.2.0/24", Some(("10.1.2.8", "10.1.2.254"))),
            ("10.1.2.16/28", Some(("10.1.2.24", "10.1.2.30"))),
            ("10.1.2.99/28", Some(("10.1.2.104", "10.1.2.110"))),
            ("10.1.2.0/29", None),
            ("10.1.2.0/32", None),
            ("255.255.255.255/32", None),
            ("0.0.0.0/0", Some(("0.0.0.8", "255.255.255.254"))),
        ] {
            let subnet: Subnet = subnet.parse().expect("a subnet");
            let found = subnet.network().map(|n| (n.first.to_string(), n.last.to_string()));
            let expected = expected.map(|(first, last)| (first.to_owned(), last.to_owned()));
            assert_eq!(found, expected, "{subnet}");
        }
    }

    #[test]
    fn gateway_and_guests_come_first() {
        let subnet: Subnet = "172.18.0.0/16".parse().expect("a subnet");
        assert_eq!(subnet.gateway().to_string(), "172.18.0.1");
        assert_eq!(subnet.reserved().to_string(), "172.18.0.0/29");
    }

    #[test]
    fn a_subnet_that_is_taken_is_told_apart_from_none_left() {
        // The sentences of older and newer engines.
        for (status, message, taken, exhausted) in [
            (403, "Pool overlaps with other one on this address space", true, false),
            (
                403,
                "cannot create network 1 (br-1): conflicts with network 2: networks have overlapping IPv4",
                true,
                false,
            ),
            (403, "invalid pool request: Pool overlaps with other one on this address space", true, false),
            (409, "network with name yuanli-x already exists", true, false),
            (
                404,
                "could not find an available, non-overlapping IPv4 address pool among the defaults",
                false,
                true,
            ),
            (500, "all predefined address pools have been fully subnetted", false, true),
            (500, "the disk is full", false, false),
        ] {
            let doing = "create a network".to_owned();
            let fault = Fault::Refused { status, message: message.to_owned(), doing };
            assert_eq!(is_taken(&fault), taken, "{message}");
            let error = explain_exhaustion(fault).to_string();
            assert!(error.contains(message), "{error}");
            assert_eq!(error.contains("docker network prune"), exhausted, "{error}");
        }
    }

    #[test]
    fn what_is_no_subnet_of_ipv4_is_none() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "fd00::/64", "10.0.0.0/-1"] {
            assert_eq!(text.parse::<Subnet>(), Err(()), "{text}");
        }
    }
}
