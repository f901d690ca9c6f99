//! Which endpoint a new connection goes to: any, with the same chance, as kube-proxy's iptables rules choose; or the one
//! that this client had before, where the Service asks for that.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::routes::Route;

/// Clients remembered for affinity; past it all are forgotten.
const CLIENTS_LIMIT: usize = 16_384;

#[derive(Debug)]
pub(super) struct Balancer {
    endpoints: Vec<SocketAddr>,
    affinity: Option<Duration>,
    clients: HashMap<IpAddr, (SocketAddr, Instant)>,
    random: u64,
}

impl Balancer {
    pub(super) fn new(route: &Route) -> Balancer {
        let mut balancer = Balancer {
            endpoints: Vec::new(),
            affinity: None,
            clients: HashMap::new(),
            random: rand::random::<u64>() | 1,
        };
        balancer.follow(route);
        balancer
    }

    /// Takes over new endpoints; clients of those that are gone choose again.
    pub(super) fn follow(&mut self, route: &Route) {
        self.endpoints.clone_from(&route.endpoints);
        self.affinity = route.affinity_s.map(Duration::from_secs);
        self.clients.retain(|_, (endpoint, _)| route.endpoints.contains(endpoint));
    }

    /// All endpoints, the chosen one first, the others in the order in which to fall back on them.
    pub(super) fn candidates(&mut self, client: IpAddr) -> Vec<SocketAddr> {
        let mut order = self.endpoints.clone();
        let len = order.len();
        if len == 0 {
            return order;
        }
        order.rotate_left(self.draw(len));
        let Some(affinity) = self.affinity else { return order };
        let now = Instant::now();
        let known = self.clients.get(&client).filter(|(_, seen)| now.duration_since(*seen) < affinity);
        if let Some(at) = known.and_then(|(endpoint, _)| order.iter().position(|it| it == endpoint)) {
            order.swap(0, at);
        }
        if self.clients.len() >= CLIENTS_LIMIT {
            self.clients.clear();
        }
        self.clients.insert(client, (order[0], now));
        order
    }

    /// A number below `len` (xorshift64: no secret depends on it).
    fn draw(&mut self, len: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        ((u128::from(self.random) * len as u128) >> 64) as usize
    }
}
