//! A bill of materials: which crates are linked into an image's one program, as CycloneDX 1.5.
//!
//! From Cargo's own resolution and lock file, since nothing can be found in a stripped static binary afterwards. Left out is
//! what only builds or tests. A function of its inputs: the same sources have the same bill.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// What the bill is of.
pub(crate) struct Subject<'s> {
    pub name: &'s str,
    pub version: &'s str,
    /// The image's ID, 64 hex digits.
    pub digest: &'s str,
}

/// The bill of what `cargo metadata` and `Cargo.lock` say of a package of the workspace.
pub(crate) fn of(metadata: &Value, lock: &str, package: &str, subject: &Subject<'_>) -> Result<Value> {
    let graph = Graph::read(metadata)?;
    let root = graph.workspace_package(package).with_context(|| format!("Cargo knows no package {package}"))?;
    let linked = graph.linked(root);
    let checksums = checksums(lock);
    let components: Vec<Value> = linked.iter().map(|id| component(graph.packages[id], &checksums)).collect();
    let name = |id: &str| reference(graph.packages[id]);
    let mut dependencies = vec![json!({ "ref": subject.name, "dependsOn": [name(root)] })];
    dependencies.extend(linked.iter().map(|id| {
        let below: BTreeSet<String> = graph.below(id).map(name).collect();
        json!({ "ref": name(id), "dependsOn": below })
    }));
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": subject.name,
                "name": subject.name,
                "version": subject.version,
                "hashes": [{ "alg": "SHA-256", "content": subject.digest }],
            },
        },
        "components": components,
        "dependencies": dependencies,
    }))
}

struct Graph<'m> {
    packages: BTreeMap<&'m str, &'m Value>,
    /// What a package is compiled with, for the target and not for the build.
    edges: BTreeMap<&'m str, Vec<&'m str>>,
}

impl<'m> Graph<'m> {
    fn read(metadata: &'m Value) -> Result<Graph<'m>> {
        let list = |pointer| metadata.pointer(pointer).and_then(Value::as_array);
        let mut packages = BTreeMap::new();
        for package in list("/packages").context("Cargo's metadata has no packages")? {
            packages.insert(package["id"].as_str().context("a package without an id")?, package);
        }
        let mut edges = BTreeMap::new();
        for node in list("/resolve/nodes").context("Cargo's metadata has no resolution")? {
            let id = node["id"].as_str().context("a node without an id")?;
            let is_normal = |dependency: &&Value| {
                let kinds = dependency["dep_kinds"].as_array().into_iter().flatten();
                kinds.into_iter().any(|kind| kind["kind"].is_null())
            };
            let below = node["deps"].as_array().into_iter().flatten().filter(is_normal);
            let below = below.filter_map(|dependency| dependency["pkg"].as_str());
            edges.insert(id, below.filter(|id| !packages.get(id).is_none_or(|package| is_macro(package))).collect());
        }
        Ok(Graph { packages, edges })
    }

    fn workspace_package(&self, name: &str) -> Option<&'m str> {
        let own = |package: &&&Value| package["name"] == name && package["source"].is_null();
        self.packages.values().find(own).and_then(|package| package["id"].as_str())
    }

    fn below(&self, id: &str) -> impl Iterator<Item = &'m str> {
        self.edges.get(id).into_iter().flatten().copied()
    }

    /// The package and all that it is linked with.
    fn linked(&self, root: &'m str) -> BTreeSet<&'m str> {
        let (mut found, mut waiting) = (BTreeSet::new(), vec![root]);
        while let Some(id) = waiting.pop() {
            if found.insert(id) {
                waiting.extend(self.below(id));
            }
        }
        found
    }
}

/// Runs in the compiler, and is not in what it compiles.
fn is_macro(package: &Value) -> bool {
    let targets = package["targets"].as_array().into_iter().flatten();
    targets.flat_map(|target| target["kind"].as_array().into_iter().flatten()).any(|kind| kind == "proc-macro")
}

fn component(package: &Value, checksums: &BTreeMap<(&str, &str), &str>) -> Value {
    let text = |field: &str| package[field].as_str().unwrap_or_default();
    let mut component = json!({
        "type": "library",
        "bom-ref": reference(package),
        "name": text("name"),
        "version": text("version"),
        "purl": reference(package),
    });
    if let Some(license) = package["license"].as_str() {
        // Some crates still write the slash that came before SPDX' own `OR`.
        component["licenses"] = json!([{ "expression": license.replace('/', " OR ").replace("  ", " ") }]);
    }
    if let Some(checksum) = checksums.get(&(text("name"), text("version"))) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

fn reference(package: &Value) -> String {
    let text = |field: &str| package[field].as_str().unwrap_or_default();
    format!("pkg:cargo/{}@{}", text("name"), text("version"))
}

/// Name and version of each package of the lock file that comes from a registry, and its checksum there.
fn checksums(lock: &str) -> BTreeMap<(&str, &str), &str> {
    let entries = lock.split("[[package]]").skip(1);
    let found = entries.filter_map(|entry| {
        let value = |key: &str| {
            let line = entry.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
            Some(line.trim_matches('"'))
        };
        Some(((value("name")?, value("version")?), value("checksum")?))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, kind: &str) -> Value {
        let source = if name == "web" { Value::Null } else { json!("registry") };
        json!({ "id": format!("{name}-id"), "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0", "source": source,
            "targets": [{ "kind": [kind] }] })
    }

    fn node(name: &str, below: &[(&str, Value)]) -> Value {
        let deps: Vec<Value> = below
            .iter()
            .map(|(name, kind)| json!({ "pkg": format!("{name}-id"), "dep_kinds": [{ "kind": kind }] }))
            .collect();
        json!({ "id": format!("{name}-id"), "deps": deps })
    }

    #[test]
    fn what_is_linked_is_listed_and_what_builds_or_tests_is_not() {
        let metadata = json!({
            "packages": [package("web", "bin"), package("http", "lib"), package("bytes", "lib"), package("derive", "proc-macro"),
                package("syn", "lib"), package("cc", "lib"), package("tempfile", "lib")],
            "resolve": { "nodes": [
                node("web", &[("http", Value::Null), ("derive", Value::Null), ("cc", json!("build")), ("tempfile", json!("dev"))]),
                node("http", &[("bytes", Value::Null)]),
                node("derive", &[("syn", Value::Null)]),
                node("bytes", &[]), node("syn", &[]), node("cc", &[]), node("tempfile", &[]),
            ] },
        });
        let lock = "version = 4\n\n[[package]]\nname = \"http\"\nversion = \"1.0.0\"\nchecksum = \"ab\"\n\n\
            [[package]]\nname = \"web\"\nversion = \"1.0.0\"\n";
        let subject = Subject { name: "swell-web", version: "2.0.0", digest: "cd" };
        let bill = of(&metadata, lock, "web", &subject).unwrap();
        let names: Vec<&str> =
            bill["components"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["bytes", "http", "web"]);
        assert_eq!(bill["components"][1]["hashes"][0]["content"], "ab");
        assert_eq!(bill["components"][1]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(bill["metadata"]["component"]["hashes"][0]["content"], "cd");
        let depends = |name: &str| {
            let all = bill["dependencies"].as_array().unwrap();
            all.iter().find(|it| it["ref"] == name).unwrap()["dependsOn"].clone()
        };
        assert_eq!(depends("swell-web"), json!(["pkg:cargo/web@1.0.0"]));
        assert_eq!(depends("pkg:cargo/web@1.0.0"), json!(["pkg:cargo/http@1.0.0"]));
        assert!(of(&metadata, lock, "other", &subject).is_err());
    }
}
