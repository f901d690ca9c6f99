//! Any cluster of a kubeconfig. It is somebody else's: nothing is started or deleted, nothing outside our namespace is
//! touched, and a context that does not look local is left alone unless the user says so.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use futures::StreamExt;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{ApiResource, PostParams};
use kube::config::Kubeconfig;
use kube::core::GroupVersionKind;

use super::{Access, Reach};
use crate::apply::API_SERVICE;
use crate::problem;
use crate::session::Session;

pub(crate) struct Context {
    pub name: String,
    kubeconfig: PathBuf,
    server: String,
}

impl Context {
    pub(crate) fn new(name: Option<&str>, yes: bool) -> Result<Context> {
        let mut read = Vec::new();
        let paths = user_kubeconfigs();
        // Of several, some may not be there.
        let is_one = paths.len() == 1;
        for path in paths.into_iter().filter(|path| is_one || path.exists()) {
            let kubeconfig = Kubeconfig::read_from(&path)
                .with_context(|| problem::kubeconfig_unusable(&path, "export KUBECONFIG=FILE"))?;
            read.push((path, kubeconfig));
        }
        let known: Vec<String> =
            read.iter().flat_map(|(_, read)| read.contexts.iter().map(|context| context.name.clone())).collect();
        let current = || read.iter().find_map(|(_, read)| read.current_context.clone().filter(|name| !name.is_empty()));
        let name = name.map(str::to_owned).or_else(current).unwrap_or_default();
        let found = read.into_iter().find_map(|(path, read)| {
            let named = read.contexts.iter().find(|context| context.name == name)?.clone();
            Some((path, read, named))
        });
        let Some((kubeconfig, read, named)) = found else {
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
    is_loopback(host) || host == "localhost" || host.ends_with(".localhost") || host.ends_with(".docker.internal")
}

/// k3d writes 0.0.0.0, which is dialled on this machine too.
fn is_loopback(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback() || address.is_unspecified())
}

/// The files of `KUBECONFIG`, else the one in the home directory. A context and what it names lie in one file.
fn user_kubeconfigs() -> Vec<PathBuf> {
    let listed = std::env::var_os("KUBECONFIG").filter(|paths| !paths.is_empty());
    match listed {
        Some(paths) => std::env::split_paths(&paths).filter(|path| !path.as_os_str().is_empty()).collect(),
        None => vec![PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".kube/config")],
    }
}

/// What the lab does in its namespace beside applying its manifests, as (group, resource, verbs). A port-forward is asked for
/// by GET, and newer clusters want `create` for it too.
const NEEDED: [(&str, &str, &[&str]); 8] = [
    ("", "pods", &["get", "list", "watch"]),
    ("", "pods/log", &["get"]),
    ("", "pods/portforward", &["get", "create"]),
    ("", "events", &["list", "watch"]),
    ("apps", "deployments", &["watch"]),
    ("autoscaling", "horizontalpodautoscalers", &["watch"]),
    ("metrics.k8s.io", "pods", &["list"]),
    ("", "services", &["get"]),
];
/// What each kind of the manifests takes: server-side apply creates or patches; teardown lists and deletes.
const OF_A_KIND: [&str; 5] = ["get", "list", "create", "patch", "delete"];
/// The order in which verbs are told.
const VERBS: [&str; 6] = ["get", "list", "watch", "create", "patch", "delete"];

/// One thing that a user may or may not do.
struct Question {
    group: String,
    resource: String,
    verb: &'static str,
    namespaced: bool,
}

fn questions(kinds: &BTreeSet<String>) -> Vec<Question> {
    let of_lab = NEEDED.iter().flat_map(|(group, resource, verbs)| {
        verbs.iter().map(|verb| ((*group).to_owned(), (*resource).to_owned(), *verb, true))
    });
    let of_kinds = kinds.iter().filter_map(|kind| kind.split_once(' ')).filter(|(_, kind)| *kind != "Namespace");
    let of_kinds = of_kinds.flat_map(|(api_version, kind)| {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let plural = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)).plural;
        OF_A_KIND.map(|verb| (group.to_owned(), plural.clone(), verb, kind != API_SERVICE))
    });
    let mut all: Vec<_> = of_lab.chain(of_kinds).collect();
    let place = |verb: &str| VERBS.iter().position(|known| *known == verb);
    all.sort_by(|a, b| (&a.0, &a.1, place(a.2)).cmp(&(&b.0, &b.1, place(b.2))));
    all.dedup();
    all.into_iter().map(|(group, resource, verb, namespaced)| Question { group, resource, verb, namespaced }).collect()
}

