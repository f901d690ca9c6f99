//! The kubectl matrix: everyday commands with every kubectl that is there, each with the exit code the real server got.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::clients::name;
use super::score::{Outcome, Score};

const AREA: &str = "kubectl";

/// (name, arguments, standard input, exit code); POD and NODE stand for the names of one
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
    ("logs", "logs deploy/web", "", 0),
    ("exec", "exec deploy/web -- cat /etc/hosts", "", 0),
    ("exec exit code", "exec deploy/web -- cat /nowhere", "", 1),
    ("exec -i", "exec -i deploy/web -- cat", "words", 0),
    ("attach", "run katt --image=localhost/bb:1 --restart=Never --rm -i --quiet -- cat", "words", 0),
    ("proxy", "get --raw /api/v1/nodes/NODE/proxy/healthz", "", 0),
    ("wait", "wait --for=condition=Available deploy/kd --timeout=10s", "", 0),
    ("label", "label deploy kd x=y", "", 0),
    ("annotate", "annotate deploy kd x=y", "", 0),
    ("patch strategic", "patch deploy kd -p {\"spec\":{\"paused\":true}}", "", 0),
    ("patch merge", "patch deploy kd --type=merge -p {\"spec\":{\"paused\":false}}", "", 0),
    ("edit", "edit deploy kd", "", 0),
    ("replace", "replace -f -", CHANGED, 0),
    ("rollout pause", "rollout pause deploy kd", "", 0),
    ("rollout resume", "rollout resume deploy kd", "", 0),
    ("apply --prune", "apply --prune -l app=kprune -f -", PRUNED, 0),
    ("create job", "create job kjob --image=localhost/bb:1 -- sh -c true", "", 0),
    ("wait job", "wait --for=condition=complete job/kjob --timeout=20s", "", 0),
    ("debug", "debug POD --image=localhost/bb:1 --copy-to=kdebug --container=app -- sleep 1", "", 0),
    ("events", "events", "", 0),
    ("get events", "get events", "", 0),
    ("auth can-i", "auth can-i create pods", "", 0),
    ("auth can-i --list", "auth can-i --list", "", 0),
    ("auth whoami", "auth whoami", "", 0),
    ("cordon", "cordon NODE", "", 0),
    ("drain", "drain NODE --pod-selector=app=kweb --force --ignore-daemonsets --timeout=20s", "", 0),
    ("uncordon", "uncordon NODE", "", 0),
    ("delete pod", "delete pod POD --timeout=40s --grace-period=1", "", 0),
    ("delete deploy", "delete deploy kd --timeout=20s", "", 0),
    ("delete misc", LEFTOVERS, "", 0),
    ("delete ns", "delete ns kns --timeout=20s", "", 0),
];

const LEFTOVERS: &str = "delete svc/kd hpa/kd cm/kcm cm/kc cm/kp deploy/kweb job/kjob pod/kdebug \
    --ignore-not-found --timeout=40s --grace-period=1";

/// Commands that go on until they are stopped, and what they print once they work.
const LASTING: &[(&str, &str, &str)] = &[
    ("get -w", "get deploy web -w", "web"),
    ("logs -f", "logs -f --all-containers kchatty", "chat"),
    ("port-forward", "port-forward POD :80", "Forwarding from"),
    ("events -w", "get events -w", "web"),
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

const PRUNED: &str = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kp","labels":{"app":"kprune"}}}"#;
const CHATTY: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"kchatty"},"spec":{
"terminationGracePeriodSeconds":1,"containers":[{"name":"c","image":"localhost/bb:1",
"command":["sh","-c","while true; do echo chat; sleep 0.2; done"]}]}}"#;
/// What an edit changes: the label that an earlier command put there.
const EDITOR: &str = "sed -i s/x:.y/x:.z/";
const PLACEHOLDERS: [(&str, &str); 2] = [
    ("POD", "get pods -l app=web --field-selector=status.phase=Running -o jsonpath={.items[0].metadata.name}"),
    ("NODE", "get nodes -o jsonpath={.items[0].metadata.name}"),
];
/// How long a lasting command has to print what it should.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn run(kubeconfig: &Path, given: &[PathBuf], score: &mut Score) -> anyhow::Result<()> {
    if given.is_empty() {
        println!("kubectl     none found: the command matrix was not tried");
    }
    for client in given {
        println!("kubectl     {}", client.display());
        let client = Kubectl { program: client, kubeconfig };
        let old = name(client.program) == OLD;
        for (case, arguments, input, wanted) in COMMANDS.iter().filter(|row| !old || OLD_COMMANDS.contains(&row.0)) {
            if *case == "logs" {
                client.chat(score)?;
            }
            let case = format!("{case} ({})", name(client.program));
            if score.cannot(AREA, &case) {
                continue;
            }
            score.add(AREA, &case, client.exits(arguments, input, *wanted)?);
        }
    }
    Ok(())
}

pub(crate) fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|file| file.is_file())
}

struct Kubectl<'a> {
    program: &'a Path,
    kubeconfig: &'a Path,
}

impl Kubectl<'_> {
    /// The lasting commands, one of them at a pod that talks.
    fn chat(&self, score: &mut Score) -> anyhow::Result<()> {
        if score.lacks().has_kubelet() {
            self.exits("apply --validate=false -f -", CHATTY, 0)?;
            self.exits("wait --for=condition=Ready pod/kchatty --timeout=20s", "", 0)?;
        }
        for (case, arguments, wanted) in LASTING {
            let case = format!("{case} ({})", name(self.program));
            if !score.cannot(AREA, &case) {
                score.add(AREA, &case, self.prints(arguments, wanted)?);
            }
        }
        self.exits("delete pod kchatty --wait=false --now", "", 0)?;
        Ok(())
    }

    fn exits(&self, arguments: &str, input: &str, wanted: i32) -> anyhow::Result<Outcome> {
        let mut child = self.start(arguments)?;
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

    /// Runs the command until it prints `wanted`, and ends it.
    fn prints(&self, arguments: &str, wanted: &str) -> anyhow::Result<Outcome> {
        let mut child = self.start(arguments)?;
        let stdout = child.stdout.take().context("kubectl has no output")?;
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let until = Instant::now() + PATIENCE;
        let mut heard = false;
        while let Ok(line) = lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            heard = line.contains(wanted);
            if heard {
                break;
            }
        }
        child.kill().context("cannot end kubectl")?;
        let output = child.wait_with_output().context("cannot wait for kubectl")?;
        let words = String::from_utf8_lossy(&output.stderr).replace('\n', " ");
        Ok(if heard { Outcome::Passed } else { Outcome::Failed(format!("it did not print {wanted:?}: {words}")) })
    }

    fn start(&self, arguments: &str) -> anyhow::Result<Child> {
        let mut words: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        for word in &mut words {
            for (placeholder, query) in PLACEHOLDERS {
                if word.contains(placeholder) {
                    *word = word.replace(placeholder, &self.ask(query)?);
                }
            }
        }
        self.command().args(words).spawn().with_context(|| format!("cannot run {}", self.program.display()))
    }

    fn ask(&self, query: &str) -> anyhow::Result<String> {
        let output = self.command().args(query.split(' ')).output().context("cannot run kubectl")?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command
            .args(["--cache-dir=/tmp/nanokube-conformance-cache", "-n", super::prepare::NAMESPACE])
            .env("KUBECONFIG", self.kubeconfig)
            .env("KUBE_EDITOR", EDITOR)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}
