//! The helm matrix: a small chart's life, with every helm that is there.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::score::{Outcome, Score};

const AREA: &str = "helm";

/// (name, arguments; CHART is the chart's folder)
const COMMANDS: &[(&str, &str)] = &[
    ("install", "install hr CHART --wait --timeout 30s"),
    ("list", "list"),
    ("status", "status hr"),
    ("get manifest", "get manifest hr"),
    ("upgrade", "upgrade hr CHART --set word=two --wait --timeout 30s"),
    ("upgrade --install", "upgrade --install hr CHART --set word=three"),
    ("history", "history hr"),
    ("rollback", "rollback hr 1 --wait --timeout 30s"),
    ("uninstall", "uninstall hr --wait --timeout 30s"),
];

const CHART: &str = "apiVersion: v2\nname: sample\nversion: 0.1.0\n";
const VALUES: &str = "word: one\n";
const TEMPLATE: &str = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-words
data:
  word: {{ .Values.word }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ .Release.Name }}
spec:
  selector: {app: {{ .Release.Name }}}
  ports: [{port: 80}]
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  replicas: 0
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      containers: [{name: c, image: localhost/bb:1, env: [{name: WORD, value: {{ .Values.word }}}]}]
";

pub(crate) fn run(kubeconfig: &Path, clients: &[PathBuf], score: &mut Score) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("nanokube-conformance-helm-{}", std::process::id()));
    let chart = folder.join("sample");
    std::fs::create_dir_all(chart.join("templates")).context("cannot make the sample chart")?;
    std::fs::write(chart.join("Chart.yaml"), CHART)?;
    std::fs::write(chart.join("values.yaml"), VALUES)?;
    std::fs::write(chart.join("templates/all.yaml"), TEMPLATE)?;
    for client in clients {
        println!("helm        {}", client.display());
        for (name, arguments) in COMMANDS {
            let outcome =
                command(client, kubeconfig, &arguments.replace("CHART", &chart.display().to_string()), &folder)?;
            let helm = super::clients::name(client);
            score.add(AREA, &format!("{name} ({helm})"), outcome);
        }
    }
    // What is left of a chart in the temporary folder harms nobody.
    let _ = std::fs::remove_dir_all(&folder);
    Ok(())
}

fn command(client: &Path, kubeconfig: &Path, arguments: &str, home: &Path) -> anyhow::Result<Outcome> {
    let output = Command::new(client)
        .args(["-n", super::prepare::NAMESPACE])
        .args(arguments.split(' '))
        .env("KUBECONFIG", kubeconfig)
        .env("HELM_CACHE_HOME", home.join("cache"))
        .env("HELM_CONFIG_HOME", home.join("config"))
        .env("HELM_DATA_HOME", home.join("data"))
        .output()
        .with_context(|| format!("cannot run {}", client.display()))?;
    if output.status.success() {
        return Ok(Outcome::Passed);
    }
    let words = String::from_utf8_lossy(&output.stderr).replace('\n', " ");
    Ok(Outcome::Failed(format!("exit code {}: {words}", output.status.code().unwrap_or(-1))))
}
