//! Every user-facing failure is worded here, and ends with the command that mends it.
//!
//! A constructor names the thing that failed; the sources below it say why; the remedy is the last line. Code elsewhere
//! adds no prose of its own: it picks a constructor. The snapshot test of this file is a review of the user interface.

use std::fmt;
use std::path::Path;

use autoscaler::field::FieldError;

use crate::session::DEFAULT_PROFILE;

/// Wrong usage, as sysexits(3) and the other binaries of the lab have it.
pub(crate) const EXIT_USAGE: u8 = 64;
/// An expectation of the scenario was not met.
pub(crate) const EXIT_EXPECTATION: u8 = 2;
/// The generator, not the service, was the limit: the figures say nothing.
pub(crate) const EXIT_INVALID: u8 = 3;
/// Ended by Ctrl-C, with whatever was recorded on disk.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// As the system words it, in our own errors and in those of the programs that are spawned.
const DISK_FULL: &str = "No space left on device";
const DISK_REMEDY: &str = "cargo xtask runs --keep 5   (or free the disk otherwise: df -h .swell), then run it again";

/// A failure in words: what is wrong, and the command that mends it.
#[derive(Debug)]
pub(crate) struct Problem {
    what: String,
    remedy: String,
    exit: u8,
}

impl Problem {
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Problem {
        Problem { what: what.into(), remedy: remedy.into(), exit: 1 }
    }

    fn usage(what: impl Into<String>, remedy: impl Into<String>) -> Problem {
        Problem { exit: EXIT_USAGE, ..Problem::new(what, remedy) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Problem {}

/// The chain once, outermost first, then the remedy on a line of its own, for the profile that was worked on.
pub(crate) fn render(error: &anyhow::Error, profile: &str) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = plain(cause);
        if cause.is_empty() || text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    let worded = error.downcast_ref::<Problem>().map_or("cargo xtask doctor", |problem| problem.remedy.as_str());
    // Whatever could not be written, this alone helps.
    let remedy = if text.contains(DISK_FULL) { DISK_REMEDY } else { worded };
    format!("{text}\n  try: {}", with_profile(remedy, profile))
}

/// A remedy for another profile than the default one has to name it.
pub(crate) fn with_profile(remedy: &str, profile: &str) -> String {
    let Some(rest) = remedy.strip_prefix("cargo xtask ").filter(|_| profile != DEFAULT_PROFILE) else {
        return remedy.to_owned();
    };
    let verb = rest.split([' ', ';']).next().unwrap_or(rest);
    if remedy.contains("--profile") || ["test", "runs", "conformance"].contains(&verb) {
        return remedy.to_owned();
    }
    format!("cargo xtask {verb} --profile {profile}{}", &rest[verb.len()..])
}

/// The exit code that the innermost wording asks for; 1 where none does.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<Problem>().map_or(1, |problem| problem.exit)
}

pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// kube's own Display of an API error repeats the Status in debug form; its message is all that a reader needs.
fn plain(cause: &(dyn std::error::Error + 'static)) -> String {
    match cause.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) if !status.message.is_empty() => status.message.clone(),
        _ => cause.to_string(),
    }
}

// ---- where we are -------------------------------------------------------------------------------------------------

pub(crate) fn not_in_workspace(dir: &Path) -> Problem {
    Problem::new(format!("no Swell workspace at or above {}", dir.display()), "cd into the clone, then run it again")
}

pub(crate) fn bad_profile_name(name: &str) -> Problem {
    Problem::usage(
        format!("profile name `{name}` is not usable: 1 to 40 of a-z 0-9 -, first a letter, not `runs` or `clusters`"),
        "cargo xtask setup --profile lab",
    )
}

pub(crate) fn unreadable(path: &Path) -> Problem {
    Problem::new(format!("cannot read {}", path.display()), format!("ls -l {}", path.display()))
}

pub(crate) fn unwritable(path: &Path) -> Problem {
    Problem::new(format!("cannot write {}", path.display()), format!("df -h {0}; ls -ld {0}", path.display()))
}

// ---- session ------------------------------------------------------------------------------------------------------

pub(crate) fn no_session(profile: &str) -> Problem {
    Problem::new(format!("profile `{profile}` has no session: nothing is set up"), "cargo xtask setup")
}

