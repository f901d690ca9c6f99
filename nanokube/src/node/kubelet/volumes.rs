//! Volumes: directories below the pod's own, filled before its containers start.
//!
//! emptyDir, configMap, secret, downwardAPI, projected (with service account tokens of this cluster), hostPath, and
//! claims, which are directories beside those of the pods and outlive them. Files change with their sources, all of a
//! volume at once: they are links into `..data`, which is replaced by renaming, so that a running program sees either
//! the old or the new. Other kinds are refused by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

use super::pod::PodContext;
use super::{environment, launch};
use crate::api::auth::AUDIENCE;
use crate::cluster::{Cluster, Part, Patch, TOKEN_LIFETIME_S, Writer};
use crate::controllers::stateful_set::CLAIMS;
use crate::controllers::time::plus_s;
use crate::node::NodeConfig;
use crate::object::{self, Object};

const MODE_DEFAULT: i64 = 0o644;
/// Upstream, too, lets tokens that nobody asked for live for a year: programs of old read theirs only once.
const TOKEN_LIFETIME_EXTENDED_S: i64 = 365 * 24 * 3_600;
const TOKEN_LIFETIME_MIN_S: i64 = 600;

/// Where a volume of this pod is on the machine.
pub(super) fn place(pod: &PodContext, object: &Value, name: &str) -> Option<PathBuf> {
    let volumes = object::array_at(object, "/spec/volumes");
    let volume = volumes.iter().find(|volume| volume["name"] == name)?;
    if let Some(path) = volume.pointer("/hostPath/path").and_then(Value::as_str) {
        return Some(PathBuf::from(path));
    }
    match claim_of(pod, object, volume) {
        Some(claim) => claim.ok().map(|claim| claim_dir(&pod.kubelet.config, object::uid(&claim))),
        None => Some(pod.dir.join("volumes").join(name)),
    }
}

/// The claim that a volume stands for, if it stands for one.
fn claim_of(pod: &PodContext, object: &Value, volume: &Value) -> Option<Result<Object, String>> {
    let name = volume.pointer("/persistentVolumeClaim/claimName")?.as_str()?;
    let claim = pod.kubelet.cluster.get(CLAIMS, object::namespace(object), name);
    Some(claim.ok_or_else(|| format!("persistentvolumeclaim \"{name}\" not found")))
}

/// Named by uid: a new claim of an old name begins empty.
fn claim_dir(config: &NodeConfig, uid: &str) -> PathBuf {
    config.pods_dir.with_file_name("claims").join(uid)
}

/// What claims that are gone have left.
pub(super) fn remove_old_claims(cluster: &Cluster, config: &NodeConfig) {
    let claims = cluster.list(CLAIMS, None).items;
    let Ok(entries) = fs::read_dir(claim_dir(config, "")) else { return };
    for entry in entries.flatten() {
        let is_known = claims.iter().any(|claim| *entry.file_name() == *object::uid(claim));
        if !is_known && let Err(error) = crate::removal::remove_tree(&entry.path()) {
            eprintln!("node: cannot remove {}: {error}", entry.path().display());
        }
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
    let claim = claim_of(pod, object, volume).transpose()?;
    let dir = claim.as_ref().map_or(dir, |claim| claim_dir(&pod.kubelet.config, object::uid(claim)));
    fs::create_dir_all(&dir).map_err(|error| format!("cannot create {}: {error}", dir.display()))?;
    if claim.is_some() || volume.get("emptyDir").is_some() {
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).map_err(|error| error.to_string())?;
        return claim.map_or(Ok(()), |claim| bind(&pod.kubelet.cluster, &claim));
    }
    let files = match volume.as_object().and_then(|it| it.iter().find(|(key, _)| *key != "name")) {
        Some((kind, source)) => files(pod, object, kind, source)?,
        None => return Ok(()),
    };
    let is_inside = |path: &String| Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if let Some(path) = files.keys().find(|path| path.is_empty() || !is_inside(path)) {
        return Err(format!("the path {path:?} leads out of the volume"));
    }
    let group = object::i64_at(object, "/spec/securityContext/fsGroup").and_then(|group| u32::try_from(group).ok());
    let group = group.filter(|_| rustix::process::geteuid().is_root());
    publish(&dir, &files, group).map_err(|error| format!("cannot write {}: {error}", dir.display()))
}

/// A claim is bound by the first pod that mounts it, as with a storage class that waits for its consumer.
fn bind(cluster: &Cluster, claim: &Object) -> Result<(), String> {
    if object::str_at(claim, "/status/phase") == "Bound" {
        return Ok(());
    }
    let spec = &claim["spec"];
    let status = json!({
        "phase": "Bound", "accessModes": spec["accessModes"], "capacity": spec["resources"]["requests"],
    });
    let (patch, writer) = (Patch::Merge(json!({ "status": status })), Writer::controller(super::COMPONENT));
    let (namespace, name) = (object::namespace(claim), object::name(claim));
    cluster.patch(CLAIMS, namespace, name, patch, Part::Status, &writer).map(drop).map_err(|error| error.message)
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
            let token = token(pod, object, source)?.into_bytes();
            Ok(Files::from([(object::str_at(source, "/path").to_owned(), (token, mode))]))
        }
        other => Err(format!("projections of kind {other} are not supported by this node")),
    }
}

