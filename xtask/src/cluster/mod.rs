//! Which cluster this is. Nothing outside this module knows: the verbs speak to a `Cluster`, and to Kubernetes.
//!
//! A provider is a set of answers: how it is started, how an image gets in, where the service can be reached, how it is
//! removed. The rest (apply, wait, observe) is the same Kubernetes API on all of them.

mod context;
mod embedded;
mod minikube;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;

pub(crate) use self::context::check_permissions;
pub(crate) use self::minikube::Measured;
use crate::archive::Archived;
use crate::cli::SetupArgs;
use crate::problem::{self, Problem};
use crate::session::{Pace, ProviderKind, Session};
use crate::terminal::{Step, Terminal};
use crate::workspace::Workspace;

/// Where the API is and who we are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub kubeconfig: PathBuf,
    pub context: String,
    /// Whether this call made the cluster, so that teardown may remove it.
    pub created: bool,
    /// Whether anything had to be done.
    pub acted: bool,
    /// One line for the user: address, version, limiter.
    pub summary: String,
}

/// Repairs that a provider makes by itself, and that lose nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mend {
    Start,
    Unpause,
    UpdateContext,
    EnableMetrics,
}

/// How load reaches the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A URL that this machine can dial; connections are spread by the cluster.
    Direct(String),
    /// Only through the API server: a balanced port-forward of our own.
    Forward,
}

/// Constants of the horizontal pod autoscaler, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Controller {
    pub(crate) sync_period_s: u64,
    pub(crate) downscale_stabilization_s: u64,
    pub(crate) cpu_initialization_period_s: u64,
    pub(crate) initial_readiness_delay_s: u64,
}

impl Default for Controller {
    fn default() -> Controller {
        Controller {
            sync_period_s: 15,
            downscale_stabilization_s: 300,
            cpu_initialization_period_s: 300,
            initial_readiness_delay_s: 30,
        }
    }
}

impl Controller {
    pub(crate) fn config(&self) -> autoscaler::config::Config {
        let ns = |seconds: u64| i64::try_from(seconds * 1_000_000_000).unwrap_or(i64::MAX);
        autoscaler::config::Config {
            downscale_stabilization_ns: ns(self.downscale_stabilization_s),
            cpu_initialization_period_ns: ns(self.cpu_initialization_period_s),
            initial_readiness_delay_ns: ns(self.initial_readiness_delay_s),
            ..autoscaler::config::Config::default()
        }
    }
}

pub(crate) enum Cluster {
    Embedded(embedded::Embedded),
    Minikube(minikube::Minikube),
    Context(context::Context),
}

/// What `--cluster` asked for, and why it became what it is.
pub(crate) struct Choice {
    pub kind: ProviderKind,
    pub context: Option<String>,
    pub reason: String,
}

impl Choice {
    pub(crate) fn resolve(asked: &str, session: Option<&Session>) -> Result<Choice> {
        let choice = |kind, reason: &str| Choice { kind, context: None, reason: reason.to_owned() };
        Ok(match asked {
            "auto" => match session {
                Some(session) => Choice {
                    kind: session.provider,
                    context: (session.provider == ProviderKind::Context).then(|| session.context.clone()),
                    reason: "as this profile is set up".to_owned(),
                },
                None if minikube::is_installed() => choice(ProviderKind::Minikube, "auto: minikube is on PATH"),
                None => choice(ProviderKind::Embedded, "auto: minikube is not on PATH"),
            },
            "embedded" => choice(ProviderKind::Embedded, "as asked"),
            "minikube" => choice(ProviderKind::Minikube, "as asked"),
            "context" => choice(ProviderKind::Context, "as asked: the current context"),
            other => match other.strip_prefix("context=").filter(|name| !name.is_empty()) {
                Some(name) => Choice { context: Some(name.to_owned()), ..choice(ProviderKind::Context, "as asked") },
                None => return Err(problem::unknown_cluster(other).into()),
            },
        })
    }
}

