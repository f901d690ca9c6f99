//! An operator as people write them with kube: a custom resource with status and scale, a controller with a finalizer that
//! applies what it owns and records events, an autoscaler on top, and a lease for who leads. It runs here against a
//! nanokube of its own, as it would against any cluster.

// Helpers outside of `#[test]` functions fail a test by panicking too.
#![allow(clippy::unwrap_used)]

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::runtime::finalizer::{self, finalizer};
use kube::runtime::wait::{Condition, await_condition, conditions};
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

mod process;

use process::Process;

/// Reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(60);
const MANAGER: &str = "fleet-operator";
const FINALIZER: &str = "example.dev/farewell";

/// A custom resource, written out: what kube's derive would make of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Fleet {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: FleetSpec,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<FleetStatus>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct FleetSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<i32>,
    motto: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct FleetStatus {
    size: i32,
    selector: String,
    observed_generation: i64,
}

impl Resource for Fleet {
    type DynamicType = ();
    type Scope = kube::core::NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Fleet".into()
    }
    fn group((): &()) -> Cow<'_, str> {
        "example.dev".into()
    }
    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }
    fn plural((): &()) -> Cow<'_, str> {
        "fleets".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

fn fleet(name: &str, motto: &str) -> Fleet {
    let metadata = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
    let spec = FleetSpec { size: None, motto: motto.into() };
    Fleet { api_version: "example.dev/v1".into(), kind: "Fleet".into(), metadata, spec, status: None }
}

fn definition() -> CustomResourceDefinition {
    let spec = json!({
        "type": "object",
        "required": ["motto"],
        "properties": {
            "size": { "type": "integer", "minimum": 0, "default": 1 },
            "motto": { "type": "string", "maxLength": 40 },
        },
    });
    let status = json!({
        "type": "object",
        "properties": {
            "size": { "type": "integer" },
            "selector": { "type": "string" },
            "observedGeneration": { "type": "integer" },
        },
    });
    // Elsewhere than built-in kinds have them.
    let scale = json!({
        "specReplicasPath": ".spec.size",
        "statusReplicasPath": ".status.size",
        "labelSelectorPath": ".status.selector",
    });
    let version = json!({
        "name": "v1", "served": true, "storage": true,
        "schema": { "openAPIV3Schema": { "type": "object", "properties": { "spec": spec, "status": status } } },
        "subresources": { "status": {}, "scale": scale },
    });
    let names = json!({ "kind": "Fleet", "plural": "fleets", "singular": "fleet" });
    from(json!({
        "metadata": { "name": "fleets.example.dev" },
        "spec": { "group": "example.dev", "scope": "Namespaced", "names": names, "versions": [version] },
    }))
}

/// A cluster of the test's own, ended with it.
struct Cluster {
    _daemon: Process,
    client: Client,
    _dir: tempfile::TempDir,
}

impl Cluster {
    /// One in which fleets are known.
    async fn start() -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let daemon = process::start(dir.path(), &["--hpa-sync-period", "200ms"]);
        let kubeconfig = Kubeconfig::read_from(dir.path().join("kubeconfig")).unwrap();
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        definitions.create(&PostParams::default(), &definition()).await.unwrap();
        let established = await_condition(definitions, "fleets.example.dev", conditions::is_crd_established());
        within(established).await.unwrap();
        Cluster { _daemon: daemon, client, _dir: dir }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::default_namespaced(self.client.clone())
    }

    /// Waits, by watch, until an object is as wanted.
    async fn until<K>(&self, name: &str, wanted: impl Condition<K>) -> Option<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + Send + DeserializeOwned + 'static,
    {
        within(await_condition(self.api(), name, wanted)).await.unwrap()
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("gave up waiting")
}

fn from<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

/// The operator: each fleet has a ConfigMap and a Deployment of its name; one that goes leaves a farewell.
struct Operator {
    client: Client,
    recorder: Recorder,
}

impl Operator {
    fn spawn(cluster: &Cluster) -> tokio::task::JoinHandle<()> {
        let client = cluster.client.clone();
        let operator = Arc::new(Operator { recorder: Recorder::new(client.clone(), MANAGER.into()), client });
        // Both ways in which kube reads: list and watch, and a watch that begins with what is there.
        let controller = Controller::new(cluster.api::<Fleet>(), watcher::Config::default())
            .owns(cluster.api::<Deployment>(), watcher::Config::default().streaming_lists())
            .owns(cluster.api::<ConfigMap>(), watcher::Config::default());
        let soon = |_: Arc<Fleet>, _: &finalizer::Error<kube::Error>, _| Action::requeue(Duration::from_millis(50));
        let rounds = controller.run(Operator::reconcile, soon, operator);
        tokio::spawn(rounds.for_each(|_| async {}))
    }

