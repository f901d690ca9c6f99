//! Writes `nanokube/data/schema.txt.gz`: the types of the API as a table, from the Go types that Kubernetes publishes.
//!
//! Input are checkouts of four repositories at one release (`kubernetes/api`, `kubernetes/apimachinery`,
//! `kubernetes/apiextensions-apiserver`, `kubernetes/kube-aggregator`; the committed table is of v0.36.2, that is
//! Kubernetes v1.36.2, Apache-2.0) in one folder. Taken are facts only: names, types, protobuf numbers, defaults, enum
//! values, merge keys and list kinds. Descriptions stay behind. The format is described in `src/schema/parse.rs`.
//!
//! `cargo run -p nanokube --example generate_schema -- FOLDER nanokube/data/schema.txt.gz`

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};

/// Key in the table, folder, prefix of OpenAPI names; in the order in which they are written.
const PACKAGES: &[(&str, &str)] = &[
    ("meta/v1", "apimachinery/pkg/apis/meta/v1"),
    ("core/v1", "api/core/v1"),
    ("admissionregistration/v1", "api/admissionregistration/v1"),
    ("apps/v1", "api/apps/v1"),
    ("authentication/v1", "api/authentication/v1"),
    ("authorization/v1", "api/authorization/v1"),
    ("autoscaling/v1", "api/autoscaling/v1"),
    ("autoscaling/v2", "api/autoscaling/v2"),
    ("batch/v1", "api/batch/v1"),
    ("certificates/v1", "api/certificates/v1"),
    ("coordination/v1", "api/coordination/v1"),
    ("discovery/v1", "api/discovery/v1"),
    ("events/v1", "api/events/v1"),
    ("flowcontrol/v1", "api/flowcontrol/v1"),
    ("networking/v1", "api/networking/v1"),
    ("node/v1", "api/node/v1"),
    ("policy/v1", "api/policy/v1"),
    ("rbac/v1", "api/rbac/v1"),
    ("resource/v1", "api/resource/v1"),
    ("scheduling/v1", "api/scheduling/v1"),
    ("storage/v1", "api/storage/v1"),
    ("apiextensions/v1", "apiextensions-apiserver/pkg/apis/apiextensions/v1"),
    ("apiregistration/v1", "kube-aggregator/pkg/apis/apiregistration/v1"),
];

/// Types whose JSON is not that of their fields; the reader knows them by these names.
const SPECIAL: &[(&str, &str)] = &[
    ("meta/v1.Time", "time"),
    ("meta/v1.MicroTime", "microtime"),
    ("meta/v1.Duration", "duration"),
    ("meta/v1.FieldsV1", "fields"),
    ("resource.Quantity", "quantity"),
    ("intstr.IntOrString", "intorstring"),
    ("runtime.RawExtension", "raw"),
    ("types.UID", "string"),
    ("types.NodeName", "string"),
    ("apiextensions/v1.JSON", "json"),
    ("apiextensions/v1.JSONSchemaPropsOrBool", "schemaorbool"),
    ("apiextensions/v1.JSONSchemaPropsOrArray", "schemaorarray"),
    ("apiextensions/v1.JSONSchemaPropsOrStringArray", "schemaorstrings"),
];

const SCALARS: &[&str] = &["string", "bool", "int32", "int64", "float64", "[]byte", "interface{}"];

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(folder), Some(target)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: generate_schema FOLDER_WITH_THE_FOUR_CHECKOUTS TARGET");
    };
    let mut table = String::new();
    for (key, package) in PACKAGES {
        let parsed = Package::read(key, &Path::new(&folder).join(package))?;
        let prefix = format!("io.k8s.{}", package.replace('/', "."));
        writeln!(table, "G\t{key}\t{}\t{prefix}", parsed.group)?;
        table.push_str(&parsed.aliases());
        table.push_str(&parsed.types);
    }
    let file = std::fs::File::create(&target).with_context(|| format!("cannot write {}", target.display()))?;
    let mut gzip = GzBuilder::new().mtime(0).write(file, Compression::best());
    gzip.write_all(table.as_bytes())?;
    gzip.finish()?;
    println!("{} types, {} bytes of text", table.lines().filter(|line| line.starts_with("T\t")).count(), table.len());
    Ok(())
}

/// One Go package, reduced to lines of the table.
struct Package {
    key: String,
    group: String,
    /// Name of a type that stands for a scalar, list or map -> what it stands for.
    alias: BTreeMap<String, String>,
    enums: BTreeSet<String>,
    values: BTreeMap<String, Vec<String>>,
    /// Import name -> key of the package.
    imports: BTreeMap<String, String>,
    types: String,
}

