//! The journal: every write is a framed record at the end of one file, written before the write is acknowledged.
//!
//! A record is its length, its CRC-32 and its payload. `write(2)` before the answer makes an acknowledged write
//! survive the daemon however it dies; `fsync` follows within a tenth of a second, so a power cut may lose that much.
//! A torn tail (a record that was being written) is cut off with a message; damage before whole records is refused,
//! since to cut there would lose acknowledged writes. When most of the file is history it is rewritten as the present
//! state, under another name first.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flate2::Crc;

/// First bytes of a journal; the last is the version of the format.
const MAGIC: &[u8; 8] = b"NANOKUB\x01";
const FRAME_BYTES: usize = 8;
/// Larger than any object that the API takes.
const RECORD_LIMIT: usize = 64 << 20;
/// Smaller journals are never rewritten.
const COMPACT_ABOVE_BYTES: u64 = 8 << 20;
/// A journal is rewritten when it is so many times as large as the state in it.
const COMPACT_RATIO: u64 = 4;
const SYNC_PERIOD: Duration = Duration::from_millis(100);

/// One change as the journal holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) revision: u64,
    pub(crate) resource: String,
    pub(crate) key: String,
    /// The object as JSON; None removes it.
    pub(crate) json: Option<Vec<u8>>,
}

#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: Arc<File>,
    /// Where the next record goes: the end of what is whole.
    end: u64,
    /// Bytes of the records that a rewrite would keep, as of the last rewrite or start.
    live_bytes: u64,
    dirty: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        // The last writes are on their way to the disk either way.
        let _ = self.file.sync_data();
    }
}

impl Journal {
    /// Opens the journal in `dir` and hands every whole record to `replay`, oldest first.
    pub(crate) fn open(dir: &Path, mut replay: impl FnMut(Record)) -> io::Result<Journal> {
        fs::create_dir_all(dir)?;
        let path = dir.join("journal");
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let end = if content.len() < MAGIC.len() && MAGIC.starts_with(&content) {
            file.write_all_at(MAGIC, 0)?;
            MAGIC.len()
        } else {
            check_magic(&content, &path)?;
            read_records(&content, &mut replay)
        };
        if content.len() > end {
            check_tail(&content, end, &path)?;
            let cut = content.len() - end;
            eprintln!("{}: cutting off a torn record of {cut} bytes that was never acknowledged", path.display());
            file.set_len(end as u64)?;
        }
        drop(content);
        let journal = Journal {
            path,
            file: Arc::new(file),
            end: end as u64,
            live_bytes: 0,
            dirty: Arc::new(AtomicBool::new(false)),
            closed: Arc::new(AtomicBool::new(false)),
        };
        journal.start_syncing()?;
        Ok(journal)
    }

    /// Appends a record; when it cannot be written whole the journal is as it was before.
    pub(crate) fn append(&mut self, record: &Record) -> io::Result<()> {
        let frame = encode(record);
        if let Err(error) = self.file.write_all_at(&frame, self.end) {
            // What was written of it is no record; the next one is written over it, whether or not it can be cut off
            // now.
            let _ = self.file.set_len(self.end);
            return Err(error);
        }
        self.end += frame.len() as u64;
        self.dirty.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether most of the journal is history.
    pub(crate) fn is_mostly_history(&self) -> bool {
        self.end > COMPACT_ABOVE_BYTES && self.end > self.live_bytes * COMPACT_RATIO
    }

    /// Rewrites the journal as the state that `records` describe. After a failure (a full disk) it is as it was, and
    /// may grow to twice its length before that is tried again.
    pub(crate) fn compact(&mut self, records: impl Iterator<Item = Record>) -> io::Result<()> {
        let draft = self.path.with_extension("new");
        let rewritten = self.rewrite(&draft, records);
        if rewritten.is_err() {
            let _ = fs::remove_file(&draft); // space that somebody else may need
            self.live_bytes = self.end * 2 / COMPACT_RATIO;
        }
        rewritten
    }

    fn rewrite(&mut self, draft: &Path, records: impl Iterator<Item = Record>) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(draft)?;
        let mut writer = io::BufWriter::with_capacity(1 << 20, file);
        writer.write_all(MAGIC)?;
        let mut end = MAGIC.len() as u64;
        for record in records {
            let frame = encode(&record);
            end += frame.len() as u64;
            writer.write_all(&frame)?;
        }
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_data()?;
        fs::rename(draft, &self.path)?;
        self.closed.store(true, Ordering::Release);
        (self.file, self.end, self.live_bytes) = (Arc::new(file), end, end);
        self.closed = Arc::new(AtomicBool::new(false));
        self.dirty = Arc::new(AtomicBool::new(false));
        self.start_syncing()
    }