pub(crate) fn setup_unfinished(profile: &str) -> Problem {
    Problem::new(
        format!("profile `{profile}` is only half set up: its setup ended before anything was deployed"),
        "cargo xtask setup",
    )
}

pub(crate) fn session_unreadable(path: &Path) -> Problem {
    Problem::new(
        format!("{} is not a session that this version understands", path.display()),
        "cargo xtask teardown   (then set up again)",
    )
}

pub(crate) fn session_elsewhere(profile: &str, has: &str, wants: &str) -> Problem {
    Problem::new(
        format!("profile `{profile}` is set up on {has}, and {wants} was asked for"),
        "cargo xtask teardown   (or choose another profile)",
    )
}

// ---- tools and binaries -------------------------------------------------------------------------------------------

pub(crate) fn tool_missing(tool: &str, install: &str) -> Problem {
    Problem::new(format!("`{tool}` is not installed, or not on PATH"), install)
}

pub(crate) fn build_failed(binaries: &str) -> Problem {
    Problem::new(
        format!("building {binaries} failed; the compiler's messages are above"),
        format!("cargo build {}", binaries.split(", ").map(|p| format!("--bin {p}")).collect::<Vec<_>>().join(" ")),
    )
}

pub(crate) fn child_failed(what: &str, last_lines: &str, remedy: &str) -> Problem {
    let detail = if last_lines.trim().is_empty() { String::new() } else { format!(": {}", last_lines.trim()) };
    Problem::new(format!("{what} failed{detail}"), remedy)
}

// ---- cluster ------------------------------------------------------------------------------------------------------

pub(crate) fn unknown_cluster(text: &str) -> Problem {
    Problem::usage(
        format!("unknown cluster `{text}`: it is one of auto, embedded, minikube, context, context=NAME"),
        "cargo xtask setup --cluster embedded",
    )
}

pub(crate) fn no_cluster(url: &str) -> Problem {
    Problem::new(format!("no cluster answers at {url}"), "cargo xtask setup")
}

pub(crate) fn embedded_stopped(profile: &str) -> Problem {
    Problem::new(
        format!("the embedded cluster of profile `{profile}` does not run"),
        "cargo xtask setup   (starts it again)",
    )
}

pub(crate) fn kubeconfig_unusable(path: &Path, remedy: &str) -> Problem {
    Problem::new(format!("the kubeconfig {} is not usable", path.display()), remedy)
}

pub(crate) fn no_such_context(name: &str, known: &[String]) -> Problem {
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Problem::usage(
        format!("no context `{name}` in the kubeconfig (there: {known})"),
        "cargo xtask setup --cluster context=NAME",
    )
}

pub(crate) fn context_not_local(name: &str, url: &str) -> Problem {
    Problem::new(
        format!("context `{name}` at {url} does not look like a cluster on this machine"),
        format!("cargo xtask setup --cluster context={name} --yes   (if you mean it)"),
    )
}

pub(crate) fn permissions_missing(missing: &[String], namespace: &str) -> Problem {
    Problem::new(
        format!("this user may not, in namespace {namespace}: {}", missing.join("; ")),
        format!("kubectl auth can-i --list -n {namespace}   (then ask whoever runs the cluster for them)"),
    )
}

pub(crate) fn context_needs_image() -> Problem {
    Problem::usage(
        "a cluster of a kubeconfig pulls its images: say to which registry this project's may be pushed",
        "cargo xtask setup --cluster context --push REGISTRY/PATH   (or --image REF, where it is already)",
    )
}

pub(crate) fn context_takes_no_archive(file: &Path, reference: &str) -> Problem {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    Problem::usage(
        format!("a cluster of a kubeconfig pulls its images, and cannot pull {}", file.display()),
        format!(
            "cargo xtask setup --cluster context --image {0} --push REGISTRY/PATH   \
             (or: skopeo copy docker-archive:{0} docker://REGISTRY/PATH/{name})",
            file.display()
        ),
    )
}

pub(crate) fn image_of_another_architecture(reference: &str, has: &str, nodes: &[String]) -> Problem {
    Problem::new(
        format!("image {reference} is for {has}, and the cluster's nodes are {}: no node runs it", nodes.join(", ")),
        "cargo xtask setup --image ARCHIVE-OR-REF   (made on such a machine, there by: cargo xtask image)",
    )
}

