//! An acknowledged write survives `kill -9` of the daemon at any instant: it is killed at random moments under writes, and
//! each time everything that was acknowledged is there, as it was acknowledged.
//!
//! `NANOKUBE_KILLS` sets the number of kills (default 5), `NANOKUBE_SEED` repeats a run.

// Helpers outside of `#[test]` functions fail a test by panicking too.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use nanokube::client::{Call, Client};
use serde_json::{Value, json};

mod process;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const NAMES: u64 = 20;

/// A small generator, so that a seed repeats a run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Writes until the connection breaks; returns what was acknowledged: name to value, None for removed.
async fn write_until_killed(dir: PathBuf, round: u64, mut random: Random) -> BTreeMap<String, Option<String>> {
    let client = Client::from_kubeconfig(&dir.join("kubeconfig")).unwrap();
    let mut connection = client.connect().await.unwrap();
    let mut acknowledged = BTreeMap::new();
    for step in 0.. {
        let name = format!("c{}", random.below(NAMES));
        let value = format!("{round}-{step}");
        let remove = random.below(5) == 0;
        let (method, body) = if remove { ("DELETE", json!({})) } else { ("PATCH", config_map(&name, &value)) };
        let call = Call {
            method: method.into(),
            path: format!("{CONFIG_MAPS}/{name}?fieldManager=test&force=true"),
            content_type: Some(if remove { "application/json" } else { "application/apply-patch+yaml" }.into()),
            body: body.to_string().into(),
            ..Call::default()
        };
        // What was on its way when the daemon died may or may not be there: it is not known any more.
        let before = acknowledged.remove(&name);
        let Ok(answer) = connection.send(&call).await else { return acknowledged };
        match answer.status {
            200 | 201 => acknowledged.insert(name, (!remove).then_some(value)),
            404 => acknowledged.insert(name, None),
            other => panic!("{method} {name} (was {before:?}): {other} {}", answer.json()),
        };
    }
    unreachable!("the loop ends with the daemon")
}

fn config_map(name: &str, value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "v": value } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kill_9_at_any_instant() {
    let dir = tempfile::tempdir().unwrap();
    let seed = setting("NANOKUBE_SEED", u64::from(std::process::id()) | 1 << 32);
    let mut random = Random(seed);
    let mut revision = 0;
    for round in 0..setting("NANOKUBE_KILLS", 5) {
        let mut daemon = process::start(dir.path(), &[]);
        let writer = Random(seed.wrapping_add(round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let writing = tokio::spawn(write_until_killed(dir.path().to_path_buf(), round, writer));
        tokio::time::sleep(Duration::from_millis(20 + random.below(300))).await;
        daemon.0.kill().unwrap();
        daemon.0.wait().unwrap();
        let acknowledged = writing.await.unwrap();

        let mut daemon = process::start(dir.path(), &[]);
        let client = Client::from_kubeconfig(&dir.path().join("kubeconfig")).unwrap();
        let list = client.get(CONFIG_MAPS).await.unwrap().json();
        let items = list["items"].as_array().unwrap();
        for (name, wanted) in &acknowledged {
            let found = items.iter().find(|item| item["metadata"]["name"] == name.as_str());
            let found = found.map(|item| item["data"]["v"].as_str().unwrap().to_string());
            assert_eq!(&found, wanted, "{name} in round {round}, seed {seed}");
        }
        let now: u64 = list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        assert!(now > revision, "revisions go back from {revision} to {now}, seed {seed}");
        revision = now;
        daemon.0.kill().unwrap();
        daemon.0.wait().unwrap();
    }
}
