//! Archives are built in memory by the tests, so that each can be wrong in exactly one way.

use super::*;
use sha2::{Digest, Sha256};
use std::io::Write;

struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    fn new() -> Layer {
        Layer(tar::Builder::new(Vec::new()))
    }

    fn file(mut self, path: &str, data: &str) -> Layer {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        // Written by hand: the builder refuses the climbing paths that we want to see refused by the reader.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        self.0.append(&header, data.as_bytes()).unwrap();
        self
    }

    fn link(mut self, path: &str, target: &str, kind: tar::EntryType) -> Layer {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(0o777);
        header.set_uid(0);
        header.set_gid(0);
        self.0.append_link(&mut header, path, target).unwrap();
        self
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn digest(bytes: &[u8]) -> String {
    archive::hex(&Sha256::digest(bytes))
}

fn config(layers: &[Vec<u8>], architecture: &str) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| format!("sha256:{}", digest(layer))).collect();
    let value = serde_json::json!({
        "architecture": architecture, "os": "linux", "config": {"Entrypoint": ["/app"], "Cmd": null},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    serde_json::to_vec(&value).unwrap()
}

fn archive_of(config: &[u8], config_name: &str, layers: &[Vec<u8>], tags: &[&str]) -> Vec<u8> {
    let mut outer = tar::Builder::new(Vec::new());
    let mut add = |name: &str, data: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        outer.append_data(&mut header, name, data).unwrap();
    };
    add(config_name, config);
    let names: Vec<_> = layers.iter().map(|layer| format!("{}/layer.tar", digest(layer))).collect();
    for (name, layer) in names.iter().zip(layers) {
        add(name, layer);
    }
    let manifest = serde_json::json!([{"Config": config_name, "RepoTags": tags, "Layers": names}]);
    add("manifest.json", &serde_json::to_vec(&manifest).unwrap());
    outer.into_inner().unwrap()
}

fn good(layers: Vec<Layer>, tags: &[&str]) -> Vec<u8> {
    let layers: Vec<_> = layers.into_iter().map(Layer::bytes).collect();
    let config = config(&layers, host_architecture());
    archive_of(&config, &format!("{}.json", digest(&config)), &layers, tags)
}

fn load(dir: &Path, archive: &[u8]) -> Result<Vec<ImageEntry>, ImageError> {
    let file = dir.join("archive.tar");
    fs::write(&file, archive).unwrap();
    ImageStore::open(&dir.join("images"))?.load(&file)
}

/// Loads a broken archive; it must fail with these words and leave no image and no scratch directory.
fn check_refused(archive: &[u8], words: &str) {
    let dir = tempfile::tempdir().unwrap();
    let error = load(dir.path(), archive).expect_err(words).to_string();
    assert!(error.contains(words), "{error:?} does not say {words:?}");
    let store = ImageStore::open(&dir.path().join("images")).unwrap();
    assert_eq!(store.list().unwrap(), []);
    let left: Vec<_> =
        fs::read_dir(dir.path().join("images")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "lock"), "left behind: {left:?}");
}

#[test]
fn a_loaded_image_is_found_by_every_form_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = load(dir.path(), &good(vec![Layer::new().file("app", "hello")], &["app:1"])).unwrap();
    let store = ImageStore::open(&dir.path().join("images")).unwrap();
    for name in ["app:1", "docker.io/library/app:1", loaded[0].id.as_str()] {
        let image = store.resolve(name).unwrap().expect(name);
        assert_eq!(fs::read_to_string(image.rootfs.join("app")).unwrap(), "hello");
        assert_eq!(image.config.config.entrypoint, ["/app"]);
    }
    assert!(store.resolve("app:2").unwrap().is_none());
}

#[test]
fn users_and_groups_are_found_by_name_and_number_in_the_images_own_files() {
    let dir = tempfile::tempdir().unwrap();
    let layer =
        Layer::new().file("etc/passwd", "root:x:0:0::/:\napp:x:1001:1002::/:\n").file("etc/group", "staff:x:50:\n");
    load(dir.path(), &good(vec![layer], &["a:1"])).unwrap();
    let image = ImageStore::open(&dir.path().join("images")).unwrap().resolve("a:1").unwrap().unwrap();
    let users = ["", "0", "app", "1001", "7", "nobody"].map(|user| image.user(user));
    assert_eq!(users, [Some((0, 0)), Some((0, 0)), Some((1001, 1002)), Some((1001, 1002)), Some((7, 0)), None]);
    assert_eq!(["staff", "9", "", "none"].map(|group| image.group(group)), [Some(50), Some(9), None, None]);
}

