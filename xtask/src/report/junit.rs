//! Expectations as JUnit XML, the form that every CI server reads: one test case an expectation.

use super::{Report, Verdict};

pub(crate) fn junit(report: &Report) -> String {
    let failed = report.expectations.iter().filter(|expectation| !expectation.passed).count();
    let errors = usize::from(matches!(report.verdict, Verdict::Invalid | Verdict::Interrupted));
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    xml.push_str(&format!(
        "<testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" errors=\"{errors}\" time=\"{:.1}\" timestamp=\"{}\">\n",
        escape(&report.scenario),
        report.expectations.len() + 1,
        report.load_s,
        escape(&report.started),
    ));
    for expectation in &report.expectations {
        xml.push_str(&format!(
            "  <testcase classname=\"{}\" name=\"{}\"",
            escape(&report.scenario),
            escape(&expectation.name)
        ));
        if expectation.passed {
            xml.push_str("/>\n");
        } else {
            let message = format!("expected {}, measured {}", expectation.expected, expectation.measured);
            xml.push_str(&format!("><failure message=\"{}\"/></testcase>\n", escape(&message)));
        }
    }
    xml.push_str(&format!("  <testcase classname=\"{}\" name=\"the run is valid\"", escape(&report.scenario)));
    if errors == 0 {
        xml.push_str("/>\n");
    } else {
        let message = format!("{}: {}", report.verdict.word(), report.generator.reasons.join("; "));
        xml.push_str(&format!("><error message=\"{}\"/></testcase>\n", escape(&message)));
    }
    xml.push_str("</testsuite>\n");
    xml
}

fn escape(text: &str) -> String {
    super::html::escape(text)
}
