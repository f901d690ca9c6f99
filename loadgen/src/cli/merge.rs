//! `loadgen merge A B ...`: the streams of several generators as one stream, or as its report.

use std::path::Path;

use anyhow::{Context, Result, anyhow};

use crate::cli::flags::MergeFlags;
use crate::cli::run::{Files, finish};
use crate::cli::view::line;
use crate::cli::{Failure, say};
use crate::merge::Merger;
use crate::output::history::History;
use crate::stream::{Record, Summary, read_stream};

pub(super) fn run(flags: &MergeFlags) -> Result<u8, Failure> {
    let files = Files::create(&flags.output)?;
    let streams = flags.streams.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    let mut history = History::default();
    let mut told = Ok(());
    let summary = merge(streams, &mut |record| {
        if let Record::Plan(plan) = record {
            plan.notes.iter().for_each(|note| say::err(&format!("note: {note}")));
        }
        history.take(record);
        if let (true, Ok(()), Some(line)) = (flags.output.intervals, &told, line(record)) {
            told = say::raw(&line);
        }
    })?;
    let code = finish(&flags.output, files, &summary, &history)?;
    told?;
    Ok(code)
}

/// Takes the streams a line in turn, as they would come from running generators: few seconds wait for others.
fn merge(streams: Vec<Vec<Record>>, on_record: &mut dyn FnMut(&Record)) -> Result<Summary> {
    let mut merger = Merger::new(streams.len());
    let mut running: Vec<_> = streams.into_iter().map(Vec::into_iter).enumerate().collect();
    let mut merged = None;
    while !running.is_empty() {
        let mut still_running = Vec::with_capacity(running.len());
        for (source, mut records) in running {
            let out = match records.next() {
                Some(record) => {
                    still_running.push((source, records));
                    merger.take(source, record)
                }
                None => merger.end(source),
            };
            for record in out.map_err(|error| anyhow!(error))? {
                on_record(&record);
                if let Record::Summary(summary) = record {
                    merged = Some(*summary);
                }
            }
        }
        running = still_running;
    }
    merged.context("no stream to merge")
}

fn read(path: &Path) -> Result<Vec<Record>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    read_stream(&text).map_err(|error| anyhow!("{}: {error}", path.display()))
}
