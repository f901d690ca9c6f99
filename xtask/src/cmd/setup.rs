//! `setup`: cluster, image, manifests, and waiting until the autoscaler sees the service.
//!
//! Each step looks before it acts, and the session is saved after each change: a second setup does nothing, and one that
//! failed or was interrupted is resumed by running it again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use kube::Client;
use serde_json::Value;

use crate::apply::{self, Applied};
use crate::archive::Archived;
use crate::cli::SetupArgs;
use crate::cluster::{self, Choice, Cluster, Measured};
use crate::cmd::load;
use crate::companion::{self, Companion};
use crate::http;
use crate::interruption;
use crate::kustomize;
use crate::lab::Lab;
use crate::lock::Lock;
use crate::own_image;
use crate::problem;
use crate::session::{Pace, ProviderKind, Session};
use crate::wait;
use crate::workload::{Facts, MANAGED_BY, MANAGER, Workload};

const PROBE_LIMIT: Duration = Duration::from_secs(5);
/// The package whose image the manifests of `k8s/` run.
const SERVICE: &str = "service";
pub(crate) const DEFAULT_ENVIRONMENT: &str = "dev";
/// On the pods' template: which image an archive brought.
const CONTENT: &str = "swell/image";
/// The component that shortens the windows.
const FAST: &str = "k8s/components/fast";

/// An image as the manifests name it, and the reference that runs in its place.
type Pair = (String, String);

pub(crate) async fn run(lab: &Lab<'_>, args: &SetupArgs) -> Result<u8> {
    let _lock = Lock::take(&lab.workspace, &lab.profile, "setup")?;
    let guard = interruption::guard(lab, problem::setup_interrupted)?;
    let (session, url) = guard.after(perform(lab, args).await)?;
    lab.terminal.say(&format!("\nservice    {url}"));
    lab.terminal.say(&format!("namespace  {} on {}", session.namespace, session.provider.name()));
    lab.terminal.say(&format!("next       {}", lab.command("load")));
    Ok(0)
}

pub(crate) async fn perform(lab: &Lab<'_>, args: &SetupArgs) -> Result<(Session, String)> {
    let before = former_session(lab, &args.cluster)?;
    let wanted = Wanted::of(args, before.as_ref())?;
    let environments = lab.workspace.environments();
    if wanted.manifests.is_none() && !environments.contains(&wanted.environment) {
        return Err(problem::unknown_environment(&wanted.environment, &environments).into());
    }
    let choice = Choice::resolve(&args.cluster, before.as_ref())?;
    check_same_place(lab, before.as_ref(), &choice)?;
    lab.terminal.say(&format!("profile `{}`: {} ({})", lab.profile, choice.kind.name(), choice.reason));
    // Broken manifests are told before anything is started.
    let mut rendered = Rendering::of(lab, &wanted)?;
    let workload = rendered.workload.clone();

    // So is a cluster that cannot be had, before anything is built.
    let cluster = Cluster::for_setup(&lab.workspace, &lab.profile, &choice, args)?;
    build(lab, &choice)?;
    let mut session =
        before.clone().unwrap_or_else(|| Session::new(&lab.profile, choice.kind, &wanted.environment, wanted.pace));
    // Before the start: one that fails half-way leaves a cluster that is ours to remove.
    session.created.cluster |= !cluster.exists()?;
    session.complete = false;
    session.image.clone_from(&wanted.image);
    session.registry.clone_from(&wanted.registry);
    session.save(&lab.workspace)?;
    start(lab, &cluster, &mut session, wanted)?;
    let client = cluster::connect_session(&session).await?;
    cluster.check(&client, &workload.namespace, &rendered.kinds).await?;
    for words in cluster.deviations(&client, session.pace).await {
        lab.terminal.warn(&words);
    }
    let architectures = cluster::architectures(&client).await;
    let mut images = load_image(lab, &cluster, &mut session, &mut rendered, &architectures)?;
    images.extend(load_companions(lab, &cluster, &mut session, &rendered)?);
    let images: Vec<kustomize::Image> = images.iter().map(|(from, to)| substitute(from, to)).collect();
    deploy(lab, &client, &mut session, &rendered, &images).await?;
    await_companions(lab, &client, &rendered, args.timeout).await?;
    await_ready(lab, &cluster, &client, &rendered, session.pace, args.timeout).await?;
    let facts = Facts::read(&client, &workload).await?;
    let url = load::service_url(lab, &session, &client, &workload, &facts).await?;
    http::get(&url, PROBE_LIMIT).await.with_context(|| problem::service_unreachable(&url))?;
    session.complete = true;
    session.save(&lab.workspace)?;
    Ok((session, url))
}