impl Package {
    fn read(key: &str, folder: &Path) -> Result<Package> {
        let mut package = Package {
            key: key.to_string(),
            group: String::new(),
            alias: BTreeMap::new(),
            enums: BTreeSet::new(),
            values: BTreeMap::new(),
            imports: BTreeMap::new(),
            types: String::new(),
        };
        let register = read(&folder.join("register.go"))?;
        let group = register.lines().find_map(|line| line.strip_prefix("const GroupName = "));
        package.group = group.unwrap_or_default().trim_matches('"').to_string();
        for file in ["types.go", "types_jsonschema.go"] {
            let path = folder.join(file);
            if path.exists() {
                package.file(&read(&path)?);
            }
        }
        Ok(package)
    }

    fn file(&mut self, source: &str) {
        let mut markers: Vec<String> = Vec::new();
        let mut lines = source.lines();
        while let Some(line) = lines.next() {
            let text = line.trim();
            if let Some(comment) = text.strip_prefix("//") {
                if let Some(marker) = comment.trim().strip_prefix('+') {
                    markers.push(marker.to_string());
                }
                continue;
            }
            if let Some((import, key)) = imported(text) {
                self.imports.insert(import, key);
            } else if let Some(declaration) = line.strip_prefix("type ") {
                self.declaration(declaration, &markers, &mut lines);
            } else if let Some((constant, value)) = constant(text) {
                self.values.entry(constant).or_default().push(value);
            }
            markers.clear();
        }
    }

