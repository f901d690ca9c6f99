//! The recorded tables and objects: columns as a printer of the real server has them, and each object written again.
//!
//! An object is sent without its identity and without being stored (`dryRun`); what would be stored must be what was recorded.

use std::path::Path;

use serde_json::Value;

use super::compare;
use super::replay;
use super::score::{Outcome, Score};
use nanokube::client::{Call, Client};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const TABLES: &str = "tables";
const OBJECTS: &str = "objects";
const LAB: &str = "/namespaces/lab/";
/// What objects are called here, so that they meet no other.
const NAME: &str = "recorded-object";
/// Recordings whose file is named otherwise than their resource, and where that is.
const PLACES: &[(&str, &str)] = &[
    ("crd", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"),
    ("crds", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"),
    ("configmap", "/api/v1/namespaces/lab/configmaps"),
    ("events-core", "/api/v1/namespaces/lab/events"),
    ("events-v1", "/apis/events.k8s.io/v1/namespaces/lab/events"),
    ("hpa-v1", "/apis/autoscaling/v1/namespaces/lab/horizontalpodautoscalers"),
    ("hpa-v2", "/apis/autoscaling/v2/namespaces/lab/horizontalpodautoscalers"),
    ("netpol", "/apis/networking.k8s.io/v1/namespaces/lab/networkpolicies"),
    ("pdb", "/apis/policy/v1/namespaces/lab/poddisruptionbudgets"),
    ("pv", "/api/v1/persistentvolumes"),
    ("pvc", "/api/v1/namespaces/lab/persistentvolumeclaims"),
    ("scale", "/apis/apps/v1/namespaces/lab/deployments/web/scale"),
    ("scale-deploy", "/apis/apps/v1/namespaces/lab/deployments/web/scale"),
    ("podmetrics", "/apis/metrics.k8s.io/v1beta1/pods"),
    ("nodemetrics", "/apis/metrics.k8s.io/v1beta1/nodes"),
];
/// What no client can write is read, and its form compared.
const COMPUTED: [&str; 2] = ["scale", "metrics"];

pub(crate) async fn tables(client: &Client, folder: &Path, score: &mut Score) -> anyhow::Result<()> {
    let resources = Resources::of(client).await?;
    for (name, recorded) in replay::files(&folder.join(TABLES), "")? {
        if score.cannot(TABLES, &name) {
            continue;
        }
        let outcome = match resources.path(&name) {
            Some(path) => {
                let accept = Some(TABLE.to_owned());
                let call = Call { method: "GET".into(), path, accept, ..Call::default() };
                let live = client.send(&call).await?.json();
                compare::answers(&recorded, &live).map_or(Outcome::Passed, Outcome::Failed)
            }
            None => Outcome::Failed("not served".to_owned()),
        };
        score.add(TABLES, &name, outcome);
    }
    Ok(())
}

pub(crate) async fn objects(client: &Client, folder: &Path, score: &mut Score) -> anyhow::Result<()> {
    let resources = Resources::of(client).await?;
    for (name, recorded) in replay::files(&folder.join(OBJECTS), "")? {
        if score.cannot(OBJECTS, &name) {
            continue;
        }
        let outcome = match resources.path(&name) {
            None => Outcome::Failed("not served".to_owned()),
            Some(path) if COMPUTED.iter().any(|part| name.ends_with(part)) => {
                let live = client.get(&path).await?.json();
                compare::answers(&recorded, &live).map_or(Outcome::Passed, Outcome::Failed)
            }
            Some(path) => {
                // The definition of widgets is there already.
                let recorded = recorded.to_string().replace("widget", "gadget").replace("Widget", "Gadget");
                let recorded: Value = serde_json::from_str(&recorded.replace("\"wd\"", "\"gd\""))?;
                written(client, &path, recorded["items"].get(0).unwrap_or(&recorded)).await?
            }
        };
        score.add(OBJECTS, &name, outcome);
    }
    Ok(())
}

/// Creates the object without storing it, and compares what would have been stored.
async fn written(client: &Client, path: &str, recorded: &Value) -> anyhow::Result<Outcome> {
    let mut sent = recorded.clone();
    // A definition is named by what it defines.
    if recorded["spec"]["names"].is_null() {
        sent["metadata"]["name"] = NAME.into();
    }
    let wanted = sent.clone();
    for field in ["resourceVersion", "uid", "managedFields", "generateName", "ownerReferences", "selfLink"] {
        remove(&mut sent, "metadata", field);
    }
    if let Some(spec) = sent.get_mut("spec").and_then(Value::as_object_mut) {
        spec.retain(|key, _| !matches!(key.as_str(), "clusterIP" | "clusterIPs"));
        let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
        ports.into_iter().flatten().for_each(|port| port["nodePort"] = Value::Null);
    }
    let answer = client.write("POST", &format!("{path}?dryRun=All"), &sent).await?;
    if answer.status != 201 {
        return Ok(Outcome::Failed(format!("status {}: {}", answer.status, answer.json())));
    }
    let bare = |object: &Value| {
        let mut object = object.clone();
        for field in ["generateName", "ownerReferences", "generation"] {
            remove(&mut object, "metadata", field);
        }
        object.as_object_mut().map(|map| ["status", "kind", "apiVersion"].map(|field| map.remove(field)));
        object
    };
    Ok(compare::difference(&bare(&wanted), &bare(&answer.json())).map_or(Outcome::Passed, Outcome::Failed))
}

fn remove(object: &mut Value, part: &str, field: &str) {
    if let Some(part) = object.get_mut(part).and_then(Value::as_object_mut) {
        part.remove(field);
    }
}

/// Where resources are, by their plural.
struct Resources(Vec<(String, String)>);

impl Resources {
    async fn of(client: &Client) -> anyhow::Result<Resources> {
        let groups = client.get("/apis").await?.json();
        let mut roots = vec!["/api/v1".to_owned()];
        let preferred = |group: &Value| Some(format!("/apis/{}", group["preferredVersion"]["groupVersion"].as_str()?));
        roots.extend(groups["groups"].as_array().into_iter().flatten().filter_map(preferred));
        let mut found = Vec::new();
        for root in roots {
            let list = client.get(&root).await?.json();
            for resource in list["resources"].as_array().into_iter().flatten() {
                let name = resource["name"].as_str().unwrap_or_default();
                let between = if resource["namespaced"] == true { LAB } else { "/" };
                found.push((name.to_owned(), format!("{root}{between}{name}")));
            }
        }
        Ok(Resources(found))
    }

    fn path(&self, recording: &str) -> Option<String> {
        let named = PLACES.iter().find(|(name, _)| *name == recording).map(|(_, path)| (*path).to_owned());
        named.or_else(|| self.0.iter().find(|(name, _)| name == recording).map(|(_, path)| path.clone()))
    }
}
