//! Replays what kubectl and kube-rs were recorded to send, command by command, each on the state that it found.
//!
//! A recording tells that state itself: what was read or changed is made as it was, what was not found or was created is
//! removed before. Answers through a proxy that played a poorer server (`modes`) are no answers of the real one, and left out.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::compare;
use super::replay;
use super::score::{Outcome, Score};
use nanokube::client::{Answer, Call, Client};

const AREA: &str = "commands";
/// The node of the recording.
const NODE: &str = "n7";
/// What was made by then allowed the evictions of the recording.
const BUDGET: &str = "/apis/policy/v1/namespaces/lab/poddisruptionbudgets/web";
/// How long a watch or a followed log has to begin.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Kinds that are made again as they were recorded; the others work or belong to the cluster.
const RESTORED: [&str; 4] = ["ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Namespace"];
/// Metadata that no client sets.
const SERVER_SET: [&str; 7] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "managedFields",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

pub(crate) async fn run(client: &Client, folder: &Path, score: &mut Score) -> anyhow::Result<()> {
    for (name, recording) in replay::files(folder, "")? {
        if recording["modes"].as_array().is_none_or(|modes| !modes.is_empty()) {
            continue;
        }
        for (index, exchange) in recording["exchanges"].as_array().into_iter().flatten().enumerate() {
            let (request, response) = (&exchange["request"], &exchange["response"]);
            let (method, path) = (text(&request["method"]), text(&request["path"]));
            let case = format!("{name} {}: {method} {path}", index + 1);
            if score.cannot(AREA, &case) {
                continue;
            }
            settle(client, request, response).await?;
            let names = renamed(client, path, response).await?;
            let call = call(request, response, &names);
            let outcome = match asked_for(request, response) {
                Form::Whole => client.send(&call).await.map(|answer| judge(response, &answer, &names)),
                Form::Stream => begins(client, &call, response).await,
            };
            score.add(AREA, &case, outcome.unwrap_or_else(|error| Outcome::Failed(format!("{error:#}"))));
        }
    }
    Ok(())
}

enum Form {
    Whole,
    /// A watch, a followed log or an upgrade: only how it begins is looked at.
    Stream,
}

fn asked_for(request: &Value, response: &Value) -> Form {
    let query = text(&request["query"]);
    let lasts = ["watch=true", "follow=true"].iter().any(|flag| query.contains(flag));
    if lasts || response["status"] == 101 { Form::Stream } else { Form::Whole }
}

/// A collection, an item in it and what of the item is meant.
struct Place<'a> {
    collection: &'a str,
    item: Option<&'a str>,
    is_part: bool,
}

fn place(path: &str) -> Option<Place<'_>> {
    let ends: Vec<usize> = path.char_indices().filter(|(at, c)| *c == '/' && *at > 0).map(|(at, _)| at).collect();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let root = match *parts.first()? {
        "api" => 2,
        "apis" => 3,
        _ => return None,
    };
    // A namespace is an item of its own where nothing is asked for in it.
    let at = if parts.get(root) == Some(&"namespaces") && parts.len() > root + 2 { root + 2 } else { root };
    let end = |count: usize| ends.get(count).map_or(path, |end| &path[..*end]);
    parts.get(at)?;
    let item = parts.get(at + 1).map(|_| end(at + 1));
    Some(Place { collection: end(at), item, is_part: parts.len() > at + 2 })
}

/// Brings the server to the state that the exchange was recorded on.
async fn settle(client: &Client, request: &Value, response: &Value) -> anyhow::Result<()> {
    let path = text(&request["path"]);
    if path.ends_with("/eviction") {
        return vanish(client, BUDGET).await;
    }
    let Some(place) = place(path).filter(|place| !place.is_part || path.ends_with("/status")) else { return Ok(()) };
    let (status, body) = (response["status"].as_u64(), &response["body"]);
    if let Some(name) = name(&request["body"]).filter(|_| request["method"] == "POST" && status == Some(201)) {
        return vanish(client, &format!("{}/{name}", place.collection)).await;
    }
    let Some(item) = place.item else { return Ok(()) };
    let found = client.get(item).await?;
    let kind = text(&body["kind"]);
    let is_object = !matches!(kind, "" | "Status" | "Table" | "PartialObjectMetadata" | "Node" | "Lease");
    let is_applied = header(request, "content-type").is_some_and(|media| media.contains("apply-patch"));
    if status == Some(200) && compare::answers(body, &found.json()).is_none() {
        return Ok(());
    }
    match (status, found.status) {
        (Some(404), 200) => vanish(client, item).await,
        (Some(200), 404) if is_object => client.write("POST", place.collection, &as_sent(body)).await.map(drop),
        (Some(200), 200) if (request["method"] == "GET" || is_applied) && RESTORED.contains(&kind) => {
            client.write("PUT", item, &as_sent(body)).await.map(drop)
        }
        _ => Ok(()),
    }
}