/// What the profile is set up as. A cluster that never came to be binds nobody who asks for another.
fn former_session(lab: &Lab<'_>, asked: &str) -> Result<Option<Session>> {
    let Some(before) = Session::load(&lab.workspace, &lab.profile)? else { return Ok(None) };
    let never_started = before.context.is_empty() && before.namespace.is_empty();
    let elsewhere = asked != "auto" && !asked.starts_with(before.provider.name());
    // A tool that is gone cannot have left a cluster that this profile could use.
    let is_there =
        || Cluster::of_session(&lab.workspace, &before).and_then(|cluster| cluster.exists()).unwrap_or(false);
    Ok(if never_started && elsewhere && !is_there() { None } else { Some(before) })
}

/// What flags leave open stays as the profile is set up.
struct Wanted {
    environment: String,
    pace: Pace,
    /// The user's own manifests; an environment that is asked for takes their place.
    manifests: Option<PathBuf>,
    /// An archive's absolute path, or a reference.
    image: Option<String>,
    /// Where the project's own image is pushed to, for a cluster that pulls.
    registry: Option<String>,
}

impl Wanted {
    fn of(args: &SetupArgs, before: Option<&Session>) -> Result<Wanted> {
        let environment = args.env.clone().or_else(|| before.map(|session| session.environment.clone()));
        let manifests = match (&args.manifests, &args.env) {
            (Some(given), _) => Some(std::path::absolute(given)?),
            (None, Some(_)) => None,
            (None, None) => before.and_then(|session| session.manifests.clone()),
        };
        let image = match &args.image {
            Some(given) if Path::new(given).is_file() => {
                Some(std::path::absolute(given)?.to_string_lossy().into_owned())
            }
            Some(absent) if absent.starts_with(['/', '.']) || absent.ends_with(".tar") => {
                return Err(problem::archive_unusable(Path::new(absent)).into());
            }
            Some(reference) => Some(reference.clone()),
            // Another workload has another image.
            None => before.filter(|session| session.manifests == manifests).and_then(|session| session.image.clone()),
        };
        Ok(Wanted {
            environment: environment.unwrap_or_else(|| DEFAULT_ENVIRONMENT.to_owned()),
            pace: args.pace.or_else(|| before.map(|session| session.pace)).unwrap_or_default(),
            manifests,
            image,
            registry: args.push.clone().or_else(|| before.and_then(|session| session.registry.clone())),
        })
    }
}

/// A profile stays where it is: half a session on each of two clusters could be torn down by nobody.
fn check_same_place(lab: &Lab<'_>, before: Option<&Session>, choice: &Choice) -> Result<()> {
    let Some(before) = before else { return Ok(()) };
    let other_context = choice.context.as_ref().is_some_and(|context| *context != before.context);
    if before.provider != choice.kind || (other_context && !before.context.is_empty()) {
        let wants = choice.context.clone().unwrap_or_else(|| choice.kind.name().to_owned());
        return Err(problem::session_elsewhere(&lab.profile, before.provider.name(), &wants).into());
    }
    Ok(())
}

fn build(lab: &Lab<'_>, choice: &Choice) -> Result<()> {
    let step = lab.terminal.step("build");
    let built = lab.workspace.build(lab.terminal)?;
    let what = match choice.kind {
        ProviderKind::Embedded => "nanokube, service, loadgen",
        _ => "service, loadgen",
    };
    step.ended(built, what);
    Ok(())
}

fn start(lab: &Lab<'_>, cluster: &Cluster, session: &mut Session, wanted: Wanted) -> Result<()> {
    let step = lab.terminal.step("cluster");
    let last_pace = (!session.context.is_empty()).then_some(session.pace);
    let access = cluster.start(lab.terminal, &step, wanted.pace, last_pace)?;
    session.kubeconfig = access.kubeconfig;
    session.context = access.context;
    session.created.cluster |= access.created;
    session.pace = wanted.pace;
    session.environment = wanted.environment;
    session.save(&lab.workspace)?;
    if access.acted {
        step.done(&access.summary)
    } else {
        step.same(&access.summary)
    }
    Ok(())
}

