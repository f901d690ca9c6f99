//! What the environment asks of this process. Every variable has a default, a range, and an error that names both.
//!
//! `PORT POD_NAME POD_IP NAMESPACE RULES SCRAPE_INTERVAL_MS SCRAPE_TIMEOUT_MS LINGER_MS TLS_CERT_FILE TLS_KEY_FILE`. It
//! binds by the same rule as the service: to `POD_IP` where that is a loopback address, else to every address.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::rules::Rules;

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) port: u16,
    pub(crate) bind: IpAddr,
    pub(crate) pod_name: String,
    pub(crate) scope: Scope,
    pub(crate) rules: Rules,
    pub(crate) scrape_interval: Duration,
    pub(crate) scrape_timeout: Duration,
    pub(crate) linger: Duration,
    /// Certificate and key; without them the adapter makes its own.
    pub(crate) tls_files: Option<(PathBuf, PathBuf)>,
}

/// Whose pods are measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scope {
    /// As the kubeconfig or the service account says.
    Own,
    Namespace(String),
    All,
}

impl Settings {
    pub(crate) fn from_environment() -> Result<Settings> {
        Settings::from_lookup(|name| std::env::var(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Settings> {
        // An empty value means "not set": that is what a manifest with an empty field gives.
        let get = &|name: &str| lookup(name).filter(|value| !value.is_empty());
        let millis =
            |name, default, range| Ok::<_, anyhow::Error>(Duration::from_millis(number(get, name, default, range)?));
        let scrape_interval = millis("SCRAPE_INTERVAL_MS", 1000, 200..=300_000)?;
        let tls_files = match (get("TLS_CERT_FILE"), get("TLS_KEY_FILE")) {
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (None, None) => None,
            _ => bail!("TLS_CERT_FILE and TLS_KEY_FILE belong together; set both or neither"),
        };
        Ok(Settings {
            port: number(get, "PORT", 6443, 0..=65_535)? as u16,
            bind: bind_address(get("POD_IP"))?,
            pod_name: get("POD_NAME").or_else(|| get("HOSTNAME")).unwrap_or_else(|| "unnamed".to_owned()),
            scope: match get("NAMESPACE").as_deref() {
                None => Scope::Own,
                Some("*") => Scope::All,
                Some(name) => Scope::Namespace(name.to_owned()),
            },
            rules: Rules::read(get("RULES").as_deref(), scrape_interval)?,
            scrape_interval,
            scrape_timeout: millis("SCRAPE_TIMEOUT_MS", 1000, 50..=60_000)?,
            linger: millis("LINGER_MS", 2000, 0..=60_000)?,
            tls_files,
        })
    }

    /// How old a sample may be to be served: two scrapes may fail, or take long.
    pub(crate) fn fresh_ms(&self) -> i64 {
        i64::try_from((self.scrape_interval * 3 + self.scrape_timeout).as_millis()).unwrap_or(i64::MAX)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(vars: &[(&str, &str)]) -> Result<Settings> {
        Settings::from_lookup(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn it_binds_the_pod_address_only_when_that_is_loopback() {
        for (pod_ip, bind) in [("127.3.0.17", "127.3.0.17"), ("10.244.0.7", "0.0.0.0"), ("", "0.0.0.0")] {
            assert_eq!(settings(&[("POD_IP", pod_ip)]).unwrap().bind.to_string(), bind, "POD_IP={pod_ip}");
        }
    }

    #[test]
    fn the_namespace_is_ones_own_another_or_every_one() {
        let scope = |vars: &[(&str, &str)]| settings(vars).unwrap().scope;
        assert_eq!(scope(&[]), Scope::Own);
        assert_eq!(scope(&[("NAMESPACE", "*")]), Scope::All);
        assert_eq!(scope(&[("NAMESPACE", "lab")]), Scope::Namespace("lab".to_owned()));
    }

    #[test]
    fn a_bad_value_is_named_with_its_range() {
        for (vars, expected) in [
            ([("PORT", "x")], r#"PORT is "x"; it takes a whole number from 0 to 65535"#),
            ([("SCRAPE_INTERVAL_MS", "1")], r#"SCRAPE_INTERVAL_MS is "1"; it takes a whole number from 200 to 300000"#),
            ([("TLS_KEY_FILE", "/k")], "TLS_CERT_FILE and TLS_KEY_FILE belong together; set both or neither"),
            ([("POD_IP", "here")], r#"POD_IP is "here", which is not an IP address: invalid IP address syntax"#),
        ] {
            assert_eq!(format!("{:#}", settings(&vars).expect_err("bad settings")), expected);
        }
    }
}
