//! What Minikube says when it fails: an event in JSON mode, a line `Exiting due to` with its advice in text, or anything at all.

use serde_json::Value;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// `GUEST_START`; empty where no reason is named.
    pub(super) name: String,
    pub(super) message: String,
    pub(super) advice: String,
}

impl Said {
    /// `GUEST_START: failed to start node`
    pub(super) fn in_words(&self) -> String {
        if self.name.is_empty() { self.message.clone() } else { format!("{}: {}", self.name, self.message) }
    }
}

pub(super) fn said(stdout: &str, stderr: &str) -> Said {
    let lines = || stderr.lines().chain(stdout.lines());
    let named = lines().find_map(exiting).map(|said| Said { advice: advice(stderr), ..said });
    // A word of klog's says less than a word of Minikube's own.
    let plain = || lines().map(str::trim).find(|line| !line.is_empty() && !is_log(line));
    let any = || lines().map(str::trim).find(|line| !line.is_empty());
    named
        .or_else(|| stdout.lines().find_map(event))
        .unwrap_or_else(|| Said { message: plain().or_else(any).unwrap_or_default().to_owned(), ..Said::default() })
}

/// `X Exiting due to GUEST_START: failed to start node`
fn exiting(line: &str) -> Option<Said> {
    let (_, reason) = line.split_once("Exiting due to ")?;
    let (name, message) = reason.split_once(": ").unwrap_or((reason, ""));
    Some(Said { name: name.trim().to_owned(), message: message.trim().to_owned(), advice: String::new() })
}

/// `* Suggestion: Start the Docker service`
fn advice(stderr: &str) -> String {
    let found = stderr.lines().find_map(|line| line.split_once("Suggestion: "));
    found.map(|(_, advice)| advice.trim().to_owned()).unwrap_or_default()
}

/// A fatal event; other errors and notices only where nothing is fatal would be guesses.
fn event(line: &str) -> Option<Said> {
    let data = serde_json::from_str::<Value>(line).ok()?["data"].take();
    let text = |key: &str| data[key].as_str().unwrap_or_default().trim().to_owned();
    data["exitcode"].as_str()?;
    Some(Said { name: text("name"), message: text("message"), advice: text("advice") })
}

/// `E0223 12:00:00.000000   123 file.go:1] ...`
fn is_log(line: &str) -> bool {
    let mut chars = line.chars();
    chars.next().is_some_and(|c| "IWEF".contains(c)) && chars.take(4).all(|c| c.is_ascii_digit()) && line.contains("] ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_found_in_text_and_in_events() {
        let text = "\nX Exiting due to SVC_URL_TIMEOUT: no answer\n* Suggestion: wait\n";
        assert_eq!(
            (said("", text).in_words().as_str(), &*said("", text).advice),
            ("SVC_URL_TIMEOUT: no answer", "wait")
        );
        let event = r#"{"data":{"exitcode":"80","name":"A","message":"b"}}"#;
        assert_eq!(said(event, "E0223 klog").in_words(), "A: b");
        assert_eq!(said("", "something else\nmore").in_words(), "something else");
        let flag =
            "E0223 12:00:00.000000   123 file.go:1] noise\nError: unknown flag: --foo\nSee 'minikube start --help'";
        assert_eq!(said("", flag).in_words(), "Error: unknown flag: --foo");
    }
}