/// Asks before the first change, and names everything that is missing at once.
pub(crate) async fn check_permissions(client: &kube::Client, namespace: &str, kinds: &BTreeSet<String>) -> Result<()> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let params = PostParams::default();
    let asked = questions(kinds).into_iter().map(|question| {
        let (reviews, params) = (&reviews, &params);
        async move {
            let answer = reviews.create(params, &review(&question, namespace)).await;
            (question, answer)
        }
    });
    // Ten at a time: a cluster far away is asked forty questions.
    let answers: Vec<_> = futures::stream::iter(asked).buffered(10).collect().await;
    let mut missing: Vec<(String, Vec<&str>)> = Vec::new();
    for (Question { group, resource, verb, .. }, answer) in answers {
        let answer = match answer {
            Ok(answer) => answer,
            // A cluster without authorization has nobody to ask, and nothing to refuse.
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 405 => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if answer.status.is_some_and(|status| status.allowed) {
            continue;
        }
        let what = if group.is_empty() { resource } else { format!("{resource}.{group}") };
        match missing.last_mut().filter(|(last, _)| *last == what) {
            Some((_, verbs)) => verbs.push(verb),
            None => missing.push((what, vec![verb])),
        }
    }
    let mut missing: Vec<String> = missing.iter().map(|(what, verbs)| format!("{} {what}", verbs.join(", "))).collect();
    if kinds.contains("v1 Namespace") && cannot_be_made(client, &reviews, namespace).await? {
        missing.push(format!("create namespaces ({namespace} is not there)"));
    }
    if missing.is_empty() { Ok(()) } else { Err(problem::permissions_missing(&missing, namespace).into()) }
}

/// Whether the namespace is absent and this user may not make it. Who may not even look for it takes it as there.
async fn cannot_be_made(
    client: &kube::Client,
    reviews: &Api<SelfSubjectAccessReview>,
    namespace: &str,
) -> Result<bool> {
    let create = Question { group: String::new(), resource: "namespaces".into(), verb: "create", namespaced: false };
    let answer = reviews.create(&PostParams::default(), &review(&create, namespace)).await?;
    if answer.status.is_some_and(|status| status.allowed) {
        return Ok(false);
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    match namespaces.get_opt(namespace).await {
        Ok(found) => Ok(found.is_none()),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn review(question: &Question, namespace: &str) -> SelfSubjectAccessReview {
    let (resource, subresource) = match question.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (question.resource.as_str(), None),
    };
    let attributes = ResourceAttributes {
        group: Some(question.group.clone()),
        resource: Some(resource.to_owned()),
        subresource,
        verb: Some(question.verb.to_owned()),
        namespace: question.namespaced.then(|| namespace.to_owned()),
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
    fn what_is_asked_follows_from_the_kinds_of_the_manifests() {
        let kinds =
            ["policy/v1 PodDisruptionBudget", "networking.k8s.io/v1 NetworkPolicy", "v1 Service", "v1 Namespace"];
        let all = questions(&kinds.map(str::to_owned).into());
        let verbs = |of: &str| all.iter().filter(|q| q.resource == of).map(|q| q.verb).collect::<Vec<_>>().join(" ");
        assert_eq!(verbs("networkpolicies"), "get list create patch delete");
        assert_eq!(verbs("poddisruptionbudgets"), "get list create patch delete");
        assert_eq!(verbs("services"), "get list create patch delete", "nothing is asked twice");
        assert_eq!(verbs("pods/portforward"), "get create");
        assert_eq!(verbs("namespaces"), "", "a namespace may be there already");
    }

    #[test]
    fn only_this_machine_is_local() {
        for local in [
            "https://127.16.0.1:6443",
            "https://localhost:6443",
            "https://[::1]:6443",
            "https://kind.localhost",
            "https://0.0.0.0:6550",
            "https://kubernetes.docker.internal:6443",
        ] {
            assert!(looks_local(local), "{local}");
        }
        for far in ["https://10.0.0.4:6443", "https://api.example.com", "https://1270.example.com", ""] {
            assert!(!looks_local(far), "{far}");
        }
    }
}
