//! What kubectl printed beside a real v1.36 cluster that scaled up and down, and how like it another cluster's output is.
//!
//! `testdata/real-cluster.txt` has the pages: a command at a stage of the run, and its output with names, ages, figures and
//! addresses taken out. Pages are compared line by line; where the order is chance (events, watches) as sets. A line that
//! came by chance alone, such as a probe that met a closing socket, is marked and may be absent.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

pub mod normal;

#[cfg(test)]
mod tests;

/// The pages that every clone has.
pub const RECORDED: &str = include_str!("../testdata/real-cluster.txt");
/// Begins the heading of a page: `== <stage> <second> <command>`.
const HEADING: &str = "== ";
/// Stands in for the first lines of another stage's page of the same command: `=> <stage> <how many>`.
const AS: &str = "=> ";
const ALIKE_MIN: usize = 5;
/// Outputs that say the same again.
const AGAIN: [&str; 2] = ["get hpa work -o json", "--sort-by"];
/// Marks a line that may be absent.
const CHANCE: &str = "?? ";
/// The stage of what was watched all the time.
pub const WATCH: &str = "watch";
/// Where the load began, in the recording's seconds.
const LOAD_BEGAN_S: f64 = 88.22;

/// The output of one command at one stage, with its figures taken out.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub stage: String,
    /// Seconds after the load's start.
    pub at_s: f64,
    /// `kubectl get hpa`
    pub command: String,
    pub lines: Vec<String>,
}

/// How like its page an output is.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    pub stage: String,
    pub command: String,
    /// Of `wanted` lines.
    pub found: usize,
    pub wanted: usize,
    /// `- recorded` and `+ here`.
    pub unlike: Vec<String>,
}

impl Page {
    pub fn new(stage: &str, at_s: f64, command: &str, output: &str) -> Page {
        let mut lines: Vec<String> = output.lines().map(normal::line).collect();
        if is_unordered(command) {
            lines.sort();
        }
        lines.dedup();
        Page { stage: stage.to_owned(), at_s, command: command.to_owned(), lines }
    }

