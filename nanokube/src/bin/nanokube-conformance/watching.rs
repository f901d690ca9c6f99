//! Lists and watches: the recorded rules of resourceVersion, limit and continue, and what a watch sends when.

use std::path::Path;
use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::compare;
use super::score::{Outcome, Score};
use nanokube::client::{Call, Client};

const AREA: &str = "list and watch";
const COLLECTION: &str = "/api/v1/namespaces/lab/configmaps";
/// How long a watch is listened to.
const LISTEN: Duration = Duration::from_millis(1_200);

pub(crate) async fn run(client: &Client, folder: &Path, score: &mut Score) -> anyhow::Result<()> {
    let Ok(text) = std::fs::read(folder.join("list-watch-semantics.json")) else { return Ok(()) };
    let recorded: Value = serde_json::from_slice(&text)?;
    let current = version(&client.get(COLLECTION).await?.json());
    for (case, wanted) in recorded.as_object().into_iter().flatten() {
        let outcome = match case.split_once(' ').map_or(case.as_str(), |(head, _)| head) {
            head if head.starts_with("LIST") => list(client, case, wanted, &current).await?,
            "GET" => get(client, case, wanted).await?,
            _ => watch(client, case, wanted).await?,
        };
        score.add(AREA, case, outcome);
    }
    Ok(())
}

fn version(list: &Value) -> String {
    list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_string()
}

async fn list(client: &Client, case: &str, wanted: &Value, current: &str) -> anyhow::Result<Outcome> {
    let query = match case {
        "LIST continue+rv" | "LIST continue page2" => {
            let first = client.get(&format!("{COLLECTION}?limit=1")).await?.json();
            let token = first["metadata"]["continue"].as_str().unwrap_or_default().to_string();
            let extra = if case.ends_with("rv") { "&resourceVersion=5" } else { "" };
            format!("limit=1&continue={token}{extra}")
        }
        "LIST sendInitialEvents" => "sendInitialEvents=true".to_string(),
        "LIST PartialObjectMetadataList" => String::new(),
        _ => case.split_once('?').map(|(_, query)| query.replace("CUR", current)).unwrap_or_default(),
    };
    let mut call = Call { method: "GET".into(), path: format!("{COLLECTION}?{query}"), ..Call::default() };
    if case.contains("PartialObjectMetadata") {
        call.accept = Some("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1".into());
    }
    let answer = client.send(&call).await?;
    let live = answer.json();
    if wanted["code"].as_u64() != Some(u64::from(answer.status)) {
        return Ok(Outcome::Failed(format!("status {}, recorded {}", answer.status, wanted["code"])));
    }
    if wanted["kind"] != live["kind"] {
        return Ok(Outcome::Failed(format!("kind {}, recorded {}", live["kind"], wanted["kind"])));
    }
    for field in ["reason", "message", "details"] {
        let mask =
            |value: &Value| value.as_str().map_or(value.clone(), |text| compare::without_identities(text).into());
        if !wanted[field].is_null() && mask(&wanted[field]) != mask(&live[field]) && !case.contains("continue=zzz") {
            return Ok(Outcome::Failed(format!("{field} {}, recorded {}", live[field], wanted[field])));
        }
    }
    for field in ["continue", "remainingItemCount"] {
        if wanted["metadata"].get(field).is_some() != live["metadata"].get(field).is_some() {
            return Ok(Outcome::Failed(format!("metadata.{field} is {}", live["metadata"][field])));
        }
    }
    Ok(Outcome::Passed)
}

