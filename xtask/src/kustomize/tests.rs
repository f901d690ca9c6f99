//! The renderer against Kustomize itself.
//!
//! Each folder of `testdata/` holds a kustomization and `expected.yaml`, the words of the real `kubectl kustomize`.
//! Where a kubectl is installed it is asked again, and so it is for every overlay at every pace.

use std::path::{Path, PathBuf};
use std::process::Command;

use expect_test::{Expect, expect};
use serde_json::Value;

use super::{Image, render, resource};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kustomize/testdata")
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(parent)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    assert!(!found.is_empty(), "nothing in {}", parent.display());
    found
}

/// What the real kubectl makes of the folder; nothing, and a line that says so, where there is none.
fn kubectl(folder: &Path) -> Option<Vec<Value>> {
    let Ok(output) = Command::new("kubectl").arg("kustomize").arg(folder).output() else {
        eprintln!("no kubectl here: {} is not compared with it", folder.display());
        return None;
    };
    assert!(output.status.success(), "kubectl kustomize: {}", String::from_utf8_lossy(&output.stderr));
    Some(resource::documents(&String::from_utf8(output.stdout).expect("text")).expect("YAML"))
}

#[track_caller]
fn assert_same(have: &[Value], wanted: &[Value], what: &str) {
    let text = |values: &[Value]| {
        values.iter().map(|value| serde_yaml::to_string(value).expect("YAML")).collect::<Vec<_>>().join("---\n")
    };
    assert!(have == wanted, "{what}\n--- rendered\n{}\n--- wanted\n{}", text(have), text(wanted));
}

#[test]
fn every_case_gives_the_objects_of_kustomize_in_its_order() {
    for folder in folders(&testdata()) {
        let text = std::fs::read_to_string(folder.join("expected.yaml")).expect("expected.yaml");
        let expected = resource::documents(&text).expect("YAML");
        assert_same(&render(&folder, &[], &[]).expect("it renders"), &expected, &folder.display().to_string());
        if let Some(real) = kubectl(&folder) {
            assert_same(&expected, &real, &format!("{}/expected.yaml is out of date", folder.display()));
        }
    }
}

#[test]
fn every_overlay_at_every_pace_gives_the_objects_of_kubectl() {
    let k8s = project().join("k8s");
    for overlay in folders(&k8s.join("overlays")) {
        for components in [vec![], vec![k8s.join("components/fast")]] {
            let names = ["localhost/swell-service", "localhost/swell-adapter"];
            let images = names.map(|name| Image {
                name: name.to_owned(),
                new_tag: Some("0123456789ab".to_owned()),
                ..Image::default()
            });
            let rendered = render(&overlay, &components, &images).expect("it renders");
            let around = tempfile::tempdir().expect("a folder");
            let kustomization = serde_json::json!({
                "resources": [relative(around.path(), &overlay)],
                "components": components.iter().map(|path| relative(around.path(), path)).collect::<Vec<_>>(),
                "images": names.map(|name| serde_json::json!({ "name": name, "newTag": "0123456789ab" })),
            });
            std::fs::write(around.path().join("kustomization.yaml"), kustomization.to_string()).expect("written");
            if let Some(real) = kubectl(around.path()) {
                assert_same(&rendered, &real, &format!("{} with {components:?}", overlay.display()));
            }
            let text = serde_json::to_string(&rendered).expect("JSON");
            assert!(text.contains("localhost/swell-service:0123456789ab") && !text.contains(":dev"), "{text}");
        }
    }
}

/// kubectl refuses absolute paths.
fn relative(from: &Path, to: &Path) -> String {
    let up = from.canonicalize().expect("a path").components().count() - 1;
    format!("{}{}", "../".repeat(up), to.strip_prefix("/").expect("an absolute path").display())
}

/// Renders a folder made of these files; `expected` is the error, one cause a line, the folder's own path left out.
#[track_caller]
fn check_error(files: &[(&str, &str)], expected: Expect) {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }
    let error = render(folder.path(), &[], &[]).expect_err("this must not render");
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    expected.assert_eq(&causes.join("\n").replace(&folder.path().display().to_string(), "DIR"));
}

const POD: (&str, &str) =
    ("pod.yaml", "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: c}]}}");