    async fn reconcile(fleet: Arc<Fleet>, operator: Arc<Operator>) -> Result<Action, finalizer::Error<kube::Error>> {
        let fleets: Api<Fleet> = Api::default_namespaced(operator.client.clone());
        finalizer(&fleets, FINALIZER, fleet, |event| async {
            match event {
                finalizer::Event::Apply(fleet) => operator.apply(&fleet).await,
                finalizer::Event::Cleanup(fleet) => operator.farewell(&fleet).await,
            }
        })
        .await
    }

    async fn apply(&self, fleet: &Fleet) -> Result<Action, kube::Error> {
        let name = fleet.name_any();
        let metadata = json!({ "name": name, "ownerReferences": [fleet.controller_owner_ref(&()).unwrap()] });
        let config = json!({ "metadata": metadata, "data": { "motto": fleet.spec.motto } });
        self.put::<ConfigMap>(&name, config).await?;
        let labels = json!({ "fleet": name });
        // The image does not exist; pods count all the same.
        let ship = json!({ "name": "ship", "image": "localhost/none:1", "imagePullPolicy": "Never" });
        let template = json!({ "metadata": { "labels": labels }, "spec": { "containers": [ship] } });
        let selector = json!({ "matchLabels": labels });
        let spec = json!({ "replicas": fleet.spec.size, "selector": selector, "template": template });
        let deployment: Deployment = self.put(&name, json!({ "metadata": metadata, "spec": spec })).await?;
        let counted = deployment.status.unwrap_or_default().replicas.unwrap_or(0);
        let status = json!({
            "size": counted,
            "selector": format!("fleet={name}"),
            "observedGeneration": fleet.meta().generation,
        });
        let fleets: Api<Fleet> = Api::default_namespaced(self.client.clone());
        let patch = json!({ "apiVersion": "example.dev/v1", "kind": "Fleet", "status": status });
        fleets.patch_status(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(patch)).await?;
        self.tell(fleet, "Applied", &fleet.spec.motto).await?;
        Ok(Action::await_change())
    }

    async fn put<K>(&self, name: &str, mut object: Value) -> Result<K, kube::Error>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + DeserializeOwned,
    {
        object["apiVersion"] = K::api_version(&()).into();
        object["kind"] = K::kind(&()).into();
        let api: Api<K> = Api::default_namespaced(self.client.clone());
        api.patch(name, &PatchParams::apply(MANAGER), &Patch::Apply(object)).await
    }

    async fn farewell(&self, fleet: &Fleet) -> Result<Action, kube::Error> {
        let name = format!("{}-farewell", fleet.name_any());
        let data = json!({ "motto": fleet.spec.motto });
        self.put::<ConfigMap>(&name, json!({ "metadata": { "name": name }, "data": data })).await?;
        self.tell(fleet, "Dissolved", "fair winds").await?;
        Ok(Action::await_change())
    }

    async fn tell(&self, fleet: &Fleet, reason: &str, note: &str) -> Result<(), kube::Error> {
        let (reason, note) = (reason.to_owned(), Some(note.to_owned()));
        let event = Event { type_: EventType::Normal, reason, note, action: "Reconcile".into(), secondary: None };
        self.recorder.publish(&event, &fleet.object_ref(&())).await
    }
}

fn counts(size: i32) -> impl Condition<Fleet> {
    move |fleet: Option<&Fleet>| {
        fleet.is_some_and(|it| {
            let status = it.status.clone().unwrap_or_default();
            status.size == size && Some(status.observed_generation) == it.meta().generation
        })
    }
}

