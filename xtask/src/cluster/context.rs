//! Any cluster of a kubeconfig. It is somebody else's: nothing is started or deleted, nothing outside our namespace is
//! touched, and a context that does not look local is left alone unless the user says so.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use futures::StreamExt;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use kube::config::Kubeconfig;

use super::{Access, Reach};
use crate::problem;
use crate::session::Session;

pub(crate) struct Context {
    pub name: String,
    kubeconfig: PathBuf,
    server: String,
}

impl Context {
    pub(crate) fn new(name: Option<&str>, yes: bool) -> Result<Context> {
        let kubeconfig = user_kubeconfig();
        let read = Kubeconfig::read_from(&kubeconfig)
            .with_context(|| problem::kubeconfig_unusable(&kubeconfig, "export KUBECONFIG=FILE"))?;
        let known: Vec<String> = read.contexts.iter().map(|context| context.name.clone()).collect();
        let name = name.map(str::to_owned).or(read.current_context.clone()).unwrap_or_default();
        let Some(named) = read.contexts.iter().find(|context| context.name == name) else {
            return Err(problem::no_such_context(&name, &known).into());
        };
        let cluster = named.context.as_ref().map(|context| context.cluster.clone()).unwrap_or_default();
        let server = read
            .clusters
            .iter()
            .find(|candidate| candidate.name == cluster)
            .and_then(|found| found.cluster.as_ref()?.server.clone())
            .unwrap_or_default();
        if !yes && !looks_local(&server) {
            return Err(problem::context_not_local(&name, &server).into());
        }
        Ok(Context { name, kubeconfig, server })
    }

    pub(crate) fn of_session(session: &Session) -> Context {
        Context { name: session.context.clone(), kubeconfig: session.kubeconfig.clone(), server: String::new() }
    }

    pub(crate) fn access(&self) -> Result<Access> {
        Ok(Access {
            kubeconfig: self.kubeconfig.clone(),
            context: self.name.clone(),
            created: false,
            acted: false,
            summary: self.server.clone(),
        })
    }

    /// A NodePort of a cluster that answers on loopback is on this machine; any other is behind networks we cannot see.
    pub(crate) fn reach(&self, node_port: Option<(&str, i32)>) -> Reach {
        match node_port {
            Some((address, port)) if is_loopback(address) => Reach::Direct(format!("http://{address}:{port}")),
            _ => Reach::Forward,
        }
    }
}

/// Whether an API server's URL is on this machine or on a private network of it.
fn looks_local(server: &str) -> bool {
    let host = server.split("://").nth(1).unwrap_or(server);
    let host = host.split('/').next().unwrap_or(host);
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    is_loopback(host) || host == "localhost" || host.ends_with(".localhost") || host == "host.docker.internal"
}

fn is_loopback(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn user_kubeconfig() -> PathBuf {
    let listed = std::env::var_os("KUBECONFIG").filter(|paths| !paths.is_empty());
    match listed.and_then(|paths| std::env::split_paths(&paths).next()) {
        Some(first) => first,
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".kube/config"),
    }
}

/// What the lab does in its namespace, as (group, resource, verbs).
const NEEDED: [(&str, &str, &[&str]); 8] = [
    ("", "pods", &["get", "list", "watch"]),
    ("", "pods/log", &["get"]),
    ("", "pods/portforward", &["create"]),
    ("", "events", &["list", "watch"]),
    ("", "services", &["get", "list", "create", "patch", "delete"]),
    ("apps", "deployments", &["get", "list", "watch", "create", "patch", "delete"]),
    ("autoscaling", "horizontalpodautoscalers", &["get", "list", "watch", "create", "patch", "delete"]),
    ("metrics.k8s.io", "pods", &["list"]),
];

/// Asks before the first change, and names everything that is missing at once.
pub(crate) async fn check_permissions(client: &kube::Client, namespace: &str) -> Result<()> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let params = PostParams::default();
    let questions =
        NEEDED.iter().flat_map(|(group, resource, verbs)| verbs.iter().map(move |verb| (group, resource, verb)));
    let asked = questions.map(|(group, resource, verb)| {
        let (reviews, params) = (&reviews, &params);
        async move { (group, resource, verb, reviews.create(params, &review(group, resource, verb, namespace)).await) }
    });
    // Ten at a time: a cluster far away is asked thirty questions.
    let answers: Vec<_> = futures::stream::iter(asked).buffered(10).collect().await;
    let mut missing: Vec<(String, Vec<&str>)> = Vec::new();
    for (group, resource, verb, answer) in answers {
        let answer = match answer {
            Ok(answer) => answer,
            // A cluster without authorization has nobody to ask, and nothing to refuse.
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 405 => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if answer.status.is_some_and(|status| status.allowed) {
            continue;
        }
        let what = if group.is_empty() { (*resource).to_owned() } else { format!("{resource}.{group}") };
        match missing.last_mut().filter(|(last, _)| *last == what) {
            Some((_, verbs)) => verbs.push(verb),
            None => missing.push((what, vec![verb])),
        }
    }
    let missing: Vec<String> = missing.iter().map(|(what, verbs)| format!("{} {what}", verbs.join(", "))).collect();
    if missing.is_empty() { Ok(()) } else { Err(problem::permissions_missing(&missing, namespace).into()) }
}

fn review(group: &str, resource: &str, verb: &str, namespace: &str) -> SelfSubjectAccessReview {
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (resource, None),
    };
    let attributes = ResourceAttributes {
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        verb: Some(verb.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ResourceAttributes::default()
    };
    SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        for local in
            ["https://127.16.0.1:6443", "https://localhost:6443", "https://[::1]:6443", "https://kind.localhost"]
        {
            assert!(looks_local(local), "{local}");
        }
        for far in ["https://10.0.0.4:6443", "https://api.example.com", "https://1270.example.com", ""] {
            assert!(!looks_local(far), "{far}");
        }
    }
}
