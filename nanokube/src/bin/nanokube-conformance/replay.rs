//! Replays recorded writes in their order, with identities of the recording exchanged for those of this server.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::compare;
use super::prepare;
use super::score::{Outcome, Score};
use nanokube::client::{Answer, Call, Client};
use nanokube::protobuf;

/// The areas that are lists of write exchanges, and their files.
pub(crate) const AREAS: &[(&str, &str)] = &[
    ("writes basic", "writes-basic.json"),
    ("writes workloads", "writes-workloads.json"),
    ("apply and patch", "writes-ssa-smp.json"),
    ("deletion", "writes-delete.json"),
];

/// Cases that look at what the garbage collector has done, and how long the recording gave it.
const LATER: [&str; 2] = ["after 3s", "orphaned"];
const COLLECTION_TIME: Duration = Duration::from_secs(3);

/// What an identity of the recording is on this server.
#[derive(Default)]
struct Translation(BTreeMap<String, String>);

pub(crate) async fn run(client: &Client, file: &Path, area: &str, score: &mut Score) -> anyhow::Result<()> {
    let Ok(text) = std::fs::read(file) else {
        println!("{area}: no recording {}", file.display());
        return Ok(());
    };
    let exchanges: Vec<Value> =
        serde_json::from_slice(&text).with_context(|| format!("{} is broken", file.display()))?;
    let mut translation = Translation::default();
    // Lists of watch events stand between the exchanges as illustration.
    for exchange in exchanges.iter().filter(|exchange| exchange["method"].is_string()) {
        prepare::renew(client, exchange, &mut translation.0).await?;
        let label = exchange["label"].as_str().unwrap_or_default();
        if LATER.iter().any(|start| label.starts_with(start)) {
            tokio::time::sleep(COLLECTION_TIME).await;
        }
        if score.cannot(area, label) {
            continue;
        }
        let call = translation.call(exchange);
        let outcome = match send(client, &call, exchange).await {
            Ok(answer) => {
                translation.learn(&exchange["response"], &answer.json());
                judge(exchange, &answer)
            }
            Err(error) => Outcome::Failed(format!("{error:#}")),
        };
        score.add(area, label, outcome);
    }
    Ok(())
}

/// A controller may write between a case's read and its write, here as at the real server. Where the recording was lucky, the write
/// is made again on what is there now, as a client would.
async fn send(client: &Client, call: &Call, exchange: &Value) -> anyhow::Result<Answer> {
    let answer = client.send(call).await?;
    if answer.status != 409 || exchange["status"] != 200 || exchange["body"]["metadata"]["resourceVersion"].is_null() {
        return Ok(answer);
    }
    let path = call.path.split('?').next().unwrap_or_default();
    let mut body: Value = serde_json::from_slice(&call.body)?;
    body["metadata"]["resourceVersion"] = client.get(path).await?.json()["metadata"]["resourceVersion"].clone();
    client.send(&Call { body: body.to_string().into(), ..call.clone() }).await
}

fn judge(exchange: &Value, answer: &Answer) -> Outcome {
    let recorded = exchange["status"].as_u64().unwrap_or(0);
    if recorded != u64::from(answer.status) {
        return Outcome::Failed(format!("status {}, recorded {recorded}: {}", answer.status, answer.json()));
    }
    // Of several warnings the recording kept the last.
    if let Some(warning) = exchange["warning"].as_str() {
        let live = answer.headers.get_all("warning").iter().next_back();
        if live.is_none_or(|live| live != warning) {
            return Outcome::Failed(format!("warning {live:?}, recorded {warning:?}"));
        }
    }
    match compare::difference(&exchange["response"], &answer.json()) {
        None => Outcome::Passed,
        Some(why) => Outcome::Failed(why),
    }
}

impl Translation {
    fn call(&self, exchange: &Value) -> Call {
        let mut body = exchange["body"].clone();
        let body = match &mut body {
            Value::Null => Vec::new(),
            Value::String(text) => text.clone().into_bytes(),
            other => {
                self.exchange(other);
                other.to_string().into_bytes()
            }
        };
        let mut path = exchange["path"].as_str().unwrap_or_default().to_string();
        for (recorded, live) in &self.0 {
            // Generated names stand in paths.
            if recorded.contains('-') && recorded.len() < 36 {
                path = path.replace(recorded, live);
            }
        }
        Call {
            method: exchange["method"].as_str().unwrap_or("GET").to_string(),
            path,
            content_type: exchange["content_type"].as_str().map(str::to_string),
            body: body.into(),
            ..Call::default()
        }
    }

