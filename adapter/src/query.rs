//! From a question of the metrics APIs to its answer: which pods are meant, what they come to, and in which list.
//!
//! A pod without a value is left out of a list; where no pod has one, and where a sum would lack one that should be in
//! it, the whole request fails and says why. A missing source is never a zero.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::ListParams;
use kube::runtime::reflector::Store;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::board::{Board, Missing, pod_label};
use crate::history::Measure;
use crate::path::{Asked, parameter};
use crate::refusal::Refusal;
use crate::rules::{Rule, Rules};
use crate::selector::Selector;
use crate::target::{is_ready, is_running, label, name, namespace};
use crate::{CUSTOM, EXTERNAL, discovery, quantity};

pub(crate) struct Queries {
    pub(crate) rules: Arc<Rules>,
    pub(crate) board: Arc<Board>,
    pub(crate) pods: Store<Pod>,
    pub(crate) client: Client,
    /// The only namespace that is served; every one where there is none.
    pub(crate) namespace: Option<String>,
}

/// What is described: kind, API version and name.
struct Described<'d> {
    kind: &'d str,
    api_version: &'d str,
    name: &'d str,
}

/// A rule, and which of its series are meant.
struct Metric<'r> {
    rule: &'r Rule,
    selector: Selector,
}

impl Queries {
    pub(crate) async fn answer(&self, asked: &Asked, query: &str) -> Result<Value, Refusal> {
        match asked {
            Asked::Objects { namespace, resource, name, metric } => {
                self.check(namespace)?;
                let metric = self.metric(metric, resource, &selector(query, "metricLabelSelector")?)?;
                let chosen = selector(query, "labelSelector")?;
                let items = match resource.as_str() {
                    "pods" => self.pods(namespace, name, &chosen, &metric)?,
                    "services" => self.services(namespace, name, query, &metric).await?,
                    "deployments.apps" => self.deployments(namespace, name, query, &metric).await?,
                    _ => return Err(Refusal::no_such_metric(&metric.rule.name, resource)),
                };
                Ok(list(CUSTOM.0, "MetricValueList", items))
            }
            Asked::Namespace { namespace, metric } => {
                self.check(namespace)?;
                let metric = self.metric(metric, "namespaces", &selector(query, "metricLabelSelector")?)?;
                let total = self.total(namespace, &metric, |_| true)?;
                let described = Described { kind: "Namespace", api_version: "/v1", name: namespace };
                Ok(list(CUSTOM.0, "MetricValueList", vec![self.item(&described, None, &metric, &total)]))
            }
            Asked::External { namespace, metric } => {
                self.check(namespace)?;
                let metric = self.metric(metric, "external metrics", &selector(query, "labelSelector")?)?;
                let total =
                    self.total(namespace, &metric, |pod| !metric.selector.excludes(|key| pod_label(pod, key)))?;
                Ok(list(EXTERNAL.0, "ExternalMetricValueList", vec![self.external(&metric, &total)]))
            }
            _ => Err(Refusal::no_such_path()),
        }
    }

    fn check(&self, namespace: &str) -> Result<(), Refusal> {
        match &self.namespace {
            Some(own) if own != namespace => Err(Refusal::not_found(format!(
                "this adapter measures the pods of namespace {own:?} only; NAMESPACE=\"*\" lets it measure all"
            ))),
            _ => Ok(()),
        }
    }

