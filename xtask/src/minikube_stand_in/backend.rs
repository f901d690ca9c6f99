//! The cluster behind a profile: a nanokube, and its entry in the user's kubeconfig under the profile's name.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_yaml::Value;

use crate::Call;
use crate::home::Profile;

pub(crate) struct Backend {
    binary: PathBuf,
    directory: PathBuf,
}

impl Backend {
    /// Nothing when the environment asks for none.
    pub(crate) fn new(directory: PathBuf) -> Result<Option<Backend>> {
        let binary = match std::env::var_os("MINIKUBE_STAND_IN_NANOKUBE") {
            Some(none) if none == "none" => return Ok(None),
            Some(path) => PathBuf::from(path),
            None => std::env::current_exe()?.with_file_name("nanokube"),
        };
        if !binary.is_file() {
            bail!("there is no nanokube at {}; MINIKUBE_STAND_IN_NANOKUBE names another", binary.display());
        }
        Ok(Some(Backend { binary, directory }))
    }

    pub(crate) fn start(&self, profile: &Profile) -> Result<()> {
        let resolution = std::env::var("MINIKUBE_STAND_IN_METRICS").unwrap_or_else(|_| "15s".to_owned());
        let mut args = vec!["start".to_owned(), format!("--metrics-resolution={resolution}")];
        for (flag, value) in profile.extra_config.iter().filter_map(|config| autoscaler_knob(config)) {
            args.push(format!("--hpa-{flag}={value}"));
        }
        self.run(&args).map(drop)
    }

    pub(crate) fn stop(&self) -> Result<()> {
        self.run(&["stop".to_owned()]).map(drop)
    }

    pub(crate) fn delete(&self) -> Result<()> {
        if self.directory.exists() {
            self.run(&["delete".to_owned()])?;
        }
        Ok(())
    }

    pub(crate) fn load_image(&self, archive: &Path) -> Result<()> {
        self.run(&["image".to_owned(), "load".to_owned(), archive.display().to_string()]).map(drop)
    }

    fn kubeconfig(&self) -> Result<Value> {
        let text = self.run(&["kubeconfig".to_owned(), "--raw".to_owned()])?;
        serde_yaml::from_str(&text).context("nanokube's kubeconfig is broken")
    }

    /// Not `output()`: the daemon that `start` leaves behind would keep a pipe open.
    fn run(&self, args: &[String]) -> Result<String> {
        std::fs::create_dir_all(&self.directory)?;
        let (out, err) = (self.directory.join("stand-in.out"), self.directory.join("stand-in.err"));
        let status = Command::new(&self.binary)
            .arg("--dir")
            .arg(self.directory.join("nanokube"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&out)?)
            .stderr(std::fs::File::create(&err)?)
            .status()
            .with_context(|| format!("cannot run {}", self.binary.display()))?;
        if !status.success() {
            bail!("nanokube {args:?}: {status}: {}", std::fs::read_to_string(&err)?.trim());
        }
        Ok(std::fs::read_to_string(&out)?)
    }
}

/// Whether the kubeconfig points to elsewhere than the cluster is, as after a restart of the container engine.
pub(crate) fn is_stale(call: &Call, profile: &str) -> Result<bool> {
    let Some(backend) = Backend::new(call.home.cluster_directory(profile))? else { return Ok(false) };
    let config = read_config(&kubeconfig_path()?)?;
    let clusters = config["clusters"].as_sequence().cloned().unwrap_or_default();
    let written =
        clusters.iter().find(|entry| entry["name"] == profile).map(|entry| entry["cluster"]["server"].clone());
    Ok(written != Some(backend.kubeconfig()?["clusters"][0]["cluster"]["server"].clone()))
}

/// `controller-manager.horizontal-pod-autoscaler-sync-period=5s` -> `sync-period`, `5s`.
fn autoscaler_knob(config: &str) -> Option<(&str, &str)> {
    config.strip_prefix("controller-manager.horizontal-pod-autoscaler-")?.split_once('=')
}

/// The knobs that the controller manager of today has; with any other it does not start.
pub(crate) fn is_known_controller_flag(key: &str) -> bool {
    const KNOWN: [&str; 6] = [
        "horizontal-pod-autoscaler-sync-period",
        "horizontal-pod-autoscaler-downscale-stabilization",
        "horizontal-pod-autoscaler-cpu-initialization-period",
        "horizontal-pod-autoscaler-initial-readiness-delay",
        "horizontal-pod-autoscaler-tolerance",
        "concurrent-horizontal-pod-autoscaler-syncs",
    ];
    KNOWN.contains(&key)
}

pub(crate) fn kubeconfig_path() -> Result<PathBuf> {
    let listed = std::env::var_os("KUBECONFIG").filter(|paths| !paths.is_empty());
    if let Some(first) = listed.and_then(|paths| std::env::split_paths(&paths).next()) {
        return Ok(first);
    }
    Ok(PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".kube/config"))
}

/// Cluster, user and context of the profile's name, beside whatever is there already.
pub(crate) fn write_context(backend: &Backend, profile: &str, make_current: bool) -> Result<()> {
    let source = backend.kubeconfig()?;
    let path = kubeconfig_path()?;
    let mut config = read_config(&path)?;
    drop_entries(&mut config, profile);
    let cluster = source["clusters"][0]["cluster"].clone();
    let user = source["users"][0]["user"].clone();
    let context = serde_yaml::to_value(serde_json::json!({ "cluster": profile, "user": profile }))?;
    for (list, kind, value) in
        [("clusters", "cluster", cluster), ("users", "user", user), ("contexts", "context", context)]
    {
        let mut entry = serde_yaml::Mapping::new();
        entry.insert("name".into(), profile.into());
        entry.insert(kind.into(), value);
        if let Value::Sequence(entries) = &mut config[list] {
            entries.push(Value::Mapping(entry));
        }
    }
    if make_current {
        config["current-context"] = profile.into();
    }
    write_config(&path, &config)
}

pub(crate) fn remove_context(profile: &str) -> Result<()> {
    let path = kubeconfig_path()?;
    if !path.exists() {
        return Ok(());
    }
    let mut config = read_config(&path)?;
    drop_entries(&mut config, profile);
    if config["current-context"] == profile {
        config["current-context"] = "".into();
    }
    write_config(&path, &config)
}

fn read_config(path: &Path) -> Result<Value> {
    let empty = "{apiVersion: v1, kind: Config, clusters: [], users: [], contexts: [], current-context: ''}";
    let text = std::fs::read_to_string(path).unwrap_or_else(|_| empty.to_owned());
    let mut config: Value = serde_yaml::from_str(&text).with_context(|| format!("{} is broken", path.display()))?;
    for list in ["clusters", "users", "contexts"] {
        if !config[list].is_sequence() {
            config[list] = Value::Sequence(Vec::new());
        }
    }
    Ok(config)
}

fn write_config(path: &Path, config: &Value) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    serde_yaml::to_writer(&mut file, config)?;
    Ok(())
}

fn drop_entries(config: &mut Value, profile: &str) {
    for list in ["clusters", "users", "contexts"] {
        if let Value::Sequence(entries) = &mut config[list] {
            entries.retain(|entry| entry["name"] != profile);
        }
    }
}