pub(crate) fn companion_not_loadable(image: &str) -> Problem {
    Problem::usage(
        format!(
            "a cluster of a kubeconfig pulls its images, and cannot pull {image}: push it, or name yours under `images`"
        ),
        "cargo xtask setup --cluster context --push REGISTRY/PATH",
    )
}

pub(crate) fn image_not_loaded(tag: &str, cluster: &str, detail: &str, remedy: &str) -> Problem {
    let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
    Problem::new(format!("{cluster} says that it loaded the image, but does not list {tag}{detail}"), remedy)
}

pub(crate) fn no_push_tool(reference: &str, command: &str) -> Problem {
    Problem::new(
        format!("none of skopeo, crane and docker is installed to push {reference}"),
        format!("{command}   (where skopeo is; then go on with --image {reference})"),
    )
}

pub(crate) fn push_failed(reference: &str, said: &str, command: &str) -> Problem {
    let last: Vec<&str> = said.trim().lines().rev().take(3).collect();
    let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
    Problem::new(format!("pushing {reference} failed: {last}"), command)
}

pub(crate) fn bad_version(text: &str) -> Problem {
    Problem::usage(format!("`{text}` is not a version like 1.2.3"), "cargo xtask release 1.2.3")
}

pub(crate) fn no_digest(name: &str, said: &str) -> Problem {
    Problem::new(format!("{name} was pushed, but no digest came back: {}", said.trim()), "cargo xtask release --help")
}

pub(crate) fn archive_unusable(path: &Path) -> Problem {
    Problem::usage(format!("{} is not an image archive", path.display()), "docker save IMAGE -o image.tar")
}

pub(crate) fn context_needs_generator_image() -> Problem {
    Problem::usage(
        "a cluster of a kubeconfig pulls its images, the load generator's too: name one that it can pull",
        "cargo xtask load --in-cluster --generator-image REGISTRY/swell-loadgen:TAG",
    )
}

pub(crate) fn no_static_libc(why: &str, install: &str) -> Problem {
    Problem::new(format!("this cluster's nodes need a static binary, and it cannot be linked: {why}"), install)
}

pub(crate) fn minikube_start(id: &str, message: &str, advice: &str, remedy: &str) -> Problem {
    let advice = if advice.is_empty() { String::new() } else { format!("; Minikube advises: {advice}") };
    Problem::new(format!("minikube start ended with {id}: {message}{advice}"), remedy)
}

pub(crate) fn minikube_state(profile: &str, state: &str, remedy: &str) -> Problem {
    Problem::new(format!("Minikube profile `{profile}`: {state}"), remedy)
}

/// A note, since the cluster works as it is.
pub(crate) fn not_applied(profile: &str, flag: &str, asked: &str, has: &str) -> String {
    format!(
        "{flag} {asked} changes no existing cluster: profile `{profile}` has {has} \
         (to make it anew: cargo xtask teardown, then setup)"
    )
}

/// A note as well: it scales, at another pace.
pub(crate) fn knob_not_applied(wanted: &str, has: &str) -> String {
    format!(
        "the cluster's controller manager runs with {has}, not {wanted} (to make it anew: cargo xtask teardown, then setup)"
    )
}

pub(crate) fn minikube_extra_config(profile: &str, flag: &str) -> Problem {
    Problem::new(
        format!(
            "Minikube profile `{profile}` does not come up: its control plane refuses --{flag}, which --extra-config set, \
             and ends again and again"
        ),
        "cargo xtask teardown   (then set up again, without it in MINIKUBE_EXTRA_CONFIG)",
    )
}

pub(crate) fn image_not_on_node(tag: &str, node: &str, archive: &str, profile: &str, import: &str) -> Problem {
    Problem::new(
        format!("minikube loaded {tag} into some nodes, and node {node} does not list it"),
        format!(
            "minikube cp {archive} {node}:/image.tar -p {profile} && \
             minikube ssh -p {profile} -n {node} -- sudo {import} /image.tar"
        ),
    )
}

pub(crate) fn image_is_old(tag: &str, archive: &str, profile: &str) -> Problem {
    Problem::new(
        format!("minikube says that it loaded the image, but still lists another one as {tag}"),
        format!("minikube image rm {tag} -p {profile} && minikube image load {archive} -p {profile}"),
    )
}