#[tokio::test]
async fn an_operator_keeps_what_its_resource_asks_for_and_cleans_up_before_it_goes() {
    let cluster = Cluster::start().await;
    let operator = Operator::spawn(&cluster);
    let fleets: Api<Fleet> = cluster.api();
    let created = fleets.create(&PostParams::default(), &fleet("north", "onward")).await.unwrap();
    assert_eq!(created.spec.size, Some(1), "the schema's default");
    let counted = cluster.until("north", counts(1)).await.unwrap();
    assert_eq!(counted.finalizers(), [FINALIZER]);
    let managers = counted.managed_fields().iter();
    let status_by: Vec<_> = managers.filter(|it| it.subresource.as_deref() == Some("status")).collect();
    assert_eq!(status_by.len(), 1);
    assert_eq!((status_by[0].manager.as_deref(), status_by[0].operation.as_deref()), (Some(MANAGER), Some("Apply")));

    // What it owns is put right again when somebody meddles.
    let config_maps: Api<ConfigMap> = cluster.api();
    config_maps.delete("north", &DeleteParams::default()).await.unwrap();
    let uid = fleets.get("north").await.unwrap().uid();
    let owned = |it: Option<&ConfigMap>| it.is_some_and(|it| it.metadata.deletion_timestamp.is_none());
    let config_map = cluster.until("north", owned).await.unwrap();
    assert_eq!(config_map.owner_references()[0].uid, uid.unwrap());

    fleets.delete("north", &DeleteParams::default()).await.unwrap();
    cluster.until("north", |it: Option<&Fleet>| it.is_none()).await;
    let farewell = config_maps.get("north-farewell").await.unwrap();
    assert_eq!(farewell.data.unwrap()["motto"], "onward", "the finalizer ran before the object went");
    cluster.until("north", |it: Option<&ConfigMap>| it.is_none()).await;
    cluster.until("north", |it: Option<&Deployment>| it.is_none()).await;

    let told: Api<events::v1::Event> = cluster.api();
    let about = ListParams::default().fields("regarding.kind=Fleet,regarding.name=north");
    let told = told.list(&about).await.unwrap().items;
    let count = |reason: &str| {
        let event = told.iter().find(|it| it.reason.as_deref() == Some(reason));
        event.map(|it| it.series.as_ref().map_or(1, |series| series.count))
    };
    assert!(count("Applied") > Some(1), "an event told again is a series: {told:?}");
    assert_eq!(count("Dissolved"), Some(1), "{told:?}");
    operator.abort();
}

#[tokio::test]
async fn an_autoscaler_scales_a_custom_resource_through_its_scale_subresource() {
    let cluster = Cluster::start().await;
    let operator = Operator::spawn(&cluster);
    let fleets: Api<Fleet> = cluster.api();
    fleets.create(&PostParams::default(), &fleet("south", "homeward")).await.unwrap();
    cluster.until("south", counts(1)).await;
    let target = json!({ "apiVersion": "example.dev/v1", "kind": "Fleet", "name": "south" });
    let resource = json!({ "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 50 } });
    let metrics = json!([{ "type": "Resource", "resource": resource }]);
    let spec = json!({ "scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 5, "metrics": metrics });
    let autoscalers: Api<HorizontalPodAutoscaler> = cluster.api();
    let autoscaler = from(json!({ "metadata": { "name": "south" }, "spec": spec }));
    autoscalers.create(&PostParams::default(), &autoscaler).await.unwrap();
    cluster.until("south", counts(3)).await;
    let scale = fleets.get_scale("south").await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(3));
    let status = scale.status.unwrap();
    assert_eq!((status.replicas, status.selector.as_deref()), (3, Some("fleet=south")));
    operator.abort();
}

#[tokio::test]
async fn a_custom_resource_that_breaks_its_schema_is_refused_with_the_field_named() {
    let cluster = Cluster::start().await;
    let fleets: Api<Fleet> = cluster.api();
    let long = fleet("wordy", &"on and on ".repeat(5));
    let refusal = fleets.create(&PostParams::default(), &long).await.unwrap_err();
    let kube::Error::Api(status) = refusal else { panic!("{refusal}") };
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    let words = "Fleet.example.dev \"wordy\" is invalid: spec.motto: Too long: may not be more than 40 bytes";
    assert_eq!(status.message, words);
}

/// Of many that ask for the lease at once one gets it; the others get a conflict, as leader election rests on.
#[tokio::test]
async fn a_lease_that_many_take_at_once_is_held_by_one() {
    let cluster = Cluster::start().await;
    let leases: Api<Lease> = cluster.api();
    let lease = from(json!({ "metadata": { "name": "leader" }, "spec": { "leaseDurationSeconds": 15 } }));
    let free: Lease = leases.create(&PostParams::default(), &lease).await.unwrap();
    let asked = (0..8).map(|candidate| {
        let (leases, mut wanted) = (leases.clone(), free.clone());
        async move {
            wanted.spec.get_or_insert_default().holder_identity = Some(format!("candidate-{candidate}"));
            leases.replace("leader", &PostParams::default(), &wanted).await
        }
    });
    let (won, lost): (Vec<_>, Vec<_>) = futures::future::join_all(asked).await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 7));
    assert!(lost.into_iter().all(|it| matches!(it, Err(kube::Error::Api(status)) if status.code == 409)));
    let holder = won.into_iter().next().unwrap().unwrap().spec.unwrap().holder_identity;
    assert_eq!(leases.get("leader").await.unwrap().spec.unwrap().holder_identity, holder);
}
