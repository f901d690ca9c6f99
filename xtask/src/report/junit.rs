//! Expectations as JUnit XML, the form that every CI server reads: one test case an expectation, with what was measured,
//! and where the whole report lies.

use super::{Expectation, Report, Verdict};

pub(crate) fn junit(report: &Report, page: &str) -> String {
    let failed = report.expectations.iter().filter(|expectation| !expectation.passed).count();
    let errors = usize::from(matches!(report.verdict, Verdict::Invalid | Verdict::Interrupted));
    let suite = escape(&report.scenario);
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{suite}\" tests=\"{}\" failures=\"{failed}\" \
         errors=\"{errors}\" time=\"{:.1}\" timestamp=\"{}\">\n  <properties>\n",
        report.expectations.len() + 1,
        report.took_s,
        escape(&report.started),
    );
    for (name, value) in [("run", report.run.as_str()), ("report", page), ("command", &report.command)] {
        xml.push_str(&format!("    <property name=\"{name}\" value=\"{}\"/>\n", escape(value)));
    }
    xml.push_str("  </properties>\n");
    for expectation in &report.expectations {
        xml.push_str(&case(&suite, &expectation.name, &outcome(expectation)));
    }
    let reasons = report.generator.reasons.join("; ");
    let outcome = if errors == 0 {
        format!("<system-out>{}</system-out>", escape(&format!("the generator was {}", report.generator.verdict)))
    } else {
        format!("<error message=\"{}\"/>", escape(&format!("{}: {reasons}", report.verdict.word())))
    };
    xml.push_str(&case(&suite, "the run is valid", &outcome));
    xml.push_str(&format!("  <system-out>report: {}</system-out>\n</testsuite>\n", escape(page)));
    xml
}

fn outcome(expectation: &Expectation) -> String {
    let told = escape(&format!("expected {}, measured {}", expectation.expected, expectation.measured));
    if expectation.passed {
        format!("<system-out>{told}</system-out>")
    } else {
        format!("<failure message=\"{told}\"/>")
    }
}

fn case(suite: &str, name: &str, outcome: &str) -> String {
    format!("  <testcase classname=\"{suite}\" name=\"{}\">{outcome}</testcase>\n", escape(name))
}

fn escape(text: &str) -> String {
    super::html::escape(text)
}
