//! `image load` and `image ls`. What goes wrong while loading is said nowhere and the exit code is 0: only the list
//! tells whether an image is there. `--alsologtostderr` shows the reason, in log lines.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::archive;
use crate::backend::Backend;
use crate::home::{Image, Profile};
use crate::speech::Fatal;
use crate::{Call, EXIT_USAGE};

pub(crate) fn load(mut call: Call) -> Result<u8> {
    let [source] = &call.given.args[..] else {
        let message =
            "Please provide an image in your local daemon to load into minikube via <minikube image load IMAGE_NAME>";
        return Err(Fatal::new(EXIT_USAGE, "MK_USAGE", message, "").into());
    };
    let (source, name) = (source.clone(), call.given.profile().to_owned());
    let mut profile = profile_of_images(&call, "loading")?.clone();
    if call.scenario.has("load-nothing") || !profile.is_running {
        return Ok(0);
    }
    let is_file = source.starts_with(['/', '.']) || Path::new(&source).exists();
    if !is_file || call.scenario.has("load-not-found") {
        eprintln!("! The image '{source}' was not found; unable to add it to cache.");
        return Ok(0);
    }
    if let Err(reason) = load_file(&call, &name, &mut profile, Path::new(&source)) {
        if call.given.is_on("alsologtostderr") {
            eprintln!(
                "W0223 12:00:00.000000   123 cache_images.go:265] Failed to load {source}: loading image: {reason:#}"
            );
        }
        return Ok(0);
    }
    call.home.put(&name, profile)?;
    Ok(0)
}

fn load_file(call: &Call, name: &str, profile: &mut Profile, path: &Path) -> Result<()> {
    let images = archive::read(path, &profile.runtime)?;
    if call.scenario.has("load-disk-full") {
        anyhow::bail!("{}: write /var/lib/minikube/images: no space left on device", profile.runtime);
    }
    if call.scenario.has("load-old-stays") {
        return Ok(());
    }
    if let Some(backend) = Backend::new(call.home.cluster_directory(name))? {
        backend.load_image(path)?;
    }
    for image in images {
        // A tag belongs to one image: loading moves it.
        for old in &mut profile.images {
            old.tags.retain(|tag| !image.tags.contains(tag));
        }
        profile.images.retain(|old| old.id != image.id);
        profile.images.push(image);
    }
    Ok(())
}

pub(crate) fn list(call: &Call) -> Result<u8> {
    let profile = profile_of_images(call, "listing")?;
    let images: &[Image] = if profile.is_running { &profile.images } else { &[] };
    match call.given.value("format").unwrap_or("short") {
        "json" => println!("{}", Value::Array(images.iter().map(|image| entry(image, &profile.runtime)).collect())),
        "short" => {
            let mut tags: Vec<&String> = images.iter().flat_map(|image| &image.tags).collect();
            tags.sort_by(|a, b| b.cmp(a));
            tags.iter().for_each(|tag| println!("{tag}"));
        }
        other => {
            let message = format!("unknown format {other:?}: it is one of short, table, json, yaml");
            return Err(Fatal::new(80, "GUEST_IMAGE_LIST", message, "").into());
        }
    }
    Ok(0)
}

/// `ssh -n NODE -- sudo crictl images -o json`: what one node has. Any other command is only repeated.
pub(crate) fn on_node(call: &Call) -> Result<u8> {
    let name = call.given.profile();
    let profile = call.home.require_running(name)?;
    let command = call.given.args.join(" ");
    if command != "sudo crictl images -o json" {
        println!("{command}");
        return Ok(0);
    }
    let is_worker = call.given.value("node").is_some_and(|node| node != name);
    let none = is_worker && call.scenario.has("load-first-node-only");
    let images: &[Image] = if none { &[] } else { &profile.images };
    let images: Vec<Value> = images.iter().map(|image| json!({ "id": image.id, "repoTags": image.tags })).collect();
    println!("{}", json!({ "images": images }));
    Ok(0)
}

/// These commands end with 14, not 85, when there is no such profile.
fn profile_of_images<'a>(call: &'a Call, doing: &str) -> Result<&'a Profile> {
    let name = call.given.profile();
    let message = format!("{doing} profile: cluster {name:?} does not exist");
    call.home.find(name).ok_or_else(|| Fatal::new(EXIT_USAGE, "MK_USAGE", message, "").into())
}

fn entry(image: &Image, runtime: &str) -> Value {
    let id = if runtime == "containerd" { format!("sha256:{}", image.id) } else { image.id.clone() };
    json!({ "id": id, "repoDigests": [], "repoTags": image.tags, "size": image.size_bytes.to_string() })
}
