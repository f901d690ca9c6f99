//! Containers: names, images, ports, environment, mounts, resources, probes and hooks.

use std::collections::HashSet;

use autoscaler::quantity::Quantity;
use serde_json::Value;

use super::errors::{Errors, NOT_NEGATIVE, entries, list, text as string};
use super::text;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const STANDARD_RESOURCES: [&str; 3] = ["cpu", "ephemeral-storage", "memory"];
const NO_SOURCE: &str = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
const RESOURCE_FIELDS: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const FIELD_PATHS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// What all containers have.
pub(super) fn common(container: &Value, path: &str, volumes: &HashSet<&str>, errors: &mut Errors) {
    let (name, image) = (string(&container["name"]), string(&container["image"]));
    if name.is_empty() {
        errors.required(format!("{path}.name"), "");
    } else {
        errors.invalid_text(&format!("{path}.name"), name, text::dns_label(name));
    }
    if image.is_empty() {
        errors.required(format!("{path}.image"), "");
    } else if image.trim() != image {
        errors.invalid(format!("{path}.image"), image, "must not have leading or trailing whitespace");
    }
    let policies = ["File", "FallbackToLogsOnError"];
    let policy = &container["terminationMessagePolicy"];
    errors.one_of(&format!("{path}.terminationMessagePolicy"), policy, &policies);
    ports(&container["ports"], &format!("{path}.ports"), errors);
    environment(&container["env"], &format!("{path}.env"), errors);
    environment_from(&container["envFrom"], &format!("{path}.envFrom"), errors);
    mounts(&container["volumeMounts"], &format!("{path}.volumeMounts"), volumes, errors);
    let pull_policies = ["Always", "IfNotPresent", "Never"];
    errors.one_of(&format!("{path}.imagePullPolicy"), &container["imagePullPolicy"], &pull_policies);
    resources(&container["resources"], &format!("{path}.resources"), errors);
    security(&container["securityContext"], &format!("{path}.securityContext"), errors);
}

/// Probes and life cycle of containers that go on running.
pub(super) fn hooks(container: &Value, path: &str, errors: &mut Errors) {
    for hook in ["postStart", "preStop"] {
        let handler = &container["lifecycle"][hook];
        if !handler.is_null() {
            handlers(handler, &["exec", "httpGet", "tcpSocket", "sleep"], &format!("{path}.lifecycle.{hook}"), errors);
        }
    }
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if !container[kind].is_null() {
            probe(&container[kind], kind, &format!("{path}.{kind}"), errors);
        }
    }
}

/// Init containers end before the others start: nothing probes them.
pub(super) fn no_hooks(container: &Value, path: &str, errors: &mut Errors) {
    for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if !container[field].is_null() {
            errors.forbidden(
                format!("{path}.{field}"),
                "may not be set for init containers without restartPolicy=Always",
            );
        }
    }
}

/// A port by number or by name.
pub(super) fn port(port: &Value, path: &str, errors: &mut Errors) {
    match (port.as_i64(), port.as_str()) {
        (Some(number), _) => {
            for detail in text::port_number(number) {
                errors.invalid(path, number, detail);
            }
        }
        (None, Some(name)) => errors.invalid_text(path, name, text::port_name(name)),
        (None, None) => errors.invalid(path, 0, "must be between 1 and 65535, inclusive"),
    }
}

fn ports(ports: &Value, path: &str, errors: &mut Errors) {
    let mut names = HashSet::new();
    for (index, port) in list(ports).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let name = string(&port["name"]);
        if !name.is_empty() {
            let wrong = text::port_name(name);
            if !wrong.is_empty() {
                errors.invalid_text(&format!("{path}.name"), name, wrong);
            } else if !names.insert(name) {
                errors.duplicate(format!("{path}.name"), name);
            }
        }
        match port["containerPort"].as_i64().unwrap_or(0) {
            0 => errors.required(format!("{path}.containerPort"), ""),
            number => {
                for detail in text::port_number(number) {
                    errors.invalid(format!("{path}.containerPort"), number, detail);
                }
            }
        }
        if let Some(number) = port["hostPort"].as_i64().filter(|number| *number != 0) {
            for detail in text::port_number(number) {
                errors.invalid(format!("{path}.hostPort"), number, detail);
            }
        }
        if string(&port["protocol"]).is_empty() {
            errors.required(format!("{path}.protocol"), "");
        } else {
            errors.one_of(&format!("{path}.protocol"), &port["protocol"], &PROTOCOLS);
        }
    }
}

fn environment(variables: &Value, path: &str, errors: &mut Errors) {
    for (index, variable) in list(variables).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let name = string(&variable["name"]);
        if name.is_empty() {
            errors.required(format!("{path}.name"), "");
        } else {
            errors.invalid_text(&format!("{path}.name"), name, text::environment_name(name));
        }
        if !variable["valueFrom"].is_null() {
            value_from(variable, &format!("{path}.valueFrom"), errors);
        }
    }
}

