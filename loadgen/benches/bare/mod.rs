//! What the system calls alone cost: as many connections, and for each answer one `recv`, one `send` and a share of one
//! wait, with nothing planned, parsed or recorded. It runs among the generators to tell how much of their cost is the
//! kernel's on this machine.

use std::io::{Error, Result};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::net::{RecvFlags, SendFlags};

/// Says how many answers it had, as the program that was started with `--bare ADDRESS CONNECTIONS SECONDS`.
pub(crate) fn main(args: &[String]) -> Option<()> {
    let [address, connections, seconds] = args else { return None };
    let answers = exchange(address, connections.parse().ok()?, Duration::from_secs(seconds.parse().ok()?));
    match answers {
        Ok(answers) => println!("{answers} answers"),
        Err(error) => eprintln!("{address}: {error}"),
    }
    Some(())
}

fn exchange(address: &str, connections: usize, time: Duration) -> Result<u64> {
    let request = format!("GET / HTTP/1.1\r\nhost: {address}\r\nuser-agent: bare\r\naccept: */*\r\n\r\n");
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut streams = Vec::with_capacity(connections);
    for place in 0..connections {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&epoll, &stream, EventData::new_u64(place as u64), EventFlags::IN | EventFlags::ET)?;
        streams.push(stream);
    }
    for stream in &streams {
        rustix::net::send(stream, request.as_bytes(), SendFlags::empty())?;
    }
    let (mut answers, mut buffer) = (0, vec![0; 64 * 1024]);
    let mut events = Vec::<Event>::with_capacity(128);
    let end = Instant::now() + time;
    while Instant::now() < end {
        events.clear();
        let patience = rustix::time::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&patience))?;
        for event in &events {
            let stream = &streams[event.data.u64() as usize];
            let (count, _) = rustix::net::recv(stream, &mut buffer[..], RecvFlags::empty())?;
            if count == 0 {
                return Err(Error::other("closed by the server"));
            }
            answers += 1;
            rustix::net::send(stream, request.as_bytes(), SendFlags::empty())?;
        }
    }
    Ok(answers)
}