impl Cluster {
    /// The cluster that `setup` is to bring up.
    pub(crate) fn for_setup(
        workspace: &Workspace,
        profile: &str,
        choice: &Choice,
        args: &SetupArgs,
    ) -> Result<Cluster> {
        Ok(match choice.kind {
            ProviderKind::Embedded => Cluster::Embedded(embedded::Embedded::new(workspace, profile)),
            ProviderKind::Minikube => Cluster::Minikube(minikube::Minikube::new(profile, args)?),
            ProviderKind::Context => Cluster::Context(context::Context::new(choice.context.as_deref(), args.yes)?),
        })
    }

    /// The cluster that a session is set up on.
    pub(crate) fn of_session(workspace: &Workspace, session: &Session) -> Result<Cluster> {
        Ok(match session.provider {
            ProviderKind::Embedded => Cluster::Embedded(embedded::Embedded::new(workspace, &session.profile)),
            ProviderKind::Minikube => Cluster::Minikube(minikube::Minikube::existing(&session.profile)?),
            ProviderKind::Context => Cluster::Context(context::Context::of_session(session)),
        })
    }

    pub(crate) fn describe(&self) -> String {
        match self {
            Cluster::Embedded(_) => "the embedded cluster".to_owned(),
            Cluster::Minikube(minikube) => format!("Minikube profile `{}`", minikube.profile),
            Cluster::Context(context) => format!("context `{}`", context.name),
        }
    }

    /// Whether it is there, running or not, before anything of ours was done.
    pub(crate) fn exists(&self) -> Result<bool> {
        match self {
            Cluster::Embedded(embedded) => Ok(embedded.exists()),
            Cluster::Minikube(minikube) => minikube.exists(),
            Cluster::Context(_) => Ok(true),
        }
    }

    /// Looks first, starts what is not running. Both paces are asked for here, since they are settings of the cluster.
    pub(crate) fn start(
        &self,
        terminal: &Terminal,
        step: &Step<'_>,
        pace: Pace,
        last_pace: Option<Pace>,
    ) -> Result<Access> {
        match self {
            Cluster::Embedded(embedded) => embedded.start(step, pace, last_pace),
            Cluster::Minikube(minikube) => minikube.start(terminal, step, pace, last_pace),
            Cluster::Context(context) => context.access(),
        }
    }

    /// What it does otherwise than the pace has it, in words.
    pub(crate) async fn deviations(&self, client: &kube::Client, pace: Pace) -> Vec<String> {
        match self {
            Cluster::Minikube(minikube) => minikube.deviations(client, pace).await,
            Cluster::Embedded(_) | Cluster::Context(_) => Vec::new(),
        }
    }

    /// What has to be true before the first change: tools there, permissions granted.
    pub(crate) async fn check(&self, client: &kube::Client, namespace: &str, kinds: &BTreeSet<String>) -> Result<()> {
        match self {
            Cluster::Context(_) => context::check_permissions(client, namespace, kinds).await,
            Cluster::Embedded(_) | Cluster::Minikube(_) => Ok(()),
        }
    }

    /// Whether images are put into the cluster by us, or pulled by it.
    pub(crate) fn takes_archives(&self) -> bool {
        !matches!(self, Cluster::Context(_))
    }

    pub(crate) fn needs_static_image(&self) -> bool {
        !matches!(self, Cluster::Embedded(_))
    }

    pub(crate) fn has_image(&self, image: &Archived) -> Result<bool> {
        match self {
            Cluster::Embedded(embedded) => embedded.has_image(image),
            Cluster::Minikube(minikube) => minikube.has_image(image),
            Cluster::Context(_) => Ok(false),
        }
    }

    /// Loads an archive and verifies that the cluster lists it: exit 0 alone proves nothing.
    pub(crate) fn load_image(&self, image: &Archived) -> Result<()> {
        match self {
            Cluster::Embedded(embedded) => embedded.load_image(image),
            Cluster::Minikube(minikube) => minikube.load_image(image),
            Cluster::Context(_) => {
                Err(problem::context_takes_no_archive(&image.file, &image.reference_by_content()).into())
            }
        }
    }

