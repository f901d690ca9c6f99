use super::*;

/// Feeds a whole connection's bytes, in pieces of `size`; the status or the error, and whether the connection lives on.
fn read(bytes: &[u8], size: usize) -> Result<Option<(u16, bool)>, ProtocolError> {
    let mut reader = Reader::default();
    for piece in bytes.chunks(size.max(1)) {
        if let Progress::Complete { .. } = reader.feed(piece, false, b"x-pod-name", &mut |_| {})? {
            return Ok(reader.head().map(|head| (head.status, head.keep_alive)));
        }
    }
    match reader.feed_end() {
        true => Ok(reader.head().map(|head| (head.status, head.keep_alive))),
        false => Ok(None),
    }
}

#[track_caller]
fn answers(text: &str, status: u16, keep_alive: bool) {
    for size in 1..=text.len() {
        assert_eq!(read(text.as_bytes(), size), Ok(Some((status, keep_alive))), "{text:?} in pieces of {size}");
    }
}

#[track_caller]
fn refused(text: &str, why: &str) {
    for size in [1, 3, 7, text.len()] {
        let error = read(text.as_bytes(), size).unwrap_err();
        assert!(error.0.contains(why), "{text:?} in pieces of {size}: {error:?}");
    }
}

#[test]
fn an_answer_ends_where_its_framing_says_however_it_is_torn() {
    answers("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 200, true);
    answers("HTTP/1.1 204 No Content\r\n\r\n", 204, true);
    answers("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", 304, true);
    answers("HTTP/1.1 503\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n", 503, true);
    answers("HTTP/1.1 200 OK\r\nConnection: Close\r\ncontent-length: 0\r\n\r\n", 200, false);
    answers("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, false);
    answers("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\ncontent-length: 2\r\n\r\nok", 200, true);
    answers("HTTP/1.1 200 OK\r\n\r\neverything until the end", 200, false);
    answers("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200, true);
    answers(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, Chunked\r\n\r\nA;x=y\r\n0123456789\r\n0\r\na: b\r\n\r\n",
        200,
        true,
    );
    answers("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", 200, true);
    answers("HTTP/1.1 200 OK\ncontent-length: 1\n\nx", 200, true);
}

#[test]
fn the_pod_is_read_from_its_header() {
    let mut pods = Vec::new();
    let mut reader = Reader::default();
    let bytes = b"HTTP/1.1 200 OK\r\nX-Pod-Name:  web-1 \r\ncontent-length: 0\r\n\r\nrest";
    let progress = reader.feed(bytes, false, b"x-pod-name", &mut |pod| pods.push(pod.to_vec()));
    assert_eq!(progress, Ok(Progress::Complete { used: bytes.len() - 4 }));
    assert_eq!(pods, [b"web-1"]);
}

/// Feeds one answer in pieces; what it said: pod, status and whether the connection lives on.
fn read_next(reader: &mut Reader, pieces: &[&[u8]]) -> (Option<String>, u16, bool) {
    reader.reset();
    let mut pod = None;
    for piece in pieces {
        let on_pod = &mut |name: &[u8]| pod = Some(String::from_utf8(name.to_vec()).unwrap());
        let progress = reader.feed(piece, false, b"x-pod-name", on_pod).unwrap();
        assert!(progress == Progress::Partial || progress == Progress::Complete { used: piece.len() }, "{progress:?}");
    }
    let head = reader.head().unwrap();
    (pod, head.status, head.keep_alive)
}

#[test]
fn a_head_that_is_known_again_says_the_same_and_any_other_one_is_read() {
    let answer = |pod: &str, body: &str| {
        format!("HTTP/1.1 200 OK\r\nx-pod-name: {pod}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let (a, b, longer) = (answer("a", "one"), answer("b", "one"), answer("b", "longer"));
    let after_interim = [b"HTTP/1.1 100 Continue\r\n\r\n", &a[..]].concat();
    let close = b"HTTP/1.1 503 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let mut reader = Reader::default();
    let mut check = |pieces: &[&[u8]], pod: Option<&str>, status, keep_alive| {
        let read = read_next(&mut reader, pieces);
        assert_eq!(read, (pod.map(str::to_owned), status, keep_alive), "{:?}", String::from_utf8_lossy(pieces[0]));
    };
    check(&[&a], Some("a"), 200, true);
    check(&[&a], None, 200, true);
    check(&[&after_interim], Some("a"), 200, true);
    check(&[&b], Some("b"), 200, true);
    check(&[&longer], Some("b"), 200, true);
    check(&[&longer], None, 200, true);
    check(&[close], None, 503, false);
    check(&[close], None, 503, false);
    check(&[&a], Some("a"), 200, true);
    // A torn head tells of another pod, so that the whole one before it must be read again.
    check(&[&b[..20], &b[20..]], Some("b"), 200, true);
    check(&[&a], Some("a"), 200, true);
    // A new connection may lead to another pod, whatever its answers look like.
    reader.forget();
    assert_eq!(read_next(&mut reader, &[&a]).0.as_deref(), Some("a"));
}

#[test]
fn a_head_request_has_no_body() {
    let mut reader = Reader::default();
    let bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n";
    assert_eq!(reader.feed(bytes, true, b"", &mut |_| {}), Ok(Progress::Complete { used: bytes.len() }));
}

#[test]
fn garbage_is_refused_with_its_reason() {
    refused("HELLO WORLD, THIS IS NOT HTTP\r\n\r\n", "not HTTP/1");
    refused("HTTP/2.0 200 OK\r\n\r\n", "not HTTP/1");
    refused("HTTP/1.1 2x0 OK\r\n\r\n", "status code");
    refused("HTTP/1.1 2000 OK\r\n\r\n", "status code");
    refused("HTTP/1.1 099 OK\r\n\r\n", "status code");
    refused("\r\n\r\n", "status line");
    refused("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "colon");
    refused("HTTP/1.1 200 OK\r\na b: c\r\n\r\n", "header name");
    refused("HTTP/1.1 200 OK\r\n folded: c\r\n\r\n", "header name");
    refused("HTTP/1.1 200 OK\r\na: \x01\r\n\r\n", "control character");
    refused("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "content-length");
    refused("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n", "content-length");
    refused("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "two different");
    refused("HTTP/1.1 101 Switching\r\n\r\n", "switches");
    refused("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", "not a number");
    refused("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\n", "without a size");
    refused("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n00000000000000001\r\n", "too long");
    refused("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabc\r\n", "longer than its size");
}

#[test]
fn endless_heads_headers_and_trailers_are_refused_in_bounded_memory() {
    let line = format!("a: {}\r\n", "x".repeat(1000));
    refused(&format!("HTTP/1.1 200 OK\r\n{}", line.repeat(90)), "64 KiB");
    refused(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101)), "100 headers");
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    refused(&format!("{chunked}0\r\n{}", "a: b\r\n".repeat(5000)), "trailers");
    refused(&format!("{chunked}1;{}", "x".repeat(40_000)), "extension");
}

/// Answers to start mutating from.
const CORPUS: &str = include_str!("corpus.txt");

fn corpus() -> Vec<Vec<u8>> {
    CORPUS
        .split("\n----\n")
        .map(|case| case.trim_end_matches('\n').replace("\\r", "\r").replace("\\n", "\n").into_bytes())
        .collect()
}

/// The fuzz target: whatever bytes come in whatever pieces, reading ends the same way, keeps its bounds, never panics.
fn fuzz(bytes: &[u8]) {
    let whole = read(bytes, usize::MAX);
    for size in [1, 2, 13] {
        let torn = read(bytes, size);
        assert_eq!(whole.is_ok(), torn.is_ok(), "{:?}", String::from_utf8_lossy(bytes));
        if let (Ok(whole), Ok(torn)) = (&whole, &torn) {
            assert_eq!(whole, torn, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}

fn mutate(case: &mut Vec<u8>, random: &mut crate::arithmetic::Random) {
    const WORDS: [&[u8]; 9] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"chunked",
        b"content-length: 7\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"0\r\n\r\n",
        b"\xff",
    ];
    for _ in 0..random.between(1, 4) {
        let at = random.between(0, case.len() as u64) as usize;
        match random.between(0, 3) {
            0 if at < case.len() => case[at] = random.next_u64() as u8,
            1 if at < case.len() => drop(case.remove(at)),
            2 => case.truncate(at.max(1)),
            _ => drop(case.splice(at..at, WORDS[random.between(0, 8) as usize].iter().copied())),
        }
    }
}

#[test]
fn mutated_answers_never_break_the_reader() {
    let mut random = crate::arithmetic::Random::new(5, 0);
    for case in corpus() {
        fuzz(&case);
        for _ in 0..400 {
            let mut mutant = case.clone();
            mutate(&mut mutant, &mut random);
            fuzz(&mutant);
        }
    }
}

/// What hyper's client makes of the same bytes: status and whole body, or an error.
async fn hyper_reads(bytes: &[u8]) -> Result<u16, String> {
    use http_body_util::{BodyExt, Empty};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let (client, mut server) = tokio::io::duplex(1 << 20);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(client)).await.map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let bytes = bytes.to_vec();
    let serve = tokio::spawn(async move {
        let mut request = [0; 1024];
        let _ = server.read(&mut request).await;
        let _ = server.write_all(&bytes).await;
        let _ = server.shutdown().await;
    });
    let request = hyper::Request::get("/").header("host", "x").body(Empty::<bytes::Bytes>::new()).unwrap();
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        response.into_body().collect().await.map_err(|error| error.to_string())?;
        Ok(status)
    };
    let answer = answer.await;
    let _ = serve.await;
    connection.abort();
    answer
}

/// Where the two may differ: we refuse what hyper forgives (never the other way round), and hyper is stricter in a few
/// headers that do not touch framing.
fn known_difference(
    bytes: &[u8],
    ours: &Result<Option<(u16, bool)>, ProtocolError>,
    theirs: &Result<u16, String>,
) -> bool {
    let text = String::from_utf8_lossy(bytes);
    match (ours, theirs) {
        (Err(_), Ok(_)) => true,
        (Ok(None), Ok(_)) => text.starts_with(['\r', '\n']),
        (Ok(Some((status, _))), Err(_)) => {
            // hyper refuses statuses and codings that we only count, and checks trailers.
            !(100..600).contains(status) || text.to_ascii_lowercase().contains("transfer-encoding")
        }
        _ => false,
    }
}

#[test]
fn the_reader_agrees_with_hyper() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut random = crate::arithmetic::Random::new(6, 0);
    let (mut same, mut different) = (0, 0);
    for case in corpus() {
        for round in 0..40 {
            let mut mutant = case.clone();
            if round > 0 {
                mutate(&mut mutant, &mut random);
            }
            let ours = read(&mutant, usize::MAX);
            let theirs = runtime.block_on(hyper_reads(&mutant));
            let agree = match (&ours, &theirs) {
                (Ok(Some((status, _))), Ok(expected)) => status == expected,
                (Ok(None) | Err(_), Err(_)) => true,
                _ => false,
            };
            assert!(
                agree || known_difference(&mutant, &ours, &theirs),
                "{:?}: ours {ours:?}, hyper {theirs:?}",
                String::from_utf8_lossy(&mutant)
            );
            if agree { same += 1 } else { different += 1 }
        }
    }
    assert!(same > 9 * different, "{same} the same, {different} known differences");
}
