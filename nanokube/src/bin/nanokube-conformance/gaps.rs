//! What is left out on purpose, by name. A gap still counts in M.
//!
//! `docs/kubernetes-api.md` tells users the same, and more; a test sees to it that every row stands there.

/// (area, start of the case, why it is left out)
const GAPS: &[(&str, &str, &str)] = &[
    ("discovery", "apis-custom.metrics.k8s.io", "not there until an APIService registers it"),
    ("discovery", "apis-external.metrics.k8s.io", "not there until an APIService registers it"),
    ("commands", "rust-kube-discovery 24", "not there until an APIService registers it"),
    ("commands", "rust-kube-discovery 25", "not there until an APIService registers it"),
    ("commands", "rust-kube-discovery 26", "not there until an APIService registers it"),
    ("objects", "custom-v1beta1", "not there until an APIService registers it"),
    ("objects", "custom-v1beta2", "not there until an APIService registers it"),
    ("objects", "external", "not there until an APIService registers it"),
    ("tables", "podmetrics", "printed as metrics-server prints them; the recording's stand-in knew no tables"),
    ("commands", "proxy-svc", "no program of the suite's image serves HTTP"),
];

/// Why a case is a known gap.
pub(crate) fn of(area: &str, case: &str) -> Option<&'static str> {
    GAPS.iter().find(|(gap, start, _)| *gap == area && case.starts_with(start)).map(|(_, _, why)| *why)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_gap_is_a_row_of_the_table_in_the_docs() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/kubernetes-api.md");
        let page = std::fs::read_to_string(page).unwrap();
        for (area, case, why) in super::GAPS {
            let row = page.lines().find(|line| line.starts_with('|') && line.contains(case));
            assert!(row.is_some_and(|row| row.contains(why)), "no row for {area}: {case}: {why}");
        }
    }
}
