//! A recorded session of kubectl, and bytes that are broken on purpose.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// What kubectl 1.32 sent to forward one connection, as hex: two streams, a request, and the end of both.
const RECORDED: &str = "\
800300010000003e0000000100000000000078f9e3c6a7c202253a703a2b294a4dcc851625aca9a0808614cb45e01c60616061c0c0c0c0\
590489c64c50f2663400000000ffff0000000101000000800300010000001c00000003000000000000826ac61445350e543225a29b0600\
0000ffff0000000300000077474554202f20485454502f312e310d0a4163636570742d456e636f64696e673a206964656e746974790d0a\
486f73743a203132372e302e302e313a32383132330d0a557365722d4167656e743a20507974686f6e2d75726c6c69622f332e31310d0a\
436f6e6e656374696f6e3a20636c6f73650d0a0d0a000000030100000080030007000000080000000000000000";

fn recorded() -> Vec<u8> {
    let digits = RECORDED.as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn headers(kind: &str) -> Vec<(String, String)> {
    let pairs = [("streamtype", kind), ("port", "8080"), ("requestid", "0")];
    pairs.map(|(name, value)| (name.to_string(), value.to_string())).to_vec()
}

/// The events of the bytes when they come in pieces of this size.
fn events(session: &mut Session, bytes: &[u8], piece: usize) -> Vec<Event> {
    bytes.chunks(piece).flat_map(|piece| session.receive(piece).unwrap()).collect()
}

#[test]
fn a_session_of_kubectl_is_understood_however_it_is_cut() {
    for piece in [1, 7, 4096] {
        let found = events(&mut Session::new(), &recorded(), piece);
        let sorted = |event: &Event| match event {
            Event::Opened { stream, headers } => {
                let mut headers = headers.clone();
                headers.sort();
                Event::Opened { stream: *stream, headers }
            }
            other => other.clone(),
        };
        let found: Vec<Event> = found.iter().map(sorted).collect();
        let sorted = |kind: &str| {
            let mut headers = headers(kind);
            headers.sort();
            headers
        };
        assert_eq!(found[0], Event::Opened { stream: 1, headers: sorted("error") });
        assert_eq!(found[1], Event::Finished { stream: 1 });
        assert_eq!(found[2], Event::Opened { stream: 3, headers: sorted("data") });
        assert!(matches!(&found[3], Event::Data { stream: 3, bytes } if bytes.starts_with(b"GET / HTTP/1.1")));
        assert_eq!(found[4..], [Event::Finished { stream: 3 }, Event::GoAway]);
    }
}

#[test]
fn what_we_say_is_framed() {
    let mut session = Session::new();
    session.receive(&recorded()).unwrap();
    session.accept(3);
    session.send(3, b"hello");
    session.finish(3);
    session.send(3, b"too late");
    let block = [0x78, 1, 0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    let reply = [&[0x80, 3, 0, 2, 0, 0, 0, 20, 0, 0, 0, 3][..], &block].concat();
    let data = [0, 0, 0, 3, 0, 0, 0, 5, b'h', b'e', b'l', b'l', b'o', 0, 0, 0, 3, 1, 0, 0, 0];
    assert_eq!(session.take_output(), [&reply[..], &data].concat());
    assert!(session.take_output().is_empty());
}

#[test]
fn pings_come_back_and_data_for_nobody_is_reset() {
    let mut session = Session::new();
    let ping = [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 9];
    let stray = [0, 0, 0, 5, 0, 0, 0, 1, b'x'];
    assert_eq!(session.receive(&[&ping[..], &stray].concat()).unwrap(), []);
    let reset = [0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 2];
    assert_eq!(session.take_output(), [&ping[..], &reset].concat());
}

#[test]
fn what_breaks_the_protocol_or_a_limit_ends_the_session() {
    let cases: [(&[u8], &str); 4] = [
        (&[0x80, 2, 0, 1, 0, 0, 0, 0], "SPDY/2"),
        (&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff], "longer than"),
        (&[0x80, 3, 0, 1, 0, 0, 0, 2, 0, 0], "too short"),
        (&[0x80, 3, 0, 1, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x78, 0xf9], "cannot be read"),
    ];
    for (bytes, words) in cases {
        let error = Session::new().receive(bytes).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let mut session = Session::new();
    session.receive(&recorded()).unwrap();
    let again = [0x80, 3, 0, 1, 0, 0, 0, 19, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0];
    assert!(session.receive(&again).unwrap_err().0.contains("cannot be opened"));
}

#[test]
fn no_bytes_however_broken_stop_a_session() {
    let mut random = SmallRng::seed_from_u64(5);
    for _ in 0..5_000 {
        let mut bytes = recorded();
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..3) {
                0 => bytes[at] = random.random(),
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, random.random()),
            }
        }
        // Whatever it says, it says it without a panic.
        let _outcome = Session::new().receive(&bytes);
    }
}