    fn declaration<'a>(&mut self, declaration: &str, markers: &[String], lines: &mut impl Iterator<Item = &'a str>) {
        let Some((name, rest)) = declaration.split_once(' ') else { return };
        if let Some(body) = rest.strip_prefix("struct").and_then(|body| body.trim_start().strip_prefix('{')) {
            let closed = body.trim_end().ends_with('}');
            self.structure(name, markers, if closed { None } else { Some(lines) });
        } else if !rest.starts_with("interface") && !rest.starts_with("func") {
            let meaning = rest.trim_start_matches("= ").split("//").next().unwrap_or_default().trim();
            self.alias.insert(name.to_string(), self.resolve(meaning));
            if markers.iter().any(|marker| marker == "enum") {
                self.enums.insert(name.to_string());
            }
        }
    }

    fn structure<'a>(&mut self, name: &str, markers: &[String], lines: Option<&mut impl Iterator<Item = &'a str>>) {
        let full = format!("{}.{name}", self.key);
        let mut fields = String::new();
        let mut is_kind = false;
        let mut field_markers: Vec<String> = Vec::new();
        for line in lines.into_iter().flatten() {
            let text = line.trim();
            if text == "}" {
                break;
            }
            if let Some(comment) = text.strip_prefix("//") {
                field_markers.extend(comment.trim().strip_prefix('+').map(str::to_string));
                continue;
            }
            if !text.is_empty() {
                is_kind |= text.starts_with("metav1.TypeMeta") || text.starts_with("TypeMeta ");
                fields.push_str(&self.field(text, &field_markers).unwrap_or_default());
            }
            field_markers.clear();
        }
        if SPECIAL.iter().any(|(special, _)| *special == full) {
            return;
        }
        let atomic = markers.iter().any(|marker| marker == "structType=atomic" || marker == "mapType=atomic");
        let flags = format!("{}{}", if is_kind { "K" } else { "" }, if atomic { "a" } else { "" });
        self.types.push_str(&format!("T\t{name}\t{flags}\n{fields}"));
    }

    /// `F number name type flags extras...` of a line such as ``Name string `json:"name,omitempty" protobuf:"..."` ``.
    fn field(&self, line: &str, markers: &[String]) -> Option<String> {
        let (declaration, tags) = line.split_once('`')?;
        let tags = tags.split('`').next()?;
        let tag = |name: &str| {
            let at = tags.find(&format!("{name}:\""))? + name.len() + 2;
            tags[at..].split('"').next()
        };
        let json = tag("json")?;
        let mut json_parts = json.split(',');
        let json_name = json_parts.next()?;
        let json_options: Vec<&str> = json_parts.collect();
        let mut words = declaration.split_whitespace();
        let (first, second) = (words.next()?, words.next());
        let go_type = second.unwrap_or(first);
        let number = tag("protobuf").and_then(|tag| tag.split(',').nth(1)).unwrap_or("0");
        let inline = json_options.contains(&"inline") || (json_name.is_empty() && second.is_none());
        if json_name == "-" || (inline && go_type.ends_with("TypeMeta")) {
            return None;
        }
        let omitted = json_options.iter().any(|option| matches!(*option, "omitempty" | "omitzero"));
        let has = |marker: &str| markers.iter().any(|found| found == marker);
        let mut flags = String::new();
        flags.push_str(if go_type.starts_with('*') { "p" } else { "" });
        flags.push_str(if omitted { "o" } else { "" });
        flags.push_str(if inline { "i" } else { "" });
        flags.push_str(if has("required") || !(omitted || has("optional") || inline) { "r" } else { "" });
        let mut text = format!("F\t{number}\t{json_name}\t{}\t{flags}", self.resolve(go_type));
        let marked = |name: &str| -> Vec<&str> {
            markers.iter().filter_map(|marker| marker.strip_prefix(name)?.strip_prefix('=')).collect()
        };
        let joined = |name: &str| marked(name).join(",");
        let extras = [
            ("s", tag("patchStrategy").unwrap_or_default().to_string()),
            ("k", tag("patchMergeKey").unwrap_or_default().to_string()),
            ("l", joined("listType")),
            ("m", joined("listMapKey")),
            (
                "a",
                if joined("mapType") == "atomic" || joined("structType") == "atomic" { "1".into() } else { "".into() },
            ),
            ("d", marked("default").into_iter().find(|value| !value.starts_with("ref(")).unwrap_or_default().into()),
        ];
        for (key, value) in extras.iter().filter(|(_, value)| !value.is_empty()) {
            text.push_str(&format!("\t{key}={value}"));
        }
        Some(text + "\n")
    }

    /// A Go type with the keys of packages in it and without pointers.
    fn resolve(&self, go_type: &str) -> String {
        let go_type = go_type.trim().trim_start_matches('*');
        if SCALARS.contains(&go_type) {
            return if go_type == "[]byte" { "bytes".into() } else { go_type.replace("interface{}", "json") };
        }
        if let Some(element) = go_type.strip_prefix("[]") {
            return format!("[]{}", self.resolve(element));
        }
        if let Some(rest) = go_type.strip_prefix("map[") {
            let value = rest.split_once(']').map_or("string", |(_, value)| value);
            return format!("{{}}{}", self.resolve(value));
        }
        let full = match go_type.split_once('.') {
            Some((import, name)) => format!("{}.{name}", self.imports.get(import).map_or(import, String::as_str)),
            None if go_type.chars().next().is_some_and(char::is_lowercase) => return go_type.to_string(),
            None => format!("{}.{go_type}", self.key),
        };
        SPECIAL.iter().find(|(name, _)| *name == full).map_or(full.clone(), |(_, special)| (*special).to_string())
    }

    fn aliases(&self) -> String {
        let mut text = String::new();
        for (name, meaning) in &self.alias {
            let values = self.values.get(name).filter(|_| self.enums.contains(name)).cloned().unwrap_or_default();
            text.push_str(&format!("A\t{name}\t{meaning}\t{}\n", values.join("|")));
        }
        text
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// `(name, key)` of an import line.
fn imported(line: &str) -> Option<(String, String)> {
    let (name, path) = line.strip_prefix("import ").unwrap_or(line).split_once('"')?;
    let path = path.strip_suffix('"')?;
    let key = match path {
        "k8s.io/apimachinery/pkg/apis/meta/v1" => "meta/v1",
        "k8s.io/apimachinery/pkg/api/resource" => "resource",
        "k8s.io/apimachinery/pkg/runtime" => "runtime",
        "k8s.io/apimachinery/pkg/types" => "types",
        "k8s.io/apimachinery/pkg/util/intstr" => "intstr",
        _ => path.strip_prefix("k8s.io/api/")?,
    };
    let name = if name.trim().is_empty() { key.rsplit('/').next()? } else { name.trim() };
    Some((name.to_string(), key.to_string()))
}

/// `(type, value)` of a constant such as `RestartPolicyAlways RestartPolicy = "Always"`.
fn constant(line: &str) -> Option<(String, String)> {
    let line = line.strip_prefix("const ").unwrap_or(line);
    let (left, right) = line.split_once(" = \"")?;
    let mut words = left.split_whitespace();
    let (_, kind) = (words.next()?, words.next()?);
    if words.next().is_some() {
        return None;
    }
    Some((kind.to_string(), right.split('"').next()?.to_string()))
}
