//! Reads a container's log back, with the options of `kubectl logs`.

use super::rotated;
use jiff::Timestamp;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const READ_SIZE: usize = 64 << 10;
/// No line on disk is longer than its limit and its stamp; a longer one is damage and is skipped.
const RECORD_LENGTH_MAX: usize = super::LINE_LENGTH_MAX + 256;

/// The query of the `log` subresource, already validated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    pub follow: bool,
    pub previous: bool,
    pub timestamps: bool,
    pub tail_lines: Option<u64>,
    pub since: Option<Timestamp>,
    pub limit_bytes: Option<u64>,
}

/// Reads one container run's log from its (rotated and) current file; can be asked again for what came since.
pub struct LogReader {
    path: PathBuf,
    options: LogOptions,
    file: Option<File>,
    /// Bytes of an unfinished record.
    pending: Vec<u8>,
    bytes_left: Option<u64>,
    at_line_start: bool,
}

impl LogReader {
    pub fn new(path: &Path, options: &LogOptions) -> LogReader {
        LogReader {
            path: path.to_owned(),
            options: options.clone(),
            file: None,
            pending: Vec::new(),
            bytes_left: options.limit_bytes,
            at_line_start: true,
        }
    }

    /// True once `limitBytes` were given.
    pub fn is_exhausted(&self) -> bool {
        self.bytes_left == Some(0)
    }

    /// Positions the reader where `tailLines` asks for, over both files.
    pub fn start(&mut self) -> io::Result<()> {
        let mut current = File::open(&self.path).ok();
        let mut old = File::open(rotated(&self.path)).ok();
        if let Some(lines) = self.options.tail_lines {
            let missing = match &mut current {
                Some(file) => seek_to_tail(file, lines)?,
                None => lines,
            };
            match &mut old {
                Some(file) if missing > 0 => {
                    seek_to_tail(file, missing)?;
                }
                _ => old = None,
            }
        }
        self.file = old.or(current);
        Ok(())
    }

    /// The next piece of text; `None` when nothing more is there for now.
    pub fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; READ_SIZE];
        loop {
            if self.is_exhausted() {
                return Ok(None);
            }
            if self.file.is_none() {
                self.file = File::open(&self.path).ok();
            }
            let Some(file) = &mut self.file else { return Ok(None) };
            let read = file.read(&mut buffer)?;
            if read == 0 {
                if self.move_on()? {
                    continue;
                }
                return Ok(None);
            }
            let text = self.render(&buffer[..read]);
            if !text.is_empty() {
                return Ok(Some(text));
            }
        }
    }

    /// At the end of a file: goes on with the current one if this one was rotated away.
    fn move_on(&mut self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let Ok(current) = File::open(&self.path) else { return Ok(false) };
        if current.metadata()?.ino() == file.metadata()?.ino() {
            return Ok(false);
        }
        self.pending.clear();
        self.file = Some(current);
        Ok(true)
    }

    fn render(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        self.pending.extend_from_slice(bytes);
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.render_record(&rest[..end], &mut out);
            rest = &rest[end + 1..];
        }
        if rest.len() <= RECORD_LENGTH_MAX {
            self.pending = rest.to_vec();
        }
        if let Some(left) = &mut self.bytes_left {
            out.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= out.len() as u64;
        }
        out
    }

    fn render_record(&mut self, record: &[u8], out: &mut Vec<u8>) {
        let mut fields = record.splitn(4, |byte| *byte == b' ');
        let (Some(stamp), Some(_), Some(tag), Some(text)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return;
        };
        if let Some(since) = self.options.since {
            let time = std::str::from_utf8(stamp).ok().and_then(|stamp| stamp.parse::<Timestamp>().ok());
            if time.is_none_or(|time| time < since) {
                return;
            }
        }
        if self.options.timestamps && self.at_line_start {
            out.extend_from_slice(stamp);
            out.push(b' ');
        }
        out.extend_from_slice(text);
        self.at_line_start = tag == b"F";
        if self.at_line_start {
            out.push(b'\n');
        }
    }
}

/// Moves to the start of the last `lines` whole lines; returns how many are still missing.
fn seek_to_tail(file: &mut File, lines: u64) -> io::Result<u64> {
    let size = file.metadata()?.len();
    if lines == 0 {
        file.seek(SeekFrom::Start(size))?;
        return Ok(0);
    }
    let mut missing = lines;
    let mut end = size;
    let mut buffer = vec![0; READ_SIZE];
    while end > 0 {
        let length = (READ_SIZE as u64).min(end);
        file.seek(SeekFrom::Start(end - length))?;
        let chunk = &mut buffer[..length as usize];
        file.read_exact(chunk)?;
        for (at, byte) in chunk.iter().enumerate().rev() {
            // The newline that ends the file closes its last line; each one before it starts a line after itself.
            let start = end - length + at as u64 + 1;
            if *byte == b'\n' && start < size {
                missing -= 1;
                if missing == 0 {
                    file.seek(SeekFrom::Start(start))?;
                    return Ok(0);
                }
            }
        }
        end -= length;
    }
    file.rewind()?;
    Ok(if size > 0 { missing - 1 } else { missing })
}