async fn vanish(client: &Client, item: &str) -> anyhow::Result<()> {
    let now = json!({ "gracePeriodSeconds": 0, "propagationPolicy": "Background" });
    client.write("DELETE", item, &now).await?;
    for _ in 0..200 {
        if client.get(item).await?.status == 404 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Ok(())
}

/// The name of an object that is sent, in either form.
fn name(body: &Value) -> Option<String> {
    let decoded = replay::encoded(body).and_then(|bytes| nanokube::protobuf::decode(&bytes).ok());
    decoded.as_ref().unwrap_or(body)["metadata"]["name"].as_str().map(str::to_owned)
}

/// A recorded object as a client would have sent it; nobody owns its fields yet.
fn as_sent(recorded: &Value) -> Value {
    let mut object = recorded.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| !SERVER_SET.contains(&key.as_str()) && key != "ownerReferences");
    }
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    object["metadata"]["managedFields"] = json!([{}]);
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.retain(|key, _| !matches!(key.as_str(), "clusterIP" | "clusterIPs" | "nodeName"));
    }
    object
}

/// The request, with the names of this server in place of the recorded ones.
fn call(request: &Value, response: &Value, names: &Names) -> Call {
    let query = escaped(text(&request["query"]));
    let mut path = format!("{}?{query}", text(&request["path"]));
    let mut body = match &request["body"] {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        body if response["status"] == 409 => stale(body).to_string().into_bytes(),
        body => replay::encoded(body).unwrap_or_else(|| unpinned(body).to_string().into_bytes()),
    };
    for (recorded, live) in names {
        path = path.replace(recorded, live);
        body = String::from_utf8(body)
            .map_or_else(|error| error.into_bytes(), |text| text.replace(recorded, live).into_bytes());
    }
    Call {
        method: text(&request["method"]).to_owned(),
        path,
        content_type: header(request, "content-type"),
        accept: header(request, "accept"),
        protocol: header(request, "sec-websocket-protocol").filter(|_| response["status"] == 101),
        body: body.into(),
    }
}

fn header(request: &Value, name: &str) -> Option<String> {
    let mut headers = request["headers"].as_object().into_iter().flatten();
    headers.find(|(key, _)| key.eq_ignore_ascii_case(name))?.1.as_str().map(str::to_owned)
}

/// Recorded queries stand in plain letters.
fn escaped(query: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~=&,:!%*+/@()'$[]".contains(&byte);
    query.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A body that is refused as it was, but for what was cut from it.
fn stale(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| !matches!(key.as_str(), "managedFields" | "uid"));
    }
    body
}

/// A body that names no state of another server.
fn unpinned(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| !matches!(key.as_str(), "uid" | "resourceVersion" | "managedFields"));
    }
    if let Some(operations) = body.as_array_mut() {
        operations.retain(|operation| operation["path"] != "/metadata/resourceVersion");
    }
    body
}

/// Names of the recording that this server gives to others.
type Names = BTreeMap<String, String>;

/// Generated names in a path that was found, and the node's, each with one of this server.
async fn renamed(client: &Client, path: &str, response: &Value) -> anyhow::Result<Names> {
    let mut names = Names::new();
    if response["status"] == 404 {
        return Ok(names);
    }
    if path.ends_with(&format!("/{NODE}")) {
        let nodes = client.get("/api/v1/nodes").await?.json();
        names.insert(format!("/{NODE}"), format!("/{}", text(&nodes["items"][0]["metadata"]["name"])));
    }
    for (resource, collection) in [("pods", "/api/v1"), ("replicasets", "/apis/apps/v1")] {
        let marker = format!("/{resource}/");
        let Some(recorded) = path.split(&marker).nth(1).and_then(|rest| rest.split(['/', '?']).next()) else {
            continue;
        };
        let Some((app, _)) = recorded.split_once('-') else { continue };
        // Where nothing of that name lives here, what the preparation has made is as good.
        for app in [app, "web"] {
            let list = format!("{collection}/namespaces/lab/{resource}?labelSelector=app%3D{app}");
            if let Some(name) = living(client, &list, resource).await? {
                names.insert(recorded.to_owned(), name);
                break;
            }
        }
    }
    Ok(names)
}

