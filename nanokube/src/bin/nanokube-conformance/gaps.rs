//! What is left out on purpose, by name. A gap still counts in M.
//!
//! `docs/kubernetes-api.md` tells users the same, and more; a test sees to it that every row stands there.

/// (area, start of the case, why it is left out)
const GAPS: &[(&str, &str, &str)] = &[
    ("discovery", "apis-custom.metrics.k8s.io", "not there until an APIService registers it"),
    ("discovery", "apis-external.metrics.k8s.io", "not there until an APIService registers it"),
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
