//! `nanokube logs`: what the daemon has written, and with `-f` what it goes on to write.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use crate::instance::Directory;

const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) fn run(directory: &Directory, follow: bool) -> anyhow::Result<ExitCode> {
    let path = directory.log();
    let hint = || format!("cannot read {}: run `nanokube start` first", path.display());
    let mut log = File::open(&path).with_context(hint)?;
    let mut out = io::stdout().lock();
    loop {
        let mut text = Vec::new();
        log.read_to_end(&mut text).with_context(hint)?;
        if let Err(error) = out.write_all(&text).and_then(|()| out.flush()) {
            if error.kind() == io::ErrorKind::BrokenPipe {
                return Ok(ExitCode::SUCCESS);
            }
            return Err(error).context("cannot print the log");
        }
        if !follow {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