    fn metric(&self, name: &str, of: &str, selector: &Selector) -> Result<Metric<'_>, Refusal> {
        let rule = self.rules.find(name).ok_or_else(|| Refusal::no_such_metric(name, of))?;
        Ok(Metric { rule, selector: selector.clone() })
    }

    /// Pods that run, by name, so that lists are in one order.
    fn running(&self, of: &str) -> Vec<Arc<Pod>> {
        let pods = self.pods.state().into_iter();
        let mut pods: Vec<Arc<Pod>> = pods.filter(|pod| namespace(pod) == of && is_running(pod)).collect();
        pods.sort_by(|a, b| name(a).cmp(name(b)));
        pods
    }

    fn pods(&self, of: &str, wanted: &str, chosen: &Selector, metric: &Metric<'_>) -> Result<Vec<Value>, Refusal> {
        let pods = self.running(of).into_iter();
        let pods: Vec<Arc<Pod>> = pods
            .filter(|pod| wanted == "*" || wanted == name(pod))
            .filter(|pod| chosen.matches(|key| label(pod, key)))
            .collect();
        if pods.is_empty() && wanted != "*" {
            return Err(Refusal::not_found(format!("no pod {wanted:?} runs in namespace {of:?}")));
        }
        let (mut items, mut missing) = (Vec::new(), Vec::new());
        for pod in &pods {
            let described = Described { kind: "Pod", api_version: "/v1", name: name(pod) };
            match self.measured(pod, metric) {
                Ok(total) => items.push(self.item(&described, Some(of), metric, &total)),
                Err(gap) => missing.push((name(pod).to_owned(), gap)),
            }
        }
        if items.is_empty() && !missing.is_empty() {
            return Err(unmeasured(metric, &missing));
        }
        Ok(items)
    }

    async fn services(&self, of: &str, wanted: &str, query: &str, metric: &Metric<'_>) -> Result<Vec<Value>, Refusal> {
        let api: Api<Service> = Api::namespaced(self.client.clone(), of);
        let found = match wanted {
            "*" => api.list(&listing(query)).await?.items,
            name => vec![api.get(name).await?],
        };
        let objects = found.into_iter().map(|service| {
            let selector = service.spec.and_then(|spec| spec.selector).unwrap_or_default();
            (service.metadata.name.unwrap_or_default(), selector)
        });
        self.objects(of, ("Service", "/v1"), objects.collect(), metric)
    }

    async fn deployments(
        &self,
        of: &str,
        wanted: &str,
        query: &str,
        metric: &Metric<'_>,
    ) -> Result<Vec<Value>, Refusal> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), of);
        let found = match wanted {
            "*" => api.list(&listing(query)).await?.items,
            name => vec![api.get(name).await?],
        };
        let objects = found.into_iter().map(|deployment| {
            let selector = deployment.spec.and_then(|spec| spec.selector.match_labels).unwrap_or_default();
            (deployment.metadata.name.unwrap_or_default(), selector)
        });
        self.objects(of, ("Deployment", "apps/v1"), objects.collect(), metric)
    }

    /// Each object is the pods that it selects. One that cannot be measured is left out of a list of several.
    fn objects(
        &self,
        of: &str,
        (kind, api_version): (&str, &str),
        objects: Vec<(String, BTreeMap<String, String>)>,
        metric: &Metric<'_>,
    ) -> Result<Vec<Value>, Refusal> {
        let (mut items, mut refusals) = (Vec::new(), Vec::new());
        for (name, pairs) in &objects {
            let selector = Selector::of_pairs(pairs);
            let total = if selector.is_empty() {
                Err(Refusal::not_found(format!("{kind} {name:?} selects no pods by labels")))
            } else {
                self.total(of, metric, |pod| selector.matches(|key| label(pod, key)))
            };
            match total {
                Ok(total) => items.push(self.item(&Described { kind, api_version, name }, Some(of), metric, &total)),
                Err(refusal) => refusals.push(refusal),
            }
        }
        // What somebody has to mend comes before what has nothing to tell.
        refusals.sort_by_key(|refusal| !refusal.is_outage);
        match refusals.into_iter().next() {
            Some(refusal) if items.is_empty() => Err(refusal),
            _ => Ok(items),
        }
    }

    /// The chosen pods as one. A pod that takes requests and cannot be measured fails it: the sum would be too small.
    fn total(&self, of: &str, metric: &Metric<'_>, chosen: impl Fn(&Pod) -> bool) -> Result<Measure, Refusal> {
        let (mut measures, mut missing) = (Vec::new(), Vec::new());
        let mut is_incomplete = false;
        for pod in self.running(of).iter().filter(|pod| chosen(pod)) {
            match self.board.measure(pod, metric.rule, &metric.selector) {
                Ok(measure) => measures.push(measure),
                Err(gap) => {
                    is_incomplete |= gap.is_outage && is_ready(pod);
                    missing.push((name(pod).to_owned(), gap));
                }
            }
        }
        let total = Measure::together(measures).filter(|_| !is_incomplete);
        match total {
            Some(total) if total.value(metric.rule).is_some() => Ok(total),
            Some(_) => Err(Refusal::unavailable(format!("{}: {NO_OBSERVATIONS}", metric.rule.name))),
            None => Err(unmeasured(metric, &missing)),
        }
    }

    fn measured(&self, pod: &Pod, metric: &Metric<'_>) -> Result<Measure, Missing> {
        let measure = self.board.measure(pod, metric.rule, &metric.selector)?;
        match measure.value(metric.rule) {
            Some(_) => Ok(measure),
            None => Err(Missing { why: NO_OBSERVATIONS.to_owned(), is_outage: false }),
        }
    }

    fn item(&self, described: &Described<'_>, namespace: Option<&str>, metric: &Metric<'_>, total: &Measure) -> Value {
        let mut object = json!({ "kind": described.kind, "name": described.name, "apiVersion": described.api_version });
        if let Some(namespace) = namespace {
            object["namespace"] = json!(namespace);
        }
        let mut item = json!({
            "describedObject": object,
            "metric": { "name": metric.rule.name, "selector": metric.selector.to_json() },
            "timestamp": quantity::time(self.board.unix_ms(total.at_ms)),
            "value": quantity::of(total.value(metric.rule).unwrap_or_default()),
        });
        if let Some(window_s) = window_s(total) {
            item["windowSeconds"] = json!(window_s);
        }
        item
    }

    fn external(&self, metric: &Metric<'_>, total: &Measure) -> Value {
        let mut item = json!({
            "metricName": metric.rule.name,
            "metricLabels": metric.selector.pairs(),
            "timestamp": quantity::time(self.board.unix_ms(total.at_ms)),
            "value": quantity::of(total.value(metric.rule).unwrap_or_default()),
        });
        if let Some(window_s) = window_s(total) {
            item["window"] = json!(window_s);
        }
        item
    }
}