    fn exchange(&self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (key, below) in map.iter_mut() {
                    if matches!(key.as_str(), "uid" | "resourceVersion" | "name")
                        && let Some(live) = below.as_str().and_then(|text| self.0.get(text))
                    {
                        *below = live.clone().into();
                    }
                    self.exchange(below);
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|below| self.exchange(below)),
            _ => {}
        }
    }

    /// Notes which identities stand at the same place of both answers.
    fn learn(&mut self, recorded: &Value, live: &Value) {
        for pointer in ["/metadata/uid", "/metadata/resourceVersion", "/metadata/name", "/details/uid"] {
            let (Some(a), Some(b)) = (recorded.pointer(pointer), live.pointer(pointer)) else { continue };
            if let (Some(a), Some(b)) = (a.as_str(), b.as_str())
                && a != b
            {
                self.0.insert(a.to_string(), b.to_string());
            }
        }
        if let (Some(a), Some(b)) = (recorded["items"].as_array(), live["items"].as_array()) {
            a.iter().zip(b).for_each(|(a, b)| self.learn(a, b));
        }
    }
}

/// The bodies that kubectl sends as protobuf: what is stored must be what the real server made of them.
pub(crate) async fn protobuf(client: &Client, folder: &Path, score: &mut Score) -> anyhow::Result<()> {
    for (name, recording) in files(folder, "protobuf-create-")? {
        let exchanges = recording["exchanges"].as_array().cloned().unwrap_or_default();
        for exchange in exchanges.iter().filter(|exchange| exchange["request"]["method"] == "POST") {
            let request = &exchange["request"];
            let Some(body) = encoded(&request["body"]) else { continue };
            let path = request["path"].as_str().unwrap_or_default();
            let query = request["query"].as_str().unwrap_or_default();
            let call = Call {
                method: "POST".into(),
                path: format!("{path}?{query}"),
                content_type: Some("application/vnd.kubernetes.protobuf".into()),
                accept: Some("application/vnd.kubernetes.protobuf,application/json".into()),
                body: body.into(),
                ..Call::default()
            };
            let answer = client.send(&call).await?;
            let wanted = decoded(&request["body"]);
            let outcome = match stored(&answer) {
                Ok(stored) if answer.status == 201 => {
                    contained(&compare::comparable(&wanted), &compare::comparable(&stored), "")
                        .map_or(Outcome::Passed, Outcome::Failed)
                }
                Ok(refusal) => Outcome::Failed(format!("status {}: {refusal}", answer.status)),
                Err(error) => Outcome::Failed(format!("the answer cannot be read: {error}")),
            };
            score.add("protobuf", &name, outcome);
        }
    }
    Ok(())
}

/// The object in an answer: the server chooses between the two forms that the request accepts.
fn stored(answer: &Answer) -> Result<Value, protobuf::DecodeError> {
    let encoded = answer.header("content-type").is_some_and(|found| found.starts_with("application/vnd.kubernetes"));
    if encoded { protobuf::decode(&answer.body) } else { Ok(answer.json()) }
}

pub(crate) fn encoded(body: &Value) -> Option<Vec<u8>> {
    use base64::Engine;
    let text = ["_base64", "base64", "_b64"].iter().find_map(|key| body[key].as_str())?;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

fn decoded(body: &Value) -> Value {
    ["_decoded_json", "decoded_json"].iter().find_map(|key| body.get(key)).cloned().unwrap_or(Value::Null)
}

/// The first part of `wanted` that `found` lacks.
fn contained(wanted: &Value, found: &Value, path: &str) -> Option<String> {
    match (wanted, found) {
        (Value::Object(a), Value::Object(b)) => a.iter().find_map(|(key, value)| match b.get(key) {
            Some(other) => contained(value, other, &format!("{path}.{key}")),
            None if value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty) => None,
            None => Some(format!("{path}.{key} is missing, sent {value}")),
        }),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(at, (a, b))| contained(a, b, &format!("{path}[{at}]")))
        }
        (a, b) if a == b => None,
        (a, b) => Some(format!("{path} is {b}, sent {a}")),
    }
}

/// Every resource of the recorded lists: names, kinds, verbs, short names, categories.
pub(crate) async fn discovery(client: &Client, folder: &Path, score: &mut Score) -> anyhow::Result<()> {
    for (name, recorded) in files(&folder.join("discovery"), "api")? {
        let Some(version) = recorded["groupVersion"].as_str() else { continue };
        let path = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
        let live = client.get(&path).await?.json();
        let found = live["resources"].as_array().cloned().unwrap_or_default();
        for resource in recorded["resources"].as_array().into_iter().flatten() {
            let case = format!("{name}: {}", resource["name"].as_str().unwrap_or_default());
            if score.cannot("discovery", &case) {
                continue;
            }
            let same = found.iter().find(|other| other["name"] == resource["name"]);
            let outcome = match same {
                None => Outcome::Failed("not served".to_string()),
                Some(same) => compare::difference(resource, same).map_or(Outcome::Passed, Outcome::Failed),
            };
            score.add("discovery", &case, outcome);
        }
    }
    Ok(())
}

/// The JSON files of a folder whose names start with `prefix`, in order.
pub(crate) fn files(folder: &Path, prefix: &str) -> anyhow::Result<Vec<(String, Value)>> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().to_string();
        if name.starts_with(prefix) && path.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read(&path)?;
            let value = serde_json::from_slice(&text).with_context(|| format!("{} is broken", path.display()))?;
            found.push((name, value));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}