/// An object of a list that stays; of pods one whose container runs.
async fn living(client: &Client, list: &str, resource: &str) -> anyhow::Result<Option<String>> {
    let stays = |item: &&Value| {
        let runs = resource != "pods" || item["status"]["containerStatuses"][0]["ready"] == true;
        item["metadata"].get("deletionTimestamp").is_none() && runs
    };
    for _ in 0..40 {
        let items = client.get(list).await?.json();
        let items = items["items"].as_array().map_or(&[][..], Vec::as_slice);
        if let Some(found) = items.iter().find(stays) {
            return Ok(found["metadata"]["name"].as_str().map(str::to_owned));
        }
        if items.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(None)
}

fn judge(response: &Value, answer: &Answer, names: &Names) -> Outcome {
    if answer.status == 404 && response["body"]["metadata"]["deletionTimestamp"].is_string() {
        // What was still going in the recording has gone here.
        return Outcome::Passed;
    }
    if response["status"].as_u64() != Some(u64::from(answer.status)) {
        return Outcome::Failed(format!(
            "status {}, recorded {}: {}",
            answer.status,
            response["status"],
            answer.json()
        ));
    }
    let media = text(&response["headers"]["Content-Type"]);
    // Clients take JSON where they offered it beside protobuf; that is a gap by name.
    if media.contains("protobuf") || !response["body"].is_object() {
        return Outcome::Passed;
    }
    if answer.header("content-type") != Some(media) {
        return Outcome::Failed(format!("content type {:?}, recorded {media}", answer.header("content-type")));
    }
    let mut live = answer.json().to_string();
    for (recorded, here) in names {
        live = live.replace(here, recorded);
    }
    let live = serde_json::from_str(&live).unwrap_or(Value::Null);
    compare::answers(&response["body"], &live).map_or(Outcome::Passed, Outcome::Failed)
}

/// Status, media type, protocol and the form of the first event.
async fn begins(client: &Client, call: &Call, response: &Value) -> anyhow::Result<Outcome> {
    let live = client.start(call).await?;
    let status = live.status().as_u16();
    if response["status"].as_u64() != Some(u64::from(status)) {
        return Ok(Outcome::Failed(format!("status {status}, recorded {}", response["status"])));
    }
    let names = if status == 101 { ["Upgrade", "Sec-WebSocket-Protocol"] } else { ["Content-Type", "Cache-Control"] };
    for name in names {
        let (recorded, found) = (&response["headers"][name], live.headers().get(name).map(|value| value.as_bytes()));
        let recorded = recorded.as_str().filter(|text| !text.contains("protobuf"));
        if recorded.is_some_and(|text| Some(text.as_bytes()) != found) {
            return Ok(Outcome::Failed(format!("{name} {:?}, recorded {recorded:?}", live.headers().get(name))));
        }
    }
    let wanted = &response["chunks"][0]["chunk"];
    if wanted["object"]["kind"].is_null() || status != 200 {
        return Ok(Outcome::Passed);
    }
    let mut body = live.into_body();
    let Ok(Some(Ok(frame))) = tokio::time::timeout(PATIENCE, body.frame()).await else {
        // Nothing happens to the objects just now, where something did in the recording.
        return Ok(Outcome::Passed);
    };
    let first = frame.data_ref().map(|data| data.split(|byte| *byte == b'\n').next().unwrap_or_default().to_vec());
    let first: Value = serde_json::from_slice(&first.unwrap_or_default()).unwrap_or(Value::Null);
    let form = |event: &Value| (event["object"]["kind"].clone(), event["object"]["apiVersion"].clone());
    // What the real server had forgotten by then, another may still know.
    Ok(match form(&first) == form(wanted) || wanted["type"] == "ERROR" {
        true => Outcome::Passed,
        false => Outcome::Failed(format!("the first event is {first}, recorded {wanted}")),
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_path_is_a_collection_an_item_and_a_part_of_it() {
        let found =
            |path| place(path).map(|place| (place.collection.to_owned(), place.item.map(str::to_owned), place.is_part));
        let item =
            |collection: &str, item: Option<&str>, is_part| Some((collection.into(), item.map(Into::into), is_part));
        assert_eq!(found("/api/v1/nodes"), item("/api/v1/nodes", None, false));
        assert_eq!(found("/api/v1/namespaces/n"), item("/api/v1/namespaces", Some("/api/v1/namespaces/n"), false));
        let pods = "/api/v1/namespaces/n/pods";
        assert_eq!(found("/api/v1/namespaces/n/pods/p/log"), item(pods, Some("/api/v1/namespaces/n/pods/p"), true));
        let scale = "/apis/apps/v1/namespaces/n/deployments/d/scale";
        let deployments = "/apis/apps/v1/namespaces/n/deployments";
        assert_eq!(found(scale), item(deployments, Some("/apis/apps/v1/namespaces/n/deployments/d"), true));
        assert_eq!(found("/version"), None);
        assert_eq!(found("/apis/apps/v1"), None);
    }
}
