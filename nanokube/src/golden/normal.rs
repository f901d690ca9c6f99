//! A line of kubectl's output without what differs from run to run: names that were generated, the node's name, times,
//! ages, addresses and figures. The numbers 0 and 1 stay, since none and one mean something; so does all text.

/// The name of the recorded Deployment, before what its ReplicaSets and pods are called.
const WORKLOAD: &str = "work-";
/// Words that name the place, and what stands for them.
const WORDS: [(&str, &str); 4] =
    [("node1", "<node>"), ("nanokube", "<node>"), ("vm", "<node>"), ("recorded", "default")];
const DAYS: [&str; 7] = ["Mon, ", "Tue, ", "Wed, ", "Thu, ", "Fri, ", "Sat, ", "Sun, "];
const RFC1123_CHARS: usize = "Mon, 23 Nov 2026 20:52:20 +0000".len();
const UID_CHARS: usize = 36;

/// What kubectl adds to a port since 1.33.
const PORT_NAME: &str = "/TCP (http)";

/// The line with marks in place of what differs.
pub fn line(text: &str) -> String {
    let text = &text.replace(PORT_NAME, "/TCP");
    let indent = text.len() - text.trim_start_matches(' ').len();
    let mut out = " ".repeat(indent);
    let mut rest = text[indent..].trim_end();
    while let Some(first) = rest.chars().next() {
        let (taken, mark) = next(rest, first);
        out.push_str(&mark);
        rest = &rest[taken..];
    }
    out
}

/// The next piece of a line: its bytes, and what stands for it.
fn next(rest: &str, first: char) -> (usize, String) {
    if first == ' ' {
        // Columns are as wide as their longest cell.
        let blanks = rest.len() - rest.trim_start_matches(' ').len();
        return (blanks, " ".repeat(blanks.min(2)));
    }
    if !first.is_ascii_alphanumeric() {
        return (first.len_utf8(), first.to_string());
    }
    if DAYS.iter().any(|day| rest.starts_with(day)) && rest.is_char_boundary(RFC1123_CHARS) {
        return (RFC1123_CHARS, "<time>".to_owned());
    }
    if let Some(image) = rest.strip_prefix("localhost/") {
        let end = image.find(['"', ' ', '\\', ',']).unwrap_or(image.len());
        return ("localhost/".len() + end, "<image>".to_owned());
    }
    if rest.get(..UID_CHARS).is_some_and(is_uid) {
        return (UID_CHARS, "<uid>".to_owned());
    }
    if let Some(generated) = rest.strip_prefix(WORKLOAD).and_then(generated_name) {
        return (WORKLOAD.len() + generated.0, generated.1.to_owned());
    }
    if first.is_ascii_digit() {
        return number(rest);
    }
    let word = &rest[..run(rest, |c| c.is_ascii_alphanumeric())];
    let known = WORDS.iter().find(|(name, _)| *name == word);
    (word.len(), known.map_or(word, |(_, mark)| mark).to_owned())
}

/// What follows a workload's name: the hash of its template, and a pod's own letters.
fn generated_name(rest: &str) -> Option<(usize, &'static str)> {
    let alphanumeric = |text: &str| run(text, |c| c.is_ascii_alphanumeric());
    let hash = alphanumeric(rest);
    if hash < 6 || !rest[..hash].contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match rest[hash..].strip_prefix('-').map(alphanumeric) {
        Some(5) => Some((hash + 6, "<pod>")),
        _ => Some((hash, "<replica set>")),
    }
}

fn number(rest: &str) -> (usize, String) {
    let whole = &rest[..run(rest, |c| c.is_ascii_alphanumeric() || ".:%-".contains(c))];
    if whole.contains('T') && whole.contains(':') && whole.contains('-') {
        return (whole.len(), "<time>".to_owned());
    }
    let dotted = &rest[..run(rest, |c| c.is_ascii_digit() || c == '.')];
    if dotted.split('.').filter(|part| !part.is_empty()).count() == 4 {
        return (dotted.len(), "<ip>".to_owned());
    }
    let figure = &rest[..run(rest, |c| c.is_ascii_alphanumeric() || ".%".contains(c))];
    let figure = figure.trim_end_matches('.');
    (figure.len(), if figure == "0" || figure == "1" { figure.to_owned() } else { "#".to_owned() })
}

fn is_uid(text: &str) -> bool {
    let dashes = [8, 13, 18, 23];
    text.char_indices().all(|(at, c)| if dashes.contains(&at) { c == '-' } else { c.is_ascii_hexdigit() })
}

/// Bytes at the beginning that all are so.
fn run(text: &str, so: impl Fn(char) -> bool) -> usize {
    text.find(|c| !so(c)).unwrap_or(text.len())
}
