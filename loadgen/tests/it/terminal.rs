//! What a person at a terminal sees: a full-screen view that leaves the terminal as it was; a pipe gets plain lines.

use std::fs::File;
use std::io::Read;
use std::os::fd::FromRawFd;
use std::process::Stdio;

use crate::run::loadgen;
use crate::server::{Server, ok_from};

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// A pseudo-terminal of 100 columns: the side of the person, and the side of the program.
fn terminal() -> (File, File) {
    let size = libc::winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    let (mut person, mut program) = (0, 0);
    // SAFETY: all pointers are null where allowed or to values that live through the call; the two descriptors are new
    // and owned by nobody else.
    unsafe {
        let name = std::ptr::null_mut();
        assert_eq!(libc::openpty(&mut person, &mut program, name, std::ptr::null(), &size), 0);
        (File::from_raw_fd(person), File::from_raw_fd(program))
    }
}

/// Everything that the program writes to its terminal on standard error until it ends.
fn seen(args: &[&str]) -> String {
    let (mut person, program) = terminal();
    let mut child = loadgen(args).stdout(Stdio::null()).stderr(program).spawn().unwrap();
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    // The end of a terminal is an error (EIO), not an end of file.
    while let Ok(count @ 1..) = person.read(&mut buffer) {
        text.extend_from_slice(&buffer[..count]);
    }
    child.wait().unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn a_terminal_gets_a_screen_and_its_own_content_back() {
    let server = Server::answering(|_| ok_from("web-1"));
    let url = server.url();
    let text = seen(&[&url, "-r", "50", "-d", "1500ms"]);
    assert!(text.starts_with(ENTER) && text.trim_end().ends_with(LEAVE), "{text:?}");
    for word in ["ok per second", "p99, up to", "so far", "web-1", "100.0%"] {
        assert!(text.contains(word), "{word}: {text:?}");
    }
    let lines = text.split("\r\n").flat_map(|line| line.split("\x1b[H"));
    let widest = lines.map(|line| line.replace("\x1b[K", "").chars().count()).max();
    assert!(widest.is_some_and(|columns| columns <= 100 + LEAVE.len() + ENTER.len()), "{widest:?}");
    let plain = seen(&[&url, "-r", "50", "-d", "1500ms", "--no-live"]);
    assert!(!plain.contains('\x1b') && plain.lines().count() >= 2, "{plain:?}");
}

#[test]
fn a_pipe_gets_a_plain_line_a_second() {
    let server = Server::answering(|_| ok_from("web-1"));
    let output = loadgen(&[&server.url(), "-r", "50", "-d", "1500ms"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains('\x1b') && text.lines().all(|line| line.contains("planned")), "{text}");
    assert!(text.lines().count() >= 2);
}
