//! kubectl's outputs beside those of a real cluster, at the same stages of the same run: whoever starts the run says when its
//! load begins, this program looks on until the last stage and prints how many lines are as recorded.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use nanokube::golden::{self, Comparison, Page, WATCH};

use super::kubectl;

/// When watching begins, in seconds after the load's start: two after the autoscaler was made, as recorded.
const WATCHED_FROM_S: f64 = -83.5;

/// Looks on; returns the share of recorded lines that were printed.
pub(crate) fn run(
    kubeconfig: &Path,
    namespace: &str,
    load_began_ms: i64,
    given: &[std::path::PathBuf],
) -> anyhow::Result<f64> {
    let on_path = kubectl::on_path();
    let kubectl =
        given.first().or(on_path.as_ref()).context("no kubectl on PATH: install one, or give --kubectl FILE")?;
    let run = Run { kubectl, kubeconfig, namespace, load_began_ms };
    let (watches, mut pages): (Vec<Page>, Vec<Page>) =
        golden::read(golden::RECORDED).into_iter().partition(|page| page.stage == WATCH);
    pages.sort_by(|one, other| one.at_s.total_cmp(&other.at_s));
    let (early, late): (Vec<Page>, Vec<Page>) = pages.into_iter().partition(|page| page.at_s < WATCHED_FROM_S);
    let mut compared = run.look(&early)?;
    run.sleep_until(WATCHED_FROM_S);
    let watching: Vec<(Page, Child)> =
        watches.into_iter().map(|page| run.watch(page)).collect::<anyhow::Result<_>>()?;
    compared.extend(run.look(&late)?);
    for (page, mut child) in watching {
        child.kill()?;
        compared.push(page.compare(&text(&child.wait_with_output()?.stdout)));
    }
    Ok(tell(&compared))
}

struct Run<'a> {
    kubectl: &'a Path,
    kubeconfig: &'a Path,
    namespace: &'a str,
    load_began_ms: i64,
}

impl Run<'_> {
    /// Runs the commands of pages, each at its time.
    fn look(&self, pages: &[Page]) -> anyhow::Result<Vec<Comparison>> {
        let look = |page: &Page| {
            self.sleep_until(page.at_s);
            let output = self.command(page).output().context("cannot run kubectl")?;
            Ok(page.compare(&(text(&output.stdout) + &text(&output.stderr))))
        };
        pages.iter().map(look).collect()
    }

    fn watch(&self, page: Page) -> anyhow::Result<(Page, Child)> {
        let child = self.command(&page).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        Ok((page, child.context("cannot run kubectl")?))
    }

    fn command(&self, page: &Page) -> Command {
        let mut command = Command::new(self.kubectl);
        command.args(page.command.split(' ').skip(1)).args(["-n", self.namespace]).arg("--kubeconfig");
        command.arg(self.kubeconfig).stdin(Stdio::null());
        command
    }

    fn sleep_until(&self, at_s: f64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let at = self.load_began_ms as f64 / 1e3 + at_s;
        std::thread::sleep(Duration::from_secs_f64((at - now).max(0.0)));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Prints a line a stage, and below it what is unlike.
fn tell(compared: &[Comparison]) -> f64 {
    let mut stages: Vec<&str> = compared.iter().map(|it| it.stage.as_str()).collect();
    stages.dedup();
    let (mut found, mut wanted) = (0, 0);
    for stage in stages {
        let of_stage: Vec<&Comparison> = compared.iter().filter(|it| it.stage == stage).collect();
        let (its, of): (usize, usize) = of_stage.iter().fold((0, 0), |(its, of), it| (its + it.found, of + it.wanted));
        println!("{stage:17}{its:4} of {of:4} lines as recorded, {} commands", of_stage.len());
        for unlike in of_stage.iter().filter(|it| !it.unlike.is_empty()) {
            println!("  {}\n    {}", unlike.command, unlike.unlike.join("\n    "));
        }
        (found, wanted) = (found + its, wanted + of);
    }
    println!("kubectl's outputs: {found} of {wanted} lines as recorded");
    found as f64 / wanted.max(1) as f64
}