#[test]
fn what_is_outside_the_subset_is_an_error_that_names_file_and_field() {
    check_error(
        &[("kustomization.yaml", "namePrefix: x-")],
        expect![[r#"
            DIR/kustomization.yaml is not in the supported subset
            field `namePrefix`: unknown field `namePrefix`"#]],
    );
    check_error(
        &[("kustomization.yaml", "bases: [../a]")],
        expect!["DIR/kustomization.yaml: field `bases` is outside the supported subset; write `resources`"],
    );
    check_error(
        &[("kustomization.yaml", "labels: [{pairs: {a: b}, fields: []}]")],
        expect![[r#"
        DIR/kustomization.yaml is not in the supported subset
        field `labels`: unknown field `fields`"#]],
    );
    check_error(
        &[("kustomization.yaml", "images: {name: a}")],
        expect![[r#"
        DIR/kustomization.yaml is not in the supported subset
        field `images`: invalid type: map, expected a sequence"#]],
    );
    check_error(
        &[("kustomization.yaml", "kind: Kustomisation")],
        expect![
            "DIR/kustomization.yaml: `kind` and `apiVersion` are neither Kustomization, v1beta1 nor Component, v1alpha1"
        ],
    );
    check_error(
        &[("kustomization.yaml", "resources: [https://example.com/a.yaml]")],
        expect![[r#"
        DIR/kustomization.yaml: `resources`
        "https://example.com/a.yaml" is remote; only local files and folders are supported"#]],
    );
    check_error(
        &[POD, ("kustomization.yaml", "resources: [pod.yaml]\npatches: [{target: {name: 'a.*'}, patch: '[]'}]")],
        expect![[r#"
            DIR/kustomization.yaml: `patches[0]`
            `target.name` is "a.*": patterns are outside the supported subset, write a plain name"#]],
    );
    check_error(
        &[
            POD,
            (
                "kustomization.yaml",
                "resources: [pod.yaml]\npatches: [{target: {kind: Pod}, patch: '{$retainKeys: []}'}]",
            ),
        ],
        expect![[r#"
            DIR/kustomization.yaml: `patches[0]`
            the directive `$retainKeys` is outside the supported subset"#]],
    );
    let ports = "resources: [pod.yaml]\npatches: [{patch: '{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: \
                 {containers: [{name: c, ports: [{containerPort: 1, protocol: TCP}]}]}}'}]";
    check_error(
        &[POD, ("kustomization.yaml", ports)],
        expect![[r#"
        DIR/kustomization.yaml: `patches[0]`
        Pod a
        `containers`
        `ports`
        merging `ports` that state `protocol` is outside the supported subset; use a JSON 6902 patch"#]],
    );
}

#[test]
fn what_is_not_there_or_does_not_fit_is_named() {
    check_error(
        &[("a.txt", "")],
        expect!["there is neither a kustomization.yaml nor any other .yaml, .yml or .json file in DIR"],
    );
    check_error(
        &[("kustomization.yaml", "resources: [missing.yaml]")],
        expect![[r#"
        DIR/kustomization.yaml: `resources`
        cannot read DIR/missing.yaml
        No such file or directory (os error 2)"#]],
    );
    check_error(
        &[("kustomization.yaml", "resources: [../outside.yaml]")],
        expect![[r#"
        DIR/kustomization.yaml: `resources`
        file "../outside.yaml" lies outside DIR"#]],
    );
    check_error(
        &[("kustomization.yaml", "components: [missing]")],
        expect![[r#"DIR/kustomization.yaml: `components`: there is no folder "missing""#]],
    );
    check_error(
        &[("kustomization.yaml", "resources: [a: b")],
        expect![[r#"
        DIR/kustomization.yaml is not valid YAML
        did not find expected ',' or ']' at line 2 column 1, while parsing a flow sequence at line 1 column 12"#]],
    );
    check_error(
        &[("kustomization.yaml", "resources: [bad.yaml]"), ("bad.yaml", "a: [")],
        expect![[r#"
        DIR/kustomization.yaml: `resources`
        DIR/bad.yaml is not valid YAML
        did not find expected node content at line 2 column 1, while parsing a flow node"#]],
    );
    check_error(
        &[("kustomization.yaml", "resources: [bad.yaml]"), ("bad.yaml", "kind: Pod")],
        expect![[r#"
        DIR/kustomization.yaml: `resources`
        DIR/bad.yaml: an object has no `apiVersion`"#]],
    );
    check_error(
        &[POD, ("kustomization.yaml", "resources: [pod.yaml, pod.yaml]")],
        expect![[r#"
        DIR/kustomization.yaml: `resources`
        Pod a is there twice"#]],
    );
    check_error(
        &[("kustomization.yaml", "resources: [sub]"), ("sub/kustomization.yaml", "resources: [..]")],
        expect![[r#"
        DIR/kustomization.yaml: `resources`
        DIR/sub/kustomization.yaml: `resources`
        DIR includes itself"#]],
    );
    check_error(
        &[("kustomization.yaml", "patches: [{patch: '{apiVersion: v1, kind: Pod, metadata: {name: b}}'}]")],
        expect![[r#"
        DIR/kustomization.yaml: `patches[0]`
        there is no Pod b of "v1" to patch"#]],
    );
    check_error(
        &[POD, ("kustomization.yaml", "resources: [pod.yaml]\npatches: [{target: {kind: Job}, patch: '[]'}]")],
        expect![[r#"
            DIR/kustomization.yaml: `patches[0]`
            the `target` fits no object"#]],
    );
    check_error(
        &[
            POD,
            ("kustomization.yaml", "resources: [pod.yaml]\npatches: [{target: {kind: Pod}, path: p.yaml}]"),
            ("p.yaml", "[{op: replace, path: /spec/containers/1/name, value: d}]"),
        ],
        expect![[r#"
            DIR/kustomization.yaml: `patches` from p.yaml
            Pod a
            `replace /spec/containers/1/name`
            there is nothing at "/spec/containers/1/name""#]],
    );
    check_error(
        &[("kustomization.yaml", "configMapGenerator: [{name: c, literals: [novalue]}]")],
        expect![[r#"
            DIR/kustomization.yaml: `configMapGenerator` c
            literal "novalue" has no `=`"#]],
    );
}