/// A token of the pod's account. It is the same until half of its life is over, so that files are not changed for nothing.
fn token(pod: &PodContext, object: &Object, source: &Value) -> Result<String, String> {
    let name = object::str_at(object, "/spec/serviceAccountName");
    let account = pod.kubelet.cluster.get("serviceaccounts", object::namespace(object), name);
    let account = account.ok_or_else(|| format!("serviceaccount {name:?} not found"))?;
    let life_s = match object::i64_at(source, "/expirationSeconds") {
        None | Some(TOKEN_LIFETIME_S) => TOKEN_LIFETIME_EXTENDED_S,
        Some(asked) => asked.clamp(TOKEN_LIFETIME_MIN_S, TOKEN_LIFETIME_EXTENDED_S),
    };
    let now = pod.kubelet.cluster.now();
    let from = plus_s(now, -now.as_second().rem_euclid(life_s / 2));
    let audience = match object::str_at(source, "/audience") {
        "" => AUDIENCE,
        audience => audience,
    };
    Ok(pod.kubelet.config.token.of_account(&account, &json!([audience]), (from, plus_s(from, life_s))))
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
    let around = launch::surroundings(pod, object);
    let mut files = Files::new();
    for item in object::array_at(source, "/items") {
        let value = match item.get("resourceFieldRef").filter(|field| !field.is_null()) {
            Some(field) => environment::resource_value(&around, &Value::Null, field)?,
            None => environment::field_value(&around, object::str_at(item, "/fieldRef/fieldPath"))?,
        };
        let mode = object::i64_at(item, "/mode").unwrap_or(mode);
        files.insert(object::str_at(item, "/path").to_owned(), (value.into_bytes(), mode));
    }
    Ok(files)
}

/// Puts the files behind `..data` in one step; nothing happens when they are what is there already.
fn publish(dir: &Path, files: &Files, group: Option<u32>) -> io::Result<()> {
    let data = dir.join("..data");
    if is_current(&data, files) {
        return Ok(());
    }
    let stamp = format!("..{}", jiff::Timestamp::now().strftime("%Y_%m_%d_%H_%M_%S.%9f"));
    let fresh = dir.join(&stamp);
    fs::create_dir_all(&fresh)?;
    for (path, (bytes, mode)) in files {
        let target = fresh.join(path);
        fs::create_dir_all(target.parent().unwrap_or(&fresh))?;
        fs::write(&target, bytes)?;
        let readable_by_group = if group.is_some() { 0o040 } else { 0 };
        std::os::unix::fs::chown(&target, None, group)?;
        let mode = u32::try_from(*mode).unwrap_or(0o644) & 0o777 | readable_by_group;
        fs::set_permissions(&target, fs::Permissions::from_mode(mode))?;
    }
    let old = fs::read_link(&data).ok();
    let link = dir.join("..data_tmp");
    let _ = fs::remove_file(&link); // left by an interrupted run
    symlink(&stamp, &link)?;
    fs::rename(&link, &data)?;
    show(dir, &tops(files))?;
    if let Some(old) = old {
        let _ = fs::remove_dir_all(dir.join(old)); // who has a file of it open keeps that one
    }
    Ok(())
}

/// One link for each name at the top; links to what is gone go.
fn show(dir: &Path, tops: &BTreeSet<&str>) -> io::Result<()> {
    for top in tops {
        let visible = dir.join(top);
        if visible.symlink_metadata().is_err() {
            symlink(Path::new("..data").join(top), visible)?;
        }
    }
    for entry in fs::read_dir(dir)?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !tops.contains(&*name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn tops(files: &Files) -> BTreeSet<&str> {
    files.keys().filter_map(|path| path.split('/').next()).collect()
}

fn is_current(data: &Path, files: &Files) -> bool {
    let same =
        |(path, (bytes, _)): (&String, &(Vec<u8>, i64))| fs::read(data.join(path)).is_ok_and(|now| now == *bytes);
    let listed = fs::read_dir(data).map_or(0, |entries| entries.count());
    data.exists() && listed == tops(files).len() && files.iter().all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(all: &[(&str, &str)]) -> Files {
        all.iter().map(|(path, text)| ((*path).to_owned(), (text.as_bytes().to_vec(), 0o644))).collect()
    }

    #[test]
    fn files_change_as_a_whole_and_what_is_gone_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        publish(dir, &files(&[("a", "1"), ("sub/b", "2")]), None).unwrap();
        let before = fs::read_link(dir.join("..data")).unwrap();
        publish(dir, &files(&[("a", "1"), ("sub/b", "2")]), None).unwrap();
        assert_eq!(fs::read_link(dir.join("..data")).unwrap(), before, "nothing has changed");
        assert_eq!(fs::read_to_string(dir.join("sub/b")).unwrap(), "2");
        publish(dir, &files(&[("a", "new")]), None).unwrap();
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "new");
        assert!(!dir.join("sub").exists() && !dir.join(before).exists());
    }
}