#[test]
fn a_gzipped_archive_loads_like_a_plain_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&good(vec![Layer::new().file("app", "hello")], &["app:1"])).unwrap();
    assert_eq!(load(dir.path(), &gzip.finish().unwrap()).unwrap()[0].names, ["docker.io/library/app:1"]);
}

/// The files of an OCI layout whose image has one layer, for `platform`, behind an index of its own as multi-platform
/// builds make it.
fn layout(platform: &str, layer: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut blob = |bytes: Vec<u8>| {
        let digest = digest(&bytes);
        files.push((format!("blobs/sha256/{digest}"), bytes));
        format!("sha256:{digest}")
    };
    let config = blob(config(&[layer.to_vec()], host_architecture()));
    let layer = blob(layer.to_vec());
    let manifest = serde_json::json!({ "config": { "digest": config }, "layers": [{ "digest": layer }] });
    let manifest = blob(manifest.to_string().into_bytes());
    let attestation = serde_json::json!({
        "digest": "sha256:00", "platform": { "os": "unknown", "architecture": "unknown" },
    });
    let image = serde_json::json!({ "digest": manifest, "platform": { "os": "linux", "architecture": platform } });
    let inner = blob(serde_json::json!({ "manifests": [image, attestation] }).to_string().into_bytes());
    let name = serde_json::json!({ "org.opencontainers.image.ref.name": "localhost/app:1" });
    let index = serde_json::json!({ "manifests": [{ "digest": inner, "annotations": name }] });
    files.push(("index.json".to_owned(), index.to_string().into_bytes()));
    files
}

/// The files of an OCI layout whose index lists one index of `times` times the same manifest, as often.
fn repeated(times: usize) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut blob = |value: serde_json::Value| {
        let bytes = value.to_string().into_bytes();
        let digest = digest(&bytes);
        files.push((format!("blobs/sha256/{digest}"), bytes));
        serde_json::json!({ "digest": format!("sha256:{digest}") })
    };
    let manifest = blob(serde_json::json!({ "config": { "digest": "sha256:00" } }));
    let inner = blob(serde_json::json!({ "manifests": vec![manifest; times] }));
    let index = serde_json::json!({ "manifests": vec![inner; times.max(1)] });
    files.push(("index.json".to_owned(), index.to_string().into_bytes()));
    files
}

fn tar_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut outer = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        outer.append_data(&mut header, name, data.as_slice()).unwrap();
    }
    outer.into_inner().unwrap()
}

#[test]
fn an_oci_layout_loads_the_image_of_this_machine_and_checks_every_digest() {
    let dir = tempfile::tempdir().unwrap();
    let layer = Layer::new().file("app", "hello").bytes();
    let files = layout(host_architecture(), &layer);
    assert_eq!(load(dir.path(), &tar_of(&files)).unwrap()[0].names, ["localhost/app:1"]);
    let image = ImageStore::open(&dir.path().join("images")).unwrap().resolve("localhost/app:1").unwrap().unwrap();
    assert_eq!(fs::read_to_string(image.rootfs.join("app")).unwrap(), "hello");

    check_refused(&tar_of(&layout("s390x", &layer)), "linux/s390x, unknown/unknown");
    for at in 0..files.len() - 1 {
        let mut damaged = files.clone();
        damaged[at].1.push(b' ');
        check_refused(&tar_of(&damaged), "is damaged");
    }
    check_refused(&tar_of(&files[1..]), "which is not there");
    check_refused(&tar_of(&repeated(100)), "lists 65 images, not 1 to 64");
    check_refused(&tar_of(&repeated(0)), "lists no image");
    let zstd = layout(host_architecture(), &[&[0x28, 0xb5, 0x2f, 0xfd][..], &layer].concat());
    check_refused(&tar_of(&zstd), "a layer is compressed with zstd");
}

