//! Container logs on disk, in the format of the container runtime interface.
//!
//! `<RFC 3339 with nanoseconds> <stdout|stderr> <F|P> <text>`: F ends a line, P is a part of one that is longer than
//! the limit. One file per container run; when it passes its limit it becomes `<name>.1` (which is replaced), so that a
//! container never has more than twice the limit on disk. The supervisor writes, the daemon reads.

mod reader;
mod writer;

pub use reader::{LogOptions, LogReader};
pub(crate) use writer::{LogWriter, Stream};

/// A file is rotated when it passes this.
pub(crate) const FILE_SIZE_MAX: u64 = 10 << 20;
/// A longer line is written in parts, as container runtimes do.
pub(crate) const LINE_LENGTH_MAX: usize = 16 << 10;

/// The file to which `path` is rotated.
pub(crate) fn rotated(path: &std::path::Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

#[cfg(test)]
mod tests;
