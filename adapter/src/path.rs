//! What a request's path and query ask for.

use crate::{CUSTOM, EXTERNAL};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    Health,
    Ready,
    Metrics,
    Groups,
    Group(&'static str),
    Resources(&'static str),
    /// Of pods or other objects of a namespace; the name may be `*`.
    Objects {
        namespace: String,
        resource: String,
        name: String,
        metric: String,
    },
    /// Of a namespace itself.
    Namespace {
        namespace: String,
        metric: String,
    },
    External {
        namespace: String,
        metric: String,
    },
    Unknown,
}

impl Asked {
    pub(crate) fn of(path: &str) -> Asked {
        let segments: Vec<String> = path.split('/').filter(|segment| !segment.is_empty()).map(decoded).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments[..] {
            ["healthz" | "livez"] => Asked::Health,
            ["readyz"] => Asked::Ready,
            ["metrics"] => Asked::Metrics,
            ["apis"] => Asked::Groups,
            ["apis", group] => group_of(group).map_or(Asked::Unknown, |(group, _)| Asked::Group(group)),
            ["apis", group, version, ref rest @ ..] => match group_of(group).filter(|(_, served)| *served == version) {
                Some((group, _)) => Asked::below(group, rest),
                None => Asked::Unknown,
            },
            _ => Asked::Unknown,
        }
    }

    fn below(group: &'static str, rest: &[&str]) -> Asked {
        let own = |text: &str| text.to_owned();
        match *rest {
            [] => Asked::Resources(group),
            ["namespaces", namespace, metric] if group == EXTERNAL.0 => {
                Asked::External { namespace: own(namespace), metric: own(metric) }
            }
            ["namespaces", namespace, "metrics", metric] if group == CUSTOM.0 => {
                Asked::Namespace { namespace: own(namespace), metric: own(metric) }
            }
            ["namespaces", namespace, resource, name, metric] if group == CUSTOM.0 => Asked::Objects {
                namespace: own(namespace),
                resource: own(resource),
                name: own(name),
                metric: own(metric),
            },
            _ => Asked::Unknown,
        }
    }

    /// A label for the adapter's own metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Asked::Health => "/healthz",
            Asked::Ready => "/readyz",
            Asked::Metrics => "/metrics",
            Asked::Groups | Asked::Group(_) | Asked::Resources(_) => "discovery",
            Asked::Objects { .. } | Asked::Namespace { .. } => CUSTOM.0,
            Asked::External { .. } => EXTERNAL.0,
            Asked::Unknown => "other",
        }
    }
}

fn group_of(name: &str) -> Option<(&'static str, &'static str)> {
    [CUSTOM, EXTERNAL].into_iter().find(|(group, _)| *group == name)
}

/// The value of a query's parameter; the last one counts.
pub(crate) fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.rsplit('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| decoded(&value.replace('+', " ")))
}

/// Percent-decoded. What is not well encoded stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let byte = match (first, after) {
            (b'%', [high, low, ..]) => {
                std::str::from_utf8(&[*high, *low]).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok())
            }
            _ => None,
        };
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_both_apis_are_taken_apart() {
        let objects = |resource: &str, name: &str, metric: &str| Asked::Objects {
            namespace: "lab".to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            metric: metric.to_owned(),
        };
        let custom = "/apis/custom.metrics.k8s.io/v1beta2";
        let external = "/apis/external.metrics.k8s.io/v1beta1";
        for (path, asked) in [
            (format!("{custom}/namespaces/lab/pods/%2A/rps"), objects("pods", "*", "rps")),
            (format!("{custom}/namespaces/lab/pods/*/a%2Fb"), objects("pods", "*", "a/b")),
            (format!("{custom}/namespaces/lab/deployments.apps/web/rps"), objects("deployments.apps", "web", "rps")),
            (
                format!("{custom}/namespaces/lab/metrics/rps"),
                Asked::Namespace { namespace: "lab".to_owned(), metric: "rps".to_owned() },
            ),
            (
                format!("{external}/namespaces/lab/rps"),
                Asked::External { namespace: "lab".to_owned(), metric: "rps".to_owned() },
            ),
            (format!("{custom}/"), Asked::Resources(CUSTOM.0)),
            ("/apis/external.metrics.k8s.io".to_owned(), Asked::Group(EXTERNAL.0)),
            ("/apis".to_owned(), Asked::Groups),
            ("/apis/custom.metrics.k8s.io/v1beta1".to_owned(), Asked::Unknown),
            (format!("{external}/namespaces/lab/pods/*/rps"), Asked::Unknown),
            ("/openapi/v2".to_owned(), Asked::Unknown),
        ] {
            assert_eq!(Asked::of(&path), asked, "{path}");
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let query = "labelSelector=app%3Dweb%2Ctier+in+%28a%29&x=%zz";
        assert_eq!(parameter(query, "labelSelector").as_deref(), Some("app=web,tier in (a)"));
        assert_eq!(parameter(query, "x").as_deref(), Some("%zz"));
        assert_eq!(parameter(query, "y"), None);
    }
}
