//! Volumes: directories below the pod's own, filled before its containers start.
//!
//! emptyDir, configMap, secret, downwardAPI, projected (with service account tokens of this cluster) and hostPath. What
//! they hold is read once; a later change of a ConfigMap shows in the next pod. Other kinds are refused by name.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::environment::{self, Surroundings};
use super::pod::PodContext;
use crate::object::{self, Object};

const MODE_DEFAULT: i64 = 0o644;

/// Where a volume of this pod is on the machine.
pub(super) fn place(pod: &PodContext, object: &Value, name: &str) -> Option<PathBuf> {
    let volumes = object::array_at(object, "/spec/volumes");
    let volume = volumes.iter().find(|volume| volume["name"] == name)?;
    match volume.pointer("/hostPath/path").and_then(Value::as_str) {
        Some(path) => Some(PathBuf::from(path)),
        None => Some(pod.dir.join("volumes").join(name)),
    }
}

/// Makes all volumes, or says which one cannot be made and why.
pub(super) fn make(pod: &PodContext) -> Result<(), String> {
    let object = pod.object();
    for volume in object::array_at(&object, "/spec/volumes") {
        let name = object::str_at(volume, "/name");
        make_one(pod, &object, volume)
            .map_err(|error| format!("MountVolume.SetUp failed for volume \"{name}\" : {error}"))?;
    }
    Ok(())
}

fn make_one(pod: &PodContext, object: &Object, volume: &Value) -> Result<(), String> {
    let dir = pod.dir.join("volumes").join(object::str_at(volume, "/name"));
    if let Some(path) = volume.pointer("/hostPath/path").and_then(Value::as_str) {
        return host_path(Path::new(path), object::str_at(volume, "/hostPath/type"));
    }
    fs::create_dir_all(&dir).map_err(|error| format!("cannot create {}: {error}", dir.display()))?;
    if volume.get("emptyDir").is_some() {
        return fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).map_err(|error| error.to_string());
    }
    let files = match volume.as_object().and_then(|it| it.iter().find(|(key, _)| *key != "name")) {
        Some((kind, source)) => files(pod, object, kind, source)?,
        None => return Ok(()),
    };
    for (path, (bytes, mode)) in files {
        write(&dir, &path, &bytes, mode)?;
    }
    Ok(())
}

fn host_path(path: &Path, kind: &str) -> Result<(), String> {
    match kind {
        "DirectoryOrCreate" => fs::create_dir_all(path).map_err(|error| error.to_string()),
        "FileOrCreate" if !path.exists() => fs::write(path, "").map_err(|error| error.to_string()),
        _ if path.exists() => Ok(()),
        _ => Err(format!("hostPath type check failed: {} does not exist", path.display())),
    }
}

type Files = BTreeMap<String, (Vec<u8>, i64)>;

fn files(pod: &PodContext, object: &Object, kind: &str, source: &Value) -> Result<Files, String> {
    let mode = object::i64_at(source, "/defaultMode").unwrap_or(MODE_DEFAULT);
    match kind {
        "configMap" => keys(pod, object, "configmaps", object::str_at(source, "/name"), source, mode),
        "secret" => keys(pod, object, "secrets", object::str_at(source, "/secretName"), source, mode),
        "downwardAPI" => downward(pod, object, source, mode),
        "projected" => {
            let mut all = Files::new();
            for part in object::array_at(source, "/sources") {
                all.extend(projection(pod, object, part, mode)?);
            }
            Ok(all)
        }
        other => Err(format!("volumes of kind {other} are not supported by this node")),
    }
}

fn projection(pod: &PodContext, object: &Object, part: &Value, mode: i64) -> Result<Files, String> {
    let Some((kind, source)) = part.as_object().and_then(|part| part.iter().next()) else { return Ok(Files::new()) };
    match kind.as_str() {
        "configMap" => keys(pod, object, "configmaps", object::str_at(source, "/name"), source, mode),
        "secret" => keys(pod, object, "secrets", object::str_at(source, "/name"), source, mode),
        "downwardAPI" => downward(pod, object, source, mode),
        "serviceAccountToken" => {
            let token = pod.kubelet.config.token.clone().into_bytes();
            Ok(Files::from([(object::str_at(source, "/path").to_owned(), (token, mode))]))
        }
        other => Err(format!("projections of kind {other} are not supported by this node")),
    }
}

/// The keys of a ConfigMap or Secret, all of them or those of `items`.
fn keys(
    pod: &PodContext,
    object: &Object,
    resource: &str,
    name: &str,
    source: &Value,
    mode: i64,
) -> Result<Files, String> {
    let Some(found) = pod.kubelet.cluster.get(resource, object::namespace(object), name) else {
        if object::bool_at(source, "/optional") {
            return Ok(Files::new());
        }
        return Err(format!("{} \"{name}\" not found", resource.trim_end_matches('s')));
    };
    let mut data = environment::bytes_of(resource, &found);
    let items = object::array_at(source, "/items");
    if items.is_empty() {
        return Ok(data.into_iter().map(|(key, bytes)| (key, (bytes, mode))).collect());
    }
    let mut files = Files::new();
    for item in items {
        let key = object::str_at(item, "/key");
        let Some(bytes) = data.remove(key) else {
            if object::bool_at(source, "/optional") {
                continue;
            }
            return Err(format!("references non-existent {} key: {key}", resource.trim_end_matches('s')));
        };
        let mode = object::i64_at(item, "/mode").unwrap_or(mode);
        files.insert(object::str_at(item, "/path").to_owned(), (bytes, mode));
    }
    Ok(files)
}

fn downward(pod: &PodContext, object: &Object, source: &Value, mode: i64) -> Result<Files, String> {
    let around = Surroundings {
        cluster: &pod.kubelet.cluster,
        pod: object,
        pod_ip: pod.address.to_string(),
        host_ip: pod.kubelet.config.address.to_string(),
    };
    let mut files = Files::new();
    for item in object::array_at(source, "/items") {
        let value = environment::field_value(&around, object::str_at(item, "/fieldRef/fieldPath"))?;
        let mode = object::i64_at(item, "/mode").unwrap_or(mode);
        files.insert(object::str_at(item, "/path").to_owned(), (value.into_bytes(), mode));
    }
    Ok(files)
}

fn write(dir: &Path, path: &str, bytes: &[u8], mode: i64) -> Result<(), String> {
    let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || !inside {
        return Err(format!("the path {path:?} leads out of the volume"));
    }
    let target = dir.join(path);
    let written = target.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
        let _ = fs::remove_file(&target); // a file of an earlier attempt may be read-only
        fs::write(&target, bytes)?;
        let mode = u32::try_from(mode).unwrap_or(0o644) & 0o777;
        // Containers run as users of their own; without group ownership the owner's bits count for everybody.
        fs::set_permissions(&target, fs::Permissions::from_mode(mode | (mode & 0o700) >> 3 | (mode & 0o700) >> 6))
    });
    written.map_err(|error| format!("cannot write {}: {error}", target.display()))
}
