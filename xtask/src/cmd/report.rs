//! `report`: a recorded run shown again, its files written again. A pure function of the run directory.

use anyhow::Result;

use crate::cli::{Output, ReportArgs};
use crate::cmd::load;
use crate::lab::Lab;
use crate::problem;
use crate::report;
use crate::run_dir::{RunDir, shown};

pub(crate) fn run(lab: &Lab<'_>, args: &ReportArgs) -> Result<u8> {
    let dir = RunDir::find(&lab.workspace, args.run.as_deref())?;
    let report = load::write_report(&dir)?;
    match args.output {
        Output::Text => load::finish(lab, &report, args.junit.as_deref()),
        Output::Json => {
            if let Some(path) = &args.junit {
                std::fs::write(path, report::junit(&report, &shown(&dir.html())))
                    .map_err(|_| problem::unwritable(path))?;
            }
            lab.terminal.line(report.json()?.trim_end());
            Ok(report.verdict.exit_code())
        }
    }
}
