//! Writes what a run says as it goes, on a thread of its own: a slow reader, or a terminal that was stopped, holds up
//! neither the load nor the count of it.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

pub(super) struct Writer {
    texts: Option<Sender<String>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
    /// Bytes that wait for the reader, and how many may.
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
    skipped: u64,
}

impl Writer {
    pub(super) fn new(mut out: impl Write + Send + 'static, waiting_max: usize) -> Self {
        let (texts, to_write) = channel::<String>();
        let waiting = Arc::new(AtomicUsize::new(0));
        let written = waiting.clone();
        let thread = std::thread::spawn(move || {
            for text in to_write {
                out.write_all(text.as_bytes()).and_then(|()| out.flush())?;
                written.fetch_sub(text.len(), Ordering::Relaxed);
            }
            Ok(())
        });
        Self { texts: Some(texts), thread: Some(thread), waiting, waiting_max, skipped: 0 }
    }

    /// Leaves a text to be written, unless too much waits already.
    pub(super) fn write(&mut self, text: String) {
        if self.waiting.load(Ordering::Relaxed) + text.len() > self.waiting_max {
            self.skipped += 1;
            return;
        }
        self.write_in_any_case(text);
    }

    pub(super) fn write_in_any_case(&mut self, text: String) {
        self.waiting.fetch_add(text.len(), Ordering::Relaxed);
        if let Some(texts) = &self.texts {
            // Where writing failed nobody takes texts any more; `finish` tells why.
            let _ = texts.send(text);
        }
    }

    /// Waits until all is written; how many texts were not, since too much waited. A reader that went away is no failure.
    pub(super) fn finish(&mut self) -> std::io::Result<u64> {
        self.texts = None;
        let written = self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or(Ok(()));
        match written {
            Ok(()) => Ok(self.skipped),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(0),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Takes a text only when it is told to.
    struct Stalled {
        go_on: Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.go_on.recv();
            self.taken.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stalls_costs_bounded_memory_and_is_told_what_it_missed() {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (let_go, go_on) = channel();
        let mut writer = Writer::new(Stalled { go_on, taken: taken.clone() }, 10);
        for text in ["aaaa", "bbbb", "cccc", "dddd"] {
            writer.write(text.to_owned());
        }
        writer.write_in_any_case("end".to_owned());
        drop(let_go);
        assert_eq!(writer.finish().unwrap(), 2);
        assert_eq!(String::from_utf8(taken.lock().unwrap().clone()).unwrap(), "aaaabbbbend");
    }

    #[test]
    fn a_full_disk_is_a_failure_and_a_reader_that_left_is_none() {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut writer = Writer::new(full, 1000);
        writer.write("a".to_owned());
        writer.write("b".to_owned());
        assert_eq!(writer.finish().unwrap_err().kind(), ErrorKind::StorageFull);
        let (reader, left) = std::io::pipe().unwrap();
        drop(reader);
        let mut writer = Writer::new(left, 1000);
        writer.write("a".to_owned());
        assert_eq!(writer.finish().unwrap(), 0);
    }
}
