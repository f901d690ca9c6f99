//! Header blocks: names and values, compressed by zlib with a dictionary that both sides know.
//!
//! Inflating uses raw deflate: the dictionary is fed to it first as a stored block, which leaves it where a preset
//! dictionary would be. Deflating writes stored blocks without a dictionary, which every zlib reads: we only ever send
//! empty header blocks, so nothing is lost.

use flate2::{Decompress, FlushDecompress, Status};

use super::ProtocolError;

/// Bytes of one header block when inflated.
const MAX_HEADERS: usize = 16 << 10;

/// Length of a zlib head, and of the dictionary's checksum when one is used.
const ZLIB_HEAD: usize = 2;
const DICTIONARY_ID: [u8; 4] = [0xe3, 0xc6, 0xa7, 0xc2];
const USES_DICTIONARY: u8 = 0x20;

/// The names of the dictionary of SPDY/3; each is preceded by its length.
const NAMES: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
    content-length content-location content-md5 content-range content-type date etag expect expires from host if-match \
    if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
    proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
    user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
    keep-alive origin";
const TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 \
    Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 \
    Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept \
    Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
    application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,\
    sdchcharset=utf-8\
    charset=iso-8859-1,utf-,*,enq=0.";

/// Reads the header blocks of the peer.
pub(super) struct Inflater {
    /// The zlib head until it is complete, then None.
    head: Option<Vec<u8>>,
    inflate: Decompress,
}

impl Default for Inflater {
    fn default() -> Inflater {
        Inflater { head: Some(Vec::new()), inflate: Decompress::new(false) }
    }
}

impl Inflater {
    /// The names and values of one block, names in lower case.
    pub(super) fn headers(&mut self, block: &[u8]) -> Result<Vec<(String, String)>, ProtocolError> {
        let block = self.skip_head(block)?;
        let inflated = self.inflate(&block, MAX_HEADERS)?;
        parse(&inflated)
    }

    /// Takes the zlib head off the first block and loads the dictionary it asks for.
    fn skip_head(&mut self, block: &[u8]) -> Result<Vec<u8>, ProtocolError> {
        let Some(mut head) = self.head.take() else { return Ok(block.to_vec()) };
        head.extend(block);
        let with_dictionary = head.get(1).is_some_and(|flags| flags & USES_DICTIONARY != 0);
        let length = if with_dictionary { ZLIB_HEAD + DICTIONARY_ID.len() } else { ZLIB_HEAD };
        if head.len() < length {
            self.head = Some(head);
            return Ok(Vec::new());
        }
        let rest = head.split_off(length);
        if with_dictionary {
            if head[ZLIB_HEAD..] != DICTIONARY_ID {
                return Err(broken());
            }
            self.inflate(&stored(&dictionary()), MAX_HEADERS)?;
        }
        Ok(rest)
    }

    fn inflate(&mut self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, ProtocolError> {
        let mut output = Vec::with_capacity(limit);
        let before = self.inflate.total_in();
        let status = self.inflate.decompress_vec(bytes, &mut output, FlushDecompress::Sync).map_err(|_| broken())?;
        let taken = usize::try_from(self.inflate.total_in() - before).unwrap_or(usize::MAX);
        if status == Status::StreamEnd {
            return Err(broken());
        }
        if output.len() >= limit || taken < bytes.len() {
            return Err(ProtocolError(format!("the headers of a stream are longer than {limit} bytes")));
        }
        Ok(output)
    }
}

/// Writes our header blocks.
#[derive(Default)]
pub(super) struct Deflater {
    started: bool,
}

impl Deflater {
    pub(super) fn compress(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut block = (headers.len() as u32).to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            block.extend((text.len() as u32).to_be_bytes());
            block.extend(text.as_bytes());
        }
        let head: &[u8] = if self.started { &[] } else { &[0x78, 0x01] };
        self.started = true;
        // Go's reader hands out what it has only at an empty block, as a zlib flush ends with one.
        [head, &stored(&block), &stored(&[])].concat()
    }
}

/// A stored deflate block, not the last.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u16;
    let mut block = vec![0];
    block.extend(length.to_le_bytes());
    block.extend((!length).to_le_bytes());
    block.extend(bytes);
    block
}

fn dictionary() -> Vec<u8> {
    let mut dictionary = Vec::new();
    for name in NAMES.split(' ') {
        let name = name.replace('_', " ");
        dictionary.extend((name.len() as u32).to_be_bytes());
        dictionary.extend(name.as_bytes());
    }
    dictionary.extend(TAIL.as_bytes());
    dictionary
}

fn parse(block: &[u8]) -> Result<Vec<(String, String)>, ProtocolError> {
    let (count, mut rest) = block.split_first_chunk::<4>().ok_or_else(broken)?;
    let mut texts = Vec::new();
    for _ in 0..(u32::from_be_bytes(*count) as usize).saturating_mul(2) {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
        let (text, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(broken)?;
        texts.push(String::from_utf8_lossy(text).into_owned());
        rest = after;
    }
    Ok(texts.chunks_exact(2).map(|pair| (pair[0].to_ascii_lowercase(), pair[1].clone())).collect())
}

fn broken() -> ProtocolError {
    ProtocolError("the headers of a stream cannot be read".into())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_dictionary_is_the_one_that_its_checksum_names() {
        let (mut a, mut b) = (1u32, 0u32);
        for byte in super::dictionary() {
            a = (a + u32::from(byte)) % 65_521;
            b = (b + a) % 65_521;
        }
        assert_eq!((b << 16 | a).to_be_bytes(), super::DICTIONARY_ID);
    }
}