fn value_from(variable: &Value, path: &str, errors: &mut Errors) {
    let source = &variable["valueFrom"];
    let kinds = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
    let given: Vec<&str> = kinds.into_iter().filter(|kind| !source[*kind].is_null()).collect();
    if !source["fieldRef"].is_null() {
        field_reference(&source["fieldRef"], &format!("{path}.fieldRef"), errors);
    }
    if !source["resourceFieldRef"].is_null() {
        let resource = &source["resourceFieldRef"]["resource"];
        let path = format!("{path}.resourceFieldRef.resource");
        match string(resource) {
            "" => errors.required(path, ""),
            name if name.contains(".hugepages-") => {}
            _ => errors.one_of(&path, resource, &RESOURCE_FIELDS),
        }
    }
    for kind in ["configMapKeyRef", "secretKeyRef"].into_iter().filter(|kind| !source[*kind].is_null()) {
        let key = string(&source[kind]["key"]);
        if key.is_empty() {
            errors.required(format!("{path}.{kind}.key"), "");
        } else {
            errors.invalid_text(&format!("{path}.{kind}.key"), key, text::config_key(key));
        }
    }
    match given.len() {
        0 => errors.invalid(path, "", NO_SOURCE),
        _ if !string(&variable["value"]).is_empty() => {
            errors.invalid(path, "", "may not be specified when `value` is not empty");
        }
        1 => {}
        _ => errors.invalid(path, "", "may not have more than one field specified at a time"),
    }
}

fn field_reference(reference: &Value, path: &str, errors: &mut Errors) {
    let field = string(&reference["fieldPath"]);
    let subscript = |prefix: &str| {
        let key = field.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']")?;
        Some(key.to_string())
    };
    if string(&reference["apiVersion"]).is_empty() {
        errors.required(format!("{path}.apiVersion"), "");
    } else if field.is_empty() {
        errors.required(format!("{path}.fieldPath"), "");
    } else if let Some(key) = subscript("metadata.annotations").or_else(|| subscript("metadata.labels")) {
        errors.invalid_text(&format!("{path}.fieldPath"), field, text::qualified_name(&key.to_lowercase()));
    } else if !FIELD_PATHS.contains(&field) {
        errors.invalid(
            format!("{path}.fieldPath"),
            field,
            format!("error converting fieldPath: field label not supported: {field}"),
        );
    }
}

fn environment_from(sources: &Value, path: &str, errors: &mut Errors) {
    for (index, source) in list(sources).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let prefix = string(&source["prefix"]);
        if !prefix.is_empty() {
            errors.invalid_text(&format!("{path}.prefix"), prefix, text::environment_name(prefix));
        }
        let given: Vec<&str> =
            ["configMapRef", "secretRef"].into_iter().filter(|kind| !source[*kind].is_null()).collect();
        for kind in &given {
            if string(&source[*kind]["name"]).is_empty() {
                errors.required(format!("{path}.{kind}.name"), "");
            }
        }
        match given.len() {
            0 => errors.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid(path, "", "may not have more than one field specified at a time"),
        }
    }
}

fn mounts(mounts: &Value, path: &str, volumes: &HashSet<&str>, errors: &mut Errors) {
    let mut mount_points = HashSet::new();
    for (index, mount) in list(mounts).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let (name, mount_path) = (string(&mount["name"]), string(&mount["mountPath"]));
        if name.is_empty() {
            errors.required(format!("{path}.name"), "");
        } else if !volumes.contains(name) {
            errors.not_found(format!("{path}.name"), &mount["name"]);
        }
        if mount_path.is_empty() {
            errors.required(format!("{path}.mountPath"), "");
        }
        if !mount_points.insert(mount_path) {
            errors.invalid(format!("{path}.mountPath"), mount_path, "must be unique");
        }
        let sub_path = string(&mount["subPath"]);
        if sub_path.starts_with('/') {
            errors.invalid(format!("{path}.subPath"), sub_path, "must be a relative path");
        }
        if sub_path.split('/').any(|part| part == "..") {
            errors.invalid(format!("{path}.subPath"), sub_path, "must not contain '..'");
        }
        let expression = string(&mount["subPathExpr"]);
        if !expression.is_empty() && !sub_path.is_empty() {
            let words = "subPathExpr and subPath are mutually exclusive";
            errors.invalid(format!("{path}.subPathExpr"), expression, words);
        }
        let propagation = ["Bidirectional", "HostToContainer", "None"];
        errors.one_of(&format!("{path}.mountPropagation"), &mount["mountPropagation"], &propagation);
    }
}

/// Limits and requests: names, no negative ones, no request above its limit.
pub(super) fn resources(resources: &Value, path: &str, errors: &mut Errors) {
    for field in ["limits", "requests"] {
        for (name, quantity) in entries(&resources[field]) {
            let path = format!("{path}.{field}[{name}]");
            resource_name(name, &path, errors);
            if parsed(quantity).is_some_and(|quantity| quantity.sign() < 0) {
                errors.invalid(path, quantity.clone(), NOT_NEGATIVE);
            }
        }
    }
    for (name, request) in entries(&resources["requests"]) {
        let limit = &resources["limits"][name];
        if let (Some(asked), Some(allowed)) = (parsed(request), parsed(limit))
            && asked > allowed
        {
            let words = format!("must be less than or equal to {name} limit of {allowed}");
            errors.invalid(format!("{path}.requests"), asked.to_string(), words);
        }
    }
}