/// What takes the place of the manifests' own image: each name as written, and what runs.
fn load_image(
    lab: &Lab<'_>,
    cluster: &Cluster,
    session: &mut Session,
    rendered: &mut Rendering,
    architectures: &[String],
) -> Result<Vec<Pair>> {
    let step = lab.terminal.step("image");
    let packed = match session.image.clone() {
        Some(file) if Path::new(&file).is_file() => {
            Archived::read(Path::new(&file)).with_context(|| problem::archive_unusable(Path::new(&file)))?
        }
        Some(file) if file.starts_with('/') => return Err(problem::archive_unusable(Path::new(&file)).into()),
        Some(reference) => {
            step.same(&format!("{reference}, pulled by the cluster"));
            return Ok(rendered.substituted(&reference).into_iter().map(|name| (name, reference.clone())).collect());
        }
        None if rendered.own.is_some() => {
            step.same("as the manifests name it");
            return Ok(Vec::new());
        }
        None if !cluster.takes_archives() && session.registry.is_none() => {
            return Err(problem::context_needs_image().into());
        }
        None => own_image::pack(lab, cluster, &step, SERVICE)?,
    };
    if !architectures.is_empty() && !architectures.contains(&packed.architecture) {
        return Err(
            problem::image_of_another_architecture(&packed.reference, &packed.architecture, architectures).into()
        );
    }
    let (reference, acted) = own_image::bring(cluster, &step, &packed, session.registry.as_deref())?;
    // Under a name that stays, only this makes other content another template, and so a rollout.
    rendered.content = (reference == packed.reference && !packed.is_named_by_content()).then(|| packed.id.clone());
    let names = rendered.substituted(&packed.reference);
    let pairs: Vec<Pair> = names.into_iter().map(|name| (name, reference.clone())).collect();
    session.images.extend(pairs.iter().cloned());
    session.save(&lab.workspace)?;
    step.ended(acted, &reference);
    Ok(pairs)
}

/// Images of this clone that the manifests name beside the workload's: as written, and what runs.
fn load_companions(lab: &Lab<'_>, cluster: &Cluster, session: &mut Session, rendered: &Rendering) -> Result<Vec<Pair>> {
    let mut loaded = Vec::new();
    for Companion { package, image, .. } in &rendered.companions {
        if !cluster.takes_archives() && session.registry.is_none() {
            return Err(problem::companion_not_loadable(image).into());
        }
        let step = lab.terminal.step("image");
        if !cluster.needs_static_image() {
            lab.workspace.build_binaries(lab.terminal, &[package])?;
        }
        let (reference, acted) = own_image::ensure(lab, cluster, &step, package, session.registry.as_deref())?;
        step.ended(acted, &reference);
        session.images.insert(image.clone(), reference.clone());
        session.save(&lab.workspace)?;
        loaded.push((image.clone(), reference));
    }
    Ok(loaded)
}

async fn deploy(
    lab: &Lab<'_>,
    client: &Client,
    session: &mut Session,
    rendered: &Rendering,
    images: &[kustomize::Image],
) -> Result<()> {
    let workload = rendered.workload.clone();
    if !session.namespace.is_empty() && session.namespace != workload.namespace {
        leave(lab, client, session).await?;
    }
    let step = lab.terminal.step("manifests");
    let objects = rendered.objects(images)?;
    session.namespace.clone_from(&workload.namespace);
    session.manifests.clone_from(&rendered.own);
    session.workload = Some(workload);
    session.kinds.extend(objects.iter().map(apply::kind_of));
    session.save(&lab.workspace)?;
    let applied = apply::apply(client, &objects, &session.namespace, &session.kinds).await?;
    session.created.namespace |= applied.created_namespace;
    session.save(&lab.workspace)?;
    if applied.changed.is_empty() && applied.pruned.is_empty() {
        step.same(&format!("{} objects as they should be", applied.unchanged));
    } else {
        step.done(&summary(&applied));
    }
    for changed in &applied.changed {
        lab.terminal.detail(&format!("          applied {changed}"));
    }
    for pruned in &applied.pruned {
        lab.terminal.say(&format!("          removed {pruned}, which is no longer rendered"));
    }
    Ok(())
}

/// Another environment is another namespace: what the profile had in the old one goes.
async fn leave(lab: &Lab<'_>, client: &Client, session: &mut Session) -> Result<()> {
    let step = lab.terminal.step("former environment");
    let removed = apply::remove_labelled(client, &session.namespace, &session.kinds).await?;
    if session.created.namespace {
        apply::remove_namespace(client, &session.namespace).await?;
    }
    step.done(&format!("{} objects removed from {}", removed.len(), session.namespace));
    session.created.namespace = false;
    session.namespace.clear();
    session.save(&lab.workspace)
}