pub(crate) fn metrics_image(profile: &str, image: &str, reason: &str, detail: &str) -> Problem {
    let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
    Problem::new(
        format!("metrics-server gets no image, so nothing is measured: {reason}{detail}"),
        format!("minikube image load {} -p {profile}   (where a registry can be reached)", without_digest(image)),
    )
}

fn without_digest(image: &str) -> &str {
    image.split('@').next().unwrap_or(image)
}

pub(crate) fn metrics_not_ready(profile: &str, state: &str, detail: &str) -> Problem {
    let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
    Problem::new(
        format!("metrics-server runs and does not become ready ({state}{detail}), so nothing is measured"),
        format!("kubectl --context {profile} -n kube-system rollout restart deployment metrics-server"),
    )
}

pub(crate) fn metrics_unreachable(profile: &str, message: &str) -> Problem {
    Problem::new(
        format!("the API server does not reach metrics-server (FailedDiscoveryCheck): {message}"),
        format!(
            "minikube stop -p {profile} && minikube start -p {profile}   (behind a proxy, with NO_PROXY=10.96.0.0/12)"
        ),
    )
}

pub(crate) fn metrics_unavailable(profile: &str, seconds: u64, last: &str) -> Problem {
    Problem::new(
        match seconds {
            0 => format!("the metrics API is not available: {last}"),
            _ => format!("waited {seconds} s for the metrics API; last seen: {last}"),
        },
        format!("kubectl --context {profile} -n kube-system rollout restart deployment metrics-server"),
    )
}

pub(crate) fn metrics_addon_absent(profile: &str) -> Problem {
    Problem::new(
        "the cluster has no metrics API (APIService v1beta1.metrics.k8s.io is missing)",
        format!("minikube addons enable metrics-server -p {profile}"),
    )
}

// ---- manifests and the workload -----------------------------------------------------------------------------------

pub(crate) fn unknown_environment(name: &str, known: &[String]) -> Problem {
    Problem::usage(
        format!("no environment `{name}` under k8s/overlays (there: {})", known.join(", ")),
        format!("cargo xtask setup --env {}", known.first().map_or("dev", String::as_str)),
    )
}

pub(crate) fn manifests_broken(dir: &Path) -> Problem {
    Problem::new(
        format!("the manifests in {} cannot be rendered", dir.display()),
        format!("kubectl kustomize {}   (or mend the field named above)", dir.display()),
    )
}

pub(crate) fn manifests_lack(kind: &str) -> Problem {
    Problem::new(
        format!("the manifests hold no {kind}: the lab needs a Deployment, a Service and a HorizontalPodAutoscaler"),
        "ls k8s/base",
    )
}

pub(crate) fn second_namespace(object: &str, other: &str, own: &str) -> Problem {
    Problem::usage(
        format!("{object} lies in namespace `{other}`, the Deployment in `{own}`: the lab touches one namespace only"),
        "cargo xtask setup --manifests DIR   (with the rest applied by yourself, before)",
    )
}

pub(crate) fn cluster_scoped(object: &str) -> Problem {
    Problem::usage(
        format!("{object} belongs to the whole cluster, and the lab touches one namespace only"),
        "cargo xtask setup --manifests DIR   (with that object applied by yourself, before)",
    )
}

pub(crate) fn apply_refused(object: &str) -> Problem {
    Problem::new(format!("the cluster refused {object}"), "cargo xtask doctor   (or mend the field named above)")
}

pub(crate) fn apply_conflict(object: &str) -> Problem {
    Problem::new(
        format!("{object} exists and belongs to someone else (it does not carry the lab's label)"),
        "cargo xtask setup --env dev --profile other   (or remove the object yourself)",
    )
}

pub(crate) fn pod_does_not_start(pod: &str, reason: &str, detail: &str) -> Problem {
    let detail = if detail.trim().is_empty() { String::new() } else { format!(": {}", detail.trim()) };
    Problem::new(format!("pod {pod} does not start: {reason}{detail}"), "cargo xtask status")
}

pub(crate) fn does_not_fit(deployment: &str, message: &str) -> Problem {
    Problem::new(
        format!("the pods of {deployment} fit on no node: {message}"),
        "cargo xtask setup --env dev   (asks for least; or set up anew with more --cpus and --memory)",
    )
}