    /// Turns on whatever serves metrics.k8s.io, where that is not a matter of course.
    pub(crate) async fn ensure_metrics(
        &self,
        client: &kube::Client,
        measured: &Measured<'_>,
        step: &Step<'_>,
        pace: Pace,
        limit: Duration,
    ) -> Result<()> {
        match self {
            Cluster::Minikube(minikube) => minikube.ensure_metrics(client, measured, step, pace, limit).await,
            Cluster::Embedded(_) | Cluster::Context(_) => Ok(()),
        }
    }

    pub(crate) fn reach(&self, namespace: &str, service: &str, node_port: Option<(&str, i32)>) -> Result<Reach> {
        match self {
            Cluster::Embedded(_) => Ok(match node_port {
                Some((address, port)) => Reach::Direct(format!("http://{address}:{port}")),
                None => Reach::Forward,
            }),
            Cluster::Minikube(minikube) => minikube.reach(namespace, service, node_port.map(|(_, port)| port)),
            Cluster::Context(context) => Ok(context.reach(node_port)),
        }
    }

    /// The constants that the cluster's controller decides with, as far as we set them or Kubernetes does.
    pub(crate) fn controller(&self, pace: Pace) -> Controller {
        match self {
            Cluster::Embedded(_) => embedded::controller(pace),
            Cluster::Minikube(_) => minikube::controller(pace),
            Cluster::Context(_) => Controller::default(),
        }
    }

    /// Removes a cluster that the session created; a cluster that is gone already is fine.
    pub(crate) fn delete(&self) -> Result<()> {
        match self {
            Cluster::Embedded(embedded) => embedded.delete(),
            Cluster::Minikube(minikube) => minikube.delete(),
            Cluster::Context(_) => Ok(()),
        }
    }

    /// Processes of the cluster on this machine that outlived its removal.
    pub(crate) fn survivors(&self) -> Vec<i32> {
        match self {
            Cluster::Embedded(embedded) => embedded.survivors(),
            Cluster::Minikube(_) | Cluster::Context(_) => Vec::new(),
        }
    }

    pub(crate) fn is_running(&self) -> Result<bool> {
        match self {
            Cluster::Embedded(embedded) => embedded.is_running(),
            Cluster::Minikube(minikube) => minikube.is_running(),
            Cluster::Context(_) => Ok(true),
        }
    }

    /// What keeps it from answering, and what may be done about that without asking.
    pub(crate) fn trouble(&self, profile: &str) -> Option<(Problem, Option<Mend>)> {
        match self {
            Cluster::Embedded(embedded) => match embedded.is_running() {
                Ok(true) => None,
                Ok(false) => Some((problem::embedded_stopped(profile), embedded.exists().then_some(Mend::Start))),
                Err(_) => Some((problem::tool_missing("nanokube", "cargo build -p nanokube"), None)),
            },
            Cluster::Minikube(minikube) => minikube.mendable_trouble(),
            Cluster::Context(_) => None,
        }
    }

    /// What keeps it from measuring pods.
    pub(crate) async fn metrics_trouble(&self, client: &kube::Client) -> Option<(Problem, Option<Mend>)> {
        match self {
            Cluster::Minikube(minikube) => minikube.metrics_trouble(client).await,
            Cluster::Embedded(_) | Cluster::Context(_) => None,
        }
    }

    /// Does what was found mendable; what it did, as a command.
    pub(crate) fn mend(&self, mend: Mend) -> Result<String> {
        match self {
            Cluster::Embedded(embedded) => embedded.restart(),
            Cluster::Minikube(minikube) => minikube.mend(mend),
            Cluster::Context(_) => Ok("nothing: the cluster is somebody else's".to_owned()),
        }
    }

    /// How to give it more CPU and memory.
    pub(crate) fn enlarge(&self) -> &'static str {
        match self {
            Cluster::Minikube(_) => "cargo xtask teardown   (then set up anew with more --cpus and --memory)",
            Cluster::Embedded(_) | Cluster::Context(_) => "cargo xtask setup --env dev   (asks for least)",
        }
    }

    /// One line on how it is, for status and doctor.
    pub(crate) fn condition(&self) -> String {
        match self {
            Cluster::Embedded(embedded) => embedded.condition(),
            Cluster::Minikube(minikube) => minikube.condition(),
            Cluster::Context(context) => format!("context `{}`", context.name),
        }
    }
}

