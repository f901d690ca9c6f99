//! The text format in which programs show their metrics to Prometheus: bytes in, samples out.
//!
//! A page is taken whole or not at all: half a page would be a smaller rate, and nobody could tell. The error names the
//! line. Takes the classic format 0.0.4 and what OpenMetrics adds to a line (exemplars, `# EOF`).

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

pub(crate) type Labels = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) labels: Labels,
}

/// The samples whose name is wanted.
pub(crate) fn parse(text: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<(Series, f64)>> {
    let mut samples = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (series, value) = sample(line).with_context(|| format!("line {}: {:?}", number + 1, shortened(line)))?;
        if wanted(&series.name) {
            samples.push((series, value));
        }
    }
    Ok(samples)
}

fn sample(line: &str) -> Result<(Series, f64)> {
    let end = line.find(|c: char| !is_name(c)).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        bail!("it does not begin with a metric's name");
    }
    let (labels, rest) = match rest.trim_start().strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (Labels::new(), rest),
    };
    if !rest.starts_with([' ', '\t']) {
        bail!("a space and a value must follow the series");
    }
    // An exemplar follows a hash; nothing before it can hold one.
    let mut words = rest.split('#').next().unwrap_or_default().split_whitespace();
    let value = words.next().context("the value is missing")?;
    let value: f64 = value.parse().with_context(|| format!("{value:?} is no number"))?;
    if let Some(stamp) = words.next() {
        stamp.parse::<f64>().with_context(|| format!("{stamp:?} is no time stamp"))?;
    }
    if words.next().is_some() {
        bail!("something follows the time stamp");
    }
    Ok((Series { name: name.to_owned(), labels }, value))
}

/// What stands after `{`, and the rest of the line after `}`.
fn labels(mut rest: &str) -> Result<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (name, after) = rest.split_once('=').context("a label has no value")?;
        let name = name.trim();
        if name.is_empty() || !name.chars().all(is_name) {
            bail!("{name:?} is no label's name");
        }
        let quoted = after.trim_start().strip_prefix('"').context("a label's value is not quoted")?;
        let (value, after) = unquoted(quoted)?;
        if labels.insert(name.to_owned(), value).is_some() {
            bail!("the label {name} comes twice");
        }
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => bail!("neither a comma nor a closing brace follows a label"),
        }
    }
}

/// A value up to its closing quote, and what follows that.
fn unquoted(text: &str) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped)) => value.push(escaped),
                None => break,
            },
            other => value.push(other),
        }
    }
    bail!("a label's value has no closing quote")
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

fn shortened(line: &str) -> String {
    line.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<(Series, f64)>> {
        parse(text, |_| true)
    }

    #[track_caller]
    fn check(line: &str, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let expected = (Series { name: name.to_owned(), labels }, value);
        assert_eq!(all(line).unwrap(), [expected], "{line}");
    }

    #[test]
    fn every_form_of_a_line_is_read() {
        check("up 1", "up", &[], 1.0);
        check("a:b_c{x=\"1\",} 2.5e3 1700000000000", "a:b_c", &[("x", "1")], 2500.0);
    }

    #[test]
    fn every_form_of_a_label_is_read() {
        check("a { x = \"1\" , y = \"2\" }\t+Inf", "a", &[("x", "1"), ("y", "2")], f64::INFINITY);
        check(r#"a{p="C:\\d\"\n} # {"} 7 # {id="9"} 0.5 12"#, "a", &[("p", "C:\\d\"\n} # {")], 7.0);
        check("a{} -1", "a", &[], -1.0);
        assert!(all("a NaN").unwrap()[0].1.is_nan());
    }

    #[test]
    fn comments_are_skipped_and_only_what_is_wanted_is_kept() {
        let text = "# HELP a Words.\n# TYPE a counter\na 1\n\nb 2\n# EOF\n";
        let kept = parse(text, |name| name == "b").unwrap();
        assert_eq!((kept.len(), kept[0].1), (1, 2.0));
    }

    #[test]
    fn a_broken_line_fails_the_page_and_is_named() {
        for (line, reason) in [
            ("a", "a space and a value must follow"),
            ("a ", "a space and a value must follow"),
            ("a one", "is no number"),
            ("a 1 later", "is no time stamp"),
            ("a 1 2 3", "something follows"),
            ("7 1", "does not begin with a metric's name"),
            ("<html>", "does not begin with a metric's name"),
            ("a{x} 1", "has no value"),
            ("a{x=1} 1", "not quoted"),
            ("a{x=\"1} 1", "no closing quote"),
            ("a{x=\"1\" y=\"2\"} 1", "neither a comma nor"),
            ("a{x=\"1\",x=\"2\"} 1", "comes twice"),
            ("a{x-y=\"1\"} 1", "is no label's name"),
        ] {
            let error = format!("{:#}", all(&format!("ok 1\n{line}\n")).expect_err(line));
            assert!(error.starts_with("line 2: ") && error.contains(reason), "{line}: {error}");
        }
    }

    /// Numbers as a seed gives them (a linear congruence; the upper half is random enough).
    struct Seeded(u64);

    impl Seeded {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % limit
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_damage_never_panics() {
        let mut seeded = Seeded(7);
        let alphabet: Vec<char> = "ab\\\"\n{}#=, é7".chars().collect();
        for _ in 0..500 {
            let count = 1 + seeded.below(4);
            let labels: Labels = (0..count)
                .map(|at| {
                    let length = seeded.below(9);
                    (format!("l{at}"), (0..length).map(|_| alphabet[seeded.below(alphabet.len())]).collect())
                })
                .collect();
            let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escape(value))).collect();
            let value = seeded.below(1_000_000) as f64 / 7.0;
            let line = format!("m_{count}{{{}}} {value}", pairs.join(","));
            let series = Series { name: format!("m_{count}"), labels };
            assert_eq!(all(&line).unwrap(), [(series, value)], "{line}");

            let mut damaged: Vec<char> = line.chars().collect();
            for _ in 0..3 {
                let at = seeded.below(damaged.len());
                damaged[at] = alphabet[seeded.below(alphabet.len())];
            }
            damaged.truncate(1 + seeded.below(damaged.len()));
            let _ = all(&damaged.into_iter().collect::<String>());
        }
    }
}