pub(crate) fn waited_too_long(what: &str, seconds: u64, last: &str) -> Problem {
    let last = if last.is_empty() { String::new() } else { format!("; last seen: {last}") };
    Problem::new(format!("waited {seconds} s for {what}{last}"), "cargo xtask status")
}

pub(crate) fn no_ready_pod(namespace: &str) -> Problem {
    Problem::new(format!("no ready pod of the service in namespace {namespace}"), "cargo xtask status")
}

pub(crate) fn service_unreachable(url: &str) -> Problem {
    Problem::new(format!("nothing answers at {url}"), "cargo xtask status   (or give --url)")
}

pub(crate) fn port_occupied(address: &str, holder: &str) -> Problem {
    let holder = if holder.is_empty() { String::new() } else { format!(" by {holder}") };
    Problem::new(format!("{address} is in use{holder}"), "cargo xtask forward --port 0   (takes a free one)")
}

pub(crate) fn bad_port(text: &str) -> Problem {
    Problem::usage(format!("`{text}` is not a port (0 to 65535)"), "cargo xtask forward --port 8080")
}

pub(crate) fn observe_elsewhere(provider: &str) -> Problem {
    Problem::usage(
        format!("on {provider} Prometheus runs inside the cluster; observe is for the embedded one"),
        "kubectl apply -k k8s/observed",
    )
}

pub(crate) fn observe_port(port: u16) -> Problem {
    Problem::new(format!("port {port} of 127.0.0.1 is in use"), "cargo xtask observe --port 0   (takes a free one)")
}

// ---- scenarios, load and reports ----------------------------------------------------------------------------------

pub(crate) fn no_scenario(name: &str, known: &[String]) -> Problem {
    Problem::usage(
        format!("no scenario `{name}` (there: {})", known.join(", ")),
        format!("cargo xtask load {}", known.first().map_or("demo", String::as_str)),
    )
}

pub(crate) fn scenario_broken(path: &Path) -> Problem {
    Problem::usage(
        format!("the scenario {} is not valid", path.display()),
        format!("compare it with scenarios/demo.yaml, then: cargo xtask load {}", path.display()),
    )
}

pub(crate) fn bad_load_flags(why: &str) -> Problem {
    Problem::usage(why, "cargo xtask load --help")
}

pub(crate) fn loadgen_failed(code: Option<i32>, last_lines: &str) -> Problem {
    let code = code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
    let detail = if last_lines.trim().is_empty() { String::new() } else { format!(": {}", last_lines.trim()) };
    Problem::new(format!("loadgen could not run the load ({code}){detail}"), "cargo xtask doctor")
}

pub(crate) fn generators_silent(seconds: u64, last: &str) -> Problem {
    let last = if last.is_empty() { String::new() } else { format!("; last seen: {last}") };
    Problem::new(
        format!("not all load generators in the cluster began within {seconds} s{last}"),
        "cargo xtask load --in-cluster --generators 1   (fewer fit a full node)",
    )
}

pub(crate) fn generator_failed(number: usize, why: &str, complaints: &str) -> Problem {
    let detail = if complaints.trim().is_empty() { String::new() } else { format!(": {}", complaints.trim()) };
    Problem::new(format!("load generator {number} in the cluster failed: {why}{detail}"), "cargo xtask doctor")
}

pub(crate) fn in_cluster_needs_session() -> Problem {
    Problem::usage("--in-cluster runs generators in the cluster, and none is set up", "cargo xtask setup")
}

pub(crate) fn stream_broken(line: &str) -> Problem {
    let line: String = line.chars().take(120).collect();
    Problem::new(format!("loadgen printed a line that is not of its protocol: {line}"), "cargo build -p loadgen")
}

pub(crate) fn no_runs(dir: &Path) -> Problem {
    Problem::new(format!("no run recorded under {}", dir.display()), "cargo xtask load demo")
}

pub(crate) fn no_such_run(id: &str) -> Problem {
    Problem::usage(format!("no run `{id}`"), "cargo xtask runs")
}

pub(crate) fn run_of_another_version(run: &Path, version: u32) -> Problem {
    Problem::new(format!("the run {} was recorded by another version ({version})", run.display()), "cargo xtask runs")
}