#[test]
fn a_name_moves_to_the_image_that_was_loaded_last_and_pruning_drops_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let first = load(dir.path(), &good(vec![Layer::new().file("app", "1")], &["app:1"])).unwrap();
    let second = load(dir.path(), &good(vec![Layer::new().file("app", "2")], &["app:1"])).unwrap();
    let store = ImageStore::open(&dir.path().join("images")).unwrap();
    assert_eq!(store.resolve("app:1").unwrap().unwrap().id, second[0].id);
    assert!(store.resolve(&first[0].id).unwrap().is_some());
    store.prune().unwrap();
    assert!(store.resolve(&first[0].id).unwrap().is_none());
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn upper_layers_replace_remove_and_hide_what_lower_ones_hold() {
    let lower = Layer::new().file("a", "low").file("b", "low").file("dir/old", "low").file("keep/x", "low");
    let upper = Layer::new().file("a", "high").file(".wh.b", "").file("dir/new", "high").file("dir/.wh..wh..opq", "");
    let dir = tempfile::tempdir().unwrap();
    let id = load(dir.path(), &good(vec![lower, upper], &[])).unwrap().remove(0).id;
    let root = ImageStore::open(&dir.path().join("images")).unwrap().resolve(&id).unwrap().unwrap().rootfs;
    assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "high");
    assert!(!root.join("b").exists() && !root.join("dir/old").exists());
    assert!(root.join("dir/new").exists() && root.join("keep/x").exists());
}

#[test]
fn links_in_a_layer_cannot_make_later_files_leave_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let layer = Layer::new()
        .link("escape", outside.to_str().unwrap(), tar::EntryType::Symlink)
        .file("escape/file", "caught")
        .link("up", "../../../..", tar::EntryType::Symlink)
        .file("up/file2", "caught");
    let id = load(dir.path(), &good(vec![layer], &[])).unwrap().remove(0).id;
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    let root = ImageStore::open(&dir.path().join("images")).unwrap().resolve(&id).unwrap().unwrap().rootfs;
    assert!(root.join("file2").exists());
}

#[test]
fn paths_that_climb_are_refused() {
    check_refused(&good(vec![Layer::new().file("../evil", "x")], &["a:1"]), "which leaves the root");
}

#[test]
fn a_hard_link_to_a_file_outside_is_refused() {
    let layer = Layer::new().link("passwd", "../../../../etc/passwd", tar::EntryType::Link);
    check_refused(&good(vec![layer], &["a:1"]), "which leaves the root");
}

#[test]
fn archives_that_contradict_themselves_are_refused_with_the_reason() {
    let layers = vec![Layer::new().file("app", "x").bytes()];
    let other = vec![Layer::new().file("app", "y").bytes()];
    let good_config = config(&layers, host_architecture());
    let name = format!("{}.json", digest(&good_config));
    check_refused(&archive_of(&good_config, "0000.json", &layers, &[]), "has digest");
    check_refused(&archive_of(&good_config, &name, &other, &[]), "invalid diffID for layer");
    check_refused(&archive_of(&good_config, &name, &[], &[]), "0 layers but 1 diff_ids");
    let foreign = config(&layers, "s390x");
    let foreign_name = format!("{}.json", digest(&foreign));
    check_refused(&archive_of(&foreign, &foreign_name, &layers, &[]), "linux/s390x");
    check_refused(&archive_of(&good_config, &name, &layers, &["UPPER"]), "invalid image name");
}

#[test]
fn files_that_are_no_archive_are_refused_with_the_command_that_makes_one() {
    check_refused(b"", "docker save");
    check_refused(b"not a tar file at all, but long enough to be looked at".repeat(20).as_slice(), "no tar file");
    check_refused(&Layer::new().file("index.json", "{}").bytes(), "index.json lists 0 images");
    check_refused(&[0x28, 0xb5, 0x2f, 0xfd, 0, 1, 2, 3], "compressed with zstd");
    check_refused(&Layer::new().file("manifest.json", "{").bytes(), "manifest.json cannot be read");
    check_refused(&[0x1f, 0x8b, 8, 0, 1, 2, 3], "gzip");
    let mut cut = good(vec![Layer::new().file("app", &"x".repeat(5000))], &["a:1"]);
    cut.truncate(cut.len() / 2);
    check_refused(&cut, "");
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(200))]

    /// Damage anywhere is an error or harmless; it never panics, hangs, or writes outside.
    #[test]
    fn a_damaged_archive_never_does_harm(flips: Vec<(proptest::sample::Index, u8)>, cut: proptest::sample::Index) {
        let mut bytes = good(vec![Layer::new().file("app", "x").link("l", "app", tar::EntryType::Symlink)], &["a:1"]);
        for (at, value) in flips.iter().take(4) {
            let at = at.index(bytes.len());
            bytes[at] ^= value;
        }
        bytes.truncate(bytes.len() - cut.index(bytes.len()) / 8);
        let dir = tempfile::tempdir().unwrap();
        if let Ok(loaded) = load(dir.path(), &bytes) {
            proptest::prop_assert!(loaded.len() <= 1);
        }
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        proptest::prop_assert_eq!(left, ["archive.tar", "images"]);
    }
}
