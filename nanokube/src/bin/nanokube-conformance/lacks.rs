//! What a cluster may lack that is not its API server's to have: a kubelet, a metrics server. Cases that cannot pass without
//! are not tried, count in M, and are told by number.

use serde_json::Value;

use nanokube::client::Client;

const KUBELET: &str = "a kubelet";
const METRICS: &str = "a metrics server";

/// Area, cases without the client's name, what they need.
const NEEDS: &[(&str, &[&str], &str)] = &[
    ("deletion", &["DELETE pod"], KUBELET),
    ("discovery", &["apis-metrics.k8s.io_v1beta1-APIResourceList: nodes"], METRICS),
    ("discovery", &["apis-metrics.k8s.io_v1beta1-APIResourceList: pods"], METRICS),
    ("kubectl", &["logs", "logs -f", "exec", "exec exit code", "exec -i", "attach", "port-forward", "proxy"], KUBELET),
    ("kubectl", &["debug", "delete pod", "delete misc", "wait job", "cordon", "drain", "uncordon"], KUBELET),
    ("kubectl", &["top pods", "top nodes"], METRICS),
    ("objects", &["nodemetrics", "podmetrics"], METRICS),
    ("tables", &["podmetrics"], METRICS),
];
/// What requests need whose path holds this.
const PATHS: [(&str, &str); 4] =
    [("/exec", KUBELET), ("/log", KUBELET), ("/portforward", KUBELET), ("/metrics.k8s.io/", METRICS)];

#[derive(Debug, Default)]
pub(crate) struct Lacks(Vec<&'static str>);

impl Lacks {
    /// Looks for a node whose kubelet answers, and for metrics of nodes.
    pub(crate) async fn of(client: &Client) -> anyhow::Result<Lacks> {
        let mut lacks = Lacks::default();
        let nodes = client.get("/api/v1/nodes").await?.json();
        let name = |node: &Value| node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let mut answers = false;
        for node in nodes["items"].as_array().into_iter().flatten().map(name) {
            answers |= client.get(&format!("/api/v1/nodes/{node}/proxy/healthz")).await?.status == 200;
        }
        if !answers {
            lacks.0.push(KUBELET);
        }
        if client.get("/apis/metrics.k8s.io/v1beta1").await?.status != 200 {
            lacks.0.push(METRICS);
        }
        Ok(lacks)
    }

    pub(crate) fn has_metrics(&self) -> bool {
        !self.0.contains(&METRICS)
    }

    pub(crate) fn has_kubelet(&self) -> bool {
        !self.0.contains(&KUBELET)
    }

    /// What the case needs and the cluster lacks.
    pub(crate) fn of_case(&self, area: &str, case: &str) -> Option<&'static str> {
        let case = case.split(" (").next().unwrap_or(case);
        let needs = NEEDS.iter().filter(|(of, cases, _)| *of == area && cases.contains(&case)).map(|(.., what)| *what);
        let by_path = PATHS.iter().filter(|(part, _)| area == "commands" && case.contains(part)).map(|(_, what)| *what);
        needs.chain(by_path).find(|what| self.0.contains(what))
    }
}

#[cfg(test)]
mod tests {
    use super::{KUBELET, Lacks, METRICS};

    #[test]
    fn a_case_is_left_out_only_for_what_it_needs() {
        let bare = Lacks(vec![KUBELET, METRICS]);
        for (area, case, lacking) in [
            ("kubectl", "exec (kubectl-1.36)", Some(KUBELET)),
            ("kubectl", "top nodes (kubectl-1.36)", Some(METRICS)),
            ("kubectl", "expose (kubectl-1.36)", None),
            ("deletion", "DELETE pod", Some(KUBELET)),
            ("deletion", "DELETE pod grace=0", None),
            ("commands", "exec 5: GET /api/v1/namespaces/lab/pods/web-1/exec", Some(KUBELET)),
            ("commands", "exec 4: GET /api/v1/namespaces/lab/pods", None),
        ] {
            assert_eq!(bare.of_case(area, case), lacking, "{case}");
            assert_eq!(Lacks::default().of_case(area, case), None);
        }
    }
}
