//! What runs beside the workload and is ours as well: Deployments of the manifests whose image is made from this clone.
//!
//! Their images are packed and loaded like the service's, and only where the manifests name them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::image;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Companion {
    pub(crate) package: &'static str,
    /// The image's name without registry and tag.
    pub(crate) name: &'static str,
    /// The image as the manifests have it.
    pub(crate) image: String,
    pub(crate) deployment: String,
    /// Of its pods, in the form of a query.
    pub(crate) selector: String,
}

/// All but the workload itself.
pub(crate) fn find(objects: &[Value], workload: &str) -> Vec<Companion> {
    let deployments = objects.iter().filter(|object| object["kind"] == "Deployment");
    deployments.filter(|deployment| deployment["metadata"]["name"] != workload).filter_map(of_deployment).collect()
}

fn of_deployment(deployment: &Value) -> Option<Companion> {
    let containers = deployment.pointer("/spec/template/spec/containers")?.as_array()?;
    let ours = |container: &Value| {
        let written = container["image"].as_str()?;
        let is_of = |name: &str| {
            let rest = written.strip_prefix("localhost/").and_then(|rest| rest.strip_prefix(name));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        let (package, name) = image::PACKAGES.into_iter().find(|(_, name)| is_of(name))?;
        Some((package, name, written.to_owned()))
    };
    let (package, name, image) = containers.iter().find_map(ours)?;
    let labels: BTreeMap<String, String> =
        serde_json::from_value(deployment.pointer("/spec/selector/matchLabels")?.clone()).ok()?;
    let selector: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let deployment = deployment.pointer("/metadata/name")?.as_str()?.to_owned();
    Some(Companion { package, name, image, deployment, selector: selector.join(",") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(name: &str, image: &str) -> Value {
        json!({"kind": "Deployment", "metadata": {"name": name}, "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"spec": {"containers": [{"image": "docker.io/envoy:1"}, {"image": image}]}}}})
    }

    #[test]
    fn a_companion_is_another_deployment_with_an_image_of_this_clone() {
        let (package, name) = image::PACKAGES[2];
        let ours = format!("localhost/{name}:dev");
        let objects = [
            deployment("web", &ours),
            deployment("measurer", &ours),
            deployment("foreign", &format!("example.com/{name}:dev")),
            deployment("alike", &format!("localhost/{name}-2:dev")),
        ];
        let found = find(&objects, "web");
        let (deployment, selector) = ("measurer".to_owned(), "app=measurer".to_owned());
        assert_eq!(found, [Companion { package, name, image: ours, deployment, selector }]);
    }
}
