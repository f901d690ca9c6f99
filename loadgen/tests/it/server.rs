//! Servers that do what a script says, on a port of their own, in threads that end with the test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What a server does with a connection.
pub(crate) type Script = dyn Fn(TcpStream, &Served) + Send + Sync;

/// What a server has seen.
pub(crate) struct Served {
    pub(crate) connections: AtomicU64,
    pub(crate) requests: AtomicU64,
    stopped: AtomicBool,
}

impl Served {
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) served: Arc<Served>,
}

impl Server {
    pub(crate) fn start(script: impl Fn(TcpStream, &Served) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::new(Served {
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        });
        let (script, seen): (Arc<Script>, _) = (Arc::new(script), served.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.is_stopped() {
                    return;
                }
                seen.connections.fetch_add(1, Ordering::Relaxed);
                let (script, seen, stream) = (script.clone(), seen.clone(), stream.unwrap());
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                std::thread::spawn(move || script(stream, &seen));
            }
        });
        Self { address, served }
    }

    /// Answers every request with the bytes that `answer` gives for its head.
    pub(crate) fn answering(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(move |mut stream, served| {
            while let Some(head) = read_head(&mut stream, served) {
                served.requests.fetch_add(1, Ordering::Relaxed);
                if stream.write_all(&answer(&head)).is_err() {
                    return;
                }
            }
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.served.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn connections(&self) -> u64 {
        self.served.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.served.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

/// A good answer of a pod.
pub(crate) fn ok_from(pod: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nx-pod-name: {pod}\r\ncontent-length: 2\r\n\r\nok").into_bytes()
}

/// The next request without a body; none when the connection or the test has ended.
pub(crate) fn read_head(stream: &mut TcpStream, served: &Served) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0; 512];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(0) => return None,
            Ok(count) => head.extend_from_slice(&byte[..count]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                if served.is_stopped() {
                    return None;
                }
            }
            Err(_) => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}