    /// A thread of its own, so that no write ever waits for the disk.
    fn start_syncing(&self) -> io::Result<()> {
        let (file, dirty, closed) = (self.file.clone(), self.dirty.clone(), self.closed.clone());
        let sync = move || {
            while !closed.load(Ordering::Acquire) {
                std::thread::sleep(SYNC_PERIOD);
                if dirty.swap(false, Ordering::AcqRel)
                    && let Err(error) = file.sync_data()
                {
                    eprintln!("cannot sync the journal: {error}");
                }
            }
        };
        std::thread::Builder::new().name("journal-sync".into()).stack_size(64 << 10).spawn(sync).map(drop)
    }
}

fn check_magic(content: &[u8], path: &Path) -> io::Result<()> {
    if content.starts_with(MAGIC) {
        return Ok(());
    }
    let known = content.starts_with(&MAGIC[..7]);
    let what = if known { "was written by another version of nanokube" } else { "is not a journal of nanokube" };
    let message = format!("{} {what}: run `nanokube delete`, or choose another --dir", path.display());
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

/// What follows the last whole record must be the torn beginning of one: nothing whole may come after it. JSON text
/// never looks like the length of a record, so looking at every byte costs little.
fn check_tail(content: &[u8], end: usize, path: &Path) -> io::Result<()> {
    let Some(next) = (end + 1..content.len()).find(|at| decode(&content[*at..]).is_some()) else { return Ok(()) };
    let path = path.display();
    let message = format!(
        "{path} is damaged at byte {end}, and whole records follow from byte {next} on: nothing was changed; run \
         `truncate --size {end} {path}` to go on with what is before, or `nanokube delete` to begin anew"
    );
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

/// Replays whole records and returns where they end. The function the fuzz tests feed.
pub(crate) fn read_records(content: &[u8], replay: &mut impl FnMut(Record)) -> usize {
    let mut at = MAGIC.len().min(content.len());
    while let Some((record, length)) = decode(&content[at..]) {
        replay(record);
        at += length;
    }
    at
}

fn encode(record: &Record) -> Vec<u8> {
    let json = record.json.as_deref().unwrap_or_default();
    let payload_bytes = 1 + 8 + 2 + record.resource.len() + 2 + record.key.len() + json.len();
    let mut frame = Vec::with_capacity(FRAME_BYTES + payload_bytes);
    frame.extend_from_slice(&[0; FRAME_BYTES]);
    frame.push(u8::from(record.json.is_some()));
    frame.extend_from_slice(&record.revision.to_le_bytes());
    for text in [&record.resource, &record.key] {
        // Names are at most 253 bytes each, checked before they get here; longer ones could not be read back.
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&text.as_bytes()[..length as usize]);
    }
    frame.extend_from_slice(json);
    let length = u32::try_from(frame.len() - FRAME_BYTES).unwrap_or(u32::MAX);
    let crc = checksum(&frame[FRAME_BYTES..]);
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
    frame
}

fn checksum(payload: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(payload);
    crc.sum()
}

/// The first record and how long it is; None where nothing whole begins.
fn decode(content: &[u8]) -> Option<(Record, usize)> {
    let length = u32::from_le_bytes(content.get(..4)?.try_into().ok()?) as usize;
    let crc = u32::from_le_bytes(content.get(4..8)?.try_into().ok()?);
    if length > RECORD_LIMIT {
        return None;
    }
    let payload = content.get(FRAME_BYTES..FRAME_BYTES + length)?;
    if checksum(payload) != crc {
        return None;
    }
    let (head, mut rest) = payload.split_first_chunk::<9>()?;
    let revision = u64::from_le_bytes(head[1..].try_into().ok()?);
    let resource = take_text(&mut rest)?;
    let key = take_text(&mut rest)?;
    let json = (head[0] == 1).then(|| rest.to_vec());
    Some((Record { revision, resource, key, json }, FRAME_BYTES + length))
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let (length, after) = rest.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_le_bytes(*length));
    let text = std::str::from_utf8(after.get(..length)?).ok()?.to_string();
    *rest = &after[length..];
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(revision: u64, json: Option<&str>) -> Record {
        let json = json.map(|text| text.as_bytes().to_vec());
        Record { revision, resource: "configmaps".into(), key: format!("lab/x{revision}"), json }
    }

    fn replayed(dir: &Path) -> Vec<Record> {
        let mut records = Vec::new();
        drop(Journal::open(dir, |record| records.push(record)).unwrap());
        records
    }

    #[test]
    fn what_was_appended_is_replayed_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let records = [record(2, Some("{}")), record(3, None), record(4, Some("{\"a\":1}"))];
        let mut journal = Journal::open(dir.path(), |_| panic!("a new journal is empty")).unwrap();
        records.iter().for_each(|record| journal.append(record).unwrap());
        drop(journal);
        assert_eq!(replayed(dir.path()), records);
    }

    #[test]
    fn a_tail_torn_at_any_byte_is_cut_and_the_rest_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), drop).unwrap();
        journal.append(&record(2, Some("{}"))).unwrap();
        let whole = journal.end;
        journal.append(&record(3, Some("{\"a\":1}"))).unwrap();
        drop(journal);
        let path = dir.path().join("journal");
        let content = fs::read(&path).unwrap();
        for cut in whole..content.len() as u64 {
            fs::write(&path, &content[..cut as usize]).unwrap();
            assert_eq!(replayed(dir.path()), [record(2, Some("{}"))], "cut at {cut}");
            assert_eq!(fs::metadata(&path).unwrap().len(), whole);
        }
    }

    #[test]
    fn damage_before_whole_records_is_refused_and_nothing_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), drop).unwrap();
        (2..5).for_each(|revision| journal.append(&record(revision, Some("{\"a\":1}"))).unwrap());
        drop(journal);
        let path = dir.path().join("journal");
        let content = fs::read(&path).unwrap();
        // In the length of the first record, and in its payload.
        for at in [MAGIC.len(), MAGIC.len() + FRAME_BYTES + 20] {
            let mut damaged = content.clone();
            damaged[at] ^= 0x40;
            fs::write(&path, &damaged).unwrap();
            let error = Journal::open(dir.path(), drop).unwrap_err().to_string();
            assert!(error.contains("damaged at byte 8,"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn a_rewritten_journal_holds_the_state_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), drop).unwrap();
        (2..50).for_each(|revision| journal.append(&record(revision, Some("{}"))).unwrap());
        journal.compact([record(49, Some("{}"))].into_iter()).unwrap();
        journal.append(&record(50, None)).unwrap();
        drop(journal);
        assert_eq!(replayed(dir.path()), [record(49, Some("{}")), record(50, None)]);
    }

    #[test]
    fn a_journal_that_cannot_be_rewritten_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), drop).unwrap();
        journal.append(&record(2, Some("{}"))).unwrap();
        let draft = dir.path().join("journal.new");
        fs::create_dir(&draft).unwrap();
        assert!(journal.compact([record(2, Some("{}"))].into_iter()).is_err());
        fs::remove_dir(&draft).unwrap();
        journal.append(&record(3, Some("{}"))).unwrap();
        drop(journal);
        assert_eq!(replayed(dir.path()), [record(2, Some("{}")), record(3, Some("{}"))]);
    }

    #[test]
    fn a_foreign_file_is_refused_with_words() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("journal"), b"NANOKUB\x63 and more").unwrap();
        let error = Journal::open(dir.path(), drop).unwrap_err().to_string();
        assert!(error.contains("another version of nanokube"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(content in proptest::collection::vec(proptest::num::u8::ANY, 0..512)) {
            let mut framed = MAGIC.to_vec();
            framed.extend_from_slice(&content);
            let end = read_records(&framed, &mut drop);
            assert!(end <= framed.len());
        }
    }
}