pub(crate) fn run_incomplete(dir: &Path, file: &str) -> Problem {
    Problem::new(
        format!("the run {} has no usable {file}: it ended before the load did", dir.display()),
        "cargo xtask load demo",
    )
}

pub(crate) fn setup_interrupted(so_far: &str) -> Problem {
    let remedy = "cargo xtask setup   (goes on from there; cargo xtask teardown removes what there is)";
    Problem { exit: EXIT_INTERRUPTED, ..Problem::new(format!("setup was interrupted: {so_far}"), remedy) }
}

pub(crate) fn teardown_interrupted(so_far: &str) -> Problem {
    let what = format!("teardown was interrupted; as last noted, {so_far}");
    Problem { exit: EXIT_INTERRUPTED, ..Problem::new(what, "cargo xtask teardown   (removes the rest)") }
}

pub(crate) fn profile_busy(profile: &str, verb: &str, pid: &str) -> Problem {
    Problem::new(
        format!("profile `{profile}` is being changed by `cargo xtask {verb}` (pid {pid})"),
        format!("wait for its end, or end it: kill -INT {pid}"),
    )
}

pub(crate) fn interrupted() -> Problem {
    Problem { exit: EXIT_INTERRUPTED, ..Problem::new("interrupted", "cargo xtask demo") }
}

pub(crate) fn processes_left(pids: &[i32]) -> Problem {
    let pids = pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    Problem::new(format!("processes of the lab outlived the teardown: {pids}"), format!("kill {pids}"))
}

pub(crate) fn not_an_autoscaler(path: &Path) -> Problem {
    Problem::usage(
        format!("{} holds no readable HorizontalPodAutoscaler", path.display()),
        "cargo xtask explain -f k8s/base/horizontal-pod-autoscaler.yaml --usage 180m --replicas 3",
    )
}

pub(crate) fn refused_autoscaler(path: &Path, errors: &[FieldError]) -> Problem {
    let errors = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Problem::usage(
        format!("an API server would refuse the HorizontalPodAutoscaler of {}: {errors}", path.display()),
        format!("edit it, then: cargo xtask explain -f {}", path.display()),
    )
}

pub(crate) fn no_such_metric(flag: &str, name: &str, known: &[&str], path: &Path) -> Problem {
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Problem::usage(
        format!("{flag} {name}: no metric of {} is of that; what {flag} can name there: {known}", path.display()),
        "cargo xtask explain --help",
    )
}

pub(crate) fn more_pods_than_replicas(pods: usize, replicas: i32) -> Problem {
    Problem::usage(
        format!("{pods} pods are starting, pending or unmeasured, of {replicas} in all"),
        format!("cargo xtask explain -f FILE --replicas {pods}   (or more)"),
    )
}

pub(crate) fn no_such_autoscaler(namespace: &str, name: &str, known: &[&str]) -> Problem {
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Problem::usage(
        format!("no HorizontalPodAutoscaler `{name}` in namespace {namespace}; there are: {known}"),
        "cargo xtask explain --hpa NAMESPACE/NAME",
    )
}

pub(crate) fn bad_quantity(flag: &str, text: &str) -> Problem {
    Problem::usage(
        format!("{flag} {text}: not a quantity such as 180m, 0.5 or memory=64Mi"),
        "cargo xtask explain --help",
    )
}

pub(crate) fn no_vectors(variable: &str, sample: &str) -> Problem {
    Problem::usage(
        format!("no recorded decisions: {variable} names no folder with .jsonl files, and {sample} has none"),
        "cargo xtask conformance hpa FILE",
    )
}

pub(crate) fn pods_stay(namespace: &str) -> Problem {
    Problem::new(format!("pods of {namespace} do not go"), format!("kubectl get pods --namespace {namespace}"))
}

pub(crate) fn kubectl_does_not_apply() -> Problem {
    Problem::new("kubectl cannot apply the manifests", "kubectl version --client   (it must be on PATH)")
}

pub(crate) fn tests_failed(steps: &[String]) -> Problem {
    Problem::new(format!("failed: {}", steps.join(", ")), "cargo xtask test -v   (the failing output is above)")
}

#[cfg(test)]
mod tests;