fn summary(applied: &Applied) -> String {
    format!("{} applied, {} unchanged, {} removed", applied.changed.len(), applied.unchanged, applied.pruned.len())
}

async fn await_companions(
    lab: &Lab<'_>,
    client: &Client,
    rendered: &Rendering,
    timeout: Option<Duration>,
) -> Result<()> {
    let limit = timeout.unwrap_or(wait::ROLLOUT_LIMIT);
    for Companion { deployment, selector, .. } in &rendered.companions {
        let step = lab.terminal.step("rollout");
        let companion = Workload { deployment: deployment.clone(), ..rendered.workload.clone() };
        let reached = wait::rollout(client, &companion, selector, &step, limit).await?;
        step.ended(!reached.at_once, &format!("{deployment}: {}", reached.words));
    }
    Ok(())
}

async fn await_ready(
    lab: &Lab<'_>,
    cluster: &Cluster,
    client: &Client,
    rendered: &Rendering,
    pace: Pace,
    timeout: Option<Duration>,
) -> Result<()> {
    let workload = &rendered.workload;
    let facts = Facts::read(client, workload).await?;
    let step = lab.terminal.step("rollout");
    let limit = timeout.unwrap_or(wait::ROLLOUT_LIMIT);
    let reached = wait::rollout(client, workload, &facts.selector, &step, limit).await?;
    step.ended(!reached.at_once, &reached.words);
    let step = lab.terminal.step("metrics");
    let limit = timeout.unwrap_or(wait::METRICS_LIMIT);
    let measured = Measured { namespace: &workload.namespace, selector: &facts.selector };
    cluster.ensure_metrics(client, &measured, &step, pace, limit).await?;
    let reached = wait::scaling_active(client, workload, &step, limit).await?;
    step.ended(!reached.at_once, &format!("autoscaler: {}", reached.words));
    Ok(())
}

/// The manifests: an overlay and the pace's component, or a directory of the user's own.
struct Rendering {
    root: PathBuf,
    components: Vec<PathBuf>,
    own: Option<PathBuf>,
    workload: Workload,
    /// As `apps/v1 Deployment`.
    kinds: BTreeSet<String>,
    companions: Vec<Companion>,
    /// The ID of an image whose name does not tell its content.
    content: Option<String>,
}

impl Rendering {
    fn of(lab: &Lab<'_>, wanted: &Wanted) -> Result<Rendering> {
        let fast = (wanted.pace == Pace::Fast && wanted.manifests.is_none()).then(|| lab.workspace.root.join(FAST));
        let components: Vec<PathBuf> = fast.into_iter().collect();
        let own = wanted.manifests.clone();
        let root = own.clone().unwrap_or_else(|| lab.workspace.overlay(&wanted.environment));
        let objects = render(&root, &components, &[])?;
        let workload = Workload::find(&objects)?;
        check_one_namespace(&objects, &workload.namespace)?;
        let kinds = objects.iter().map(apply::kind_of).collect();
        let companions = companion::find(&objects, &workload.deployment);
        Ok(Rendering { root, components, own, workload, kinds, companions, content: None })
    }

    /// The images of the manifests that `reference` takes the place of: those of its name, else the first container's.
    /// A side-car keeps its own.
    fn substituted(&self, reference: &str) -> Vec<String> {
        let (name, _) = split_reference(reference);
        let images = &self.workload.images;
        let same: Vec<String> = images.iter().filter(|image| split_reference(image).0 == name).cloned().collect();
        if same.is_empty() { images.first().cloned().into_iter().collect() } else { same }
    }

    fn objects(&self, images: &[kustomize::Image]) -> Result<Vec<Value>> {
        let mut objects = render(&self.root, &self.components, images)?;
        if self.own.is_some() {
            objects.iter_mut().for_each(mark_as_ours);
        }
        let scaled =
            |object: &&mut Value| apply::describe(object) == format!("Deployment {}", self.workload.deployment);
        if let Some(deployment) = objects.iter_mut().find(scaled) {
            leave_to_autoscaler(deployment);
            if let Some(content) = &self.content {
                deployment["spec"]["template"]["metadata"]["annotations"][CONTENT] = Value::from(content.as_str());
            }
        }
        Ok(objects)
    }
}

