//! The kubectl matrix: everyday commands with every kubectl that is there, each with the exit code the real server got.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

use super::score::{Outcome, Score};

const AREA: &str = "kubectl";

/// (name, arguments, standard input, exit code)
const COMMANDS: &[(&str, &str, &str, i32)] = &[
    ("version", "version", "", 0),
    ("api-resources", "api-resources -o name", "", 0),
    ("cluster-info", "cluster-info", "", 0),
    ("apply create", "apply -f -", MANIFEST, 0),
    ("apply unchanged", "apply -f - --validate=false", MANIFEST, 0),
    ("apply update", "apply -f -", CHANGED, 0),
    ("apply --server-side", "apply --server-side --force-conflicts -f -", CHANGED, 0),
    ("diff", "diff -f -", MANIFEST, 1),
    ("apply typo field", "apply -f -", TYPO, 1),
    ("apply typo dry-run=client", "apply --dry-run=client --validate=false -f -", TYPO, 0),
    ("create -f --dry-run=client", "create --dry-run=client -f -", OTHER, 0),
    ("create deployment", "create deployment kd --image=localhost/bb:1 --replicas=0", "", 0),
    ("create configmap", "create configmap kcm --from-literal=a=b", "", 0),
    ("create ns", "create ns kns", "", 0),
    ("create token", "create token default", "", 0),
    ("run", "run kr --image=localhost/bb:1 --restart=Never --dry-run=server", "", 0),
    ("expose", "expose deploy kd --port=80", "", 0),
    ("autoscale", "autoscale deploy kd --min=1 --max=3 --cpu-percent=50", "", 0),
    ("scale", "scale deploy kd --replicas=1", "", 0),
    ("scale --current-replicas", "scale deploy kd --current-replicas=1 --replicas=0", "", 0),
    ("rollout status", "rollout status deploy kd --timeout=10s", "", 0),
    ("rollout restart", "rollout restart deploy kd", "", 0),
    ("rollout history", "rollout history deploy kd", "", 0),
    ("rollout undo", "rollout undo deploy kd", "", 0),
    ("set image", "set image deploy/kd bb=localhost/bb:2", "", 0),
    ("get", "get deploy,rs,svc,hpa,cm", "", 0),
    ("get -o wide", "get deploy,svc -o wide", "", 0),
    ("get -o yaml", "get deploy kd -o yaml", "", 0),
    ("describe deploy", "describe deploy kd", "", 0),
    ("describe hpa", "describe hpa kd", "", 0),
    ("describe node", "describe node", "", 0),
    ("explain", "explain deployment.spec.strategy", "", 0),
    ("top pods", "top pods", "", 0),
    ("top nodes", "top nodes", "", 0),
    ("wait", "wait --for=condition=Available deploy/kd --timeout=10s", "", 0),
    ("label", "label deploy kd x=y", "", 0),
    ("annotate", "annotate deploy kd x=y", "", 0),
    ("patch strategic", "patch deploy kd -p {\"spec\":{\"paused\":true}}", "", 0),
    ("patch merge", "patch deploy kd --type=merge -p {\"spec\":{\"paused\":false}}", "", 0),
    ("events", "events", "", 0),
    ("get events", "get events", "", 0),
    ("auth can-i", "auth can-i create pods", "", 0),
    ("auth can-i --list", "auth can-i --list", "", 0),
    ("auth whoami", "auth whoami", "", 0),
    ("delete deploy", "delete deploy kd --timeout=20s", "", 0),
    ("delete misc", "delete svc/kd hpa/kd cm/kcm cm/kc deploy/kweb --ignore-not-found --timeout=20s", "", 0),
    ("delete ns", "delete ns kns --timeout=20s", "", 0),
];

/// What a kubectl from before server-side validation is held to: the essential verbs.
const OLD: &str = "kubectl-1.20";
const OLD_COMMANDS: [&str; 17] = [
    "version",
    "api-resources",
    "apply create",
    "apply unchanged",
    "apply update",
    "diff",
    "create ns",
    "create deployment",
    "scale",
    "scale --current-replicas",
    "rollout status",
    "rollout restart",
    "rollout history",
    "rollout undo",
    "get",
    "delete deploy",
    "delete ns",
];

const MANIFEST: &str = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"kweb"},"spec":{"replicas":0,
"selector":{"matchLabels":{"app":"kweb"}},"template":{"metadata":{"labels":{"app":"kweb"}},
"spec":{"containers":[{"name":"c","image":"localhost/bb:1"}]}}}}"#;
const CHANGED: &str = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"kweb"},"spec":{"replicas":0,
"selector":{"matchLabels":{"app":"kweb"}},"template":{"metadata":{"labels":{"app":"kweb"}},
"spec":{"containers":[{"name":"c","image":"localhost/bb:2"}]}}}}"#;
const TYPO: &str = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"ktypo"},"spec":{"replicaz":0,
"selector":{"matchLabels":{"app":"ktypo"}},"template":{"metadata":{"labels":{"app":"ktypo"}},
"spec":{"containers":[{"name":"c","image":"localhost/bb:1"}]}}}}"#;
const OTHER: &str = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kc"},"data":{"a":"b"}}"#;

pub(crate) fn run(kubeconfig: &Path, given: &[PathBuf], score: &mut Score) -> anyhow::Result<()> {
    let clients = if given.is_empty() { on_path() } else { given.to_vec() };
    if clients.is_empty() {
        println!("kubectl     none found: the command matrix was not tried");
    }
    for client in &clients {
        println!("kubectl     {}", client.display());
        let old = short(client) == OLD;
        for (name, arguments, input, wanted) in COMMANDS.iter().filter(|row| !old || OLD_COMMANDS.contains(&row.0)) {
            let outcome = command(client, kubeconfig, arguments, input, *wanted)?;
            score.add(AREA, &format!("{} ({})", name, short(client)), outcome);
        }
    }
    Ok(())
}

fn short(client: &Path) -> String {
    client.file_name().unwrap_or_default().to_string_lossy().to_string()
}

fn on_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|file| file.is_file());
    found.into_iter().collect()
}

fn command(client: &Path, kubeconfig: &Path, arguments: &str, input: &str, wanted: i32) -> anyhow::Result<Outcome> {
    let mut child = Command::new(client)
        .args(["--request-timeout=30s", "--cache-dir=/tmp/nanokube-conformance-cache", "-n", super::prepare::NAMESPACE])
        .args(arguments.split(' '))
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", client.display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A client that does not read its input closes it.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().context("cannot wait for kubectl")?;
    let code = output.status.code().unwrap_or(-1);
    if code == wanted {
        return Ok(Outcome::Passed);
    }
    let words = String::from_utf8_lossy(&output.stderr).replace('\n', " ");
    Ok(Outcome::Failed(format!("exit code {code}, wanted {wanted}: {words}")))
}