async fn get(client: &Client, case: &str, wanted: &Value) -> anyhow::Result<Outcome> {
    let (query, accept) = match case {
        "GET yaml" => ("", "application/yaml"),
        "GET unacceptable Accept" => ("", "application/foo"),
        "GET */*" => ("", "*/*"),
        "GET pretty" => ("?pretty=true", "application/json"),
        "GET ?resourceVersion=future" => ("?resourceVersion=99999999", "application/json"),
        _ => ("?resourceVersion=0", "application/json"),
    };
    let call = Call {
        method: "GET".into(),
        path: format!("{COLLECTION}/cm1{query}"),
        accept: Some(accept.into()),
        ..Call::default()
    };
    let answer = client.send(&call).await?;
    let code = wanted["code"].as_u64().or_else(|| wanted[0].as_u64());
    if code != Some(u64::from(answer.status)) {
        return Ok(Outcome::Failed(format!("status {}, recorded {code:?}", answer.status)));
    }
    if let Some(content_type) = wanted[1].as_str()
        && answer.header("content-type") != Some(content_type)
    {
        return Ok(Outcome::Failed(format!(
            "content type {:?}, recorded {content_type}",
            answer.header("content-type")
        )));
    }
    if let Some(message) = wanted["message"].as_str().or_else(|| wanted[2]["message"].as_str()) {
        let live = answer.json();
        let live = live["message"].as_str().unwrap_or_default();
        if compare::without_identities(live) != compare::without_identities(message) {
            return Ok(Outcome::Failed(format!("message {live:?}, recorded {message:?}")));
        }
    }
    Ok(Outcome::Passed)
}

/// Opens the watch that the case names, makes the changes that were made in the recording, and compares event types.
async fn watch(client: &Client, case: &str, wanted: &Value) -> anyhow::Result<Outcome> {
    let current = version(&client.get(COLLECTION).await?.json());
    let initial = "watch=true&sendInitialEvents=true";
    let query = match case {
        "WATCH no rv" => "watch=true".to_string(),
        "WATCH rv=0" => "watch=true&resourceVersion=0&labelSelector=app%3Dweb".to_string(),
        "WATCH rv=CUR label selector transitions" => {
            format!("watch=true&resourceVersion={current}&labelSelector=app%3Dweb")
        }
        "WATCH rv=1 (old)" => "watch=true&resourceVersion=1".to_string(),
        "WATCH rv=future" => "watch=true&resourceVersion=99999999".to_string(),
        "WATCH rv=abc" => "watch=true&resourceVersion=abc".to_string(),
        "WATCH timeoutSeconds=2" => format!("watch=true&timeoutSeconds=1&resourceVersion={current}"),
        "WATCH bookmarks timeoutSeconds=4" => {
            format!("watch=true&allowWatchBookmarks=true&timeoutSeconds=4&resourceVersion={current}")
        }
        "WATCH sendInitialEvents" => format!("{initial}&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"),
        "WATCH sendInitialEvents rv=0" => {
            format!(
                "{initial}&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion=0&timeoutSeconds=1"
            )
        }
        "WATCH sendInitialEvents without match" => format!("{initial}&allowWatchBookmarks=true"),
        "WATCH sendInitialEvents without bookmarks" => format!("{initial}&resourceVersionMatch=NotOlderThan"),
        "WATCH sendInitialEvents=false" => {
            format!("watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion={current}")
        }
        "WATCH resourceVersionMatch w/o sendInitial" => {
            format!("watch=true&resourceVersionMatch=NotOlderThan&resourceVersion={current}")
        }
        _ => "watch=true".to_string(),
    };
    let mut call = Call { method: "GET".into(), path: format!("{COLLECTION}?{query}"), ..Call::default() };
    match case {
        "WATCH single via /watch/ prefix" => call.path = "/api/v1/watch/namespaces/lab/configmaps/cm1".into(),
        "WATCH accept stream=watch" => call.accept = Some("application/json;stream=watch".into()),
        "WATCH with limit" => call.path = format!("{COLLECTION}?watch=true&limit=1"),
        "WATCH Table" => call.accept = Some("application/json;as=Table;v=v1;g=meta.k8s.io".into()),
        "WATCH PartialObjectMetadata" => {
            call.accept = Some("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1".into());
        }
        _ => {}
    }
    let live = listen(client, &call, case.contains("transitions")).await?;
    Ok(judge(case, wanted, &live))
}

