//! What the environment asks of this process. Every variable has a default, a range, and an error that names both.
//!
//! `PORT POD_NAME POD_IP SWELL_VERSION LOG_LEVEL WORKERS QUEUE DRAIN_MS LINGER_MS`; the manifests set them.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::log::Level;

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) port: u16,
    pub(crate) bind: IpAddr,
    pub(crate) pod_name: String,
    pub(crate) version: String,
    pub(crate) log_level: Level,
    pub(crate) workers: usize,
    pub(crate) queue: usize,
    pub(crate) drain: Duration,
    pub(crate) linger: Duration,
}

impl Settings {
    pub(crate) fn from_environment() -> Result<Settings> {
        Settings::from_lookup(|name| std::env::var(name).ok())
    }

    pub(crate) fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Settings> {
        // An empty value means "not set": that is what a manifest with an empty field gives.
        let get = &|name: &str| lookup(name).filter(|value| !value.is_empty());
        let workers = number(get, "WORKERS", 0, 0..=256)? as usize;
        let drain_ms = number(get, "DRAIN_MS", 20_000, 0..=600_000)?;
        let linger_ms = number(get, "LINGER_MS", 3_000.min(drain_ms / 2), 0..=60_000)?;
        if linger_ms > drain_ms {
            bail!("LINGER_MS is {linger_ms}, which is more than DRAIN_MS ({drain_ms}): a pod lingers within its drain");
        }
        Ok(Settings {
            port: number(get, "PORT", 8080, 0..=65_535)? as u16,
            bind: bind_address(get("POD_IP"))?,
            pod_name: get("POD_NAME").or_else(|| get("HOSTNAME")).unwrap_or_else(|| "unnamed".to_owned()),
            version: get("SWELL_VERSION").unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
            log_level: Level::from_str(&get("LOG_LEVEL").unwrap_or_else(|| "info".to_owned()))?,
            workers: if workers == 0 { available_cores() } else { workers },
            queue: number(get, "QUEUE", 128, 0..=1_000_000)? as usize,
            drain: Duration::from_millis(drain_ms),
            linger: Duration::from_millis(linger_ms),
        })
    }
}

/// A pod that is a process among others on one machine owns one loopback address and must keep to it. A real pod owns
/// its whole network, and port-forward dials localhost inside it, so it listens on every address.
fn bind_address(pod_ip: Option<String>) -> Result<IpAddr> {
    let everywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let Some(text) = pod_ip else { return Ok(everywhere) };
    let ip: IpAddr = text.parse().with_context(|| format!("POD_IP is {text:?}, which is not an IP address"))?;
    match ip {
        IpAddr::V4(v4) if v4.is_loopback() => Ok(ip),
        _ => Ok(everywhere),
    }
}

fn number(get: impl Fn(&str) -> Option<String>, name: &str, default: u64, range: RangeInclusive<u64>) -> Result<u64> {
    let Some(text) = get(name) else { return Ok(default) };
    match text.parse::<u64>() {
        Ok(value) if range.contains(&value) => Ok(value),
        _ => bail!("{name} is {text:?}; it takes a whole number from {} to {}", range.start(), range.end()),
    }
}

fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(vars: &[(&str, &str)]) -> Result<Settings> {
        Settings::from_lookup(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[track_caller]
    fn check_error(vars: &[(&str, &str)], expected: &str) {
        assert_eq!(format!("{:#}", settings(vars).expect_err("bad settings")), expected);
    }

    #[test]
    fn an_empty_environment_is_served_with_defaults() {
        let settings = settings(&[]).unwrap();
        assert_eq!((settings.port, settings.queue), (8080, 128));
        assert_eq!(settings.pod_name, "unnamed");
        assert!(settings.workers >= 1);
        assert!(settings.bind.is_unspecified());
    }

    #[test]
    fn it_binds_the_pod_address_only_when_that_is_loopback() {
        for (pod_ip, bind) in
            [("127.3.0.17", "127.3.0.17"), ("10.244.0.7", "0.0.0.0"), ("fd00::7", "0.0.0.0"), ("", "0.0.0.0")]
        {
            assert_eq!(settings(&[("POD_IP", pod_ip)]).unwrap().bind.to_string(), bind, "POD_IP={pod_ip}");
        }
    }

    #[test]
    fn a_bad_value_is_named_with_its_range() {
        check_error(&[("PORT", "80800")], r#"PORT is "80800"; it takes a whole number from 0 to 65535"#);
        check_error(&[("WORKERS", "-1")], r#"WORKERS is "-1"; it takes a whole number from 0 to 256"#);
        check_error(&[("QUEUE", "many")], r#"QUEUE is "many"; it takes a whole number from 0 to 1000000"#);
        check_error(&[("LOG_LEVEL", "loud")], r#"LOG_LEVEL is "loud"; it takes one of error, warn, info, debug"#);
        check_error(
            &[("POD_IP", "node-1")],
            r#"POD_IP is "node-1", which is not an IP address: invalid IP address syntax"#,
        );
        check_error(
            &[("DRAIN_MS", "100"), ("LINGER_MS", "200")],
            "LINGER_MS is 200, which is more than DRAIN_MS (100): a pod lingers within its drain",
        );
    }
}
