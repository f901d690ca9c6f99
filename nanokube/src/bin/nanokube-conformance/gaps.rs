//! The gaps table: what is left out on purpose, by name. A gap still counts in M.

/// (area, start of the case, why it is left out)
const GAPS: &[(&str, &str, &str)] = &[
    ("discovery", "apis-custom.metrics.k8s.io", "not there until an APIService registers it"),
    ("discovery", "apis-external.metrics.k8s.io", "not there until an APIService registers it"),
];

/// Why a case is a known gap.
pub(crate) fn of(area: &str, case: &str) -> Option<&'static str> {
    GAPS.iter().find(|(gap, start, _)| *gap == area && case.starts_with(start)).map(|(_, _, why)| *why)
}