struct Heard {
    status: u16,
    lines: Vec<Value>,
    ended: bool,
}

async fn listen(client: &Client, call: &Call, change: bool) -> anyhow::Result<Heard> {
    let response = client.start(call).await?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    if change {
        changes(client).await?;
    }
    let limit = if call.path.contains("timeoutSeconds=4") { LISTEN * 4 } else { LISTEN + LISTEN / 4 };
    let until = tokio::time::Instant::now() + limit;
    let mut text = Vec::new();
    let mut ended = false;
    while let Ok(frame) = tokio::time::timeout_at(until, body.frame()).await {
        match frame {
            Some(Ok(frame)) => text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            _ => {
                ended = true;
                break;
            }
        }
    }
    let lines = String::from_utf8_lossy(&text);
    let lines = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    Ok(Heard { status, lines, ended })
}

/// cm1 changes; wtmp starts to match, stops, matches again and goes.
async fn changes(client: &Client) -> anyhow::Result<()> {
    let labelled =
        |label: &str| json!({ "metadata": { "name": "wtmp", "labels": { "app": label } }, "data": { "a": "b" } });
    client.write("POST", COLLECTION, &labelled("web")).await?;
    let item = format!("{COLLECTION}/wtmp");
    client.write("PUT", &item, &labelled("other")).await?;
    client.write("PUT", &item, &labelled("web")).await?;
    client.write("DELETE", &item, &json!({})).await?;
    Ok(())
}

fn judge(case: &str, wanted: &Value, live: &Heard) -> Outcome {
    if wanted["code"].as_u64() != Some(u64::from(live.status)) {
        return Outcome::Failed(format!("status {}, recorded {}", live.status, wanted["code"]));
    }
    let types: Vec<&str> = live.lines.iter().filter_map(|line| line["type"].as_str()).collect();
    let fail = || Outcome::Failed(format!("heard {types:?}, ended {}", live.ended));
    let first = live.lines.first().cloned().unwrap_or(Value::Null);
    let annotated = live.lines.iter().any(|line| {
        line["type"] == "BOOKMARK" && line["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true"
    });
    let passed = match case {
        "WATCH rv=CUR label selector transitions" => types == ["ADDED", "DELETED", "ADDED", "DELETED"],
        "WATCH rv=1 (old)" => types.first().is_some_and(|first| matches!(*first, "ADDED" | "ERROR")),
        "WATCH rv=future" => types.is_empty() && !live.ended,
        "WATCH rv=abc" => first["message"] == wanted["events"][0][1]["message"],
        "WATCH timeoutSeconds=2" => live.ended && types.is_empty(),
        "WATCH bookmarks timeoutSeconds=4" => types.contains(&"BOOKMARK") && live.ended,
        "WATCH sendInitialEvents" | "WATCH sendInitialEvents rv=0" => annotated && types[0] == "ADDED",
        "WATCH sendInitialEvents without bookmarks" => !annotated && types.contains(&"ADDED"),
        "WATCH sendInitialEvents=false" => types.is_empty() && !live.ended,
        "WATCH sendInitialEvents without match" | "WATCH resourceVersionMatch w/o sendInitial" => {
            first["message"] == wanted["events"][0][1]["message"]
        }
        "WATCH Table" => {
            let columns = |line: &Value| line["object"]["columnDefinitions"].is_array();
            first["object"]["kind"] == "Table" && columns(&first) && !live.lines.iter().skip(1).any(columns)
        }
        "WATCH PartialObjectMetadata" => first["object"]["kind"] == "PartialObjectMetadata",
        "WATCH single via /watch/ prefix" => types == ["ADDED"],
        _ => types.contains(&"ADDED") && !live.ended,
    };
    if passed { Outcome::Passed } else { fail() }
}
