//! One file out of an archive: zip (wheels, layers) and gzipped tar. Just enough of both.

use std::io::Read;

use anyhow::{Context, bail};
use flate2::read::{DeflateDecoder, GzDecoder};

const CENTRAL_ENTRY: &[u8] = b"PK\x01\x02";
const END_OF_DIRECTORY: &[u8] = b"PK\x05\x06";
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// The first file whose name ends like this.
pub(crate) fn zip_entry(zip: &[u8], suffix: &str) -> anyhow::Result<Vec<u8>> {
    let end = zip.windows(4).rposition(|window| window == END_OF_DIRECTORY).context("this is not a zip file")?;
    let mut at = u32_at(zip, end + 16)? as usize;
    while zip.get(at..at + 4) == Some(CENTRAL_ENTRY) {
        let method = u16_at(zip, at + 10)?;
        let (packed, size) = (u32_at(zip, at + 20)? as usize, u32_at(zip, at + 24)? as usize);
        let name_length = usize::from(u16_at(zip, at + 28)?);
        let rest = usize::from(u16_at(zip, at + 30)?) + usize::from(u16_at(zip, at + 32)?);
        let name = slice(zip, at + 46, name_length)?;
        if name.ends_with(suffix.as_bytes()) {
            let local = u32_at(zip, at + 42)? as usize;
            let extra = usize::from(u16_at(zip, local + 26)?) + usize::from(u16_at(zip, local + 28)?);
            return unpack(slice(zip, local + 30 + extra, packed)?, method, size);
        }
        at += 46 + name_length + rest;
    }
    bail!("no {suffix} in the zip file")
}

/// The first file whose path ends like this.
pub(crate) fn tar_gz_entry(archive: &[u8], suffix: &str) -> anyhow::Result<Vec<u8>> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.to_string_lossy().ends_with(suffix) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
    }
    bail!("no {suffix} in the archive")
}

fn unpack(packed: &[u8], method: u16, size: usize) -> anyhow::Result<Vec<u8>> {
    match method {
        STORED => Ok(packed.to_vec()),
        DEFLATED => {
            let mut bytes = Vec::with_capacity(size);
            DeflateDecoder::new(packed).read_to_end(&mut bytes)?;
            Ok(bytes)
        }
        other => bail!("unknown compression {other} in the zip file"),
    }
}

fn slice(zip: &[u8], at: usize, length: usize) -> anyhow::Result<&[u8]> {
    zip.get(at..at + length).context("the zip file is cut short")
}

fn u16_at(zip: &[u8], at: usize) -> anyhow::Result<u16> {
    Ok(u16::from_le_bytes(slice(zip, at, 2)?.try_into()?))
}

fn u32_at(zip: &[u8], at: usize) -> anyhow::Result<u32> {
    Ok(u32::from_le_bytes(slice(zip, at, 4)?.try_into()?))
}

#[cfg(test)]
mod tests {
    use super::zip_entry;

    /// `a/x` stored as "hello", made by hand.
    fn sample() -> Vec<u8> {
        // Flags, method, time, date and checksum are zero; then both sizes and the length of the name.
        let common = [&[10, 0][..], &[0; 12], &[5, 0, 0, 0, 5, 0, 0, 0, 3, 0]].concat();
        let file = [b"PK\x03\x04", &common[..], &[0, 0], b"a/xhello"].concat();
        let directory = [b"PK\x01\x02", &[10, 0][..], &common, &[0; 16], b"a/x"].concat();
        let (length, offset) = (directory.len() as u32, file.len() as u32);
        let end = [b"PK\x05\x06", &[0, 0, 0, 0, 1, 0, 1, 0][..], &length.to_le_bytes(), &offset.to_le_bytes(), &[0, 0]];
        [file, directory, end.concat()].concat()
    }

    #[test]
    fn a_file_is_found_by_the_end_of_its_name() {
        assert_eq!(zip_entry(&sample(), "/x").unwrap(), b"hello");
        assert!(zip_entry(&sample(), "/y").unwrap_err().to_string().contains("no /y"));
        // The last two bytes are the length of a comment that nobody reads.
        for end in 0..sample().len() - 2 {
            assert!(zip_entry(&sample()[..end], "/x").is_err(), "cut at {end}");
        }
    }
}
