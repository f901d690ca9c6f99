//! How the Prometheus of `observe` learns of a generator on this machine: a file beside its configuration, which tells of
//! the generator what Kubernetes would tell of its pod.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::GENERATORS;

/// Empty again when this is dropped.
pub(crate) struct Targets {
    file: PathBuf,
    namespace: String,
}

impl Targets {
    /// Nothing where nobody has observed this profile.
    pub(crate) fn of(dir: &Path, namespace: &str) -> Option<Targets> {
        dir.is_dir().then(|| Targets { file: dir.join(GENERATORS), namespace: namespace.to_owned() })
    }

    pub(crate) fn set(&self, address: Option<&str>) {
        let labels = json!({
            "__meta_kubernetes_namespace": self.namespace,
            "__meta_kubernetes_pod_name": "this-machine",
            "__meta_kubernetes_pod_label_app_kubernetes_io_name": "swell-loadgen",
            "__meta_kubernetes_pod_container_port_name": "metrics",
        });
        let targets: Vec<Value> =
            address.map(|address| json!({ "targets": [address], "labels": labels })).into_iter().collect();
        // A load is not given up because nobody can watch it.
        let _ = std::fs::write(&self.file, json!(targets).to_string());
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.set(None);
    }
}
