//! Processes of a test's own, which end with it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // One that the test has waited for is gone, and its number may be another's.
        if let Ok(None) = self.0.try_wait() {
            let _ =
                rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::TERM);
            let _ = self.0.wait();
        }
    }
}

impl Process {
    /// Whether a daemon has said that it is ready; false when it ended instead.
    pub(crate) fn is_ready(&mut self) -> bool {
        let mut line = String::new();
        BufReader::new(self.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        line.trim() == "ready"
    }
}

/// A verb of the nanokube in `dir`.
pub(crate) fn nanokube(dir: &Path, args: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nanokube"));
    command.arg("--dir").arg(dir).args(args).stdout(Stdio::piped()).stderr(Stdio::null());
    Process(command.spawn().unwrap())
}

/// A cluster in `dir` that is ready.
pub(crate) fn start(dir: &Path, args: &[&str]) -> Process {
    let mut daemon = nanokube(dir, &[&["start", "--foreground"], args].concat());
    assert!(daemon.is_ready());
    daemon
}