/// Of its nodes; none where this user may not see them.
pub(crate) async fn architectures(client: &kube::Client) -> Vec<String> {
    let nodes: Api<Node> = Api::all(client.clone());
    let listed = nodes.list(&ListParams::default()).await.map(|nodes| nodes.items).unwrap_or_default();
    listed.into_iter().filter_map(|node| Some(node.status?.node_info?.architecture)).collect()
}

/// The texts of a JSON list.
fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A client for a context of a kubeconfig, with errors that name the file.
pub(crate) async fn connect(kubeconfig: &Path, context: &str) -> Result<kube::Client> {
    client(kubeconfig, config(kubeconfig, context).await?).await
}

/// For a look at how it is now. An API that is unavailable is then what there is to tell; `connect_session` asks it again for
/// minutes.
pub(crate) async fn connect_to_look(session: &Session) -> Result<kube::Client> {
    look(&session.kubeconfig, &session.context).await.map_err(|error| explained(session, error))
}

/// For a look at a cluster that was never set up for the lab, by a context of the user's kubeconfig.
pub(crate) async fn connect_to_context(name: &str) -> Result<kube::Client> {
    // Nothing is changed there, so it need not be a local one.
    let access = context::Context::new(Some(name), true)?.access()?;
    look(&access.kubeconfig, &access.context).await
}

async fn look(kubeconfig: &Path, context: &str) -> Result<kube::Client> {
    let mut config = config(kubeconfig, context).await?;
    config.default_retry = false;
    client(kubeconfig, config).await
}

/// Who runs the cluster may know why it does not answer: it is stopped, paused, gone, or elsewhere since a restart.
fn explained(session: &Session, error: anyhow::Error) -> anyhow::Error {
    if session.provider != ProviderKind::Minikube {
        return error;
    }
    let known = minikube::Minikube::existing(&session.profile).map(|minikube| minikube.trouble());
    match known {
        Ok(Some(trouble)) => trouble.into(),
        Ok(None) => error,
        Err(missing) => missing,
    }
}

async fn config(kubeconfig: &Path, context: &str) -> Result<kube::Config> {
    let read = Kubeconfig::read_from(kubeconfig)
        .with_context(|| problem::kubeconfig_unusable(kubeconfig, "cargo xtask setup"))?;
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    kube::Config::from_custom_kubeconfig(read, &options)
        .await
        .with_context(|| problem::kubeconfig_unusable(kubeconfig, "cargo xtask setup"))
}

async fn client(kubeconfig: &Path, config: kube::Config) -> Result<kube::Client> {
    let url = config.cluster_url.to_string();
    let client = kube::Client::try_from(config)
        .with_context(|| problem::kubeconfig_unusable(kubeconfig, "cargo xtask setup"))?;
    let probe = tokio::time::timeout(Duration::from_secs(10), client.apiserver_version());
    match probe.await {
        Ok(Ok(_)) => Ok(client),
        Ok(Err(error)) => Err(error).context(problem::no_cluster(&url)),
        Err(_) => Err(problem::no_cluster(&url).into()),
    }
}

pub(crate) async fn connect_session(session: &Session) -> Result<kube::Client> {
    connect(&session.kubeconfig, &session.context).await.map_err(|error| explained(session, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_session_decides_what_auto_means() {
        let mut session = Session::new("lab", ProviderKind::Context, "dev", Pace::Real);
        session.context = "kind".to_owned();
        let choice = Choice::resolve("auto", Some(&session)).unwrap();
        assert_eq!((choice.kind, choice.context.as_deref()), (ProviderKind::Context, Some("kind")));
    }

    #[test]
    fn a_context_can_be_named() {
        let choice = Choice::resolve("context=prod-eu", None).unwrap();
        assert_eq!((choice.kind, choice.context.as_deref()), (ProviderKind::Context, Some("prod-eu")));
        for bad in ["context=", "kind", ""] {
            assert!(Choice::resolve(bad, None).is_err(), "{bad:?} was accepted");
        }
    }
}