    /// Compares an output with this page.
    pub fn compare(&self, output: &str) -> Comparison {
        let here = Page::new(&self.stage, self.at_s, &self.command, output);
        let (certain, chance): (Vec<&str>, Vec<&str>) =
            self.lines.iter().map(String::as_str).partition(|line| !line.starts_with(CHANCE));
        let chance: BTreeSet<&str> = chance.into_iter().filter_map(|line| line.strip_prefix(CHANCE)).collect();
        let here: Vec<&str> = here.lines.iter().map(String::as_str).filter(|line| !chance.contains(line)).collect();
        let [common, found] =
            if is_unordered(&self.command) { both(&certain, &here) } else { subsequence(&certain, &here) };
        let sides = [("- ", &certain, &common), ("+ ", &here, &found)];
        let unlike = sides.into_iter().flat_map(|(mark, lines, common)| {
            let rest = lines.iter().enumerate().filter(move |(at, _)| !common.contains(at));
            rest.map(move |(_, line)| format!("{mark}{line}"))
        });
        let unlike: Vec<String> = unlike.collect();
        let (stage, command) = (self.stage.clone(), self.command.clone());
        Comparison { stage, command, found: common.len(), wanted: certain.len(), unlike }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:17}{:48}{:3} of {:3} lines as recorded", self.stage, self.command, self.found, self.wanted)?;
        self.unlike.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// Whether the order of lines is chance: what several pods did at the same time.
fn is_unordered(command: &str) -> bool {
    command.contains(" -w") || command.contains("get events")
}

/// The indices on either side of lines that both have.
fn both(one: &[&str], other: &[&str]) -> [BTreeSet<usize>; 2] {
    let among = |of: &[&str], them: &[&str]| {
        of.iter().enumerate().filter(|(_, line)| them.contains(line)).map(|(at, _)| at).collect::<BTreeSet<usize>>()
    };
    [among(one, other), among(other, one)]
}

/// The indices on either side of a longest common subsequence.
fn subsequence(one: &[&str], other: &[&str]) -> [BTreeSet<usize>; 2] {
    let mut length = vec![vec![0usize; other.len() + 1]; one.len() + 1];
    for (i, line) in one.iter().enumerate().rev() {
        for (j, its) in other.iter().enumerate().rev() {
            length[i][j] = if line == its { length[i + 1][j + 1] + 1 } else { length[i + 1][j].max(length[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut common) = (0, 0, [BTreeSet::new(), BTreeSet::new()]);
    while i < one.len() && j < other.len() {
        if one[i] == other[j] {
            common[0].insert(i);
            common[1].insert(j);
            (i, j) = (i + 1, j + 1);
        } else if length[i + 1][j] >= length[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    common
}

/// The pages of a text as `write` makes it.
pub fn read(text: &str) -> Vec<Page> {
    let mut pages: Vec<Page> = Vec::new();
    // What is above the first page is for people.
    for line in text.lines().skip_while(|line| !line.starts_with(HEADING)) {
        if let Some(heading) = line.strip_prefix(HEADING) {
            let mut words = heading.splitn(3, ' ');
            let mut word = || words.next().unwrap_or("").to_owned();
            let (stage, at_s, command) = (word(), word().parse().unwrap_or(0.0), word());
            pages.push(Page { stage, at_s, command, lines: Vec::new() });
        } else if let Some((stage, count)) = line.strip_prefix(AS).and_then(|rest| rest.split_once(' ')) {
            let Some(command) = pages.last().map(|page| page.command.clone()) else { continue };
            let same = pages.iter().find(|page| page.stage == stage && page.command == command);
            let count = count.parse().unwrap_or(usize::MAX);
            let lines: Vec<String> = same.iter().flat_map(|page| page.lines.iter().take(count).cloned()).collect();
            if let Some(page) = pages.last_mut() {
                page.lines = lines;
            }
        } else if let Some(page) = pages.last_mut() {
            page.lines.push(line.to_owned());
        }
    }
    pages
}

/// Pages as a text; what an earlier page of the same command begins with is not repeated.
pub fn write(pages: &[Page]) -> String {
    let mut text = String::new();
    for (at, page) in pages.iter().enumerate() {
        text += &format!("{HEADING}{} {:.1} {}\n", page.stage, page.at_s, page.command);
        let alike = |other: &Page| page.lines.iter().zip(&other.lines).take_while(|(one, its)| one == its).count();
        let before = pages[..at].iter().filter(|it| it.command == page.command).map(|it| (alike(it), it));
        // The first of those that are alike furthest.
        let most = before.rev().max_by_key(|(count, _)| *count).filter(|(count, _)| *count >= ALIKE_MIN);
        let count = most.map_or(0, |(count, same)| {
            text += &format!("{AS}{} {count}\n", same.stage);
            count
        });
        page.lines[count..].iter().for_each(|line| text += &format!("{line}\n"));
    }
    text
}

/// The pages of a folder of recorded outputs, `<stage>--<command>.txt`; the first two lines of a stage's are its command
/// and its time.
pub fn read_folder(folder: &Path) -> std::io::Result<Vec<Page>> {
    let mut files: Vec<_> = std::fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut pages = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().replace('_', " ");
        let Some((stage, command)) = name.split_once("--") else { continue };
        if AGAIN.iter().any(|again| command.contains(again)) {
            continue;
        }
        let (at_s, output) = match text.split_once("\n# t=") {
            Some((_, rest)) => {
                let (time, output) = rest.split_once('\n').unwrap_or((rest, ""));
                (time.split('s').next().and_then(|it| it.parse::<f64>().ok()).unwrap_or(0.0) - LOAD_BEGAN_S, output)
            }
            None => (0.0, text.as_str()),
        };
        let mut page = Page::new(stage, (at_s * 10.0).round() / 10.0, &format!("kubectl {command}"), output);
        for line in &mut page.lines {
            if line.contains("probe failed: Get ") {
                line.insert_str(0, CHANCE);
            }
        }
        pages.push(page);
    }
    Ok(pages)
}
