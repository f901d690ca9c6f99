//! Leader election for the autoscaler of another cluster: of several that run, the one acts that holds the Lease, and
//! another takes over when it has not been renewed for long. Times and rules are those of client-go's leader election.
//!
//! Clocks of machines differ, so a lease's age is counted from when this process saw it change, not from its renewTime.

use std::time::{Duration, Instant};

use anyhow::ensure;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::client::Client;
use crate::cluster::identity::new_uid;
use crate::object;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
pub const NAME: &str = "horizontal-pod-autoscaler";

/// How long a lease holds, how long its holder tries to renew it before it stops, and how often anyone looks.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub lease: Duration,
    pub renew: Duration,
    pub retry: Duration,
}

impl Default for Times {
    fn default() -> Times {
        Times { lease: Duration::from_secs(15), renew: Duration::from_secs(10), retry: Duration::from_secs(2) }
    }
}

pub struct Election {
    client: Client,
    times: Times,
    identity: String,
    /// The specification of the lease as it was seen last, and since when.
    seen: Option<(Value, Instant)>,
}

impl Election {
    pub fn new(client: Client, times: Times) -> Election {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Election { client, times, identity: format!("{host}_{}", new_uid()), seen: None }
    }

    /// Returns when this process leads.
    pub async fn acquire(&mut self) {
        let mut told = String::new();
        loop {
            let words = match self.attempt().await {
                Ok(None) => return,
                Ok(Some(holder)) => format!("waiting: {holder} holds the lease kube-system/{NAME}"),
                Err(error) => format!("cannot get the lease kube-system/{NAME}: {error:#}"),
            };
            if words != told {
                eprintln!("hpa: {words}");
                told = words;
            }
            tokio::time::sleep(self.times.retry).await;
        }
    }

    /// Renews the lease, and returns when it is lost.
    pub async fn hold(&mut self) {
        let mut renewed = Instant::now();
        while renewed.elapsed() < self.times.renew {
            tokio::time::sleep(self.times.retry).await;
            match tokio::time::timeout(self.times.renew, self.attempt()).await {
                Ok(Ok(None)) => renewed = Instant::now(),
                Ok(Ok(Some(holder))) => return eprintln!("hpa: {holder} has taken the lease"),
                Ok(Err(error)) => eprintln!("hpa: cannot renew the lease: {error:#}"),
                Err(_) => eprintln!("hpa: cannot renew the lease: no answer in time"),
            }
        }
    }

    /// Lets the next one lead at once.
    pub async fn release(&mut self) -> anyhow::Result<()> {
        let path = format!("{LEASES}/{NAME}");
        let mut lease = self.client.get(&path).await?.json();
        if object::str_at(&lease, "/spec/holderIdentity") == self.identity {
            object::set(&mut lease, &["spec", "holderIdentity"], "".into());
            object::set(&mut lease, &["spec", "leaseDurationSeconds"], 1.into());
            self.client.write("PUT", &path, &lease).await?;
        }
        Ok(())
    }

    /// Takes or renews the lease if that may be; otherwise says who holds it.
    async fn attempt(&mut self) -> anyhow::Result<Option<String>> {
        let path = format!("{LEASES}/{NAME}");
        let found = self.client.get(&path).await?;
        if found.status == 404 {
            let lease = json!({ "metadata": { "name": NAME }, "spec": self.taken(0) });
            return self.written(self.client.write("POST", LEASES, &lease).await?);
        }
        let mut lease = found.json();
        ensure!(found.status == 200, "the server answers {} {}", found.status, object::str_at(&lease, "/message"));
        let holder = object::str_at(&lease, "/spec/holderIdentity").to_owned();
        if holder == self.identity {
            object::set(&mut lease, &["spec", "renewTime"], object::micro_time(Timestamp::now()).into());
        } else if holder.is_empty() || self.has_expired(&lease["spec"]) {
            let transitions = object::i64_at(&lease, "/spec/leaseTransitions").unwrap_or(0);
            object::set(&mut lease, &["spec"], self.taken(transitions + 1));
        } else {
            return Ok(Some(holder));
        }
        self.written(self.client.write("PUT", &path, &lease).await?)
    }

    fn written(&self, answer: crate::client::Answer) -> anyhow::Result<Option<String>> {
        let words = answer.json();
        ensure!(answer.status < 300, "the server answers {} {}", answer.status, object::str_at(&words, "/message"));
        Ok(None)
    }

    fn taken(&self, transitions: i64) -> Value {
        let now = object::micro_time(Timestamp::now());
        json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.times.lease.as_secs().max(1),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        })
    }

    fn has_expired(&mut self, spec: &Value) -> bool {
        match &self.seen {
            Some((seen, since)) if seen == spec => since.elapsed() > self.times.lease,
            _ => {
                self.seen = Some((spec.clone(), Instant::now()));
                false
            }
        }
    }
}