fn render(root: &Path, components: &[PathBuf], images: &[kustomize::Image]) -> Result<Vec<Value>> {
    kustomize::render(root, components, images).with_context(|| problem::manifests_broken(root))
}

fn check_one_namespace(objects: &[Value], own: &str) -> Result<()> {
    for object in objects {
        let is_namespace = object["kind"] == "Namespace";
        let of = object["metadata"][if is_namespace { "name" } else { "namespace" }].as_str();
        if let Some(other) = of.filter(|namespace| *namespace != own) {
            return Err(problem::second_namespace(&apply::describe(object), other, own).into());
        }
    }
    Ok(())
}

/// Teardown finds by this label what setup made, in the user's own manifests too.
fn mark_as_ours(object: &mut Value) {
    object["metadata"]["labels"][MANAGED_BY] = Value::from(MANAGER);
}

/// An apply that says a number would take it back from the autoscaler each time. The first apply makes one pod; the
/// autoscaler brings the rest.
fn leave_to_autoscaler(deployment: &mut Value) {
    if let Some(spec) = deployment["spec"].as_object_mut() {
        spec.remove("replicas");
    }
}

fn substitute(from: &str, to: &str) -> kustomize::Image {
    let (name, _) = split_reference(from);
    let (new_name, rest) = split_reference(to);
    let (new_tag, digest) = match rest {
        Some(Rest::Tag(tag)) => (Some(tag.to_owned()), None),
        Some(Rest::Digest(digest)) => (None, Some(digest.to_owned())),
        None => (None, None),
    };
    kustomize::Image { name: name.to_owned(), new_name: Some(new_name.to_owned()), new_tag, digest }
}

enum Rest<'r> {
    Tag(&'r str),
    Digest(&'r str),
}

/// `host:5000/name:tag` and `name@sha256:...`: a colon before a slash is a port.
fn split_reference(reference: &str) -> (&str, Option<Rest<'_>>) {
    if let Some((name, digest)) = reference.split_once('@') {
        return (name, Some(Rest::Digest(digest)));
    }
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(Rest::Tag(tag))),
        _ => (reference, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_takes_the_place_of_its_namesake_and_spares_the_side_car() {
        let images = ["docker.io/envoy:1".to_owned(), "localhost/web:dev".to_owned()];
        let workload = Workload { images: images.to_vec(), ..Workload::default() };
        let rendering = Rendering {
            root: PathBuf::new(),
            components: Vec::new(),
            own: None,
            workload,
            kinds: BTreeSet::new(),
            companions: Vec::new(),
            content: None,
        };
        assert_eq!(rendering.substituted("localhost/web:1234"), ["localhost/web:dev"]);
        assert_eq!(rendering.substituted("registry/other:1"), ["docker.io/envoy:1"]);
    }

    #[test]
    fn the_number_of_pods_is_left_to_the_autoscaler_and_other_content_is_another_template() {
        let dir = tempfile::tempdir().unwrap();
        let manifest =
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 3, template: {}}}";
        std::fs::write(dir.path().join("web.yaml"), manifest).unwrap();
        let mut rendering = Rendering {
            root: dir.path().to_owned(),
            components: Vec::new(),
            own: Some(dir.path().to_owned()),
            workload: Workload { deployment: "web".into(), ..Workload::default() },
            kinds: BTreeSet::new(),
            companions: Vec::new(),
            content: Some("12ab".to_owned()),
        };
        let with = rendering.objects(&[]).unwrap().remove(0);
        assert_eq!(with["spec"].get("replicas"), None);
        assert_eq!(with["spec"]["template"]["metadata"]["annotations"][CONTENT], "12ab");
        rendering.content = None;
        assert_eq!(rendering.objects(&[]).unwrap()[0]["spec"]["template"].get("metadata"), None);
    }

    #[test]
    fn an_image_reference_is_taken_apart_at_its_tag_not_at_its_port() {
        let cases = [
            ("localhost/swell-service:dev", "localhost/swell-service"),
            ("registry:5000/a/b", "registry:5000/a/b"),
            ("registry:5000/a/b:1", "registry:5000/a/b"),
            ("a@sha256:00", "a"),
        ];
        for (reference, name) in cases {
            assert_eq!(split_reference(reference).0, name, "{reference}");
        }
        let image = substitute("localhost/web:dev", "registry:5000/web:7");
        assert_eq!((image.new_name.as_deref(), image.new_tag.as_deref()), (Some("registry:5000/web"), Some("7")));
    }
}
