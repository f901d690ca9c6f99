//! `loadgen URL`: runs a job and prints what came of it.

use std::io::Write;

use anyhow::{Context, Result};

use crate::cli::flags::{OutputFlags, RunFlags, SummaryForm};
use crate::cli::view::View;
use crate::cli::{Failure, job, say};
use crate::curve::Curve;
use crate::engine::{Job, run as run_engine, signal};
use crate::output::exporter::Exporter;
use crate::output::history::History;
use crate::output::{csv, hgrm, html, plan, prometheus, text};
use crate::stream::{Record, Summary, exit};

pub(super) fn run(flags: &RunFlags) -> Result<u8, Failure> {
    let job = job::job(flags)?;
    if flags.plan {
        return show_plan(&job);
    }
    let files = Files::create(&flags.output)?;
    signal::watch();
    let mut exporter = flags.metrics.as_deref().map(Exporter::start).transpose()?;
    let mut history = History::default();
    let mut view = View::new(flags);
    let summary = run_engine(&job, &mut |record| {
        if let Record::Plan(plan) = record {
            plan.notes.iter().for_each(|note| say::err(&format!("note: {note}")));
        }
        history.take(record);
        if let Some(exporter) = &mut exporter {
            exporter.take(record);
        }
        view.show(record, &history);
    })?;
    let told = view.leave();
    let code = finish(&flags.output, files, &summary, &history)?;
    told?;
    Ok(code)
}

/// Prints the summary in the form that was asked for, and writes the files.
pub(super) fn finish(flags: &OutputFlags, files: Files, summary: &Summary, history: &History) -> Result<u8, Failure> {
    let told = match (flags.intervals, flags.summary) {
        (true, _) => Ok(()),
        (false, SummaryForm::Text) => say::out(&text::report(summary, history)),
        (false, SummaryForm::Json) => say::raw(&(serde_json::to_string(summary).context("summary")? + "\n")),
    };
    files.write(summary, history)?;
    told?;
    Ok(summary.exit_code)
}

fn show_plan(job: &Job) -> Result<u8, Failure> {
    let Some(pattern) = &job.load.pattern else {
        return Err(Failure::Usage("--plan: a closed loop has no planned rate".to_owned()));
    };
    let curve = Curve::new(pattern, job.load.seed).map_err(|error| Failure::Usage(format!("bad pattern: {error}")))?;
    say::out(&plan::chart(pattern, &curve))?;
    Ok(exit::PASS)
}

/// The files that were asked for, opened before the run so that a wrong path does not cost one.
pub(super) struct Files {
    csv: Option<std::fs::File>,
    hgrm: Option<std::fs::File>,
    prometheus: Option<std::fs::File>,
    html: Option<std::fs::File>,
}

impl Files {
    pub(super) fn create(flags: &OutputFlags) -> Result<Self> {
        let create = |path: &Option<std::path::PathBuf>| match path {
            Some(path) => {
                let file = std::fs::File::create(path);
                file.map(Some).with_context(|| format!("cannot write {}", path.display()))
            }
            None => Ok(None),
        };
        Ok(Self {
            csv: create(&flags.csv)?,
            hgrm: create(&flags.hgrm)?,
            prometheus: create(&flags.prometheus)?,
            html: create(&flags.html)?,
        })
    }

    fn write(self, summary: &Summary, history: &History) -> Result<()> {
        let write = |file: Option<std::fs::File>, what: &str, text: &dyn Fn() -> String| match file {
            Some(mut file) => file.write_all(text().as_bytes()).with_context(|| format!("cannot write the {what}")),
            None => Ok(()),
        };
        write(self.csv, "CSV", &|| csv::rows(history))?;
        write(self.hgrm, "percentiles", &|| hgrm::percentiles(summary))?;
        write(self.prometheus, "metrics", &|| prometheus::metrics(summary))?;
        write(self.html, "report", &|| html::page(summary, history))
    }
}