fn resource_name(name: &str, path: &str, errors: &mut Errors) {
    let wrong = text::qualified_name(name);
    if !wrong.is_empty() {
        errors.invalid_text(path, name, wrong);
    } else if !name.contains('/') && !STANDARD_RESOURCES.contains(&name) && !name.starts_with("hugepages-") {
        errors.invalid(path, name, "must be a standard resource type or fully qualified");
        errors.invalid(path, name, "must be a standard resource for containers");
    }
}

pub(super) fn parsed(quantity: &Value) -> Option<Quantity> {
    Quantity::parse(&quantity.as_str().map_or_else(|| quantity.to_string(), str::to_string)).ok()
}

fn security(context: &Value, path: &str, errors: &mut Errors) {
    for field in ["runAsUser", "runAsGroup"] {
        identity(&context[field], &format!("{path}.{field}"), errors);
    }
    if context["allowPrivilegeEscalation"] == false {
        if context["privileged"] == true {
            let words = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid(path, context.clone(), words);
        }
        if list(&context["capabilities"]["add"]).iter().any(|capability| capability == "CAP_SYS_ADMIN") {
            let words = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid(path, context.clone(), words);
        }
    }
    seccomp(&context["seccompProfile"], &format!("{path}.seccompProfile"), errors);
}

/// A number of a user or a group.
pub(super) fn identity(id: &Value, path: &str, errors: &mut Errors) {
    if let Some(id) = id.as_i64().filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
        errors.invalid(path, id, format!("must be between 0 and {}, inclusive", i32::MAX));
    }
}

pub(super) fn seccomp(profile: &Value, path: &str, errors: &mut Errors) {
    if profile.is_null() {
        return;
    }
    let file = string(&profile["localhostProfile"]);
    match string(&profile["type"]) {
        "" => errors.required(format!("{path}.type"), "type is required when seccompProfile is set"),
        "Localhost" if file.is_empty() => {
            errors.required(format!("{path}.localhostProfile"), "must be set when seccomp type is Localhost");
        }
        "RuntimeDefault" | "Unconfined" if !file.is_empty() => {
            let words = "can only be set when seccomp type is Localhost";
            errors.invalid(format!("{path}.localhostProfile"), file, words);
        }
        "Localhost" | "RuntimeDefault" | "Unconfined" => {}
        _ => {
            let kinds = ["Localhost", "RuntimeDefault", "Unconfined"];
            errors.not_supported(format!("{path}.type"), &profile["type"], &kinds);
        }
    }
}

fn probe(probe: &Value, kind: &str, path: &str, errors: &mut Errors) {
    handlers(probe, &["exec", "httpGet", "tcpSocket", "grpc"], path, errors);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        errors.not_negative(&format!("{path}.{field}"), &probe[field]);
    }
    let grace = &probe["terminationGracePeriodSeconds"];
    if kind == "readinessProbe" {
        if !grace.is_null() {
            let words = "must not be set for readinessProbes";
            errors.invalid(format!("{path}.terminationGracePeriodSeconds"), grace.clone(), words);
        }
        return;
    }
    if grace.as_i64().is_some_and(|seconds| seconds <= 0) {
        errors.invalid(format!("{path}.terminationGracePeriodSeconds"), grace.clone(), "must be greater than 0");
    }
    if probe["successThreshold"].as_i64().is_some_and(|threshold| threshold != 1) {
        errors.invalid(format!("{path}.successThreshold"), probe["successThreshold"].clone(), "must be 1");
    }
}

/// Exactly one handler, and that a valid one.
fn handlers(holder: &Value, kinds: &[&str], path: &str, errors: &mut Errors) {
    let mut given = 0;
    for kind in kinds.iter().filter(|kind| !holder[**kind].is_null()) {
        given += 1;
        let (handler, path) = (&holder[*kind], format!("{path}.{kind}"));
        if given > 1 {
            errors.forbidden(path, "may not specify more than 1 handler type");
            continue;
        }
        match *kind {
            "exec" if list(&handler["command"]).is_empty() => errors.required(format!("{path}.command"), ""),
            "httpGet" => http_get(handler, &path, errors),
            "tcpSocket" | "grpc" => port(&handler["port"], &format!("{path}.port"), errors),
            _ => {}
        }
    }
    if given == 0 {
        errors.required(path, "must specify a handler type");
    }
}

fn http_get(handler: &Value, path: &str, errors: &mut Errors) {
    if string(&handler["path"]).is_empty() {
        errors.required(format!("{path}.path"), "");
    }
    port(&handler["port"], &format!("{path}.port"), errors);
    errors.one_of(&format!("{path}.scheme"), &handler["scheme"], &["HTTP", "HTTPS"]);
    for (index, header) in list(&handler["httpHeaders"]).iter().enumerate() {
        let name = string(&header["name"]);
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            let words = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', \
                         regex used for validation is '[-A-Za-z0-9]+')";
            errors.invalid(format!("{path}.httpHeaders[{index}].name"), name, words);
        }
    }
}