/// A quantile of nothing is no number.
const NO_OBSERVATIONS: &str = "nothing was observed in the window";
/// Pods that a message names.
const NAMED_MAX: usize = 3;

/// Outages first: they are what somebody has to mend.
fn unmeasured(metric: &Metric<'_>, missing: &[(String, Missing)]) -> Refusal {
    if missing.is_empty() {
        return Refusal::unavailable(format!("{}: no pod runs that it could be measured of", metric.rule.name));
    }
    let mut ordered: Vec<&(String, Missing)> = missing.iter().collect();
    ordered.sort_by_key(|(_, gap)| !gap.is_outage);
    let named: Vec<String> =
        ordered.iter().take(NAMED_MAX).map(|(pod, gap)| format!("pod {pod}: {}", gap.why)).collect();
    let more = missing.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let words = format!("{} cannot be measured: {}{more}", metric.rule.name, named.join("; "));
    let mut refusal = Refusal::unavailable(words);
    refusal.is_outage = ordered.iter().any(|(_, gap)| gap.is_outage);
    refusal
}

fn selector(query: &str, name: &str) -> Result<Selector, Refusal> {
    let text = parameter(query, name).unwrap_or_default();
    Selector::parse(&text).map_err(|error| Refusal::bad_request(format!("{name}: {error}")))
}

fn listing(query: &str) -> ListParams {
    match parameter(query, "labelSelector") {
        Some(selector) => ListParams::default().labels(&selector),
        None => ListParams::default(),
    }
}

fn list(group: &str, kind: &str, items: Vec<Value>) -> Value {
    json!({ "kind": kind, "apiVersion": discovery::group_version(group), "metadata": {}, "items": items })
}

/// In whole seconds, as the API has it, and never zero.
fn window_s(total: &Measure) -> Option<i64> {
    total.window_ms.map(|window_ms| ((window_ms + 500) / 1000).max(1))
}
