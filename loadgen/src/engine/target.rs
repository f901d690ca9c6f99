//! Where requests go: the URL, and the addresses behind its name.
//!
//! A host name is asked for again while the run goes on, at most once a second and in a thread of its own, so that new
//! addresses get connections and no answer of a resolver ever delays a request. Dials take the addresses in turn.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::Uri;

/// A parsed URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub https: bool,
    pub host: String,
    pub port: u16,
    /// Path and query, empty when the URL has none.
    pub path: String,
}

impl Target {
    pub fn parse(url: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("bad URL `{url}`: {why}; write it like http://127.0.0.1:8080/work");
        let uri: Uri = url.parse().map_err(|error| wrong(&format!("{error}")))?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(other) => return Err(wrong(&format!("the scheme {other} is neither http nor https"))),
            None => return Err(wrong("it does not begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("user names are not supported; use --header \"authorization: ...\""));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        let port_text =
            authority.as_str().rsplit_once(':').filter(|(_, port)| !port.contains(']')).map(|(_, port)| port);
        let port = match (port_text, authority.port_u16()) {
            (_, Some(port)) if port > 0 => port,
            (None, _) => {
                if https {
                    443
                } else {
                    80
                }
            }
            (Some(text), _) => return Err(wrong(&format!("`{text}` is not a port"))),
        };
        if let Some(bad) = url.chars().find(|c| !c.is_ascii()) {
            return Err(wrong(&format!("{bad:?} must be percent-encoded")));
        }
        let path = uri.path_and_query().map(|path| path.as_str()).filter(|path| *path != "/").unwrap_or("");
        Ok(Self { https, host, port, path: path.to_owned() })
    }

    /// Host and port as the `Host` header has them.
    pub fn host_header(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.https, self.port) {
            (false, 80) | (true, 443) => host,
            _ => format!("{host}:{}", self.port),
        }
    }

    fn resolve(&self) -> Result<Vec<SocketAddr>, String> {
        match (self.host.as_str(), self.port).to_socket_addrs() {
            Ok(found) => {
                let mut found: Vec<SocketAddr> = found.collect();
                found.sort();
                found.dedup();
                Ok(found)
            }
            Err(error) => Err(format!("cannot find the address of `{}`: {error}", self.host)),
        }
    }
}

/// The addresses that are dialed, kept fresh.
pub struct Addresses {
    known: Mutex<Vec<SocketAddr>>,
    version: AtomicU64,
    wanted: AtomicBool,
    stop: AtomicBool,
}

impl Addresses {
    /// Fixed addresses, or those of the target's name: `keep_fresh` starts the thread that asks again.
    pub fn new(target: &Target, fixed: &[SocketAddr], keep_fresh: bool) -> Result<Arc<Self>, String> {
        let known = if fixed.is_empty() { target.resolve()? } else { fixed.to_vec() };
        let addresses = Arc::new(Self {
            known: Mutex::new(known),
            version: AtomicU64::new(1),
            wanted: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let is_name = target.host.parse::<IpAddr>().is_err();
        if keep_fresh && fixed.is_empty() && is_name {
            let (target, addresses) = (target.clone(), Arc::downgrade(&addresses));
            std::thread::spawn(move || {
                loop {
                    std::thread::sleep(Duration::from_secs(1));
                    let Some(addresses) = addresses.upgrade() else { return };
                    if addresses.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    if addresses.wanted.swap(false, Ordering::Relaxed) {
                        addresses.replace(target.resolve().unwrap_or_default());
                    }
                }
            });
        }
        Ok(addresses)
    }

    pub fn count(&self) -> usize {
        self.known.lock().expect("invariant: no holder of this lock panics").len()
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn replace(&self, found: Vec<SocketAddr>) {
        *self.known.lock().expect("invariant: no holder of this lock panics") = found;
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// One shard's view of the addresses: takes them in turn, without a lock while nothing changed.
pub struct Rotation {
    addresses: Arc<Addresses>,
    copy: Vec<SocketAddr>,
    version: u64,
    turn: usize,
}

impl Rotation {
    pub fn new(addresses: &Arc<Addresses>, shard: usize) -> Self {
        Self { addresses: addresses.clone(), copy: Vec::new(), version: 0, turn: shard }
    }

    /// The address of the next dial; none while the name has no address.
    pub fn next_address(&mut self) -> Option<SocketAddr> {
        if !self.addresses.wanted.load(Ordering::Relaxed) {
            self.addresses.wanted.store(true, Ordering::Relaxed);
        }
        let version = self.addresses.version.load(Ordering::Acquire);
        if version != self.version {
            self.copy.clone_from(&self.addresses.known.lock().expect("invariant: no holder of this lock panics"));
            self.version = version;
        }
        self.turn = self.turn.wrapping_add(1);
        (!self.copy.is_empty()).then(|| self.copy[self.turn % self.copy.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_give_host_port_and_path() {
        let parse = |url: &str| Target::parse(url).map(|t| (t.host_header(), t.port, t.path)).unwrap();
        assert_eq!(parse("http://a"), ("a".to_owned(), 80, String::new()));
        assert_eq!(parse("http://a:8080/x?y"), ("a:8080".to_owned(), 8080, "/x?y".to_owned()));
        assert_eq!(parse("https://[::1]:8443/"), ("[::1]:8443".to_owned(), 8443, String::new()));
        assert_eq!(parse("https://a/"), ("a".to_owned(), 443, String::new()));
    }

    #[test]
    fn a_bad_url_is_refused_with_an_example() {
        for url in [
            "",
            "a",
            "a:80",
            "ftp://a/",
            "http://",
            "http://u:p@a/",
            "http://a:99999/",
            "http://a:0/",
            "http://a b/",
            "http://a/ä",
        ] {
            let error = Target::parse(url).unwrap_err();
            assert!(error.contains(&format!("`{url}`")) && error.contains("http://127.0.0.1"), "{error}");
        }
    }

    #[test]
    fn dials_take_the_addresses_in_turn_and_notice_new_ones() {
        let address = |last: u8| SocketAddr::from(([127, 0, 0, last], 80));
        let target = Target::parse("http://a").unwrap();
        let addresses = Addresses::new(&target, &[address(1), address(2)], false).unwrap();
        let mut rotation = Rotation::new(&addresses, 1);
        let turns: Vec<_> = (0..4).map(|_| rotation.next_address().unwrap()).collect();
        assert_eq!(turns, [address(1), address(2), address(1), address(2)]);
        addresses.replace(vec![address(3)]);
        assert_eq!(rotation.next_address(), Some(address(3)));
        addresses.replace(Vec::new());
        assert_eq!(rotation.next_address(), None);
    }
}
