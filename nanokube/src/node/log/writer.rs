//! Writes what a container prints, line by line, with the time each line ended.

use super::{FILE_SIZE_MAX, LINE_LENGTH_MAX, rotated};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Which of the two output streams a piece of text came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// The log file of one container run. A disk that is full loses lines but never blocks the container.
pub(crate) struct LogWriter {
    path: PathBuf,
    file: File,
    size: u64,
    size_max: u64,
    /// An unfinished line of each stream.
    partial: [Vec<u8>; 2],
    out: Vec<u8>,
}

impl LogWriter {
    pub(crate) fn create(path: &Path) -> io::Result<LogWriter> {
        LogWriter::with_limit(path, FILE_SIZE_MAX)
    }

    pub(super) fn with_limit(path: &Path, size_max: u64) -> io::Result<LogWriter> {
        let file = File::options().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        let partial = [Vec::new(), Vec::new()];
        Ok(LogWriter { path: path.to_owned(), file, size, size_max, partial, out: Vec::new() })
    }

    /// Takes bytes as they were printed.
    pub(crate) fn append(&mut self, stream: Stream, mut bytes: &[u8]) {
        let now = timestamp();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let mut line = std::mem::take(&mut self.partial[stream as usize]);
            line.extend_from_slice(&bytes[..end]);
            self.put_line(&now, stream, &line);
            line.clear();
            self.partial[stream as usize] = line;
            bytes = &bytes[end + 1..];
        }
        let partial = &mut self.partial[stream as usize];
        partial.extend_from_slice(bytes);
        if partial.len() >= LINE_LENGTH_MAX {
            let rest = partial.split_off(partial.len() / LINE_LENGTH_MAX * LINE_LENGTH_MAX);
            let full = std::mem::replace(partial, rest);
            full.chunks(LINE_LENGTH_MAX).for_each(|part| self.put(&now, stream, b'P', part));
        }
        self.flush();
    }

    /// Writes what was printed without a newline at the end.
    pub(crate) fn finish(&mut self) {
        let now = timestamp();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let line = std::mem::take(&mut self.partial[stream as usize]);
            if !line.is_empty() {
                self.put(&now, stream, b'P', &line);
            }
        }
        self.flush();
    }

    fn put_line(&mut self, now: &str, stream: Stream, line: &[u8]) {
        let mut parts = line.chunks(LINE_LENGTH_MAX).peekable();
        if parts.peek().is_none() {
            self.put(now, stream, b'F', b"");
        }
        while let Some(part) = parts.next() {
            let tag = if parts.peek().is_none() { b'F' } else { b'P' };
            self.put(now, stream, tag, part);
        }
    }

    fn put(&mut self, now: &str, stream: Stream, tag: u8, text: &[u8]) {
        let name: &[u8] = if stream == Stream::Stdout { b" stdout " } else { b" stderr " };
        for piece in [now.as_bytes(), name, &[tag, b' '], text, b"\n"] {
            self.out.extend_from_slice(piece);
        }
        if self.out.len() >= 256 << 10 {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.out.is_empty() {
            return;
        }
        if self.size > 0 && self.size + self.out.len() as u64 > self.size_max {
            self.rotate();
        }
        // A failed write (disk full) loses these lines; the container must not notice.
        if self.file.write_all(&self.out).is_ok() {
            self.size += self.out.len() as u64;
        }
        self.out.clear();
    }

    fn rotate(&mut self) {
        let moved = fs::rename(&self.path, rotated(&self.path));
        let fresh = moved.and_then(|()| File::options().create(true).append(true).open(&self.path));
        match fresh {
            Ok(file) => (self.file, self.size) = (file, 0),
            // Keep the bound even where renaming fails: start the same file over.
            Err(_) => {
                let _ = self.file.set_len(0);
                self.size = 0;
            }
        }
    }
}

fn timestamp() -> String {
    format!("{:.9}", jiff::Timestamp::now())
}
