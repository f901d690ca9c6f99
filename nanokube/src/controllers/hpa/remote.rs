//! The HPA controller over any cluster that a kubeconfig names: the reads and writes of upstream's own controller (lists
//! and watches, the scale subresource, the status, events, the metrics APIs) over HTTPS, nothing else. It must be the only
//! such controller there: a cluster's own has to be switched off.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use autoscaler::json::metrics_api::escape;
use autoscaler::pass::ScaleError;
use autoscaler::spec::ObjectRef;
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::World;
use super::answer::{Answer, Refusal};
use super::local::no_matches;
use super::pass::Hpas;
use crate::client::{Call, Client, Connection};
use crate::cluster::Writer;
use crate::controllers::action::Event;
use crate::controllers::event_recorder::{EventRecorder, EventSink};
use crate::object::{self, Object};
use crate::status::ApiError;

const HPAS: &str = "/apis/autoscaling/v2/horizontalpodautoscalers";
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a kind's resources are believed, as upstream's mapper believes them.
const MAPPING_AGE_MAX: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_secs(1);
const WATCH_S: u32 = 300;

/// Runs passes until `stopped` is done.
pub async fn run(client: Client, flags: &super::Flags, stopped: impl Future<Output = ()>) {
    let changed = Arc::new(Notify::new());
    let following = tokio::spawn(follow(client.clone(), changed.clone()));
    let mut hpas = Hpas::new(RemoteWorld::new(client), flags);
    tokio::pin!(stopped);
    loop {
        let next = tokio::task::block_in_place(|| hpas.round());
        let wait = next.map_or(Duration::from_secs(3600), |at| {
            Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
        });
        tokio::select! {
            () = &mut stopped => break,
            () = changed.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    following.abort();
}

/// Notifies at every change of an autoscaler; a watch that ends or cannot be had is begun anew.
async fn follow(client: Client, changed: Arc<Notify>) {
    loop {
        if let Err(error) = watch(&client, &changed).await {
            eprintln!("hpa: cannot watch the autoscalers: {error:#}");
            tokio::time::sleep(RETRY).await;
        }
        changed.notify_one();
    }
}

async fn watch(client: &Client, changed: &Notify) -> anyhow::Result<()> {
    let list = client.get(&format!("{HPAS}?limit=1")).await?.json();
    let from = object::str_at(&list, "/metadata/resourceVersion").to_owned();
    let path = format!("{HPAS}?watch=true&resourceVersion={from}&timeoutSeconds={WATCH_S}");
    let mut response = client.start(&Call { method: "GET".into(), path, ..Call::default() }).await?;
    anyhow::ensure!(response.status().is_success(), "the server answers {}", response.status());
    changed.notify_one();
    while let Some(frame) = response.frame().await {
        frame?;
        changed.notify_one();
    }
    Ok(())
}

/// Where objects of a kind live: `/api/v1` or `/apis/apps/v1`, and the plural.
#[derive(Clone)]
struct Mapping {
    root: String,
    plural: String,
    group: String,
}

/// By group and kind, with the instant they were read at.
type Mappings = HashMap<(String, String), (Instant, Vec<Mapping>)>;

pub struct RemoteWorld {
    client: Client,
    runtime: Handle,
    connection: RefCell<Option<Connection>>,
    mappings: RefCell<Mappings>,
    recorder: EventRecorder,
}

impl RemoteWorld {
    /// Must be called inside a tokio runtime of several threads; the methods block, outside of its tasks.
    pub fn new(client: Client) -> RemoteWorld {
        RemoteWorld {
            client,
            runtime: Handle::current(),
            connection: RefCell::default(),
            mappings: RefCell::default(),
            recorder: EventRecorder::default(),
        }
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, String> {
        let content_type = match method {
            "GET" => None,
            "PATCH" => Some("application/merge-patch+json".to_owned()),
            _ => Some("application/json".to_owned()),
        };
        let call = Call {
            method: method.to_owned(),
            path: path.to_owned(),
            content_type,
            accept: Some("application/json".to_owned()),
            body: body.map(|body| body.to_string().into()).unwrap_or_default(),
            ..Call::default()
        };
        let sent = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.send(&call)).await });
        let sent = sent.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in {} s", PATIENCE.as_secs())));
        let verb = format!("{}{}", &method[..1], method[1..].to_lowercase());
        sent.map_err(|error| format!("{verb} \"{}{path}\": {error:#}", self.client.server()))
    }

    /// Over the open connection, or a new one: a server may have closed it meanwhile.
    #[expect(clippy::await_holding_refcell_ref, reason = "one thread asks one thing after the other")]
    async fn send(&self, call: &Call) -> anyhow::Result<Answer> {
        let mut kept = self.connection.borrow_mut();
        if let Some(mut connection) = kept.take()
            && let Ok(answer) = connection.send(call).await
        {
            *kept = Some(connection);
            return Ok(Answer { code: answer.status, body: answer.body.into() });
        }
        let mut connection = self.client.connect().await?;
        let answer = connection.send(call).await?;
        *kept = Some(connection);
        Ok(Answer { code: answer.status, body: answer.body.into() })
    }

    fn read(&self, path: &str, asked: &str) -> Result<Value, Refusal> {
        self.ask("GET", path, None).map_err(unreached)?.read(asked)
    }

    fn write(&self, method: &str, path: &str, body: &Value, asked: &str) -> Result<Value, Refusal> {
        self.ask(method, path, Some(body)).map_err(unreached)?.read(asked)
    }

    fn items(&self, path: &str, asked: &str) -> Result<Vec<Value>, String> {
        let mut list = self.read(path, asked).map_err(|refusal| refusal.message)?;
        Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// The resources of a kind, those of the preferred version first.
    fn mappings(&self, group: &str, kind: &str) -> Result<Vec<Mapping>, String> {
        let key = (group.to_owned(), kind.to_owned());
        if let Some((since, found)) = self.mappings.borrow().get(&key)
            && since.elapsed() < MAPPING_AGE_MAX
        {
            return Ok(found.clone());
        }
        let mut found = Vec::new();
        for root in self.roots(group)? {
            let list = self.read(&root, &format!("get {root}")).map_err(|refusal| refusal.message)?;
            let resources = object::array_at(&list, "/resources").iter();
            let plural = |it: &&Value| it["kind"] == kind && !object::str_at(it, "/name").contains('/');
            found.extend(resources.filter(plural).map(|it| Mapping {
                root: root.clone(),
                plural: object::str_at(it, "/name").to_owned(),
                group: group.to_owned(),
            }));
        }
        if found.is_empty() {
            return Err(no_matches(group, kind));
        }
        self.mappings.borrow_mut().insert(key, (Instant::now(), found.clone()));
        Ok(found)
    }

    /// The paths of a group's versions, the preferred one first.
    fn roots(&self, group: &str) -> Result<Vec<String>, String> {
        if group.is_empty() {
            return Ok(vec!["/api/v1".to_owned()]);
        }
        Ok(self.versions(group)?.iter().map(|version| format!("/apis/{group}/{version}")).collect())
    }
}

impl World for RemoteWorld {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn hpas(&self) -> Result<Vec<Object>, String> {
        let items = self.items(HPAS, "get horizontalpodautoscalers.autoscaling")?;
        Ok(items.into_iter().map(Object::new).collect())
    }

    fn hpa(&self, namespace: &str, name: &str) -> Result<Option<Object>, String> {
        match self.read(&hpa_path(namespace, name), &format!("get horizontalpodautoscalers.autoscaling {name}")) {
            Ok(found) => Ok(Some(Object::new(found))),
            Err(refusal) if refusal.is_not_found() => Ok(None),
            Err(refusal) => Err(refusal.message),
        }
    }

    fn scale(&self, namespace: &str, target: &ObjectRef) -> Result<(String, Value), ScaleError> {
        let group = target.api_version.split_once('/').map_or("", |(group, _)| group);
        let mut first_error = None;
        for Mapping { root, plural, .. } in self.mappings(group, &target.kind).map_err(ScaleError::UnknownKind)? {
            let path = format!("{root}/namespaces/{namespace}/{plural}/{}/scale", escape(&target.name));
            let resource = if group.is_empty() { plural } else { format!("{plural}.{group}") };
            match self.read(&path, &format!("get {resource} {}", target.name)) {
                Ok(scale) => return Ok((path, scale)),
                Err(refusal) => first_error.get_or_insert(refusal.message),
            };
        }
        Err(ScaleError::Unreadable(first_error.unwrap_or_default()))
    }

    fn write_scale(&self, found_by: &str, scale: Value) -> Result<(), Refusal> {
        self.write("PUT", found_by, &scale, &format!("put {found_by}")).map(drop)
    }

    fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<Object>, String> {
        let path = format!("/api/v1/namespaces/{namespace}/pods?labelSelector={}", escape(selector));
        Ok(self.items(&path, "get pods")?.into_iter().map(Object::new).collect())
    }

    fn pod_metrics(&self, namespace: &str, selector: &str) -> Result<Vec<Value>, String> {
        let root = "/apis/metrics.k8s.io/v1beta1";
        let path = format!("{root}/namespaces/{namespace}/pods?labelSelector={}", escape(selector));
        self.items(&path, "get pods.metrics.k8s.io")
    }

    fn resource_of(&self, group: &str, kind: &str) -> Result<String, String> {
        let found = self.mappings(group, kind)?.into_iter().next();
        let Mapping { plural, group, .. } = found.ok_or_else(|| no_matches(group, kind))?;
        Ok(if group.is_empty() { plural } else { format!("{plural}.{group}") })
    }

    fn versions(&self, group: &str) -> Result<Vec<String>, String> {
        let document = match self.read(&format!("/apis/{group}"), &format!("get {group}")) {
            Ok(document) => document,
            Err(refusal) if refusal.is_not_found() => return Ok(Vec::new()),
            Err(refusal) => return Err(refusal.message),
        };
        let preferred = object::str_at(&document, "/preferredVersion/version").to_owned();
        let others =
            object::array_at(&document, "/versions").iter().map(|it| object::str_at(it, "/version").to_owned());
        let others: Vec<String> = others.filter(|version| *version != preferred).collect();
        Ok([preferred].into_iter().filter(|it| !it.is_empty()).chain(others).collect())
    }

    fn get(&self, path: &str) -> Result<Answer, String> {
        self.ask("GET", path, None)
    }

    fn write_status(&self, hpa: Value) -> Result<(), Refusal> {
        let path = format!("{}/status", hpa_path(object::namespace(&hpa), object::name(&hpa)));
        self.write("PUT", &path, &hpa, "put horizontalpodautoscalers.autoscaling").map(drop)
    }

    fn record(&mut self, event: Event) {
        let mut recorder = std::mem::take(&mut self.recorder);
        recorder.record(self, event, Timestamp::now());
        self.recorder = recorder;
    }

    fn pause(&self) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl EventSink for RemoteWorld {
    fn create(&self, namespace: &str, event: Value, _: &Writer) -> Result<(), ApiError> {
        let path = format!("/api/v1/namespaces/{namespace}/events");
        let created = self.write("POST", &path, &event, "post events");
        created.map(drop).map_err(|Refusal { code, message }| {
            ApiError::new(code, if code == 409 { "AlreadyExists" } else { "" }, message)
        })
    }

    fn merge(&self, namespace: &str, name: &str, changes: Value, _: &Writer) -> Result<(), ApiError> {
        let path = format!("/api/v1/namespaces/{namespace}/events/{}", escape(name));
        let patched = self.write("PATCH", &path, &changes, "patch events");
        patched.map(drop).map_err(|Refusal { code, message }| ApiError::new(code, "", message))
    }
}

fn hpa_path(namespace: &str, name: &str) -> String {
    format!("/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/{}", escape(name))
}

fn unreached(message: String) -> Refusal {
    Refusal { code: 0, message }
}
